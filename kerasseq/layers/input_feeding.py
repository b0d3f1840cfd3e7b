"""Recurrent layers with attention upon them, whose result is fed back as input."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer, check_share
from kerasseq.layers.attention import LuongAttention, single_precision
from kerasseq.layers.attention_loop import (
    attention_loop,
    check_attention,
    check_states,
    serialize_attention,
)
from kerasseq.layers.cells import get_cell
from kerasseq.layers.recurrent import Recurrent


@keras.saving.register_keras_serializable(package="kerasseq")
class InputFeeding(keras.layers.Layer):
    """A decoder's recurrence with input feeding, Luong et al. 2015, section 3.3.

    Step t: the first layer reads `[y_{t-1}; h~_{t-1}]`, each further layer the one below; the top layer's state h_t is
    the query of the attention, and the attentional hidden state `h~_t = tanh(W_c [c_t; h_t] + b)` (equation 5) is the
    result and the next step's input. The tokens' share of the gates is computed for all steps at once.

    Args:
        units: int, size of each state.
        attentional_units: int, size of h~.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        num_layers: int.
        attention: an attention layer of `kerasseq.layers`. Default: `LuongAttention()`. With one that has a state, all
            is computed in float32 under mixed precision.
        residual: bool, whether each layer from the second on adds its input to its output.
        layer_normalization: bool, as in `Recurrent`.
        dropout: float in [0, 1), share of units dropped from the output of each layer, and from h~.

    Call arguments:
        sequences: float `(batch, target, features)`, the embedded previous tokens.
        initial_states: list of float `(batch, units)`, the states of the first layer's cell, then of the second's, and
            so on; then h~ `(batch, attentional_units)`; then float32 `(batch, source)` for attention that has a state.
        keys: float `(batch, source, units)`, the projected memory.
        memory: float `(batch, source, dim)`.
        source_mask: bool `(batch, source)`, true for real source positions. Default: all are real.

    Returns:
        h~ of all steps, `(batch, target, attentional_units)`; weights, `(batch, target, source)` or `(batch, heads,
        target, source)`, in float32; and the list of final states.

    Example:

    >>> import keras, kerasseq
    >>> memory = keras.random.normal((2, 7, 12))
    >>> keys = keras.layers.Dense(16, use_bias=False)(memory)
    >>> layer = kerasseq.layers.InputFeeding(16, attentional_units=10, cell="gru")
    >>> states = [keras.ops.zeros((2, 16)), keras.ops.zeros((2, 10))]
    >>> outputs, weights, states = layer(keras.random.normal((2, 5, 8)), states, keys, memory)
    >>> keras.ops.shape(outputs), keras.ops.shape(weights)
    ((2, 5, 10), (2, 5, 7))
    """

    def __init__(
        self,
        units,
        attentional_units,
        cell="lstm",
        num_layers=1,
        attention=None,
        residual=False,
        layer_normalization=False,
        dropout=0.0,
        **kwargs,
    ):
        if attention is not None:
            check_attention(attention)
            kwargs = single_precision(kwargs) if attention.num_states else kwargs
        super().__init__(**kwargs)
        check_positive_integer("attentional_units", attentional_units)
        check_positive_integer("num_layers", num_layers)
        check_share("dropout", dropout)
        self.units = units
        self.attentional_units = attentional_units
        self.cell = cell
        self.num_layers = num_layers
        self.residual = residual
        self.layer_normalization = layer_normalization
        self.dropout = dropout
        self.attention = attention or LuongAttention(dtype=self.dtype_policy, name="attention")
        self.recurrent = [
            Recurrent(
                units,
                cell=cell,
                layer_normalization=layer_normalization,
                dtype=self.dtype_policy,
                name=f"recurrent_{index}",
            )
            for index in range(num_layers)
        ]
        self.attentional = keras.layers.Dense(
            attentional_units, activation="tanh", dtype=self.dtype_policy, name="attentional"
        )
        self.dropout_mask = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout")
        self.supports_jit = self.recurrent[0].supports_jit

    def build(self, sequences_shape, initial_states_shape, keys_shape, memory_shape):
        check_states(self, initial_states_shape, cells=get_cell(self.cell).num_states * self.num_layers, others=1)
        batch, time, features = sequences_shape
        self.features = features
        self.recurrent[0].build((batch, time, features + self.attentional_units))
        for layer in self.recurrent[1:]:
            layer.build((batch, time, self.units))
        self.attention.build((batch, 1, self.units), keys_shape, memory_shape)
        self.attentional.build((batch, memory_shape[-1] + self.units))

    def call(self, sequences, initial_states, keys, memory, source_mask=None, training=False):
        first = self.recurrent[0]
        kernel = ops.convert_to_tensor(first.kernel)
        token_kernel, feeding_kernel = kernel[: self.features], kernel[self.features :]
        count = len(initial_states) - self.attention.num_states - 1  # of the cells' states
        per_layer = count // self.num_layers
        products = ops.matmul(sequences, token_kernel)  # (batch, target, num_gates * units)
        width = products.shape[-1]
        inputs = [products]
        drops = bool(self.dropout) and training
        sizes = (self.num_layers * self.units + self.attentional_units) if drops else 0
        if drops:
            # Drawn for all steps at once: random numbers within a loop are not for every backend.
            kept = self.dropout_mask(ops.ones((*ops.shape(products)[:2], sizes), dtype=products.dtype), training=True)
            inputs.append(kept)
        noise = self.attention.draw_noise(sequences, memory, training)
        if noise is not None:
            inputs.append(noise)

        def step(states, inputs):
            product, kept = inputs[:, :width], inputs[:, width : width + sizes]
            drawn = None if noise is None else inputs[:, width + sizes :]
            projected = first.input_share(product + ops.matmul(states[count], feeding_kernel))
            after, outputs = [], None
            for index, layer in enumerate(self.recurrent):
                if index:
                    projected = layer.project(outputs)
                after += layer.step(projected, states[per_layer * index : per_layer * (index + 1)])
                result = after[per_layer * index]
                if drops:
                    result = result * kept[:, index * self.units : (index + 1) * self.units]
                outputs = outputs + result if index and self.residual else result
            context, weights, alignments = self.attention.attend(
                outputs, keys, memory, states[count + 1 :], source_mask, drawn
            )
            attentional = self.attentional(ops.concatenate([context, outputs], axis=-1))
            if drops:
                attentional = attentional * kept[:, self.num_layers * self.units :]
            return [*after, attentional, *alignments], context, weights

        trajectories, _, weights, states = attention_loop(
            step, ops.concatenate(inputs, axis=-1), list(initial_states), self.attention, memory
        )
        return trajectories[count], weights, states

    def compute_output_spec(self, sequences, initial_states, keys, memory, source_mask=None, training=False):
        batch, time, _ = sequences.shape
        outputs = keras.KerasTensor((batch, time, self.attentional_units), dtype=self.compute_dtype)
        _, weights = self.attention.whole_output_spec(outputs, keys, memory)
        return outputs, weights, [keras.KerasTensor(state.shape, dtype=self.compute_dtype) for state in initial_states]

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "attentional_units": self.attentional_units,
            "cell": self.cell,
            "num_layers": self.num_layers,
            "attention": serialize_attention(self.attention),
            "residual": self.residual,
            "layer_normalization": self.layer_normalization,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "attention": keras.saving.deserialize_keras_object(config["attention"])})
