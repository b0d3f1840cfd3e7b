"""Recurrent layers with attention above them, whose result is an input of the next step."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer, check_share
from kerasseq.layers.attention import Attention
from kerasseq.layers.attention_loop import RecurrenceWithAttention, attention_loop
from kerasseq.layers.recurrent import Recurrent


@keras.saving.register_keras_serializable(package="kerasseq")
class InputFeeding(RecurrenceWithAttention):
    """A decoder's recurrence with input feeding, Luong et al. 2015, section 3.3.

    Step t: the first layer reads `[y_{t-1}; h~_{t-1}]`, each further layer the one below. The top layer's state h_t is
    the query of the attention, and the attentional hidden state `h~_t = tanh(W_c [c_t; h_t] + b)` (equation 5) is the
    output and an input of the next step. The tokens are projected for all steps at once.

    Args:
        units: int, size of each state.
        attention: an attention layer of `kerasseq.layers`. With one that has a state, the layer computes in float32
            under mixed precision.
        attentional_units: int, size of h~.
        cell: name of a cell, as in `Recurrent`.
        num_layers: int.
        residual: bool, whether each layer from the second on adds its input to its output.
        dropout: float in [0, 1), share of units dropped from the output of each layer, and from h~.

    Call arguments:
        sequences: float `(batch, target, features)`, the embedded previous tokens.
        state: `{"layers": [...], "attentional": (batch, attentional_units), "attention": ...}`: the state of each
            layer's cell, a dict of `(batch, units)`; h~; and the attention's state.
        constants: the result of `attention.prepare(memory)`.
        memory_mask: bool `(batch, source)`, true for real source positions. Default: all are real.

    Returns:
        h~ of all steps, `(batch, target, attentional_units)`; attention weights, `(batch, target, source)` or `(batch,
        heads, target, source)`, in float32; and the final state.

    Example:

    >>> import keras, kerasseq
    >>> attention = kerasseq.layers.LuongAttention(16)
    >>> layer = kerasseq.layers.InputFeeding(16, attention, attentional_units=10, cell="gru")
    >>> zeros = keras.ops.zeros
    >>> state = {"layers": [{"hidden": zeros((2, 16))}], "attentional": zeros((2, 10)), "attention": {}}
    >>> constants = attention.prepare(keras.random.normal((2, 7, 12)))
    >>> outputs, weights, state = layer(keras.random.normal((2, 5, 8)), state, constants)
    >>> keras.ops.shape(outputs), keras.ops.shape(weights)
    ((2, 5, 10), (2, 5, 7))
    """

    def __init__(
        self,
        units: int,
        attention: Attention,
        attentional_units: int,
        cell: str = "lstm",
        num_layers: int = 1,
        residual: bool = False,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(units, attention, **kwargs)
        check_positive_integer("attentional_units", attentional_units)
        check_positive_integer("num_layers", num_layers)
        check_share("dropout", dropout)
        self.attentional_units = attentional_units
        self.cell_name = cell
        self.num_layers = num_layers
        self.residual = residual
        self.dropout = dropout
        self.recurrent = [
            Recurrent(units, cell=cell, dtype=self.dtype_policy, name=f"recurrent_{index}")
            for index in range(num_layers)
        ]
        self.attentional = keras.layers.Dense(
            attentional_units, activation="tanh", dtype=self.dtype_policy, name="attentional"
        )
        self.dropout_mask = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout")
        self.supports_jit = self.recurrent[0].supports_jit

    def build(self, sequences_shape, constants_shape):
        batch, time, self.features = sequences_shape
        self.recurrent[0].build((batch, time, self.features + self.attentional_units))
        for layer in self.recurrent[1:]:
            layer.build((batch, time, self.units))
        self.attention.build((batch, 1, self.units), constants_shape)
        self.attentional.build((batch, constants_shape["values"][-1] + self.units))

    def call(self, sequences, state, constants, memory_mask=None, training=False):
        cells = [layer.cell for layer in self.recurrent]
        products = cells[0].project_part(sequences, 0)  # (batch, target, width)
        width = products.shape[-1]
        inputs = [products]
        drops = bool(self.dropout) and training
        sizes = (self.num_layers * self.units + self.attentional_units) if drops else 0
        if drops:
            # Drawn before the loop: not every backend draws random numbers in one.
            kept = self.dropout_mask(ops.ones((*ops.shape(products)[:2], sizes), dtype=products.dtype), training=True)
            inputs.append(kept)
        noise = self.attention.draw_noise(sequences, constants["values"], training)
        if noise is not None:
            inputs.append(noise)

        def step(state, inputs):
            product, kept = inputs[:, :width], inputs[:, width : width + sizes]
            drawn = None if noise is None else inputs[:, width + sizes :]
            projected = product + cells[0].project_part(state["attentional"], self.features) + cells[0].bias
            after, outputs = [], None
            for index, cell in enumerate(cells):
                if index:
                    projected = cell.project(outputs)
                after.append(cell.step(projected, state["layers"][index]))
                hidden = cell.outputs(after[index])
                if drops:
                    hidden = hidden * kept[:, index * self.units : (index + 1) * self.units]
                outputs = outputs + hidden if index and self.residual else hidden
            context, weights, alignment = self.attention.step(
                outputs, constants, state["attention"], memory_mask, drawn
            )
            attentional = self.attentional(ops.concatenate([context, outputs], axis=-1))
            if drops:
                attentional = attentional * kept[:, self.num_layers * self.units :]
            return {"layers": after, "attentional": attentional, "attention": alignment}, context, weights

        states, _, weights, state = attention_loop(
            step, ops.concatenate(inputs, axis=-1), state, self.attention, constants["values"]
        )
        return states["attentional"], weights, state

    def compute_output_spec(self, sequences, state, constants, memory_mask=None, training=False):
        batch, time, _ = sequences.shape
        outputs = keras.KerasTensor((batch, time, self.attentional_units), dtype=self.compute_dtype)
        _, weights, _ = self.attention.compute_output_spec(outputs, constants)
        return outputs, weights, self.state_spec(state)

    def get_config(self):
        return {
            **super().get_config(),
            "attentional_units": self.attentional_units,
            "cell": self.cell_name,
            "num_layers": self.num_layers,
            "residual": self.residual,
            "dropout": self.dropout,
        }
