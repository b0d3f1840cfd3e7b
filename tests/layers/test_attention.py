import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import BahdanauAttention, LuongAttention
from kerasseq.layers import attention as attention_module

BATCH, TARGET, SOURCE, UNITS, DIM = 3, 2, 4, 3, 5

# The last row has no real position at all.
MASK = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


QUERY, MEMORY = random(BATCH, TARGET, UNITS), random(BATCH, SOURCE, DIM)
MEMORY_KERNEL = random(DIM, UNITS, seed=1)  # W_a of Luong, U of Bahdanau
KEYS = MEMORY @ MEMORY_KERNEL
QUERY_KERNEL, SCORE_VECTOR = random(UNITS, UNITS, seed=2), random(UNITS, seed=3)


def luong_score(query, keys):
    """`h_t^T W_a h_s`, with `keys[b, s] = W_a h_s`."""
    return np.einsum("btu,bsu->bts", query, keys)


def bahdanau_score(query, keys, kernel=QUERY_KERNEL, vector=SCORE_VECTOR):
    """`v^T tanh(W s + U h)`, with `keys[b, s] = U h`."""
    hidden = np.tanh(np.einsum("btq,qu->btu", query, kernel)[:, :, None] + keys[:, None])
    return np.einsum("btsu,u->bts", hidden, vector)


def attend(scores, memory, mask):
    """Softmax over the real positions one row at a time, and the weighted sum of the memory."""
    weights = np.zeros_like(scores)
    for batch, target in np.ndindex(scores.shape[:2]):
        if mask[batch].any():
            exponentials = np.exp(scores[batch, target, mask[batch]])
            weights[batch, target, mask[batch]] = exponentials / exponentials.sum()
    return np.einsum("bts,bsd->btd", weights, memory), weights


def bahdanau():
    layer = BahdanauAttention(UNITS)
    layer.build(QUERY.shape, KEYS.shape, MEMORY.shape)
    layer.query_kernel.assign(QUERY_KERNEL)
    layer.score_vector.assign(SCORE_VECTOR)
    return layer


LAYERS = {"luong": (LuongAttention, luong_score), "bahdanau": (bahdanau, bahdanau_score)}


@pytest.fixture(params=LAYERS)
def layer_and_score(request):
    make, score = LAYERS[request.param]
    return make(), score


@pytest.mark.parametrize("with_mask", [False, True])
def test_equations(layer_and_score, with_mask):
    layer, score = layer_and_score
    context, weights = layer(QUERY, KEYS, MEMORY, source_mask=MASK if with_mask else None)
    expected = attend(score(QUERY, KEYS), MEMORY, MASK if with_mask else np.ones_like(MASK))
    np.testing.assert_allclose(context, expected[0], atol=1e-5)
    np.testing.assert_allclose(weights, expected[1], atol=1e-6)


def test_gradients(layer_and_score, central_differences):
    layer, score = layer_and_score
    parameters = [QUERY_KERNEL, SCORE_VECTOR] if layer.weights else []
    context_weighting, weighting = random(BATCH, TARGET, DIM, seed=5), random(BATCH, TARGET, SOURCE, seed=6)

    def total(query, keys, memory, *parameters):
        context, weights = attend(score(query, keys, *parameters), memory, MASK)
        return (context * context_weighting).sum() + (weights * weighting).sum()

    inputs = [tf.constant(array, "float32") for array in (QUERY, KEYS, MEMORY)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        context, weights = layer(*inputs, source_mask=MASK)
        value = tf.reduce_sum(context * context_weighting) + tf.reduce_sum(weights * weighting)
    gradients = tape.gradient(value, [*inputs, *(weight.value for weight in layer.weights)])
    expected = central_differences(total, [QUERY, KEYS, MEMORY, *parameters])
    for gradient, reference in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, reference, atol=2e-5)


def test_mask_is_exact(layer_and_score):
    layer, _ = layer_and_score
    context, weights = layer(QUERY, KEYS, MEMORY, source_mask=MASK)
    weights = weights.numpy()
    hidden = np.broadcast_to(~MASK[:, None], weights.shape)
    assert (weights[hidden] == 0).all() and (weights[~hidden] > 0).all()
    np.testing.assert_allclose(weights[:2].sum(axis=-1), 1, atol=1e-6)
    assert not context[2].numpy().any()  # no real position: zeros, not NaN
    moved = MEMORY + 100 * ~MASK[:, :, None]
    moved_keys = KEYS + 100 * ~MASK[:, :, None]
    np.testing.assert_array_equal(layer(QUERY, moved_keys, moved, source_mask=MASK)[0], context)


def test_luong_scores_one_by_one():
    """Luong et al. 2015, section 3.1: "dot", "general" and "concat" of each h_t with each h_s."""
    query_kernel, memory = random(UNITS, UNITS, seed=4), random(BATCH, SOURCE, UNITS, seed=5)
    general = random(UNITS, UNITS, seed=6)
    concat, vector = random(2 * UNITS, UNITS, seed=7), random(UNITS, seed=8)  # W_a of [h_t; h_s]
    additive = BahdanauAttention(UNITS)
    additive.build(QUERY.shape, memory.shape, MEMORY.shape)
    additive.set_weights([concat[:UNITS], vector])
    query = QUERY @ query_kernel
    cases = [
        (LuongAttention(), memory, lambda h_t, h_s: h_t @ h_s),
        (LuongAttention(), memory @ general, lambda h_t, h_s: h_s @ general @ h_t),
        (additive, memory @ concat[UNITS:], lambda h_t, h_s: vector @ np.tanh(np.concatenate([h_t, h_s]) @ concat)),
    ]
    for layer, keys, score in cases:
        context, weights = layer(query, keys, MEMORY, source_mask=MASK)
        for b, t in np.ndindex(BATCH, TARGET):
            exponentials = [np.exp(score(query[b, t], memory[b, s])) if MASK[b, s] else 0.0 for s in range(SOURCE)]
            expected = np.array(exponentials) / (sum(exponentials) or 1)
            np.testing.assert_allclose(weights[b, t], expected, atol=1e-6)
            np.testing.assert_allclose(context[b, t], expected @ MEMORY[b], atol=1e-5)


def test_attend_equals_call(layer_and_score):
    layer, _ = layer_and_score
    query, keys, memory = (tf.constant(array, "float32") for array in (QUERY, KEYS, MEMORY))
    context, weights = layer(query, keys, memory, source_mask=MASK)
    assert layer.num_states == 0
    for t in range(TARGET):
        step_context, step_weights, states = layer.attend(query[:, t], keys, memory, [], MASK)
        np.testing.assert_allclose(step_context, context[:, t], atol=1e-6)
        np.testing.assert_allclose(step_weights, weights[:, t], atol=1e-6)
        assert (states, tuple(step_weights.shape)) == ([], layer.step_weights_shape(BATCH, SOURCE))


@pytest.mark.parametrize("side", ["left", "right"])
def test_source_padding_changes_nothing(layer_and_score, side):
    layer, _ = layer_and_score
    width = ((0, 0), (6, 0) if side == "left" else (0, 6))
    context, weights = layer(QUERY, KEYS, MEMORY, source_mask=MASK)
    keys, memory = (np.pad(array, (*width, (0, 0)), constant_values=9.0) for array in (KEYS, MEMORY))
    padded_context, padded_weights = layer(QUERY, keys, memory, source_mask=np.pad(MASK, width))
    np.testing.assert_allclose(padded_context, context, atol=1e-6)
    np.testing.assert_allclose(padded_weights, np.pad(weights, ((0, 0), *width)), atol=1e-6)


def test_large_scores_stay_finite():
    context, weights = LuongAttention()(1e3 * QUERY, 1e3 * KEYS, MEMORY, source_mask=MASK)
    assert np.isfinite(context).all()
    best = np.argmax(np.where(MASK[:, None], luong_score(QUERY, KEYS), -np.inf), axis=-1)
    np.testing.assert_allclose(weights[:2], np.eye(SOURCE)[best[:2]], atol=1e-6)


def test_dot_score_by_hand():
    query, memory = np.array([[[1.0, 0.0]]]), np.array([[[np.log(3), 5.0], [0.0, 7.0]]])
    context, weights = LuongAttention()(query, memory, memory)
    np.testing.assert_allclose(weights, [[[0.75, 0.25]]], atol=1e-6)
    np.testing.assert_allclose(context[0, 0, 1], 5.5, atol=1e-6)


def test_symbolic_shapes(layer_and_score):
    layer, _ = layer_and_score
    query, keys, memory = keras.Input((None, UNITS)), keras.Input((None, UNITS)), keras.Input((None, DIM))
    context, weights = layer(query, keys, memory, source_mask=keras.Input((None,), dtype="bool"))
    assert (context.shape, weights.shape) == ((None, None, DIM), (None, None, None))


def test_half_precision():
    context, weights = LuongAttention(dtype="mixed_float16")(QUERY, KEYS, MEMORY, source_mask=MASK)
    assert (context.dtype, weights.dtype) == (tf.float16, tf.float32)
    expected = attend(luong_score(QUERY, KEYS), MEMORY, MASK)
    np.testing.assert_allclose(tf.cast(context, "float32"), expected[0], atol=2e-2)


def test_luong_sizes():
    message = r"query and keys of one size.*query \(3, 2, 3\), keys \(3, 4, 5\).*Dense\(3, use_bias=False\)"
    with pytest.raises(ValueError, match=message):
        LuongAttention()(QUERY, MEMORY, MEMORY)


def test_bahdanau_sizes():
    message = r"BahdanauAttention\(units=3\) needs keys of that size. Received: keys \(3, 4, 5\).*Dense\(3, use_bias"
    with pytest.raises(ValueError, match=message):
        BahdanauAttention(UNITS)(QUERY, MEMORY, MEMORY)


@pytest.mark.parametrize("units", [0, 1.5, "4", None])
def test_bad_units(units):
    with pytest.raises(ValueError, match=f"units must be a positive integer. Received: units={units!r}."):
        BahdanauAttention(units)


def test_config():
    config = keras.saving.serialize_keras_object(BahdanauAttention(UNITS, name="score"))
    assert config["registered_name"] == "kerasseq>BahdanauAttention"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.units, again.name) == (UNITS, "score")
    config = keras.saving.serialize_keras_object(LuongAttention(name="score"))
    assert config["registered_name"] == "kerasseq>LuongAttention"
    assert keras.saving.deserialize_keras_object(config).name == "score"


def test_config_with_a_policy_object():
    """Layers that make attention of their own hand it their policy."""
    policy = keras.DTypePolicy("mixed_bfloat16")
    for layer in (LuongAttention(dtype=policy), BahdanauAttention(UNITS, dtype=policy)):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert again.dtype_policy.name == "mixed_bfloat16"


def test_example():
    result = doctest.testmod(attention_module)
    assert result.attempted and not result.failed
