"""Monotonic attention."""

import keras
from keras import ops

from kerasseq.arguments import check_number
from kerasseq.layers.attention.alignment import AlignmentAttention
from kerasseq.layers.linear_recurrence import linear_recurrence


@keras.saving.register_keras_serializable(package="kerasseq")
class MonotonicAttention(AlignmentAttention):
    """Monotonic attention of Raffel et al. 2017 in its soft form, which trains by backpropagation.

    Each step starts where the last one stopped, and stops at position j with the probability `p_ij = sigmoid(e_ij)`,
    where `e_ij = g v^T / |v| tanh(W s_{i-1} + V h_j + b) + r` (section 2.4). The weights are the expected alignment:
    `a_ij = p_ij q_ij` with `q_ij = (1 - p_i,j-1) q_i,j-1 + a_{i-1,j}` (equations 11 to 14). They never move back, and
    sum to less than 1 by the probability of not stopping at all. The state `alignment (batch, source)` holds the last
    weights. Call arguments and results are those of `kerasseq.layers.Attention`.

    The recurrence over the source takes a logarithmic number of steps. The closed form with cumulative products
    (appendix C.1) divides by numbers that underflow.

    Args:
        units: int, size of the hidden layer, and so of the keys.
        score_bias: float, the initial value of r: below 0, so that an untrained layer does not stop at once.
        noise: float, the standard deviation of the Gaussian noise added to the scores in training (section 2.5). It
            makes the layer learn scores far from 0, instead of blending neighbours.
        seed: int, of the noise.

    Raises:
        ValueError: if `units` is not a positive integer, or `noise` is not a finite number of at least 0.

    Example:

    >>> import keras, kerasseq
    >>> memory, mask = keras.random.normal((2, 7, 12)), keras.ops.ones((2, 7), dtype="bool")
    >>> layer = kerasseq.layers.MonotonicAttention(8)
    >>> query = keras.random.normal((2, 3, 16))
    >>> context, weights, state = layer(query, layer.prepare(memory), layer.initial_state(mask))
    >>> bool(keras.ops.all(keras.ops.sum(weights, axis=-1) <= 1.00001))
    True
    """

    def __init__(self, units: int, score_bias: float = -1.0, noise: float = 1.0, seed: int | None = None, **kwargs):
        super().__init__(units, **kwargs)
        self.score_bias = score_bias
        self.noise = check_number("noise", noise)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, query_shape, constants_shape):
        super().build(query_shape, constants_shape)
        gain = keras.initializers.Constant(self.units**-0.5)
        self.gain = self.add_weight(shape=(), initializer=gain, name="gain")
        offset = keras.initializers.Constant(self.score_bias)
        self.offset = self.add_weight(shape=(), initializer=offset, name="offset")

    def draw_noise(self, query, values, training):
        if not training or not self.noise:
            return None
        shape = (*ops.shape(query)[:2], ops.shape(values)[1])
        return keras.random.normal(shape, stddev=self.noise, dtype=self.compute_dtype, seed=self.seed_generator)

    def align(self, projected, keys, alignment, memory_mask, noise=None):
        direction = self.score_vector * (self.gain * ops.rsqrt(ops.sum(ops.square(self.score_vector))))
        scores = ops.sum(self.hidden(projected, keys) * direction, axis=-1) + self.offset
        scores = ops.cast(scores, "float32")  # (batch, source)
        stopping = ops.sigmoid(scores if noise is None else scores + ops.cast(noise, "float32"))
        if memory_mask is not None:
            stopping = ops.where(memory_mask, stopping, 0.0)
        passing = ops.pad(1.0 - stopping[:, :-1], ((0, 0), (1, 0)))
        weights = stopping * linear_recurrence(passing, alignment)
        return weights, weights

    def get_config(self):
        return {**super().get_config(), "score_bias": self.score_bias, "noise": self.noise, "seed": self.seed}
