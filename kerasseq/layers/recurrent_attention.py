"""A recurrence that attends before each cell update."""

import keras
from keras import ops

from kerasseq.layers.attention import Attention
from kerasseq.layers.attention_loop import RecurrenceWithAttention, attention_loop
from kerasseq.layers.recurrent import Recurrent


@keras.saving.register_keras_serializable(package="kerasseq")
class RecurrentAttention(RecurrenceWithAttention):
    """A recurrence whose cell reads the context vector, as in Bahdanau et al. 2015.

    Step i: `c_i = sum_j a_ij h_j` with `a_ij` from the previous state `s_{i-1}` (equations 5 and 6), then
    `s_i = f(s_{i-1}, [y_{i-1}; c_i])` (section 3.1), where f is the cell. The tokens are projected for all steps at
    once, the context inside the loop.

    Args:
        units: int, size of each state.
        attention: an attention layer of `kerasseq.layers`. With one that has a state, the layer computes in float32
            under mixed precision.
        cell: name of a cell, as in `Recurrent`.

    Call arguments:
        sequences: float `(batch, target, features)`, the embedded previous tokens.
        state: `{"cell": ..., "attention": ...}`: the cell's state, a dict of `(batch, units)`, and the attention's.
        constants: the result of `attention.prepare(memory)`.
        memory_mask: bool `(batch, source)`, true for real source positions. Default: all are real.

    Returns:
        outputs `(batch, target, units)`; contexts `(batch, target, dim)`; attention weights `(batch, target, source)`
        or `(batch, heads, target, source)`, in float32; and the final state.

    Example:

    >>> import keras, kerasseq
    >>> attention = kerasseq.layers.BahdanauAttention(16)
    >>> layer = kerasseq.layers.RecurrentAttention(16, attention, cell="gru")
    >>> state = {"cell": layer.recurrent.cell.initial_state(2), "attention": {}}
    >>> constants = attention.prepare(keras.random.normal((2, 7, 12)))
    >>> outputs, contexts, weights, state = layer(keras.random.normal((2, 5, 8)), state, constants)
    >>> [keras.ops.shape(result) for result in (outputs, contexts, weights)]
    [(2, 5, 16), (2, 5, 12), (2, 5, 7)]
    """

    def __init__(self, units: int, attention: Attention, cell: str = "gru", **kwargs):
        super().__init__(units, attention, **kwargs)
        self.recurrent = Recurrent(units, cell=cell, dtype=self.dtype_policy, name="recurrent")
        self.supports_jit = self.recurrent.supports_jit

    def build(self, sequences_shape, constants_shape):
        batch, time, self.features = sequences_shape
        self.recurrent.build((batch, time, self.features + constants_shape["values"][-1]))
        self.attention.build((batch, 1, self.units), constants_shape)

    def call(self, sequences, state, constants, memory_mask=None, training=False):
        cell = self.recurrent.cell
        products = cell.project_part(sequences, 0)  # (batch, target, width)
        width = products.shape[-1]
        noise = self.attention.draw_noise(sequences, constants["values"], training)
        inputs = products if noise is None else ops.concatenate([products, noise], axis=-1)

        def step(state, inputs):
            product, drawn = inputs[:, :width], None if noise is None else inputs[:, width:]
            context, weights, alignment = self.attention.step(
                cell.outputs(state["cell"]), constants, state["attention"], memory_mask, drawn
            )
            projected = product + cell.project_part(context, self.features) + cell.bias
            return {"cell": cell.step(projected, state["cell"]), "attention": alignment}, context, weights

        states, contexts, weights, state = attention_loop(step, inputs, state, self.attention, constants["values"])
        return cell.outputs(states["cell"]), contexts, weights, state

    def compute_output_spec(self, sequences, state, constants, memory_mask=None, training=False):
        batch, time, _ = sequences.shape
        outputs = keras.KerasTensor((batch, time, self.units), dtype=self.compute_dtype)
        context, weights, _ = self.attention.compute_output_spec(outputs, constants)
        return outputs, context, weights, self.state_spec(state)

    def get_config(self):
        return {**super().get_config(), "cell": self.recurrent.cell_name}
