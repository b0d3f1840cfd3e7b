"""Location-sensitive attention."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer
from kerasseq.layers.attention.alignment import AlignmentAttention
from kerasseq.layers.attention.base import masked_softmax


@keras.saving.register_keras_serializable(package="kerasseq")
class LocationAttention(AlignmentAttention):
    """Location-sensitive attention of Chorowski et al. 2015: content, and the attention weights of the last step.

    `f_i = F * a_{i-1}` (equation 8), a convolution of the previous weights, and
    `e_ij = w^T tanh(W s_{i-1} + V h_j + U f_ij + b)` (equation 9), weights by softmax over the source. The state
    `alignment (batch, source)` holds the last weights. Call arguments and results are those of
    `kerasseq.layers.Attention`.

    Args:
        units: int, size of the hidden layer, and so of the keys.
        filters: int, number k of convolution filters.
        kernel_size: int, their width r in source positions; the paper has 201 for frames of 10 ms.

    Raises:
        ValueError: if one of them is not a positive integer.

    Example:

    >>> import keras, kerasseq
    >>> memory, mask = keras.random.normal((2, 7, 12)), keras.ops.ones((2, 7), dtype="bool")
    >>> layer = kerasseq.layers.LocationAttention(8, kernel_size=5)
    >>> query = keras.random.normal((2, 3, 16))
    >>> context, weights, state = layer(query, layer.prepare(memory), layer.initial_state(mask))
    >>> [keras.ops.shape(result) for result in (context, weights, state["alignment"])]
    [(2, 3, 12), (2, 3, 7), (2, 7)]
    """

    def __init__(self, units: int, filters: int = 10, kernel_size: int = 31, **kwargs):
        super().__init__(units, **kwargs)
        check_positive_integer("filters", filters)
        check_positive_integer("kernel_size", kernel_size)
        self.filters = filters
        self.kernel_size = kernel_size

    def build(self, query_shape, constants_shape):
        super().build(query_shape, constants_shape)
        self.filter_kernel = self.add_weight(shape=(self.kernel_size, 1, self.filters), name="filter_kernel")
        self.location_kernel = self.add_weight(shape=(self.filters, self.units), name="location_kernel")

    def align(self, projected, keys, alignment, memory_mask, noise=None):
        located = ops.conv(ops.cast(alignment, keys.dtype)[:, :, None], self.filter_kernel, padding="same")
        # TensorFlow's oneDNN convolution of an empty batch returns a wrong shape.
        located = ops.reshape(located, (*ops.shape(alignment), self.filters))
        features = ops.matmul(located, self.location_kernel)  # (batch, source, units)
        scores = ops.sum(self.hidden(projected, keys, features) * self.score_vector, axis=-1)
        weights = masked_softmax(scores, memory_mask)
        return weights, weights

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}
