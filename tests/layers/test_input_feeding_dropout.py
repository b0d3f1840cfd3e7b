"""Dropout within input feeding: scale, independence, and that what is fed back is what was put out."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import InputFeeding

BATCH, TARGET, SOURCE, FEATURES, UNITS, ATTENTIONAL, DIM = 64, 3, 4, 3, 8, 10, 6

RATE = 0.25


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


SEQUENCES, KEYS, MEMORY = random(BATCH, TARGET, FEATURES), random(BATCH, SOURCE, UNITS), random(BATCH, SOURCE, DIM)


def feeding(num_layers=1, dropout=RATE, **options):
    keras.utils.set_random_seed(3)
    return InputFeeding(UNITS, ATTENTIONAL, cell="gru", num_layers=num_layers, dropout=dropout, **options)


def call(layer, sequences=SEQUENCES, states=None, **options):
    if states is None:
        states = [random(BATCH, UNITS, seed=i) for i in range(layer.num_layers)] + [random(BATCH, ATTENTIONAL)]
    return layer(sequences, states, KEYS, MEMORY, **options)


@pytest.mark.parametrize("residual", [False, True])
def test_inference_drops_nothing(residual, assert_close):
    layer, plain = feeding(2, residual=residual), feeding(2, dropout=0.0, residual=residual)
    call(layer), call(plain)
    plain.set_weights(layer.get_weights())
    expected = call(plain)
    for options in ({}, {"training": False}):
        assert_close(call(layer, **options), expected, atol=0)
    assert_close(call(plain, training=True), expected, atol=0)
    assert np.abs(call(layer, training=True)[0] - expected[0]).max() > 0.1


def test_draws_differ():
    layer = feeding()
    first, second = call(layer, training=True)[0], call(layer, training=True)[0]
    assert np.abs(first - second).max() > 0.1
    call(again := feeding(), training=True)
    np.testing.assert_array_equal(call(again, training=True)[0], second)  # the seed decides
    dropped = first.numpy() == 0
    assert (dropped != dropped[:, :1]).any() and (dropped != dropped[:1]).any() and (dropped != dropped[..., :1]).any()


def test_scale_of_the_result():
    """Where h~ depends on nothing that is dropped, it is 0 or 1 / (1 - rate) times what it is in inference."""
    layer = feeding()
    call(layer)
    kernel = layer.attentional.kernel.numpy()
    kernel[DIM:] = 0  # h_t has no say
    layer.attentional.kernel.assign(kernel)
    layer.attentional.bias.assign(random(ATTENTIONAL))
    memory = np.tile(MEMORY[:, :1], (1, SOURCE, 1))  # wherever one looks, the context is the same
    states = [random(BATCH, UNITS), random(BATCH, ATTENTIONAL)]
    expected = layer(SEQUENCES, states, KEYS, memory)[0]
    ratio = layer(SEQUENCES, states, KEYS, memory, training=True)[0] / expected
    assert_shares(ratio.numpy(), 1 / (1 - RATE), 1 - RATE)


def test_scale_of_the_layers():
    """Where h~ is all but linear in h_t, two masks of their own meet in it: the layer's and its own."""
    layer = feeding()
    call(layer)
    kernel = np.zeros((DIM + UNITS, ATTENTIONAL))
    kernel[DIM:, :UNITS] = 1e-3 * np.eye(UNITS)
    layer.attentional.kernel.assign(kernel)
    ratio = call(layer, SEQUENCES[:, :1], training=True)[0] / call(layer, SEQUENCES[:, :1])[0]
    assert_shares(ratio.numpy()[..., :UNITS], 1 / (1 - RATE) ** 2, (1 - RATE) ** 2)


def assert_shares(ratio, scale, share):
    """The numbers are 0 or `scale`; `share` of them are not 0, so the mean is 1."""
    kept = ratio > 0.5
    np.testing.assert_allclose(ratio[kept], scale, rtol=1e-4)
    assert not ratio[~kept].any()
    deviation = np.sqrt(share * (1 - share) / ratio.size)
    assert abs(kept.mean() - share) < 4 * deviation and abs(ratio.mean() - 1) < 4 * deviation * scale


@pytest.mark.parametrize("num_layers", [1, 2])
def test_what_was_dropped_is_fed_back(num_layers):
    """The first layer's states can be computed from the results alone: its cell, the tokens, and h~ as put out."""
    layer = feeding(num_layers)
    outputs, _, states = call(layer, training=True)
    assert 0.2 < np.mean(outputs == 0) < 0.3
    np.testing.assert_array_equal(states[-1], outputs[:, -1])
    cell, state, fed_back = layer.recurrent[0], [random(BATCH, UNITS, seed=0)], random(BATCH, ATTENTIONAL)
    for t in range(TARGET):
        state = cell.step(cell.project(tf.concat([SEQUENCES[:, t], fed_back], axis=-1)), state)
        fed_back = outputs[:, t]
    np.testing.assert_allclose(states[0], state[0], atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    layer = feeding(2, dtype=policy)
    outputs, weights, states = call(layer, training=True)
    assert {outputs.dtype.name, *(state.dtype.name for state in states)} == {layer.compute_dtype}
    assert weights.dtype == tf.float32
    assert 0.2 < np.mean(outputs == 0) < 0.3


def test_gradients_in_a_graph():
    """Dropped units get no gradient, and every weight gets one."""
    layer = feeding(2, residual=True)
    call(layer)

    @tf.function(input_signature=[tf.TensorSpec((None, None, FEATURES))])
    def gradients(sequences):
        with tf.GradientTape() as tape:
            outputs = call(layer, sequences, training=True)[0]
            total = tf.reduce_sum(outputs * random(BATCH, TARGET, ATTENTIONAL))
        return tape.gradient(total, [weight.value for weight in layer.trainable_weights])

    first, second = gradients(SEQUENCES), gradients(SEQUENCES)
    for weight, one, other in zip(layer.trainable_weights, first, second, strict=True):
        assert np.isfinite(one).all() and np.abs(one).max() > 1e-3, weight.path
        assert np.abs(one - other).max() > 1e-4, weight.path
