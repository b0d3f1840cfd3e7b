import doctest
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import MultiHeadAttention
from kerasseq.layers import multi_head_attention as multi_head_attention_module

BATCH, TARGET, SOURCE, QUERY_DIM, UNITS, HEADS, DIM = 3, 2, 4, 5, 6, 3, 7
SIZE = UNITS // HEADS

# The last row has no real position at all.
MASK = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


QUERY, MEMORY = random(BATCH, TARGET, QUERY_DIM), random(BATCH, SOURCE, DIM)
KEY_KERNEL, VALUE_KERNEL = random(DIM, UNITS, seed=1), random(DIM, UNITS, seed=2)
QUERY_KERNEL, OUTPUT_KERNEL = random(QUERY_DIM, UNITS, seed=3), random(UNITS, UNITS, seed=4)
KEYS, VALUES = MEMORY @ KEY_KERNEL, MEMORY @ VALUE_KERNEL


def attention(query, keys, values, mask):
    """`softmax(Q K^T / sqrt(d_k)) V` (equation 1) of one row, one query and one position after the other."""
    weights = np.zeros((len(query), len(keys)))
    for i in range(len(query)):
        exponentials = [np.exp(query[i] @ keys[j] / np.sqrt(SIZE)) if mask[j] else 0.0 for j in range(len(keys))]
        if any(mask):
            weights[i] = np.array(exponentials) / sum(exponentials)
    return weights @ values, weights


def by_heads(mask, query, memory, query_kernel, output_kernel, key_kernel=KEY_KERNEL, value_kernel=VALUE_KERNEL):
    """`Concat(head_1, ..., head_h) W^O`, `head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)`, each with matrices W_i."""
    contexts, weights = np.zeros((BATCH, TARGET, UNITS)), np.zeros((BATCH, HEADS, TARGET, SOURCE))
    for b in range(BATCH):
        heads = []
        for i in range(HEADS):
            own = slice(i * SIZE, (i + 1) * SIZE)
            head, weights[b, i] = attention(
                query[b] @ query_kernel[:, own],
                memory[b] @ key_kernel[:, own],
                memory[b] @ value_kernel[:, own],
                mask[b],
            )
            heads.append(head)
        contexts[b] = np.concatenate(heads, axis=-1) @ output_kernel
    return contexts, weights


@pytest.fixture
def layer():
    layer = MultiHeadAttention(UNITS, num_heads=HEADS)
    layer.build(QUERY.shape, KEYS.shape, VALUES.shape)
    layer.query_kernel.assign(QUERY_KERNEL)
    layer.output_kernel.assign(OUTPUT_KERNEL)
    return layer


@pytest.mark.parametrize("mask", [None, MASK], ids=["all real", "masked"])
def test_equations(layer, mask, assert_close):
    expected = by_heads(np.ones_like(MASK) if mask is None else mask, QUERY, MEMORY, QUERY_KERNEL, OUTPUT_KERNEL)
    assert_close(layer(QUERY, KEYS, VALUES, source_mask=mask), expected, atol=1e-5)


def test_gradients(layer, central_differences, weighted_gradients, assert_close):
    """Of the queries, the memory through both projections, and all four matrices."""
    weighting = [random(BATCH, TARGET, UNITS, seed=5), random(BATCH, HEADS, TARGET, SOURCE, seed=6)]
    weighting = [array.astype("float32") for array in weighting]

    def run(query, memory, key_kernel, value_kernel):
        return layer(query, memory @ key_kernel, memory @ value_kernel, source_mask=MASK)

    def total(query, memory, key_kernel, value_kernel, query_kernel, output_kernel):
        results = by_heads(MASK, query, memory, query_kernel, output_kernel, key_kernel, value_kernel)
        return sum((result * w).sum() for result, w in zip(results, weighting, strict=True))

    inputs = [QUERY, MEMORY, KEY_KERNEL, VALUE_KERNEL]
    gradients = weighted_gradients(run, inputs, layer.weights, weighting)
    expected = central_differences(total, [*inputs, QUERY_KERNEL, OUTPUT_KERNEL])
    assert_close(gradients, expected, atol=5e-5)


def test_one_head_is_scaled_dot_product(assert_close):
    layer = MultiHeadAttention(UNITS, num_heads=1)
    layer.build((BATCH, TARGET, UNITS), KEYS.shape, VALUES.shape)
    layer.set_weights([np.eye(UNITS), np.eye(UNITS)])
    twin = keras.layers.Attention(score_mode="dot")
    query = random(BATCH, TARGET, UNITS)
    context, weights = twin([query / np.sqrt(UNITS), VALUES, KEYS], return_attention_scores=True)
    assert_close(layer(query, KEYS, VALUES), [context, weights[:, None]], atol=1e-5)


def test_equals_keras(layer, assert_close):
    twin = keras.layers.MultiHeadAttention(HEADS, SIZE, output_shape=UNITS, use_bias=False)
    mask = np.broadcast_to(MASK[:2, None], (2, TARGET, SOURCE))  # Keras spreads its weight over a row without any
    twin(QUERY, MEMORY, MEMORY)
    kernels = [kernel.reshape(-1, HEADS, SIZE) for kernel in (QUERY_KERNEL, KEY_KERNEL, VALUE_KERNEL)]
    twin.set_weights([*kernels, OUTPUT_KERNEL.reshape(HEADS, SIZE, UNITS)])
    context, weights = twin(QUERY[:2], MEMORY[:2], MEMORY[:2], attention_mask=mask, return_attention_scores=True)
    assert_close(layer(QUERY[:2], KEYS[:2], VALUES[:2], source_mask=MASK[:2]), [context, weights], atol=1e-5)


def test_mask_is_exact(layer):
    context, weights = layer(QUERY, KEYS, VALUES, source_mask=MASK)
    hidden = np.broadcast_to(~MASK[:, None, None], weights.shape)
    assert (weights.numpy()[hidden] == 0).all() and (weights.numpy()[~hidden] > 0).all()
    assert not context[2].numpy().any()
    garbage = 100 * ~MASK[:, :, None]
    np.testing.assert_array_equal(layer(QUERY, KEYS + garbage, VALUES + garbage, source_mask=MASK)[0], context)


@pytest.mark.parametrize("side", ["left", "right"])
def test_source_padding_changes_nothing(layer, side, assert_close):
    width = ((0, 0), (5, 0) if side == "left" else (0, 5))
    context, weights = layer(QUERY, KEYS, VALUES, source_mask=MASK)
    keys, values = (np.pad(array, (*width, (0, 0)), constant_values=9.0) for array in (KEYS, VALUES))
    padded = layer(QUERY, keys, values, source_mask=np.pad(MASK, width))
    assert_close(padded, [context, np.pad(weights, ((0, 0), (0, 0), *width))], atol=1e-6)


def test_step_by_step_equals_whole(layer, weighted_gradients, assert_close):
    def by_attending(query, keys, values):
        steps = []
        for i in range(TARGET):
            *step, states = layer.attend(query[:, i], keys, values, [], MASK)
            assert states == []
            steps.append(step)
        contexts, weights = zip(*steps, strict=True)
        return tf.stack(contexts, axis=1), tf.stack(weights, axis=2)

    whole = functools.partial(layer, source_mask=MASK)
    inputs = [tf.constant(array, "float32") for array in (QUERY, KEYS, VALUES)]
    assert_close(by_attending(*inputs), whole(*inputs), atol=1e-6)
    weighting = [random(*result.shape, seed=5).astype("float32") for result in whole(*inputs)]
    gradients = weighted_gradients(by_attending, inputs, layer.weights, weighting)
    assert_close(gradients, weighted_gradients(whole, inputs, layer.weights, weighting), atol=5e-6)


@pytest.mark.parametrize("time", [1, None])
def test_no_loop(layer, time, count_loops):
    @tf.function(input_signature=[tf.TensorSpec((None, time, QUERY_DIM)), *[tf.TensorSpec((None, None, UNITS))] * 2])
    def call(query, keys, values):
        return layer(query, keys, values)

    assert count_loops(call) == 0
    query = QUERY[:, :time].astype("float32")
    context, _ = call(query, KEYS.astype("float32"), VALUES.astype("float32"))
    np.testing.assert_allclose(context, layer(query, KEYS, VALUES)[0], atol=1e-5)


@pytest.mark.parametrize("target", [None, 1])
def test_symbolic_shapes(layer, target):
    query, keys, values = (keras.Input(shape) for shape in ((target, QUERY_DIM), (None, UNITS), (None, UNITS)))
    context, weights = layer(query, keys, values, source_mask=keras.Input((None,), dtype="bool"))
    assert (context.shape, weights.shape) == ((None, target, UNITS), (None, HEADS, target, None))


@pytest.mark.parametrize("policy, atol", [("mixed_float16", 5e-2), ("mixed_bfloat16", 0.3)])
def test_half_precision(layer, policy, atol):
    half = MultiHeadAttention(UNITS, num_heads=HEADS, dtype=policy)
    half.build(QUERY.shape, KEYS.shape, VALUES.shape)
    half.set_weights(layer.get_weights())
    context, weights = half(QUERY, KEYS, VALUES, source_mask=MASK)
    assert (context.dtype.name, weights.dtype) == (half.compute_dtype, tf.float32)
    np.testing.assert_allclose(tf.cast(context, "float32"), layer(QUERY, KEYS, VALUES, source_mask=MASK)[0], atol=atol)


def test_large_scores_stay_finite(layer):
    context, weights = layer(1e3 * QUERY, 1e3 * KEYS, VALUES, source_mask=MASK)
    assert np.isfinite(context).all()
    np.testing.assert_allclose(np.sum(weights[:2], axis=-1), 1, atol=1e-6)


def test_config(layer):
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "kerasseq>MultiHeadAttention"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.units, again.num_heads, again.name) == (UNITS, HEADS, layer.name)
    assert [weight.shape for weight in again.weights] == [(QUERY_DIM, UNITS), (UNITS, UNITS)]


def test_bad_arguments(layer):
    message = "units must be a multiple of num_heads. Received: units=10, num_heads=4. Choose 12 units"
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(10)
    for name, options in {"units": {"units": 0}, "num_heads": {"units": 4, "num_heads": 0}}.items():
        with pytest.raises(ValueError, match=f"{name} must be a positive integer. Received: {name}=0."):
            MultiHeadAttention(**options)
    message = r"MultiHeadAttention\(units=6\) needs keys and values of that size. Received: keys \(3, 4, {}\), values "
    for keys, values in ((MEMORY, VALUES), (KEYS, MEMORY)):
        pattern = message.format(keys.shape[-1]) + rf"\(3, 4, {values.shape[-1]}\).*two keras.layers.Dense\(6, use_bias"
        with pytest.raises(ValueError, match=pattern):
            MultiHeadAttention(UNITS, num_heads=HEADS)(QUERY, keys, values)


def test_example():
    result = doctest.testmod(multi_head_attention_module)
    assert result.attempted and not result.failed
