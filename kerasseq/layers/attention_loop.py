"""What recurrences that attend in every step share: the loop, and the handling of the attention layer within."""

import keras
from keras import ops

from kerasseq.layers.attention import Attention


def attention_loop(step, inputs, states, attention, memory):
    """Runs a step with attention in it over time.

    Args:
        step: function of a list of states and the inputs `(batch, size)` of a step, that returns the next states, the
            context `(batch, dim)` and the weights `(batch, [heads,] source)`.
        inputs: float `(batch, time, size)`. A static time of 1 needs no loop.
        states: list of tensors `(batch, size)`.
        attention: the attention layer.
        memory: float `(batch, source, dim)`, what contexts are made of.

    Returns:
        list of the states after every step, `(batch, time, size)`; contexts `(batch, time, dim)`; weights `(batch,
        [heads,] time, source)`; and the list of final states.
    """
    if inputs.shape[1] == 1:
        states, context, weights = step(states, inputs[:, 0])
        *trajectories, context, weights = (ops.expand_dims(value, -2) for value in [*states, context, weights])
        return trajectories, context, weights, states

    def scan_step(carry, inputs):
        states, context, weights = step(carry[:-2], inputs)
        carry = [*states, context, weights]
        return carry, carry

    batch, source, dim = ops.shape(memory)
    context = ops.zeros((batch, dim), dtype=memory.dtype)
    weights = ops.zeros(attention.step_weights_shape(batch, source), dtype="float32")
    # keras.ops.scan wants outputs of the carry's shapes, so context and weights ride along in the carry.
    carry, outputs = ops.scan(scan_step, [*states, context, weights], ops.transpose(inputs, (1, 0, 2)))
    *trajectories, contexts, weights = (ops.moveaxis(output, 0, -2) for output in outputs)
    return trajectories, contexts, weights, list(carry[:-2])


def serialize_attention(attention):
    """The configuration of an attention layer within another layer, which is the one to build it."""
    config = keras.saving.serialize_keras_object(attention)
    config.pop("build_config", None)
    return config


def check_attention(attention):
    """Raises a `ValueError` unless `attention` is a layer that recurrences can hold."""
    if not isinstance(attention, Attention):
        raise ValueError(
            "attention must be an attention layer of kerasseq.layers, such as LuongAttention(). "
            f"Received: attention={attention!r}."
        )


def check_states(layer, initial_states, cells, others):
    """Raises a `ValueError` unless there are as many states as the cells, the layer and its attention have."""
    alignments = layer.attention.num_states
    needed = cells + others + alignments
    if len(initial_states) != needed:
        raise ValueError(
            f"{type(layer).__name__} needs {needed} initial states: {cells} of its cells, {others} of its own, "
            f"{alignments} of its attention. Received: {len(initial_states)}."
        )
