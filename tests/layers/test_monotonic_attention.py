"""What soft monotonic attention promises: the expectation of a hard attention that only moves forward."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import MonotonicAttention

TARGET, SOURCE, UNITS, QUERY_DIM = 3, 4, 3, 5


@pytest.fixture
def monotonic(randomize):
    """A function that makes a layer of random weights, or the given ones."""

    def monotonic(dtype=None, noise=1.0, **weights):
        layer = MonotonicAttention(UNITS, noise=noise, seed=1, dtype=dtype)
        layer.build((1, None, QUERY_DIM), {"keys": (1, None, UNITS), "values": (1, None, 2)})
        randomize(layer)
        for name, value in weights.items():
            getattr(layer, name).assign(value)
        return layer

    return monotonic


def attend(layer, query, keys, memory=None, mask=None, **options):
    """From the first real position on."""
    state = layer.initial_state(np.ones(np.shape(keys)[:2], bool) if mask is None else mask)
    constants = {"keys": keys, "values": keys if memory is None else memory}
    context, weights, state = layer(query, constants, state, memory_mask=mask, **options)
    return context, weights, state["alignment"]


@pytest.fixture
def query(random):
    return random(2, TARGET, QUERY_DIM)


@pytest.fixture
def keys(random):
    return random(2, SOURCE, UNITS)


def stopping_probabilities(layer, query, keys):
    """`sigmoid(g v^T / |v| tanh(W s + V h_j + b) + r)`, `(target, source)`."""
    query_kernel, bias, vector, gain, offset = (
        np.asarray(weight.numpy(), "float64")
        for weight in (layer.query_kernel, layer.bias, layer.score_vector, layer.gain, layer.offset)
    )
    hidden = np.tanh((query @ query_kernel + bias)[:, None] + keys)
    return 1 / (1 + np.exp(-(hidden @ (gain * vector / np.linalg.norm(vector)) + offset)))


def hard_attention(stops):
    """Section 2.2: from where the last step stopped, on to the first position with z_ij = 1; none: no position."""
    position, weights = 0, np.zeros((TARGET, SOURCE))
    for i in range(TARGET):
        while position < SOURCE and not stops[i, position]:
            position += 1
        if position < SOURCE:
            weights[i, position] = 1
    return weights


@pytest.mark.parametrize("mask", [[1, 1, 1, 1], [0, 1, 0, 1]])
def test_expectation_of_hard_attention(mask, monotonic, query, keys, random):
    """Over all outcomes of the decisions z_ij of whether step i stops at position j, each with its probability."""
    mask, layer, memory = np.array([mask], dtype=bool), monotonic(), random(1, SOURCE, 2)
    probabilities = np.where(mask, stopping_probabilities(layer, query[0], keys[0]), 0)
    assert 0.05 < probabilities[:, mask[0]].min() and probabilities.max() < 0.95
    expected = np.zeros((TARGET, SOURCE))
    for outcome in itertools.product([0, 1], repeat=TARGET * SOURCE):
        stops = np.reshape(outcome, (TARGET, SOURCE))
        expected += np.prod(np.where(stops, probabilities, 1 - probabilities)) * hard_attention(stops)
    context, weights, _ = attend(layer, query[:1], keys[:1], memory, mask)
    np.testing.assert_allclose(weights[0], expected, atol=1e-6)
    np.testing.assert_allclose(context[0], expected @ memory[0], atol=2e-6)


def test_recurrence_of_the_paper(monotonic, query, keys):
    """`a_ij = p_ij ((1 - p_i,j-1) a_i,j-1 / p_i,j-1 + a_{i-1,j})` (equation 10)."""
    layer = monotonic()
    probabilities = stopping_probabilities(layer, query[0], keys[0])
    before, expected = np.eye(SOURCE)[0], np.zeros((TARGET, SOURCE))
    for i in range(TARGET):
        for j in range(SOURCE):
            passed = (1 - probabilities[i, j - 1]) * expected[i, j - 1] / probabilities[i, j - 1] if j else 0
            expected[i, j] = probabilities[i, j] * (passed + before[j])
        before = expected[i]
    _, weights, alignment = attend(layer, query, keys)
    np.testing.assert_allclose(weights[0], expected, atol=1e-6)
    np.testing.assert_allclose(alignment[0], expected[-1], atol=1e-6)


def test_weight_only_moves_forward(monotonic, random):
    _, weights, _ = attend(monotonic(offset=-2.0), random(6, 8, QUERY_DIM), random(6, 9, UNITS))
    cumulative = np.cumsum(weights, axis=-1)  # (batch, target, source)
    assert (np.diff(cumulative, axis=1) <= 1e-6).all()
    assert (np.diff(cumulative[:, :, -1], axis=1) < -1e-4).all()  # What runs off the end does not come back.


@pytest.mark.parametrize("source", [1, 2, 1000])
def test_certain_decisions(source, monotonic, random):
    """Scores that leave nothing to chance: p is 0 or 1 to the last bit, where a closed form would divide by 0."""
    layer = monotonic(bias=np.zeros(UNITS), query_kernel=np.zeros((QUERY_DIM, UNITS)), gain=1e4, offset=0.0)
    keys = np.tile(-layer.score_vector.numpy(), (1, source, 1))
    keys[0, -1] *= -1  # Only the last position says stop.
    inputs = [tf.constant(array, "float32") for array in (random(1, 2, QUERY_DIM), keys)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        _, weights, _ = attend(layer, *inputs)
        total = tf.reduce_sum(tf.math.square(weights) * random(2, source))
    np.testing.assert_array_equal(weights[0], np.eye(source)[[-1, -1]])
    for gradient in tape.gradient(total, [*inputs, *(weight.value for weight in layer.weights)]):
        assert gradient is None or np.isfinite(gradient).all()


def test_long_sources_keep_their_weight(monotonic, random):
    """With p = 1/2 everywhere the first step's weights are 2^-j, and later ones those of a negative binomial."""
    _, weights, _ = attend(monotonic(gain=0.0, offset=0.0), random(1, 30, QUERY_DIM), random(1, 1000, UNITS))
    weights = weights.numpy()[0]
    np.testing.assert_allclose(weights[0, :60], 0.5 ** np.arange(1, 61), rtol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
    # Each step passes on average (1 - p) / p = 1 position.
    np.testing.assert_allclose(weights @ np.arange(1000), np.arange(1, 31), rtol=1e-4)


def test_length_of_the_score_vector_does_not_matter(monotonic, query, keys, random):
    """Nor in half precision, where the squares of a short one are below what float16 can hold."""
    vector = random(UNITS)
    expected = attend(monotonic(score_vector=vector), query, keys)[1]
    for factor, dtype in ((1e-3, None), (1e3, None), (1e-4, "mixed_float16")):
        weights = attend(monotonic(dtype, score_vector=factor * vector), query, keys)[1]
        np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_noise_in_training(monotonic, query, keys):
    """Section 2.5: noise on all scores, drawn beforehand; a recurrence hands each step its part."""
    layer, twin = monotonic(noise=0.5), monotonic(noise=0.5)
    exact, noisy = (attend(layer, query, keys, training=training)[1] for training in (False, True))
    assert np.abs(noisy - exact).max() > 0.02
    noise = twin.draw_noise(query, keys, training=True)
    assert noise.shape == (2, TARGET, SOURCE) and 0.3 < np.std(noise) < 0.7
    state = twin.initial_state(np.ones((2, SOURCE), bool))
    for t in range(TARGET):
        constants = {"keys": tf.constant(keys, "float32"), "values": tf.constant(keys, "float32")}
        _, weights, state = twin.step(tf.constant(query[:, t], "float32"), constants, state, noise=noise[:, t])
        np.testing.assert_allclose(weights, noisy[:, t], atol=1e-6)
    assert monotonic(noise=0.0).draw_noise(query, keys, training=True) is None
    assert layer.draw_noise(query, keys, training=False) is None


def test_initial_weights():
    """Section 2.4: g starts at 1 / sqrt(units), r as given."""
    layer = MonotonicAttention(16, score_bias=-4.0)
    layer.build((1, None, QUERY_DIM), {"keys": (1, None, 16), "values": (1, None, 2)})
    assert (float(layer.gain.numpy()), float(layer.offset.numpy())) == (0.25, -4.0)
    assert not layer.bias.numpy().any()
