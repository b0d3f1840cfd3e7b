"""Attention: a score for each source position, a softmax over them, the weighted sum of the memory.

The layers take `keys`, the projected memory, because the keys are the same for every decoding step: the bridge of a
model computes them once a sentence.
"""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer


def masked_softmax(scores, mask):
    """Softmax over the last axis in float32, with exact zeros where `mask` is false.

    A row without any real position gets weights of zero.
    """
    scores = ops.cast(scores, "float32")
    if mask is None:
        return ops.softmax(scores, axis=-1)
    scores = ops.where(mask, scores, -1e9)
    return ops.softmax(scores, axis=-1) * ops.cast(mask, "float32")


def single_precision(options):
    """The options of a layer, with float32 in the place of a policy that computes in 16 bits.

    Keras casts the inputs of a call, states included, and what adds up over the steps of a search would be rounded in
    every one of them.
    """
    policy = keras.dtype_policies.get(options.get("dtype") or keras.config.dtype_policy())
    return {**options, "dtype": "float32"} if policy.compute_dtype in ("float16", "bfloat16") else options


class Attention(keras.layers.Layer):
    """What attention layers share: mask, softmax and context vector, and one step within a recurrence.

    Subclasses define `score(query, keys)`, or the whole `call`.

    Attributes:
        num_states: int, number of tensors `(batch, source)` that go from step to step.
    """

    num_states = 0

    def draw_noise(self, sequences, memory, training):
        """Noise on the scores of all steps of a target, float `(batch, target, source)`, or `None`."""
        return None

    def attend(self, query, keys, memory, states, source_mask=None, noise=None):
        """One step, for recurrences with attention in their loop.

        Args:
            query: float `(batch, query_dim)`.
            keys, memory, source_mask: as in the call.
            states: list of `num_states` tensors `(batch, source)`.
            noise: float `(batch, source)` or `None`, this step's part of `draw_noise`.

        Returns:
            context `(batch, dim)`, weights `(batch, source)`, or `(batch, heads, source)` where there are several
            heads, and the list of next states.
        """
        context, weights = self(query[:, None], keys, memory, source_mask=source_mask)
        return context[:, 0], weights[..., 0, :], states

    def step_weights_shape(self, batch, source):
        """The shape of the weights of one step."""
        return batch, source

    def get_config(self):
        """Defined, because Keras takes no dtype policy in a configuration that it makes by itself."""
        return super().get_config()

    def whole_output_spec(self, query, keys, memory):
        """Context and weights of a whole target."""
        batch, target, _ = query.shape
        context = keras.KerasTensor((batch, target, memory.shape[-1]), dtype=self.compute_dtype)
        *leading, source = self.step_weights_shape(batch, memory.shape[1])
        return context, keras.KerasTensor((*leading, target, source), dtype="float32")

    def call(self, query, keys, memory, source_mask=None):
        scores = self.score(query, keys)  # (batch, target, source)
        weights = masked_softmax(scores, None if source_mask is None else source_mask[:, None, :])
        context = ops.matmul(ops.cast(weights, memory.dtype), memory)  # (batch, target, dim)
        return context, weights

    def compute_output_spec(self, query, keys, memory, source_mask=None):
        return self.whole_output_spec(query, keys, memory)


@keras.saving.register_keras_serializable(package="kerasseq")
class LuongAttention(Attention):
    """Multiplicative attention with the "general" score of Luong et al. 2015.

    `score(h_t, h_s) = h_t^T W_a h_s` (section 3.1), weights by softmax over the source (equation 7). `W_a h_s` are the
    `keys`: `keras.layers.Dense(units, use_bias=False)` of the memory. With the memory itself as keys this is the "dot"
    score. Their third score, "concat", is additive: `BahdanauAttention`.

    Call arguments:
        query: float `(batch, target, units)`, the decoder's hidden states h_t.
        keys: float `(batch, source, units)`, the projected memory.
        memory: float `(batch, source, dim)`, what the context is made of.
        source_mask: bool `(batch, source)`, true for real positions. Default: all are real.

    Returns:
        context `(batch, target, dim)`, and weights `(batch, target, source)` in float32.

    Example:

    >>> import keras, kerasseq
    >>> memory = keras.random.normal((2, 7, 12))
    >>> keys = keras.layers.Dense(8, use_bias=False)(memory)
    >>> context, weights = kerasseq.layers.LuongAttention()(keras.random.normal((2, 3, 8)), keys, memory)
    >>> keras.ops.shape(context), keras.ops.shape(weights)
    ((2, 3, 12), (2, 3, 7))
    """

    def build(self, query_shape, keys_shape, memory_shape):
        if query_shape[-1] != keys_shape[-1]:
            raise ValueError(
                "LuongAttention needs query and keys of one size, since it multiplies them. "
                f"Received: query {tuple(query_shape)}, keys {tuple(keys_shape)}. "
                f"Project the memory with keras.layers.Dense({query_shape[-1]}, use_bias=False)."
            )

    def score(self, query, keys):
        return ops.matmul(query, ops.transpose(keys, (0, 2, 1)))


@keras.saving.register_keras_serializable(package="kerasseq")
class BahdanauAttention(Attention):
    """Additive attention of Bahdanau et al. 2015.

    `e_ij = v^T tanh(W s_{i-1} + U h_j)` (appendix A.1.2), weights by softmax over the source (equation 6). `U h_j` are
    the `keys`: `keras.layers.Dense(units, use_bias=False)` of the memory. With the state h_t of the same step as query
    this is the "concat" score of Luong et al. 2015, `v_a^T tanh(W_a [h_t; h_s])` with `W_a = [W; U]`.

    Args:
        units: int, size of the hidden layer of the alignment model, and so of the keys.

    Call arguments:
        query: float `(batch, target, query_dim)`, the decoder's states s_{i-1}.
        keys: float `(batch, source, units)`, the projected memory.
        memory: float `(batch, source, dim)`, what the context is made of.
        source_mask: bool `(batch, source)`, true for real positions. Default: all are real.

    Returns:
        context `(batch, target, dim)`, and weights `(batch, target, source)` in float32.

    The layer holds a tensor of `(batch, target, source, units)` while it scores a whole target at once.

    Example:

    >>> import keras, kerasseq
    >>> memory = keras.random.normal((2, 7, 12))
    >>> keys = keras.layers.Dense(8, use_bias=False)(memory)
    >>> context, weights = kerasseq.layers.BahdanauAttention(8)(keras.random.normal((2, 1, 16)), keys, memory)
    >>> keras.ops.shape(context), keras.ops.shape(weights)
    ((2, 1, 12), (2, 1, 7))
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        check_positive_integer("units", units)
        self.units = units

    def build(self, query_shape, keys_shape, memory_shape):
        if keys_shape[-1] != self.units:
            raise ValueError(
                f"BahdanauAttention(units={self.units}) needs keys of that size. Received: keys {tuple(keys_shape)}. "
                f"Project the memory with keras.layers.Dense({self.units}, use_bias=False)."
            )
        self.query_kernel = self.add_weight(shape=(query_shape[-1], self.units), name="query_kernel")
        self.score_vector = self.add_weight(shape=(self.units,), initializer="random_uniform", name="score_vector")

    def score(self, query, keys):
        projected = ops.matmul(query, self.query_kernel)  # (batch, target, units)
        hidden = ops.tanh(projected[:, :, None, :] + keys[:, None, :, :])  # (batch, target, source, units)
        return ops.sum(hidden * self.score_vector, axis=-1)  # (batch, target, source)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
