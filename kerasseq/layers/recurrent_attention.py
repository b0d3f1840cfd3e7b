"""A recurrence with attention inside: each step looks at the memory before the cell moves on."""

import keras
from keras import ops

from kerasseq.layers.attention import BahdanauAttention, single_precision
from kerasseq.layers.attention_loop import (
    attention_loop,
    check_attention,
    check_states,
    serialize_attention,
)
from kerasseq.layers.cells import get_cell
from kerasseq.layers.recurrent import Recurrent


@keras.saving.register_keras_serializable(package="kerasseq")
class RecurrentAttention(keras.layers.Layer):
    """A recurrence whose cell takes the context vector as input, as in Bahdanau et al. 2015.

    Step i: `c_i = sum_j a_ij h_j` with `a_ij` from the previous state `s_{i-1}` (equations 5 and 6), then
    `s_i = f(s_{i-1}, [y_{i-1}; c_i])` (section 3.1), where f is the cell. The inputs' share of the gates is computed
    for all steps at once; the context's share inside the loop.

    Args:
        units: int, size of each state.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        attention: an attention layer of `kerasseq.layers`. Default: `BahdanauAttention(units)`. With one that has a
            state, all is computed in float32 under mixed precision.
        layer_normalization: bool, as in `Recurrent`.

    Call arguments:
        sequences: float `(batch, target, features)`, the embedded previous tokens.
        initial_states: list of float `(batch, units)`, the cell's, and behind them float32 `(batch, source)` for
            attention that has a state.
        keys: float `(batch, source, units)`, the projected memory.
        memory: float `(batch, source, dim)`.
        source_mask: bool `(batch, source)`, true for real source positions. Default: all are real.

    Returns:
        outputs `(batch, target, units)`, contexts `(batch, target, dim)`, weights `(batch, target, source)` or
        `(batch, heads, target, source)` in float32, and the list of final states.

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

    def __init__(self, units, cell="gru", attention=None, layer_normalization=False, **kwargs):
        if attention is not None:
            check_attention(attention)
            kwargs = single_precision(kwargs) if attention.num_states else kwargs
        super().__init__(**kwargs)
        self.units = units
        self.cell = cell
        self.layer_normalization = layer_normalization
        self.recurrent = Recurrent(
            units, cell=cell, layer_normalization=layer_normalization, dtype=self.dtype_policy, name="recurrent"
        )
        self.attention = attention or BahdanauAttention(units, dtype=self.dtype_policy, name="attention")
        self.supports_jit = self.recurrent.supports_jit

    def build(self, sequences_shape, initial_states_shape, keys_shape, memory_shape):
        check_states(self, initial_states_shape, cells=get_cell(self.cell).num_states, others=0)
        batch, time, features = sequences_shape
        self.features = features
        self.recurrent.build((batch, time, features + memory_shape[-1]))
        self.attention.build((batch, 1, self.units), keys_shape, memory_shape)

    def call(self, sequences, initial_states, keys, memory, source_mask=None, training=False):
        kernel = ops.convert_to_tensor(self.recurrent.kernel)
        input_kernel, context_kernel = kernel[: self.features], kernel[self.features :]
        count = len(initial_states) - self.attention.num_states

        products = ops.matmul(sequences, input_kernel)  # (batch, target, num_gates * units)
        width = products.shape[-1]
        noise = self.attention.draw_noise(sequences, memory, training)
        inputs = products if noise is None else ops.concatenate([products, noise], axis=-1)

        def step(states, inputs):
            product, drawn = inputs[:, :width], None if noise is None else inputs[:, width:]
            query, alignments = states[0], states[count:]
            context, weights, alignments = self.attention.attend(query, keys, memory, alignments, source_mask, drawn)
            projected = self.recurrent.input_share(product + ops.matmul(context, context_kernel))
            return [*self.recurrent.step(projected, states[:count]), *alignments], context, weights

        trajectories, contexts, weights, states = attention_loop(
            step, inputs, list(initial_states), self.attention, memory
        )
        return trajectories[0], contexts, weights, states

    def compute_output_spec(self, sequences, initial_states, keys, memory, source_mask=None, training=False):
        batch, time, _ = sequences.shape
        outputs = keras.KerasTensor((batch, time, self.units), dtype=self.compute_dtype)
        context, weights = self.attention.whole_output_spec(outputs, keys, memory)
        return (
            outputs,
            context,
            weights,
            [keras.KerasTensor(state.shape, dtype=self.compute_dtype) for state in initial_states],
        )

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "cell": self.cell,
            "attention": serialize_attention(self.attention),
            "layer_normalization": self.layer_normalization,
        }

    @classmethod
    def from_config(cls, config):
        attention = config.get("attention")
        return cls(**{**config, "attention": attention and keras.saving.deserialize_keras_object(attention)})
