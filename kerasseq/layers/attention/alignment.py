"""Base class of scores that depend on earlier attention weights."""

import keras
from keras import ops

from kerasseq.layers.attention.base import Attention


def single_precision(options: dict) -> dict:
    """The options of a layer, with float32 in the place of a policy that computes in 16 bits.

    Keras casts call arguments to the compute dtype, which would round accumulated alignments at every step.
    """
    policy = keras.dtype_policies.get(options.get("dtype") or keras.config.dtype_policy())
    return {**options, "dtype": "float32"} if policy.compute_dtype in ("float16", "bfloat16") else options


class AlignmentAttention(Attention):
    """Additive attention with a state `alignment (batch, source)`, made of the attention weights of earlier steps.

    `e_ij = v^T tanh(W s_i + V h_j + b + features_ij)`. A subclass defines `align`. A call loops over the steps of a
    target; a target of the static length 1 needs no loop. Computes in float32 under mixed precision.

    Attributes:
        initial_weight: float, the initial alignment of the first real position; it is 0 for all others.
    """

    has_state = True
    initial_weight = 1.0

    def __init__(self, units: int, **kwargs):
        super().__init__(units, **single_precision(kwargs))
        # As in `Recurrent`.
        self.supports_jit = keras.config.backend() != "tensorflow"

    def build(self, query_shape, constants_shape):
        self.query_kernel = self.add_weight(shape=(query_shape[-1], self.units), name="query_kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self.score_vector = self.add_weight(shape=(self.units,), initializer="random_uniform", name="score_vector")

    def initial_state(self, memory_mask):
        count = ops.cumsum(ops.cast(memory_mask, "int32"), axis=-1)
        return {"alignment": self.initial_weight * ops.cast(memory_mask & (count == 1), "float32")}

    def hidden(self, projected, keys, features=None):
        """The hidden layer of the scores: `W s (batch, units)` -> `(batch, source, units)`."""
        hidden = keys + (projected + self.bias)[:, None]
        return ops.tanh(hidden if features is None else hidden + features)

    def align(self, projected, keys, alignment, memory_mask, noise=None):
        """`W s (batch, units)` and the alignment `(batch, source)` -> weights `(batch, source)`, next alignment."""
        raise NotImplementedError

    def step(self, query, constants, state, memory_mask=None, noise=None):
        projected = ops.matmul(query, self.query_kernel)
        weights, alignment = self.align(projected, constants["keys"], state["alignment"], memory_mask, noise)
        values = constants["values"]
        context = ops.matmul(ops.cast(weights, values.dtype)[:, None], values)[:, 0]  # (batch, dim)
        return context, weights, {"alignment": alignment}

    def call(self, query, constants, state, memory_mask=None, training=False):
        noise = self.draw_noise(query, constants["values"], training)
        if query.shape[1] == 1:
            noise = None if noise is None else noise[:, 0]
            context, weights, state = self.step(query[:, 0], constants, state, memory_mask, noise)
            return context[:, None], weights[:, None], state
        projected = ops.matmul(query, self.query_kernel)  # (batch, target, units)
        inputs = projected if noise is None else ops.concatenate([projected, noise], axis=-1)

        def scan_step(carry, inputs):
            projected, drawn = inputs[:, : self.units], None if noise is None else inputs[:, self.units :]
            weights, alignment = self.align(projected, constants["keys"], carry[1], memory_mask, drawn)
            return [weights, alignment], [weights, alignment]

        # keras.ops.scan requires outputs shaped like the carry.
        carry = [ops.zeros_like(state["alignment"]), state["alignment"]]
        (_, alignment), (weights, _) = ops.scan(scan_step, carry, ops.transpose(inputs, (1, 0, 2)))
        weights = ops.transpose(weights, (1, 0, 2))  # (batch, target, source)
        context = ops.matmul(ops.cast(weights, constants["values"].dtype), constants["values"])
        return context, weights, {"alignment": alignment}
