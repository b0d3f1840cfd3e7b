"""Attention that knows where it looked before: location-sensitive, monotonic, and with coverage."""

import numbers

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer
from kerasseq.layers.attention import Attention, masked_softmax, single_precision
from kerasseq.layers.linear_recurrence import linear_recurrence


class AlignmentAttention(Attention):
    """Additive attention with a state `(batch, source)` made of the weights of earlier steps.

    `e_ij = v^T tanh(W s_i + V h_j + b + features_ij)`. Subclasses define `align`.

    Over a whole target the layer loops over its steps; a target of the static length 1 needs no loop. It computes in
    float32 under mixed precision.
    """

    num_states = 1

    def __init__(self, units, **kwargs):
        super().__init__(**single_precision(kwargs))
        check_positive_integer("units", units)
        self.units = units
        # As in `Recurrent`.
        self.supports_jit = keras.config.backend() != "tensorflow"

    def build(self, query_shape, keys_shape, memory_shape):
        if keys_shape[-1] != self.units:
            raise ValueError(
                f"{type(self).__name__}(units={self.units}) needs keys of that size. Received: keys "
                f"{tuple(keys_shape)}. Project the memory with keras.layers.Dense({self.units}, use_bias=False)."
            )
        self.query_kernel = self.add_weight(shape=(query_shape[-1], self.units), name="query_kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self.score_vector = self.add_weight(shape=(self.units,), initializer="random_uniform", name="score_vector")

    def hidden(self, projected, keys, features=None):
        """The hidden layer of the scores: `W s (batch, units)` -> `(batch, source, units)`."""
        hidden = keys + (projected + self.bias)[:, None]
        return ops.tanh(hidden if features is None else hidden + features)

    def align(self, projected, keys, state, source_mask, noise=None):
        """`W s (batch, units)` and the state `(batch, source)` -> weights `(batch, source)` and the next state."""
        raise NotImplementedError

    def context(self, weights, memory):
        return ops.matmul(ops.cast(weights, memory.dtype)[:, None], memory)[:, 0]  # (batch, dim)

    def attend(self, query, keys, memory, states, source_mask=None, noise=None):
        weights, state = self.align(ops.matmul(query, self.query_kernel), keys, states[0], source_mask, noise)
        return self.context(weights, memory), weights, [state]

    def call(self, query, keys, memory, initial_state, source_mask=None, training=False):
        noise = self.draw_noise(query, memory, training)
        projected = ops.matmul(query, self.query_kernel)  # (batch, target, units)
        if query.shape[1] == 1:
            noise = None if noise is None else noise[:, 0]
            weights, state = self.align(projected[:, 0], keys, initial_state, source_mask, noise)
            return self.context(weights, memory)[:, None], weights[:, None], state
        inputs = projected if noise is None else ops.concatenate([projected, noise], axis=-1)

        def step(carry, inputs):
            projected, drawn = inputs[:, : self.units], None if noise is None else inputs[:, self.units :]
            weights, state = self.align(projected, keys, carry[1], source_mask, drawn)
            return [weights, state], [weights, state]

        # keras.ops.scan wants outputs of the carry's shapes.
        carry = [ops.zeros_like(initial_state), initial_state]
        (_, state), (weights, _) = ops.scan(step, carry, ops.transpose(inputs, (1, 0, 2)))
        weights = ops.transpose(weights, (1, 0, 2))  # (batch, target, source)
        return ops.matmul(ops.cast(weights, memory.dtype), memory), weights, state

    def compute_output_spec(self, query, keys, memory, initial_state, source_mask=None, training=False):
        context, weights = self.whole_output_spec(query, keys, memory)
        return context, weights, keras.KerasTensor(initial_state.shape, dtype="float32")

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="kerasseq")
class LocationAttention(AlignmentAttention):
    """Location-sensitive attention of Chorowski et al. 2015: content, and where the last step looked.

    `f_i = F * a_{i-1}` (equation 8), a convolution of the previous weights, and
    `e_ij = w^T tanh(W s_{i-1} + V h_j + U f_ij + b)` (equation 9), weights by softmax over the source.

    Args:
        units: int, size of the hidden layer, and so of the keys.
        filters: int, number k of convolution filters.
        kernel_size: int, their width r in source positions; the paper has 201 for frames of 10 ms.

    Call arguments:
        query: float `(batch, target, query_dim)`, the decoder's states s_{i-1}.
        keys: float `(batch, source, units)`, the projected memory `V h_j`: `keras.layers.Dense(units, use_bias=False)`.
        memory: float `(batch, source, dim)`, what the context is made of.
        initial_state: float32 `(batch, source)`, the weights before the first step: `StartAlignment`.
        source_mask: bool `(batch, source)`, true for real positions. Default: all are real.

    Returns:
        context `(batch, target, dim)`, weights `(batch, target, source)` in float32, and the last step's weights
        `(batch, source)`, which are the initial state of what follows.

    Example:

    >>> import keras, kerasseq
    >>> memory = keras.random.normal((2, 7, 12))
    >>> keys = keras.layers.Dense(8, use_bias=False)(memory)
    >>> start = kerasseq.layers.StartAlignment()(keras.ops.ones((2, 7), dtype="bool"))
    >>> layer = kerasseq.layers.LocationAttention(8, kernel_size=5)
    >>> context, weights, state = layer(keras.random.normal((2, 3, 16)), keys, memory, start)
    >>> [keras.ops.shape(result) for result in (context, weights, state)]
    [(2, 3, 12), (2, 3, 7), (2, 7)]
    """

    def __init__(self, units, filters=10, kernel_size=31, **kwargs):
        super().__init__(units, **kwargs)
        check_positive_integer("filters", filters)
        check_positive_integer("kernel_size", kernel_size)
        self.filters = filters
        self.kernel_size = kernel_size

    def build(self, query_shape, keys_shape, memory_shape):
        super().build(query_shape, keys_shape, memory_shape)
        self.filter_kernel = self.add_weight(shape=(self.kernel_size, 1, self.filters), name="filter_kernel")
        self.location_kernel = self.add_weight(shape=(self.filters, self.units), name="location_kernel")

    def align(self, projected, keys, state, source_mask, noise=None):
        located = ops.conv(ops.cast(state, keys.dtype)[:, :, None], self.filter_kernel, padding="same")
        # TensorFlow's oneDNN convolution of an empty batch has the wrong shape.
        located = ops.reshape(located, (*ops.shape(state), self.filters))
        features = ops.matmul(located, self.location_kernel)  # (batch, source, units)
        scores = ops.sum(self.hidden(projected, keys, features) * self.score_vector, axis=-1)
        weights = masked_softmax(scores, source_mask)
        return weights, weights

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable(package="kerasseq")
class CoverageAttention(AlignmentAttention):
    """Attention with coverage of See, Liu and Manning 2017: content, and how much each position was looked at so far.

    `c_t = sum_{t' < t} a_t'` (equation 10), and `e_ti = v^T tanh(W_h h_i + W_s s_t + w_c c_ti + b)` (equation 11),
    weights by softmax over the source. The paper adds a loss on the coverage (equation 12), a layer of its own:
    `CoverageLoss`.

    Args:
        units: int, size of the hidden layer, and so of the keys.

    Call arguments:
        query: float `(batch, target, query_dim)`, the decoder's states s_t.
        keys: float `(batch, source, units)`, the projected memory `W_h h_i`: `keras.layers.Dense(units,
            use_bias=False)`.
        memory: float `(batch, source, dim)`, what the context is made of.
        initial_state: float32 `(batch, source)`, the coverage before the first step: `StartAlignment(weight=0.0)`.
        source_mask: bool `(batch, source)`, true for real positions. Default: all are real.

    Returns:
        context `(batch, target, dim)`, weights `(batch, target, source)` in float32, and the coverage `(batch, source)`
        after the last step.

    Example:

    >>> import keras, kerasseq
    >>> memory = keras.random.normal((2, 7, 12))
    >>> keys = keras.layers.Dense(8, use_bias=False)(memory)
    >>> start = kerasseq.layers.StartAlignment(weight=0.0)(keras.ops.ones((2, 7), dtype="bool"))
    >>> layer = kerasseq.layers.CoverageAttention(8)
    >>> context, weights, coverage = layer(keras.random.normal((2, 3, 16)), keys, memory, start)
    >>> [round(float(total), 4) for total in keras.ops.sum(coverage, axis=1)]
    [3.0, 3.0]
    """

    def build(self, query_shape, keys_shape, memory_shape):
        super().build(query_shape, keys_shape, memory_shape)
        self.coverage_vector = self.add_weight(
            shape=(self.units,), initializer="random_uniform", name="coverage_vector"
        )

    def align(self, projected, keys, state, source_mask, noise=None):
        features = ops.cast(state, keys.dtype)[:, :, None] * self.coverage_vector  # (batch, source, units)
        scores = ops.sum(self.hidden(projected, keys, features) * self.score_vector, axis=-1)
        weights = masked_softmax(scores, source_mask)
        return weights, state + weights


@keras.saving.register_keras_serializable(package="kerasseq")
class MonotonicAttention(AlignmentAttention):
    """Monotonic attention of Raffel et al. 2017 in its soft form, which trains by backpropagation.

    Each step goes on from where the last one stopped, and stops at position j with the probability
    `p_ij = sigmoid(e_ij)`, where `e_ij = g v^T / |v| tanh(W s_{i-1} + V h_j + b) + r` (section 2.4). The weights are
    the expected alignment: `a_ij = p_ij q_ij` with `q_ij = (1 - p_i,j-1) q_i,j-1 + a_{i-1,j}` (equations 11 to 14).
    They never move back, and add up to less than 1 by the probability of not stopping at all.

    The recurrence over the source is computed as it stands, in a logarithmic number of steps; the closed form with
    cumulative products (appendix C.1) divides by numbers that underflow.

    Args:
        units: int, size of the hidden layer, and so of the keys.
        score_bias: float, the start value of r: below 0, so that an untrained layer does not stop at once.
        noise: float, the standard deviation of the Gaussian noise that training adds to the scores (section 2.5): it
            makes the layer decide, with scores far from 0, instead of blending neighbours.
        seed: int, of the noise.

    Call arguments:
        query: float `(batch, target, query_dim)`, the decoder's states s_{i-1}.
        keys: float `(batch, source, units)`, the projected memory `V h_j`: `keras.layers.Dense(units, use_bias=False)`.
        memory: float `(batch, source, dim)`, what the context is made of.
        initial_state: float32 `(batch, source)`, the weights before the first step: `StartAlignment`.
        source_mask: bool `(batch, source)`, true for real positions. Default: all are real.

    Returns:
        context `(batch, target, dim)`, weights `(batch, target, source)` in float32, and the last step's weights
        `(batch, source)`, which are the initial state of what follows.

    Example:

    >>> import keras, kerasseq
    >>> memory = keras.random.normal((2, 7, 12))
    >>> keys = keras.layers.Dense(8, use_bias=False)(memory)
    >>> start = kerasseq.layers.StartAlignment()(keras.ops.ones((2, 7), dtype="bool"))
    >>> layer = kerasseq.layers.MonotonicAttention(8)
    >>> context, weights, state = layer(keras.random.normal((2, 3, 16)), keys, memory, start)
    >>> bool(keras.ops.all(keras.ops.sum(weights, axis=-1) <= 1.00001))
    True
    """

    def __init__(self, units, score_bias=-1.0, noise=1.0, seed=None, **kwargs):
        super().__init__(units, **kwargs)
        if not isinstance(noise, numbers.Real) or not noise >= 0:
            raise ValueError(f"noise must be a number of at least 0. Received: noise={noise!r}.")
        self.score_bias = score_bias
        self.noise = noise
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, query_shape, keys_shape, memory_shape):
        super().build(query_shape, keys_shape, memory_shape)
        gain = keras.initializers.Constant(self.units**-0.5)
        self.gain = self.add_weight(shape=(), initializer=gain, name="gain")
        offset = keras.initializers.Constant(self.score_bias)
        self.offset = self.add_weight(shape=(), initializer=offset, name="offset")

    def draw_noise(self, sequences, memory, training):
        if not training or not self.noise:
            return None
        # All of it before the loop: random numbers within one are not for every backend.
        shape = (*ops.shape(sequences)[:2], ops.shape(memory)[1])
        return keras.random.normal(shape, stddev=self.noise, dtype=self.compute_dtype, seed=self.seed_generator)

    def align(self, projected, keys, state, source_mask, noise=None):
        direction = self.score_vector * (self.gain * ops.rsqrt(ops.sum(ops.square(self.score_vector))))
        scores = ops.sum(self.hidden(projected, keys) * direction, axis=-1) + self.offset
        scores = ops.cast(scores, "float32")  # (batch, source)
        stopping = ops.sigmoid(scores if noise is None else scores + ops.cast(noise, "float32"))
        if source_mask is not None:
            stopping = ops.where(source_mask, stopping, 0.0)
        passing = ops.pad(1.0 - stopping[:, :-1], ((0, 0), (1, 0)))
        weights = stopping * linear_recurrence(passing, state)
        return weights, weights

    def get_config(self):
        return {**super().get_config(), "score_bias": self.score_bias, "noise": self.noise, "seed": self.seed}


@keras.saving.register_keras_serializable(package="kerasseq")
class StartAlignment(keras.layers.Layer):
    """The weights before the first step, for attention that knows where it looked before.

    Args:
        weight: float, the weight of the first real position; all others are 0. With 0.0 nothing was looked at.

    Call arguments:
        source_mask: bool `(batch, source)`, true for real positions.

    Returns:
        float32 `(batch, source)`.

    Example:

    >>> import keras, kerasseq
    >>> start = kerasseq.layers.StartAlignment()(keras.ops.array([[True, True, False]]))
    >>> keras.ops.convert_to_numpy(start).tolist()
    [[1.0, 0.0, 0.0]]
    """

    def __init__(self, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, source_mask):
        count = ops.cumsum(ops.cast(source_mask, "int32"), axis=-1)
        return self.weight * ops.cast(source_mask & (count == 1), "float32")

    def compute_output_spec(self, source_mask):
        return keras.KerasTensor(source_mask.shape, dtype="float32")

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
