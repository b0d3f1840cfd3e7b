"""Recurrences on cuDNN, through the Keras layers of the same cells."""

from typing import Any

import keras
from keras import ops

from kerasseq.devices import reaches_cudnn
from kerasseq.layers.cells import Cell
from kerasseq.layers.cells.gru import GRUCell
from kerasseq.layers.cells.lstm import LSTMCell
from kerasseq.types import State, Tensor


def right_padded(mask: Tensor) -> Tensor:
    """Whether a mask, bool `(batch, time)`, is true from the beginning on, once at least: a bool scalar."""
    return ops.all(mask[:, 0]) & ops.all(mask[:, :-1] | ~mask[:, 1:])


class CudnnRecurrence:
    """Runs a cell over time by `keras.layers.LSTM` or `GRU`, with the cell's own weights.

    Keras chooses cuDNN where the graph is traced on a machine with a GPU. Such a graph does not run on others, so this
    is for training alone.

    Args:
        cell: a built `LSTMCell` or `GRUCell`.
        features: int, the size of the inputs.
    """

    def __init__(self, cell: Cell, features: int):
        self.cell = cell
        layer = KERAS_LAYERS[type(cell)]
        # Its own weights are never used. Random ones would change the seeds of layers that are built later.
        self.layer = layer(
            cell.units,
            kernel_initializer="zeros",
            recurrent_initializer="zeros",
            return_sequences=True,
            return_state=True,
            seed=0,
            dtype=cell.dtype_policy,
        )
        self.layer.build((None, None, features))

    @staticmethod
    def runs(cell: Cell, masked: bool) -> bool:
        """Whether a cell runs on cuDNN here. On JAX, Keras has the LSTM without masks."""
        if type(cell) not in KERAS_LAYERS or not reaches_cudnn():
            return False
        return keras.backend.backend() == "tensorflow" or (type(cell) is LSTMCell and not masked)

    def __call__(self, sequences: Tensor, mask: Tensor | None, state: State, reverse: bool) -> tuple[Tensor, State]:
        """Outputs and the final state of sequences padded on the right, as `Recurrent` returns them.

        Args:
            sequences: float `(batch, time, features)`.
            mask: bool `(batch, time)`, `right_padded`; `None` if all steps are real.
            state: dict of float `(batch, units)`.
            reverse: bool, whether to run from the last real step to the first.
        """
        if reverse:
            order = reversing(mask, ops.shape(sequences)[:2])[:, :, None]
            sequences = ops.take_along_axis(sequences, order, axis=1)
        names = self.cell.state_names
        (outputs, *finals), _ = self.layer.stateless_call(
            self.weights(), self.layer.non_trainable_variables, sequences,
            initial_state=[state[name] for name in names], mask=mask,
        )  # fmt: skip
        final_state = dict(zip(names, finals, strict=True))
        if reverse:
            outputs = ops.take_along_axis(outputs, order, axis=1)
        if mask is not None:
            # cuDNN returns zeros for padded steps. A recurrence that carries its state through repeats the last output.
            carried = state if reverse else final_state
            outputs = ops.where(mask[:, :, None], outputs, self.cell.outputs(carried)[:, None])
        return outputs, final_state

    def weights(self) -> list[Any]:
        """The weights of the cell as the Keras layer has them."""
        cell = self.cell
        if not cell.has_recurrent_bias:
            return [cell.kernel, cell.recurrent_kernel, cell.bias]
        biases = [ops.copy(bias) for bias in (cell.bias, cell.recurrent_bias)]
        return [cell.kernel, cell.recurrent_kernel, ops.stack(biases)]


def reversing(mask: Tensor | None, shape: tuple) -> Tensor:
    """The order of time that reverses the real steps, int32 `(batch, time)`; it is its own inverse."""
    batch, time = shape
    steps = ops.broadcast_to(ops.arange(time, dtype="int32"), (batch, time))
    if mask is None:
        return time - 1 - steps
    lengths = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
    return ops.where(mask, lengths - 1 - steps, steps)


KERAS_LAYERS: dict[type[Cell], Any] = {LSTMCell: keras.layers.LSTM, GRUCell: keras.layers.GRU}
