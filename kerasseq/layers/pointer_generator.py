"""The copy mechanism: a token is generated from the vocabulary, or copied from where the decoder looks."""

import keras
from keras import ops

# Added to every probability: a token that is neither in the source nor likely has a finite logarithm.
FLOOR = 1e-10

# What sums of attention may lack to 1 by rounding alone.
ROUNDING = 1e-5


@keras.saving.register_keras_serializable(package="kerasseq")
class PointerGenerator(keras.layers.Layer):
    """The pointer-generator of See, Liu and Manning 2017, over one vocabulary for source and target.

    The generation probability is `p_gen = sigmoid(w_h^T h* + w_s^T s + w_x^T x + b)` (equation 8) of the context h*,
    the decoder's state s and its input x, and `P(w) = p_gen P_vocab(w) + (1 - p_gen) sum_{i: w_i = w} a_i` (equation 9)
    sums the attention over all source positions that hold the token w. Subwords spell every word, so there is no
    extended vocabulary. Where the attention adds up to less than 1, as monotonic attention does, the rest goes to the
    vocabulary, so that all probabilities add up to 1.

    Computes in float32.

    Call arguments:
        logits: float `(batch, target, vocabulary)`; `P_vocab` is their softmax.
        attention: float `(batch, target, source)`, the weights a.
        features: float `(batch, target, features)`, what decides between the two: h*, s and x side by side.
        source_token_ids: int `(batch, source)`, the tokens w_i. Padded positions have no attention.

    Returns:
        float32 `(batch, target, vocabulary)`, log-probabilities, none below `log(1e-10)`; and float32 `(batch,
        target)`, the generation probability, what goes to the vocabulary besides included.

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


def copy_distribution(attention, source_token_ids, vocabulary_size):
    """The attention on each token of the vocabulary: `(batch, target, source)` -> `(batch, target, vocabulary)`."""
    batch, target, source = ops.shape(attention)
    steps = ops.reshape(ops.arange(batch * target, dtype="int32"), (batch, target, 1))
    segments = steps * vocabulary_size + ops.cast(source_token_ids, "int32")[:, None]  # (batch, target, source)
    total = ops.segment_sum(
        ops.reshape(attention, (-1,)), ops.reshape(segments, (-1,)), num_segments=batch * target * vocabulary_size
    )
    return ops.reshape(total, (batch, target, vocabulary_size))
