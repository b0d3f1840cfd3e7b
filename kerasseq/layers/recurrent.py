"""A recurrent layer for every cell."""

import keras
from keras import ops

from kerasseq.layers.cells import get_cell
from kerasseq.layers.cudnn import CudnnRecurrence, right_padded


@keras.saving.register_keras_serializable(package="kerasseq")
class Recurrent(keras.layers.Layer):
    """Runs a cell over time.

    The inputs of all steps are projected in one matrix product before the loop. A sequence whose time dimension is
    statically 1, as in step-by-step decoding, runs the cell without a loop. Padded steps carry the state through
    unchanged, so padding on either end has no effect on it. On a GPU, LSTM and GRU train on cuDNN where Keras can: on
    TensorFlow, and on JAX the LSTM without a mask.

    Args:
        units: int, size of each state.
        cell: str, a name in `kerasseq.layers.cells.CELLS`: `"simple_rnn"`, `"lstm"`, `"gru"` or `"ssru"`.
        reverse: bool, whether to run from the last step to the first. Outputs keep the order of the inputs.

    Call arguments:
        sequences: float `(batch, time, features)`.
        initial_state: dict of float `(batch, units)` with the cell's `state_names`, such as `hidden`.
            Default: zeros.
        sequence_mask: bool `(batch, time)`, true for real steps. Default: all are real.
        training: bool. With `False` the hand-written gradient is skipped; the framework's is used.

    Returns:
        outputs `(batch, time, units)`, and the final state, a dict like `initial_state`.

    Attributes:
        cell: the `kerasseq.layers.cells.Cell`, which owns the weights.

    Raises:
        ValueError: if `units` is not a positive integer, the cell is unknown, or `initial_state` is not a dict with
            exactly the states of the cell.

    Example:

    >>> import keras, kerasseq
    >>> outputs, state = kerasseq.layers.Recurrent(16, cell="lstm")(keras.random.normal((2, 5, 8)))
    >>> keras.ops.shape(outputs), sorted(state)
    ((2, 5, 16), ['cell', 'hidden'])
    """

    def __init__(self, units: int, cell: str = "lstm", reverse: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.cell_name = cell
        self.reverse = reverse
        self.cell = get_cell(cell)(units, dtype=self.dtype_policy, name="cell")
        # On TensorFlow, a loop over a dynamic time dimension does not train under XLA.
        self.supports_jit = keras.config.backend() != "tensorflow"

    def build(self, sequences_shape):
        self.cell.build((sequences_shape[0], sequences_shape[-1]))
        self._cudnn = None
        if CudnnRecurrence.runs(self.cell, masked=False):
            self._cudnn = CudnnRecurrence(self.cell, sequences_shape[-1])

    def call(self, sequences, initial_state=None, sequence_mask=None, training=None):
        state = self.cell.initial_state(ops.shape(sequences)[0]) if initial_state is None else initial_state
        if not isinstance(state, dict) or set(state) != set(self.cell.state_names):
            raise ValueError(
                f"initial_state must be a dict of {', '.join(map(repr, self.cell.state_names))}, each (batch, units). "
                f"Received: {sorted(state) if isinstance(state, dict) else type(state).__name__}."
            )
        if sequences.shape[1] == 1:
            after = self.cell.step(self.cell.project(sequences[:, 0]), state)
            if sequence_mask is not None:
                after = {name: ops.where(sequence_mask, after[name], state[name]) for name in after}
            return self.cell.outputs(after)[:, None], after

        if training and self._cudnn is not None and CudnnRecurrence.runs(self.cell, sequence_mask is not None):
            return self._run_on_cudnn(sequences, state, sequence_mask)
        return self._run_loop(sequences, state, sequence_mask, training)

    def _run_on_cudnn(self, sequences, state, sequence_mask):
        """The loop instead where a mask is not padded on the right."""
        if sequence_mask is None:
            return self._cudnn(sequences, None, state, self.reverse)
        return ops.cond(
            right_padded(sequence_mask),
            lambda: self._cudnn(sequences, sequence_mask, state, self.reverse),
            lambda: self._run_loop(sequences, state, sequence_mask, True),
        )

    def _run_loop(self, sequences, state, sequence_mask, training):
        # Transposed before the projection, which is wider.
        projected = self.cell.project(ops.transpose(sequences, (1, 0, 2)))  # (time, batch, width)
        if sequence_mask is None:
            mask = ops.ones_like(projected[:, :, :1])
        else:
            mask = ops.cast(ops.transpose(sequence_mask), projected.dtype)[:, :, None]  # (time, batch, 1)
        trajectory = self.cell.scan(projected, mask, state, reverse=self.reverse, training=training)
        last = 0 if self.reverse else -1
        final_state = {name: states[last] for name, states in trajectory.items()}
        return ops.transpose(self.cell.outputs(trajectory), (1, 0, 2)), final_state

    def compute_output_spec(self, sequences, initial_state=None, sequence_mask=None, training=None):
        batch, time, _ = sequences.shape
        outputs = keras.KerasTensor((batch, time, self.units), dtype=self.compute_dtype)
        # Distinct tensors: a functional model tells its tensors apart by identity.
        return outputs, {
            name: keras.KerasTensor((batch, self.units), dtype=self.compute_dtype) for name in self.cell.state_names
        }

    def get_config(self):
        return {**super().get_config(), "units": self.units, "cell": self.cell_name, "reverse": self.reverse}
