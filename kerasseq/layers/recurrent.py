"""One recurrent layer for the three cells, with its input projection hoisted out of the loop."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer
from kerasseq.layers.cells import get_cell
from kerasseq.layers.recurrence import recurrence


@keras.saving.register_keras_serializable(package="kerasseq")
class Recurrent(keras.layers.Layer):
    """A recurrence over time: simple RNN, LSTM or GRU.

    The weights have the shapes, the gate order and the meaning of `keras.layers.SimpleRNN`, `keras.layers.LSTM` and
    `keras.layers.GRU(reset_after=True)`, so they can be copied from one to the other. Two things differ. The inputs of
    all steps are projected in one matrix product before the loop, and a sequence whose time dimension is statically 1
    runs the cell without any loop, which is what step-by-step decoding needs.

    Padded steps carry the states through unchanged, so padding on either end has no effect on the states.

    Layer normalization is that of Ba et al. 2016. LSTM (equations 20 to 22): the shares of input and state in the gates
    are normalized apart, and so is the memory before it is read out. GRU: the shares of input and state, each apart for
    the gates and for the candidate. Simple RNN (equation 4): the sum of both shares. Training then leaves the loop to
    the framework's gradient, which is slower.

    Args:
        units: int, size of each state.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        reverse: bool, whether to run from the last step to the first. Outputs stay in the order of the inputs.
        layer_normalization: bool.

    Call arguments:
        sequences: float `(batch, time, features)`.
        initial_states: list of float `(batch, units)`, one for SimpleRNN and GRU, hidden and memory for LSTM.
            Default: zeros.
        sequence_mask: bool `(batch, time)`, true for real steps. Default: all are real.
        training: bool; `False` leaves the gradient to the framework, which is slower but holds no memory.

    Returns:
        outputs `(batch, time, units)`, and the list of final states, each `(batch, units)`.

    Example:

    >>> import keras, kerasseq
    >>> outputs, states = kerasseq.layers.Recurrent(16, cell="lstm")(keras.random.normal((2, 5, 8)))
    >>> keras.ops.shape(outputs), len(states)
    ((2, 5, 16), 2)

    Sources: Elman 1990 (simple RNN); Hochreiter and Schmidhuber 1997, with forget gates of Gers et al. 2000 (LSTM);
    Cho et al. 2014, in the variant whose reset gate follows the matrix product (GRU); Ba et al. 2016 (layer
    normalization).
    """

    def __init__(self, units, cell="lstm", reverse=False, layer_normalization=False, **kwargs):
        super().__init__(**kwargs)
        check_positive_integer("units", units)
        self.units = units
        self.cell = cell
        self.reverse = reverse
        self.layer_normalization = layer_normalization
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
        if self.layer_normalization:
            self.input_gain = self.add_weight(shape=(width,), initializer="ones", name="input_gain")
            if self.cell != "simple_rnn":
                self.recurrent_gain = self.add_weight(shape=(width,), initializer="ones", name="recurrent_gain")
            if self.cell == "lstm":
                self.memory_gain = self.add_weight(shape=(self.units,), initializer="ones", name="memory_gain")
                self.memory_bias = self.add_weight(shape=(self.units,), initializer="zeros", name="memory_bias")

    def _initial_bias(self, shape, dtype=None):
        bias = ops.zeros(shape, dtype=dtype)
        if self.cell != "lstm":
            return bias
        # The forget gate starts open (Jozefowicz et al. 2015).
        forget_gate = ops.arange(shape[0]) // self.units == 1
        return ops.where(forget_gate, ops.ones_like(bias), bias)

    def project(self, sequences):
        """The input's share of all gates: `(..., features)` -> `(..., num_gates * units)`."""
        return self.input_share(ops.matmul(sequences, self.kernel))

    def input_share(self, product):
        """From the inputs' product with the kernel, `(..., num_gates * units)`, to their share of the gates."""
        if self.layer_normalization:
            if self.cell == "simple_rnn":
                return product  # `step` normalizes it together with the state's share.
            product = self.normalize_gates(product) * self.input_gain
        return product + self.bias

    def step(self, projected, states):
        """One step of the cell: projected inputs `(batch, num_gates * units)` and states -> states."""
        recurrent = ops.matmul(states[0], self.recurrent_kernel)
        if self.layer_normalization:
            if self.cell == "simple_rnn":
                gates = normalize(projected + recurrent) * self.input_gain + self.bias
                return self._cell.step(gates, states, 0.0)
            recurrent = self.normalize_gates(recurrent) * self.recurrent_gain
        if self.recurrent_bias is not None:
            recurrent = recurrent + self.recurrent_bias
        if self.layer_normalization and self.cell == "lstm":
            return self._cell.step(projected, states, recurrent, self.normalize_memory)
        return self._cell.step(projected, states, recurrent)

    def normalize_gates(self, share):
        if self.cell == "gru":
            gates, candidate = share[..., : 2 * self.units], share[..., 2 * self.units :]
            return ops.concatenate([normalize(gates), normalize(candidate)], axis=-1)
        return normalize(share)

    def normalize_memory(self, memory):
        return normalize(memory) * self.memory_gain + self.memory_bias

    def zero_states(self, batch_size):
        """The states before the first step."""
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype) for _ in range(self._cell.num_states)]

    def call(self, sequences, initial_states=None, sequence_mask=None, training=None):
        states = list(initial_states) if initial_states is not None else self.zero_states(ops.shape(sequences)[0])
        if sequences.shape[1] == 1:
            after = self.step(self.project(sequences[:, 0]), states)
            if sequence_mask is not None:
                after = [ops.where(sequence_mask, new, old) for new, old in zip(after, states, strict=True)]
            return after[0][:, None], after

        projected = ops.transpose(self.project(sequences), (1, 0, 2))  # (time, batch, num_gates * units)
        if sequence_mask is None:
            mask = ops.ones_like(projected[:, :, :1])
        else:
            mask = ops.cast(ops.transpose(sequence_mask), projected.dtype)[:, :, None]  # (time, batch, 1)
        last = 0 if self.reverse else -1
        if self.layer_normalization:
            trajectories = self.loop(projected, mask, states)
            return ops.transpose(trajectories[0], (1, 0, 2)), [trajectory[last] for trajectory in trajectories]
        # Values, not variables: the recurrence has a gradient of its own.
        kernel = ops.copy(self.recurrent_kernel)
        if self.recurrent_bias is None:
            bias = ops.zeros((kernel.shape[1],), dtype=kernel.dtype)
        else:
            bias = ops.copy(self.recurrent_bias)
        trajectories = recurrence(
            self._cell, projected, mask, kernel, bias, states, reverse=self.reverse, training=training is not False
        )
        return ops.transpose(trajectories[0], (1, 0, 2)), [trajectory[last] for trajectory in trajectories]

    def loop(self, projected, mask, states):
        """What `recurrence` computes, for cells whose derivatives are left to the framework."""

        def step(states, inputs):
            projected, real = inputs[:, :-1], inputs[:, -1:]
            after = self.step(projected, states)
            after = [ops.where(real > 0, new, old) for new, old in zip(after, states, strict=True)]
            return after, after

        return ops.scan(step, states, ops.concatenate([projected, mask], axis=-1), reverse=self.reverse)[1]

    def compute_output_spec(self, sequences, initial_states=None, sequence_mask=None, training=None):
        batch, time, _ = sequences.shape
        outputs = keras.KerasTensor((batch, time, self.units), dtype=self.compute_dtype)
        # Not one tensor many times: a functional model tells its tensors apart by identity.
        num_states = self._cell.num_states
        return outputs, [keras.KerasTensor((batch, self.units), dtype=self.compute_dtype) for _ in range(num_states)]

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "cell": self.cell,
            "reverse": self.reverse,
            "layer_normalization": self.layer_normalization,
        }


def normalize(tensor):
    """Mean 0 and variance 1 over the last axis, Ba et al. 2016, equation 3, in float32."""
    values = ops.cast(tensor, "float32")
    mean, variance = ops.moments(values, axes=-1, keepdims=True)
    return ops.cast((values - mean) * ops.rsqrt(variance + 1e-5), tensor.dtype)
