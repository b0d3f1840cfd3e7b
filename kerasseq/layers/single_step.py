"""Products of a single step of a sequence."""

from collections.abc import Callable

from kerasseq.types import Tensor


def along_time(function: Callable[[Tensor], Tensor], sequences: Tensor) -> Tensor:
    """A function of the last axis of `sequences (batch, time, dim)`, for a single step without the axis of time.

    A product of matrices is one operation; of more axes, TensorFlow makes a dozen, half of the time of a small step.
    """
    if sequences.shape[1] == 1:
        return function(sequences[:, 0])[:, None]
    return function(sequences)
