"""Attention by several heads, each with projections of its own."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer, check_share
from kerasseq.layers.attention.base import Attention, masked_softmax
from kerasseq.layers.single_step import without_time_axis


@keras.saving.register_keras_serializable(package="kerasseq")
class MultiHeadAttention(Attention):
    """Scaled dot-product attention by several heads, Vaswani et al. 2017, section 3.2.2.

    `MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O` with `head_i = softmax(Q W_i^Q (K W_i^K)^T / sqrt(d_k)) V
    W_i^V` and `d_k = units / num_heads`. `prepare` computes the projections of all heads side by side, `K W^K` and
    `V W^V`, once per source, which `keras.layers.MultiHeadAttention` does in every call. Call arguments and results are
    those of `kerasseq.layers.Attention`; the context has the size `units`. `memory_mask` may also be `(batch, target,
    source)`, a mask for each step, as self-attention over past steps needs it.

    Args:
        units: int, size of keys, values and context; a multiple of `num_heads`.
        num_heads: int.

    Raises:
        ValueError: if `units` or `num_heads` is not a positive integer, or `units` is not a multiple of `num_heads`.

    Example:

    >>> import keras, kerasseq
    >>> memory, query = keras.random.normal((2, 7, 12)), keras.random.normal((2, 3, 16))
    >>> layer = kerasseq.layers.MultiHeadAttention(8, num_heads=2)
    >>> context, weights, _ = layer(query, layer.prepare(memory))
    >>> keras.ops.shape(context), keras.ops.shape(weights)
    ((2, 3, 8), (2, 2, 3, 7))
    """

    def __init__(self, units: int, num_heads: int = 4, **kwargs):
        super().__init__(units, **kwargs)
        check_positive_integer("num_heads", num_heads)
        check_heads(units, num_heads)
        self.num_heads = int(num_heads)
        self.values = keras.layers.Dense(units, use_bias=False, dtype=self.dtype_policy, name="attention_values")

    def build(self, query_shape, constants_shape):
        self.query_kernel = self.add_weight(shape=(query_shape[-1], self.units), name="query_kernel")
        self.output_kernel = self.add_weight(shape=(self.units, self.units), name="output_kernel")

    def build_projections(self, memory_shape):
        shape = (*memory_shape[:-1], self.units)
        self.keys.build(memory_shape)
        self.values.build(memory_shape)
        return {"keys": shape, "values": shape}

    def prepare(self, memory):
        return {"keys": self.keys(memory), "values": self.values(memory)}

    def _split_heads(self, tensor):
        """`(batch, time, units)` -> `(batch, time, heads, size)`."""
        size = self.units // self.num_heads
        return ops.reshape(tensor, (*ops.shape(tensor)[:-1], self.num_heads, size))

    def call(self, query, constants, state=None, memory_mask=None, training=False):
        keys, values = constants["keys"], constants["values"]
        mask = memory_mask
        if mask is not None:  # one for all steps, or one a step
            mask = mask[:, None, None, :] if len(mask.shape) == 2 else mask[:, None]
        projected = without_time_axis(lambda rows: ops.matmul(rows, self.query_kernel), query)
        projected = projected * (self.units // self.num_heads) ** -0.5
        if query.shape[1] == 1:
            # One step: each head has a query that is 0 outside its block. Multiplying by zeros costs less than
            # transposing keys and values into heads.
            heads = ops.arange(self.units) // (self.units // self.num_heads)
            block = ops.cast(ops.arange(self.num_heads)[:, None] == heads, projected.dtype)  # (heads, units)
            scores = ops.matmul(projected * block, ops.transpose(keys, (0, 2, 1)))[:, :, None]
            weights = masked_softmax(scores, mask)  # (batch, heads, 1, source)
            attended = ops.matmul(ops.cast(weights[:, :, 0], values.dtype), values)  # (batch, heads, units)
            attended = ops.sum(attended * block, axis=1)[:, None]
        else:
            scores = ops.einsum("bthd,bshd->bhts", self._split_heads(projected), self._split_heads(keys))
            weights = masked_softmax(scores, mask)  # (batch, heads, target, source)
            attended = ops.einsum("bhts,bshd->bthd", ops.cast(weights, values.dtype), self._split_heads(values))
            attended = ops.reshape(attended, (*ops.shape(query)[:-1], self.units))
        return without_time_axis(lambda rows: ops.matmul(rows, self.output_kernel), attended), weights, {}

    def step_weights_shape(self, batch, source):
        return batch, self.num_heads, source

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


def check_heads(units: int, num_heads: int) -> None:
    """Raises a `ValueError` unless the heads divide the units."""
    if units % num_heads:
        raise ValueError(
            f"units must be a multiple of num_heads. Received: units={units}, num_heads={num_heads}. Choose "
            f"{(units // num_heads + 1) * num_heads} units, or another number of heads."
        )


def transformer_sizes(
    vocabulary_size: int, units: int, num_layers: int, num_heads: int, feedforward_dim: int | None, dropout: float
) -> dict[str, int]:
    """The checked sizes of a Transformer by name; `feedforward_dim` is `4 * units` by default."""
    sizes = {
        "vocabulary_size": vocabulary_size, "units": units, "num_layers": num_layers, "num_heads": num_heads,
        **({} if feedforward_dim is None else {"feedforward_dim": feedforward_dim}),
    }  # fmt: skip
    for argument, value in sizes.items():
        check_positive_integer(argument, value)
    check_heads(units, num_heads)
    check_share("dropout", dropout)
    return {**sizes, "feedforward_dim": 4 * units if feedforward_dim is None else feedforward_dim}
