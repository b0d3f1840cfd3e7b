"""The copy mechanism: tokens are generated from the vocabulary or copied from the source by attention."""

import keras
from keras import ops

from kerasseq.types import Tensor

# Added to every probability, so that all log-probabilities are finite.
FLOOR = 1e-10

# Attention weights sum to 1 up to this rounding error.
ROUNDING = 1e-5


@keras.saving.register_keras_serializable(package="kerasseq")
class PointerGenerator(keras.layers.Layer):
    """The pointer-generator of See, Liu and Manning 2017, over one vocabulary for source and target.

    The generation probability is `p_gen = sigmoid(w_h^T h* + w_s^T s + w_x^T x + b)` (equation 8) of the context h*,
    the decoder's state s and its input x, and `P(w) = p_gen P_vocab(w) + (1 - p_gen) sum_{i: w_i = w} a_i` (equation 9)
    sums the attention over all source positions that hold the token w. Subwords spell every word, so there is no
    extended vocabulary. Where attention weights sum to less than 1, as in monotonic attention, the remainder goes to
    the vocabulary, so that probabilities sum to 1.

    Computes in float32.

    Call arguments:
        logits: float `(batch, target, vocabulary)`; `P_vocab` is their softmax.
        attention: float `(batch, target, source)`, the weights a.
        features: float `(batch, target, features)`, the inputs of `p_gen`: h*, s and x concatenated.
        source_token_ids: int `(batch, source)`, the tokens w_i. Padded positions have no attention.

    Returns:
        float32 `(batch, target, vocabulary)`, log-probabilities of at least `log(1e-10)`; and float32 `(batch,
        target)`, the generation probability, which includes the remainder of the attention.

    Example:

    >>> import keras, kerasseq
    >>> layer = kerasseq.layers.PointerGenerator()
    >>> attention = keras.ops.array([[[0.2, 0.5, 0.3]]])  # One step over three positions.
    >>> log_probabilities, p_gen = layer(
    ...     keras.ops.zeros((1, 1, 4)), attention, keras.ops.zeros((1, 1, 6)), keras.ops.array([[1, 2, 1]]))
    >>> float(p_gen[0, 0])
    0.5
    >>> [round(float(p), 3) for p in keras.ops.exp(log_probabilities[0, 0])]
    [0.125, 0.375, 0.375, 0.125]
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, logits_shape, attention_shape, features_shape, source_token_ids_shape):
        self.kernel = self.add_weight(shape=(features_shape[-1], 1), name="kernel")
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, logits, attention, features, source_token_ids):
        p_gen = ops.sigmoid(ops.matmul(features, self.kernel) + self.bias)  # (batch, target, 1)
        rest = 1.0 - ops.sum(attention, axis=-1, keepdims=True)
        rest = ops.where(rest > ROUNDING, rest, 0.0)
        copied = copy_distribution(attention, source_token_ids, logits.shape[-1])
        generated = p_gen + (1.0 - p_gen) * rest
        probabilities = generated * ops.softmax(logits) + (1.0 - p_gen) * copied
        return ops.log(probabilities + FLOOR), generated[:, :, 0]

    def compute_output_spec(self, logits, attention, features, source_token_ids):
        return (
            keras.KerasTensor(logits.shape, dtype="float32"),
            keras.KerasTensor(logits.shape[:2], dtype="float32"),
        )


def copy_distribution(attention: Tensor, source_token_ids: Tensor, vocabulary_size: int) -> Tensor:
    """Sums the attention for each token: `(batch, target, source)` -> `(batch, target, vocabulary)`."""
    batch, target, source = ops.shape(attention)
    steps = ops.reshape(ops.arange(batch * target, dtype="int32"), (batch, target, 1))
    segments = steps * vocabulary_size + ops.cast(source_token_ids, "int32")[:, None]  # (batch, target, source)
    total = ops.segment_sum(
        ops.reshape(attention, (-1,)), ops.reshape(segments, (-1,)), num_segments=batch * target * vocabulary_size
    )
    return ops.reshape(total, (batch, target, vocabulary_size))
