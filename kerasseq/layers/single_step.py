"""Products of a single step of a sequence."""

from collections.abc import Callable

from kerasseq.types import Tensor


def without_time_axis(function: Callable[[Tensor], Tensor], sequences: Tensor) -> Tensor:
    """Applies a function of the last axis to `sequences (batch, time, dim)`; a single step is passed as a matrix.

    TensorFlow multiplies matrices in one operation, which it fuses with the sum of a bias. Tensors of more axes take
    several, for their shapes.
    """
    if sequences.shape[1] == 1:
        return function(sequences[:, 0])[:, None]
    return function(sequences)
