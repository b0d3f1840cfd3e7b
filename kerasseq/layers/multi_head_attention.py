"""Attention by several heads, each with projections of its own."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer
from kerasseq.layers.attention import Attention, masked_softmax


@keras.saving.register_keras_serializable(package="kerasseq")
class MultiHeadAttention(Attention):
    """Scaled dot-product attention by several heads, Vaswani et al. 2017, section 3.2.2.

    Not `keras.layers.MultiHeadAttention`: keys and values come projected, so that a search projects them once.

    `MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O` with `head_i = softmax(Q W_i^Q (K W_i^K)^T / sqrt(d_k)) V
    W_i^V` and `d_k = units / num_heads`. The projections of all heads side by side, `K W^K` and `V W^V`, are the `keys`
    and the `values`: two `keras.layers.Dense(units, use_bias=False)` of the memory, once a sentence.

    Args:
        units: int, size of keys, values and context; a multiple of `num_heads`.
        num_heads: int.

    Call arguments:
        query: float `(batch, target, query_dim)`, the decoder's states.
        keys: float `(batch, source, units)`.
        values: float `(batch, source, units)`.
        source_mask: bool `(batch, source)`, true for real positions. Default: all are real.

    Returns:
        context `(batch, target, units)`, and weights `(batch, num_heads, target, source)` in float32.

    Example:

    >>> import keras, kerasseq
    >>> memory = keras.random.normal((2, 7, 12))
    >>> keys, values = (keras.layers.Dense(8, use_bias=False)(memory) for _ in range(2))
    >>> layer = kerasseq.layers.MultiHeadAttention(8, num_heads=2)
    >>> context, weights = layer(keras.random.normal((2, 3, 16)), keys, values)
    >>> keras.ops.shape(context), keras.ops.shape(weights)
    ((2, 3, 8), (2, 2, 3, 7))
    """

    def __init__(self, units, num_heads=4, **kwargs):
        super().__init__(**kwargs)
        check_positive_integer("units", units)
        check_positive_integer("num_heads", num_heads)
        if units % num_heads:
            raise ValueError(
                f"units must be a multiple of num_heads. Received: units={units}, num_heads={num_heads}. Choose "
                f"{(units // num_heads + 1) * num_heads} units, or another number of heads."
            )
        self.units = int(units)
        self.num_heads = int(num_heads)

    def build(self, query_shape, keys_shape, values_shape):
        if keys_shape[-1] != self.units or values_shape[-1] != self.units:
            raise ValueError(
                f"MultiHeadAttention(units={self.units}) needs keys and values of that size. Received: keys "
                f"{tuple(keys_shape)}, values {tuple(values_shape)}. Project the memory with two "
                f"keras.layers.Dense({self.units}, use_bias=False)."
            )
        self.query_kernel = self.add_weight(shape=(query_shape[-1], self.units), name="query_kernel")
        self.output_kernel = self.add_weight(shape=(self.units, self.units), name="output_kernel")

    def split_heads(self, tensor):
        """`(batch, time, units)` -> `(batch, time, heads, size)`."""
        size = self.units // self.num_heads
        return ops.reshape(tensor, (*ops.shape(tensor)[:-1], self.num_heads, size))

    def call(self, query, keys, values, source_mask=None):
        mask = None if source_mask is None else source_mask[:, None, None, :]
        projected = ops.matmul(query, self.query_kernel) * (self.units // self.num_heads) ** -0.5
        if query.shape[1] == 1:
            # One step: each head has a query of its own that is 0 outside its block. That multiplies by zeros, but
            # leaves keys and values as they lie, and moving them costs more.
            heads = ops.arange(self.units) // (self.units // self.num_heads)
            block = ops.cast(ops.arange(self.num_heads)[:, None] == heads, projected.dtype)  # (heads, units)
            scores = ops.matmul(projected * block, ops.transpose(keys, (0, 2, 1)))[:, :, None]
            weights = masked_softmax(scores, mask)  # (batch, heads, 1, source)
            attended = ops.matmul(ops.cast(weights[:, :, 0], values.dtype), values)  # (batch, heads, units)
            attended = ops.sum(attended * block, axis=1)[:, None]
        else:
            scores = ops.einsum("bthd,bshd->bhts", self.split_heads(projected), self.split_heads(keys))
            weights = masked_softmax(scores, mask)  # (batch, heads, target, source)
            attended = ops.einsum("bhts,bshd->bthd", ops.cast(weights, values.dtype), self.split_heads(values))
            attended = ops.reshape(attended, (*ops.shape(query)[:-1], self.units))
        return ops.matmul(attended, self.output_kernel), weights

    def step_weights_shape(self, batch, source):
        return batch, self.num_heads, source

    def compute_output_spec(self, query, keys, values, source_mask=None):
        return self.whole_output_spec(query, keys, values)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "num_heads": self.num_heads}
