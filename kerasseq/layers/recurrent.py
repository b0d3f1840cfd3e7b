"""One recurrent layer for the three cells, with its input projection hoisted out of the loop."""

import collections

import keras
from keras import ops


def simple_rnn_step(projected, states, kernel, bias):
    (hidden,) = states
    return [ops.tanh(projected + ops.matmul(hidden, kernel))]


def lstm_step(projected, states, kernel, bias):
    hidden, memory = states
    gates = projected + ops.matmul(hidden, kernel)  # (batch, 4 * units)
    input_gate, forget_gate, candidate, output_gate = ops.split(gates, 4, axis=-1)
    memory = ops.sigmoid(forget_gate) * memory + ops.sigmoid(input_gate) * ops.tanh(candidate)
    return [ops.sigmoid(output_gate) * ops.tanh(memory), memory]


def gru_step(projected, states, kernel, bias):
    (hidden,) = states
    recurrent = ops.matmul(hidden, kernel) + bias  # (batch, 3 * units)
    units = hidden.shape[-1]
    gates = ops.sigmoid(projected[:, : 2 * units] + recurrent[:, : 2 * units])
    update, reset = ops.split(gates, 2, axis=-1)
    candidate = ops.tanh(projected[:, 2 * units :] + reset * recurrent[:, 2 * units :])
    return [candidate + update * (hidden - candidate)]


# num_gates blocks of `units` columns in the kernels;
# step(projected, states, recurrent_kernel, recurrent_bias) -> states.
Cell = collections.namedtuple("Cell", ["num_gates", "num_states", "has_recurrent_bias", "step"])

CELLS = {
    "simple_rnn": Cell(1, 1, False, simple_rnn_step),
    "lstm": Cell(4, 2, False, lstm_step),
    "gru": Cell(3, 1, True, gru_step),
}


def get_cell(name):
    """Looks up a cell by name, or raises a `ValueError` that lists the names."""
    if name not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(map(repr, CELLS))}. Received: cell={name!r}.")
    return CELLS[name]


def check_units(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer. Received: {name}={value!r}.")


def carry_through(mask, states, previous):
    """Keeps the previous states where `mask (batch, 1)` is false."""
    return [ops.where(mask, state, before) for state, before in zip(states, previous, strict=True)]


@keras.saving.register_keras_serializable(package="kerasseq")
class Recurrent(keras.layers.Layer):
    """A recurrence over time: simple RNN, LSTM or GRU.

    The weights have the shapes, the gate order and the meaning of `keras.layers.SimpleRNN`, `keras.layers.LSTM` and
    `keras.layers.GRU(reset_after=True)`, so they can be copied from one to the other. Two things differ. The inputs of
    all steps are projected in one matrix product before the loop, and a sequence whose time dimension is statically 1
    runs the cell without any loop, which is what step-by-step decoding needs.

    Padded steps carry the states through unchanged, so padding on either end has no effect on the states.

    Args:
        units: int, size of each state.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        reverse: bool, whether to run from the last step to the first. Outputs stay in the order of the inputs.

    Call arguments:
        sequences: float `(batch, time, features)`.
        initial_states: list of float `(batch, units)`, one for SimpleRNN and GRU, hidden and memory for LSTM.
            Default: zeros.
        sequence_mask: bool `(batch, time)`, true for real steps. Default: all are real.

    Returns:
        outputs `(batch, time, units)`, and the list of final states, each `(batch, units)`.

    Example:

    >>> import keras, kerasseq
    >>> outputs, states = kerasseq.layers.Recurrent(16, cell="lstm")(keras.random.normal((2, 5, 8)))
    >>> keras.ops.shape(outputs), len(states)
    ((2, 5, 16), 2)

    Sources: Elman 1990 (simple RNN); Hochreiter and Schmidhuber 1997, with forget gates of Gers et al. 2000 (LSTM);
    Cho et al. 2014, in the variant whose reset gate follows the matrix product (GRU).
    """

    def __init__(self, units, cell="lstm", reverse=False, **kwargs):
        super().__init__(**kwargs)
        check_units("units", units)
        self.units = units
        self.cell = cell
        self.reverse = reverse
        self._cell = get_cell(cell)
        # A loop over a dynamic time dimension does not train under XLA on TensorFlow.
        self.supports_jit = keras.config.backend() != "tensorflow"

    def build(self, sequences_shape):
        width = self._cell.num_gates * self.units
        self.kernel = self.add_weight(shape=(sequences_shape[-1], width), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(width,), initializer=self._initial_bias, name="bias")
        self.recurrent_bias = None
        if self._cell.has_recurrent_bias:
            self.recurrent_bias = self.add_weight(shape=(width,), initializer="zeros", name="recurrent_bias")

    def _initial_bias(self, shape, dtype=None):
        bias = ops.zeros(shape, dtype=dtype)
        if self.cell != "lstm":
            return bias
        # The forget gate starts open (Jozefowicz et al. 2015).
        forget_gate = ops.arange(shape[0]) // self.units == 1
        return ops.where(forget_gate, ops.ones_like(bias), bias)

    def project(self, sequences):
        """The input's share of all gates, `(batch, time, num_gates * units)`."""
        return ops.matmul(sequences, self.kernel) + self.bias

    def step(self, projected, states):
        """One step of the cell: projected inputs `(batch, num_gates * units)` and states -> states."""
        return self._cell.step(projected, states, self.recurrent_kernel, self.recurrent_bias)

    def zero_states(self, batch_size):
        """The states before the first step."""
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype) for _ in range(self._cell.num_states)]

    def call(self, sequences, initial_states=None, sequence_mask=None):
        projected = self.project(sequences)  # (batch, time, num_gates * units)
        states = list(initial_states) if initial_states is not None else self.zero_states(ops.shape(sequences)[0])
        if sequences.shape[1] == 1:
            after = self.step(projected[:, 0], states)
            if sequence_mask is not None:
                after = carry_through(sequence_mask, after, states)
            return after[0][:, None], after

        if sequence_mask is None:

            def scan_step(states, projected):
                after = self.step(projected, states)
                return after, after

        else:
            # On TensorFlow, keras.ops.scan takes one sequence of unknown length only: the mask is its last column.
            column = ops.cast(sequence_mask, projected.dtype)[:, :, None]
            projected = ops.concatenate([projected, column], axis=-1)

            def scan_step(states, inputs):
                after = carry_through(inputs[:, -1:] > 0, self.step(inputs[:, :-1], states), states)
                return after, after

        states, outputs = ops.scan(scan_step, states, ops.transpose(projected, (1, 0, 2)), reverse=self.reverse)
        return ops.transpose(outputs[0], (1, 0, 2)), list(states)

    def compute_output_spec(self, sequences, initial_states=None, sequence_mask=None):
        batch, time, _ = sequences.shape
        outputs = keras.KerasTensor((batch, time, self.units), dtype=self.compute_dtype)
        # Not one tensor many times: a functional model tells its tensors apart by identity.
        num_states = self._cell.num_states
        return outputs, [keras.KerasTensor((batch, self.units), dtype=self.compute_dtype) for _ in range(num_states)]

    def get_config(self):
        return {**super().get_config(), "units": self.units, "cell": self.cell, "reverse": self.reverse}
