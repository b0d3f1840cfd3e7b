"""Multiplicative attention."""

import keras
from keras import ops

from kerasseq.layers.attention.base import Attention


@keras.saving.register_keras_serializable(package="kerasseq")
class LuongAttention(Attention):
    """Multiplicative attention with the "general" score of Luong et al. 2015.

    `score(h_t, h_s) = h_t^T W_a h_s` (section 3.1), weights by softmax over the source (equation 7). `W_a h_s` are the
    keys. Arguments, call arguments and results are those of `kerasseq.layers.Attention`; `units` is the size of the
    query.

    Example:

    >>> import keras, kerasseq
    >>> memory, query = keras.random.normal((2, 7, 12)), keras.random.normal((2, 3, 8))
    >>> layer = kerasseq.layers.LuongAttention(8)
    >>> context, weights, _ = layer(query, layer.prepare(memory))
    >>> keras.ops.shape(context), keras.ops.shape(weights)
    ((2, 3, 12), (2, 3, 7))
    """

    def build(self, query_shape, constants_shape):
        if query_shape[-1] != self.units:
            raise ValueError(
                f"{type(self).__name__} multiplies queries with keys, so units must be the size of the query. "
                f"Received: units={self.units}, a query of the shape {tuple(query_shape)}."
            )

    def score(self, query, keys):
        return ops.matmul(query, ops.transpose(keys, (0, 2, 1)))


@keras.saving.register_keras_serializable(package="kerasseq")
class DotAttention(LuongAttention):
    """Multiplicative attention with the "dot" score of Luong et al. 2015, `h_t^T h_s`: the memory itself is the keys.

    As `LuongAttention`, for a memory of the size `units`.
    """

    projects_keys = False

    def build_projections(self, memory_shape):
        if memory_shape[-1] != self.units:
            raise ValueError(
                "attention='dot' multiplies the decoder's states with the memory, so both need the same size. "
                f"Received: units={self.units} in the decoder, a memory of the size {memory_shape[-1]}. Choose "
                f"units={memory_shape[-1]} in the decoder, bidirectional=False in a recurrent encoder, or "
                "attention='luong', which projects the memory."
            )
        return {"keys": memory_shape, "values": memory_shape}

    def prepare(self, memory):
        return {"keys": memory, "values": memory}
