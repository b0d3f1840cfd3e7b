"""Products of a single step of a sequence."""

from collections.abc import Callable

from kerasseq.types import Tensor


def along_time(function: Callable[[Tensor], Tensor], sequences: Tensor) -> Tensor:
    """A function of the last axis of `sequences (batch, time, dim)`, for a single step without the axis of time.

    TensorFlow computes a product of matrices by one operation, which it fuses with the sum of a bias; one of more axes
    takes several, for their shapes.
    """
    if sequences.shape[1] == 1:
        return function(sequences[:, 0])[:, None]
    return function(sequences)
