"""Argument checks shared by the builders."""

from kerasseq.arguments import check_positive_integer, check_share


def check_arguments(dropout: float, **sizes: int) -> None:
    """Raises a `ValueError` for a size that is not a positive integer, or a dropout outside [0, 1)."""
    for name, value in sizes.items():
        check_positive_integer(name, value)
    check_share("dropout", dropout)
