"""A recurrence with attention inside: each step looks at the memory before the cell moves on."""

import keras
from keras import ops

from kerasseq.layers.attention import BahdanauAttention
from kerasseq.layers.recurrent import Recurrent


@keras.saving.register_keras_serializable(package="kerasseq")
class RecurrentAttention(keras.layers.Layer):
    """A recurrence whose cell takes the context vector as input, as in Bahdanau et al. 2015.

    Step i: `c_i = sum_j a_ij h_j` with `a_ij` from the previous state `s_{i-1}` (equations 5 and 6), then
    `s_i = f(s_{i-1}, [y_{i-1}; c_i])` (equation 4), where f is the cell. The inputs' share of the gates is computed for
    all steps at once; the context's share inside the loop.

    Args:
        units: int, size of each state and of the alignment model.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.

    Call arguments:
        sequences: float `(batch, target, features)`, the embedded previous tokens.
        initial_states: list of float `(batch, units)`.
        keys: float `(batch, source, units)`, the projected memory.
        memory: float `(batch, source, dim)`.
        source_mask: bool `(batch, source)`, true for real source positions. Default: all are real.

    Returns:
        outputs `(batch, target, units)`, contexts `(batch, target, dim)`, weights `(batch, target, source)` in float32,
        and the list of final states.

    Example:

    >>> import keras, kerasseq
    >>> memory = keras.random.normal((2, 7, 12))
    >>> keys = keras.layers.Dense(16, use_bias=False)(memory)
    >>> layer = kerasseq.layers.RecurrentAttention(16, cell="gru")
    >>> outputs, contexts, weights, states = layer(
    ...     keras.random.normal((2, 5, 8)), [keras.ops.zeros((2, 16))], keys, memory)
    >>> [keras.ops.shape(result) for result in (outputs, contexts, weights)]
    [(2, 5, 16), (2, 5, 12), (2, 5, 7)]
    """

    def __init__(self, units, cell="gru", **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.cell = cell
        self.recurrent = Recurrent(units, cell=cell, dtype=self.dtype_policy, name="recurrent")
        self.attention = BahdanauAttention(units, dtype=self.dtype_policy, name="attention")
        self.supports_jit = self.recurrent.supports_jit

    def build(self, sequences_shape, initial_states_shape, keys_shape, memory_shape):
        batch, time, features = sequences_shape
        self.features = features
        self.recurrent.build((batch, time, features + memory_shape[-1]))
        self.attention.build((batch, 1, self.units), keys_shape, memory_shape)

    def call(self, sequences, initial_states, keys, memory, source_mask=None):
        kernel = ops.convert_to_tensor(self.recurrent.kernel)
        input_kernel, context_kernel = kernel[: self.features], kernel[self.features :]

        def step(states, projected):
            query = states[0][:, None]  # (batch, 1, units)
            context, weights = self.attention(query, keys, memory, source_mask=source_mask)
            context, weights = context[:, 0], weights[:, 0]
            states = self.recurrent.step(projected + ops.matmul(context, context_kernel), states)
            return states, context, weights

        if sequences.shape[1] == 1:
            projected = ops.matmul(sequences[:, 0], input_kernel) + self.recurrent.bias
            states, context, weights = step(list(initial_states), projected)
            return states[0][:, None], context[:, None], weights[:, None], states

        def scan_step(carry, projected):
            states, context, weights = step(carry[:-2], projected)
            carry = [*states, context, weights]
            return carry, carry

        projected = ops.matmul(sequences, input_kernel) + self.recurrent.bias  # (batch, target, num_gates * units)
        batch, source, dim = ops.shape(memory)
        context = ops.zeros((batch, dim), dtype=memory.dtype)
        weights = ops.zeros((batch, source), dtype="float32")
        # keras.ops.scan wants outputs of the carry's shapes, so context and weights ride along in the carry.
        carry, outputs = ops.scan(scan_step, [*initial_states, context, weights], ops.transpose(projected, (1, 0, 2)))
        hidden, contexts, weights = (ops.transpose(outputs[i], (1, 0, 2)) for i in (0, -2, -1))
        return hidden, contexts, weights, list(carry[:-2])

    def compute_output_spec(self, sequences, initial_states, keys, memory, source_mask=None):
        batch, time, _ = sequences.shape
        return (
            keras.KerasTensor((batch, time, self.units), dtype=self.compute_dtype),
            keras.KerasTensor((batch, time, memory.shape[-1]), dtype=self.compute_dtype),
            keras.KerasTensor((batch, time, memory.shape[1]), dtype="float32"),
            [keras.KerasTensor(state.shape, dtype=self.compute_dtype) for state in initial_states],
        )

    def get_config(self):
        return {**super().get_config(), "units": self.units, "cell": self.cell}
