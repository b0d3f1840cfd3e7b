"""What every builder checks before it builds."""

from kerasseq.arguments import check_positive_integer, check_share


def check_arguments(dropout, **sizes):
    """Raises a `ValueError` for a size that is not a positive integer, or a dropout outside [0, 1)."""
    for name, value in sizes.items():
        check_positive_integer(name, value)
    check_share("dropout", dropout)
