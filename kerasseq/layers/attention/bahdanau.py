"""Additive attention."""

import keras
from keras import ops

from kerasseq.layers.attention.base import Attention


@keras.saving.register_keras_serializable(package="kerasseq")
class BahdanauAttention(Attention):
    """Additive attention of Bahdanau et al. 2015.

    `e_ij = v^T tanh(W s_{i-1} + U h_j)` (appendix A.1.2), weights by softmax over the source (equation 6). `U h_j` are
    the keys. With the state h_t of the same step as query this is the "concat" score of Luong et al. 2015,
    `v_a^T tanh(W_a [h_t; h_s])` with `W_a = [W; U]`. Arguments, call arguments and results are those of
    `kerasseq.layers.Attention`; `units` is the size of the hidden layer.

    A call allocates `(batch, target, source, units)` numbers to score a whole target at once.

    Example:

    >>> import keras, kerasseq
    >>> memory, query = keras.random.normal((2, 7, 12)), keras.random.normal((2, 1, 16))
    >>> layer = kerasseq.layers.BahdanauAttention(8)
    >>> context, weights, _ = layer(query, layer.prepare(memory))
    >>> keras.ops.shape(context), keras.ops.shape(weights)
    ((2, 1, 12), (2, 1, 7))
    """

    def build(self, query_shape, constants_shape):
        self.query_kernel = self.add_weight(shape=(query_shape[-1], self.units), name="query_kernel")
        self.score_vector = self.add_weight(shape=(self.units,), initializer="random_uniform", name="score_vector")

    def score(self, query, keys):
        projected = ops.matmul(query, self.query_kernel)  # (batch, target, units)
        hidden = ops.tanh(projected[:, :, None, :] + keys[:, None, :, :])  # (batch, target, source, units)
        return ops.sum(hidden * self.score_vector, axis=-1)  # (batch, target, source)
