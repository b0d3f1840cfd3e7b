"""What soft monotonic attention promises: the expectation of a hard attention that only moves forward."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import MonotonicAttention, StartAlignment

TARGET, SOURCE, UNITS, QUERY_DIM = 3, 4, 3, 5


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def monotonic(**weights):
    layer = MonotonicAttention(UNITS)
    layer.build((1, None, QUERY_DIM), (1, None, UNITS), (1, None, 2))
    for index, weight in enumerate(layer.weights):
        weight.assign(weights.get(weight.name, random(*weight.shape, seed=20 + index)))
    return layer


def stopping_probabilities(layer, query, keys):
    """`sigmoid(g v^T / |v| tanh(W s + V h_j + b) + r)`, `(target, source)`."""
    query_kernel, bias, vector, gain, offset = (np.asarray(weight.numpy(), "float64") for weight in layer.weights)
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


@pytest.mark.parametrize("mask", [[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]])
def test_expectation_of_hard_attention(mask):
    """Over all outcomes of the decisions z_ij of whether step i stops at position j, each with its probability."""
    mask = np.array([mask], dtype=bool)
    layer = monotonic()
    query, keys, memory = random(1, TARGET, QUERY_DIM), random(1, SOURCE, UNITS), random(1, SOURCE, 2)
    probabilities = np.where(mask, stopping_probabilities(layer, query[0], keys[0]), 0)
    assert 0.1 < probabilities[:, mask[0]].min() and probabilities.max() < 0.9
    expected = np.zeros((TARGET, SOURCE))
    for outcome in itertools.product([0, 1], repeat=TARGET * SOURCE):
        stops = np.reshape(outcome, (TARGET, SOURCE))
        expected += np.prod(np.where(stops, probabilities, 1 - probabilities)) * hard_attention(stops)
    context, weights, _ = layer(query, keys, memory, StartAlignment()(mask), source_mask=mask)
    np.testing.assert_allclose(weights[0], expected, atol=1e-6)
    np.testing.assert_allclose(context[0], expected @ memory[0], atol=2e-6)


def test_recurrence_of_the_paper():
    """`a_ij = p_ij ((1 - p_i,j-1) a_i,j-1 / p_i,j-1 + a_{i-1,j})` (equation 10)."""
    layer = monotonic()
    query, keys = random(1, TARGET, QUERY_DIM), random(1, SOURCE, UNITS)
    probabilities = stopping_probabilities(layer, query[0], keys[0])
    before, expected = np.eye(SOURCE)[0], np.zeros((TARGET, SOURCE))
    for i in range(TARGET):
        for j in range(SOURCE):
            passed = (1 - probabilities[i, j - 1]) * expected[i, j - 1] / probabilities[i, j - 1] if j else 0
            expected[i, j] = probabilities[i, j] * (passed + before[j])
        before = expected[i]
    _, weights, state = layer(query, keys, keys, np.eye(SOURCE)[:1])
    np.testing.assert_allclose(weights[0], expected, atol=1e-6)
    np.testing.assert_allclose(state[0], expected[-1], atol=1e-6)


def test_weight_only_moves_forward():
    layer = monotonic(offset=-2.0)
    query, keys = random(6, 8, QUERY_DIM), random(6, 9, UNITS)
    _, weights, _ = layer(query, keys, keys, StartAlignment()(np.ones((6, 9), bool)))
    behind = np.cumsum(weights, axis=-1)  # (batch, target, source): weight up to each position
    assert (np.diff(behind, axis=1) <= 1e-6).all()
    assert (np.diff(behind[:, :, -1], axis=1) < -1e-4).all()  # what runs off the end does not come back


@pytest.mark.parametrize("source", [1, 2, 1000])
def test_certain_decisions(source):
    """Scores that leave nothing to chance: p is 0 or 1 to the last bit, where a closed form would divide by 0."""
    layer = monotonic(bias=np.zeros(UNITS), query_kernel=np.zeros((QUERY_DIM, UNITS)), gain=1e4, offset=0.0)
    direction = layer.score_vector.numpy()
    keys = np.tile(-direction, (1, source, 1)).astype("float32")
    keys[0, -1] *= -1  # only the last position says stop
    inputs = [tf.constant(array, "float32") for array in (random(1, 2, QUERY_DIM), keys, keys)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        _, weights, _ = layer(*inputs, np.eye(source)[:1])
        total = tf.reduce_sum(tf.math.square(weights) * random(2, source))
    np.testing.assert_array_equal(weights[0], np.eye(source)[[-1, -1]])
    for gradient in tape.gradient(total, [*inputs, *(weight.value for weight in layer.weights)]):
        assert gradient is None or np.isfinite(gradient).all()


def test_long_sources_keep_their_weight():
    """With p = 1/2 everywhere the first step's weights are 2^-j, and later ones those of a negative binomial."""
    layer = monotonic(gain=0.0, offset=0.0)
    keys = random(1, 1000, UNITS)
    _, weights, _ = layer(random(1, 30, QUERY_DIM), keys, keys, np.eye(1000)[:1])
    weights = weights.numpy()[0]
    np.testing.assert_allclose(weights[0, :60], 0.5 ** np.arange(1, 61), rtol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
    # Each step passes on average (1 - p) / p = 1 position.
    np.testing.assert_allclose(weights @ np.arange(1000), np.arange(1, 31), rtol=1e-4)


def test_length_of_the_score_vector_does_not_matter():
    query, keys = random(2, TARGET, QUERY_DIM), random(2, SOURCE, UNITS)
    start = StartAlignment()(np.ones((2, SOURCE), bool))
    vector = random(UNITS)
    results = [monotonic(score_vector=factor * vector)(query, keys, keys, start)[1] for factor in (1e-3, 1, 1e3)]
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
    np.testing.assert_allclose(results[2], results[1], atol=1e-6)


def test_short_score_vector_in_half_precision():
    """Its squares are below what float16 can hold."""
    weights = np.full(UNITS, 1e-4)
    query, keys = random(2, TARGET, QUERY_DIM), random(2, SOURCE, UNITS)
    start = StartAlignment()(np.ones((2, SOURCE), bool))
    half = MonotonicAttention(UNITS, dtype="mixed_float16")
    half.build(query.shape, keys.shape, keys.shape)
    exact = monotonic(score_vector=weights)
    half.set_weights(exact.get_weights())
    np.testing.assert_allclose(half(query, keys, keys, start)[1], exact(query, keys, keys, start)[1], atol=1e-2)


def test_start_values():
    """Section 2.4: g starts at 1 / sqrt(units), r as given."""
    layer = MonotonicAttention(16, score_bias=-4.0)
    layer.build((1, None, QUERY_DIM), (1, None, 16), (1, None, 2))
    assert (float(layer.gain.numpy()), float(layer.offset.numpy())) == (0.25, -4.0)
    assert not layer.bias.numpy().any()
