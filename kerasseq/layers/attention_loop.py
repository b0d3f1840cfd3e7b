"""Recurrences that attend in every step: their loop, and the attention layer within."""

from collections.abc import Callable

import keras
from keras import ops

from kerasseq.layers.attention import Attention
from kerasseq.layers.attention.alignment import single_precision
from kerasseq.layers.inner_layers import serialized
from kerasseq.types import State, Tensor


def attention_loop(
    step: Callable, inputs: Tensor, state: State, attention: Attention, values: Tensor
) -> tuple[State, Tensor, Tensor, State]:
    """Runs a step with attention in it over time.

    Args:
        step: function of a state and the inputs `(batch, size)` of a step that returns the next state, the context
            `(batch, dim)` and the attention weights `(batch, [heads,] source)`.
        inputs: float `(batch, time, size)`. A static time of 1 needs no loop.
        state: nested dict of `(batch, size)`.
        attention, values: the attention layer, and its values `(batch, source, dim)`.

    Returns:
        the state after every step, a nest of `(batch, time, size)`; contexts `(batch, time, dim)`; weights `(batch,
        [heads,] time, source)`; and the final state.
    """
    if inputs.shape[1] == 1:
        state, context, weights = step(state, inputs[:, 0])
        carry = {"state": state, "context": context, "weights": weights}
        outputs = keras.tree.map_structure(lambda value: ops.expand_dims(value, -2), carry)
        return outputs["state"], outputs["context"], outputs["weights"], state

    def scan_step(carry, inputs):
        state, context, weights = step(carry["state"], inputs)
        carry = {"state": state, "context": context, "weights": weights}
        return carry, carry

    batch, source, dim = ops.shape(values)
    # keras.ops.scan requires outputs shaped like the carry, so context and weights are part of it.
    carry = {
        "state": state,
        "context": ops.zeros((batch, dim), dtype=values.dtype),
        "weights": ops.zeros(attention.step_weights_shape(batch, source), dtype="float32"),
    }
    carry, outputs = ops.scan(scan_step, carry, ops.transpose(inputs, (1, 0, 2)))
    outputs = keras.tree.map_structure(lambda value: ops.moveaxis(value, 0, -2), outputs)
    return outputs["state"], outputs["context"], outputs["weights"], carry["state"]


class RecurrenceWithAttention(keras.layers.Layer):
    """Base class of recurrences that attend in every step; in float32 with an attention that has a state."""

    def __init__(self, units: int, attention: Attention, **kwargs):
        if not isinstance(attention, Attention):
            raise ValueError(
                "attention must be an attention layer of kerasseq.layers, such as LuongAttention(units). "
                f"Received: attention={attention!r}."
            )
        super().__init__(**(single_precision(kwargs) if attention.has_state else kwargs))
        self.units = units
        self.attention = attention

    def state_spec(self, state: State) -> State:
        """Symbolic tensors like a state, distinct ones: a functional model tells its tensors apart by identity."""
        return keras.tree.map_structure(lambda value: keras.KerasTensor(value.shape, dtype=self.compute_dtype), state)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "attention": serialized(self.attention)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "attention": keras.saving.deserialize_keras_object(config["attention"])})
