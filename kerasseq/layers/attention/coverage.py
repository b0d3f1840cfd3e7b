"""Attention with coverage."""

import keras
from keras import ops

from kerasseq.layers.attention.alignment import AlignmentAttention
from kerasseq.layers.attention.base import masked_softmax


@keras.saving.register_keras_serializable(package="kerasseq")
class CoverageAttention(AlignmentAttention):
    """Attention with coverage of See, Liu and Manning 2017: content, and the sum of all attention weights so far.

    `c_t = sum_{t' < t} a_t'` (equation 10), and `e_ti = v^T tanh(W_h h_i + W_s s_t + w_c c_ti + b)` (equation 11),
    weights by softmax over the source. The state `alignment (batch, source)` is the coverage. The paper adds a loss on
    the coverage (equation 12): `kerasseq.layers.CoverageLoss`. Arguments, call arguments and results are those of
    `kerasseq.layers.Attention`.

    Example:

    >>> import keras, kerasseq
    >>> memory, mask = keras.random.normal((2, 7, 12)), keras.ops.ones((2, 7), dtype="bool")
    >>> layer = kerasseq.layers.CoverageAttention(8)
    >>> query = keras.random.normal((2, 3, 16))
    >>> context, weights, state = layer(query, layer.prepare(memory), layer.initial_state(mask))
    >>> [round(float(total), 4) for total in keras.ops.sum(state["alignment"], axis=1)]
    [3.0, 3.0]
    """

    initial_weight = 0.0

    def build(self, query_shape, constants_shape):
        super().build(query_shape, constants_shape)
        self.coverage_vector = self.add_weight(
            shape=(self.units,), initializer="random_uniform", name="coverage_vector"
        )

    def align(self, projected, keys, alignment, memory_mask, noise=None):
        features = ops.cast(alignment, keys.dtype)[:, :, None] * self.coverage_vector  # (batch, source, units)
        scores = ops.sum(self.hidden(projected, keys, features) * self.score_vector, axis=-1)
        weights = masked_softmax(scores, memory_mask)
        return weights, alignment + weights
