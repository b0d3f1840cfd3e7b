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


def central_differences(function, arrays, epsilon=1e-5):
    gradients = []
    for index, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for position in np.ndindex(array.shape):
            sides = []
            for sign in (1, -1):
                moved = [other.copy() for other in arrays]
                moved[index][position] += sign * epsilon
                sides.append(function(*moved))
            gradient[position] = (sides[0] - sides[1]) / (2 * epsilon)
        gradients.append(gradient)
    return gradients


def test_gradients(layer_and_score):
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


def test_example():
    result = doctest.testmod(attention_module)
    assert result.attempted and not result.failed
