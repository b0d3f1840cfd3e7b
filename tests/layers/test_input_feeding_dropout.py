"""Dropout within input feeding: scale, independence, and that what is fed back is what was put out."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import InputFeeding, LuongAttention

BATCH, TARGET, SOURCE, FEATURES, UNITS, ATTENTIONAL, DIM = 64, 3, 4, 3, 8, 10, 6

RATE = 0.25


@pytest.fixture(scope="module")
def arrays(random):
    return random(BATCH, TARGET, FEATURES), random(BATCH, SOURCE, UNITS), random(BATCH, SOURCE, DIM)


@pytest.fixture
def feeding():
    """A function that makes a layer, always with the same weights."""

    def feeding(num_layers=1, dropout=RATE, **options):
        keras.utils.set_random_seed(3)
        options = {"cell": "gru", "num_layers": num_layers, "dropout": dropout, **options}
        layer = InputFeeding(UNITS, LuongAttention(UNITS, dtype=options.get("dtype")), ATTENTIONAL, **options)
        layer.build((BATCH, None, FEATURES), {"keys": (BATCH, SOURCE, UNITS), "values": (BATCH, SOURCE, DIM)})
        return layer

    return feeding


@pytest.fixture
def call(arrays, random):
    """A function that runs a layer from a random state."""

    def call(layer, sequences=None, memory=None, **options):
        tokens, keys, values = arrays
        states = [{"hidden": random(BATCH, UNITS, seed=index)} for index in range(layer.num_layers)]
        state = {"layers": states, "attentional": random(BATCH, ATTENTIONAL), "attention": {}}
        constants = {"keys": keys, "values": values if memory is None else memory}
        return layer(tokens if sequences is None else sequences, state, constants, **options)

    return call


@pytest.mark.parametrize("residual", [False, True])
def test_inference_drops_nothing(residual, feeding, call, assert_close):
    layer, plain = feeding(2, residual=residual), feeding(2, dropout=0.0, residual=residual)
    plain.set_weights(layer.get_weights())
    expected = call(plain)
    for options in ({}, {"training": False}):
        assert_close(call(layer, **options), expected, atol=0)
    assert_close(call(plain, training=True), expected, atol=0)
    assert np.abs(call(layer, training=True)[0] - expected[0]).max() > 0.1


def test_draws_differ(feeding, call):
    layer, again = feeding(), feeding()
    first, second = call(layer, training=True)[0], call(layer, training=True)[0]
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(call(again, training=True)[0], first)  # The seed decides.
    dropped = first.numpy() == 0
    assert (dropped != dropped[:, :1]).any() and (dropped != dropped[:1]).any() and (dropped != dropped[..., :1]).any()


def test_scale_of_the_result(feeding, call, arrays, random):
    """Where h~ depends on nothing that is dropped, it is 0 or 1 / (1 - rate) times what it is in inference."""
    layer = feeding()
    kernel = layer.attentional.kernel.numpy()
    kernel[DIM:] = 0  # h_t has no say.
    layer.attentional.kernel.assign(kernel)
    layer.attentional.bias.assign(random(ATTENTIONAL))
    memory = np.tile(arrays[2][:, :1], (1, SOURCE, 1))  # Wherever one looks, the context is the same.
    ratio = call(layer, memory=memory, training=True)[0] / call(layer, memory=memory)[0]
    assert_shares(ratio.numpy(), 1 / (1 - RATE), 1 - RATE)


def test_scale_of_the_layers(feeding, call, arrays):
    """Where h~ is all but linear in h_t, two masks of their own meet in it: the layer's and its own."""
    layer, sequences = feeding(), arrays[0][:, :1]
    kernel = np.zeros((DIM + UNITS, ATTENTIONAL))
    kernel[DIM:, :UNITS] = 1e-3 * np.eye(UNITS)
    layer.attentional.kernel.assign(kernel)
    ratio = call(layer, sequences, training=True)[0] / call(layer, sequences)[0]
    assert_shares(ratio.numpy()[..., :UNITS], 1 / (1 - RATE) ** 2, (1 - RATE) ** 2)


def assert_shares(ratio, scale, share):
    """The numbers are 0 or `scale`; `share` of them are not 0, so the mean is 1."""
    kept = ratio > 0.5
    np.testing.assert_allclose(ratio[kept], scale, rtol=1e-4)
    assert not ratio[~kept].any()
    deviation = np.sqrt(share * (1 - share) / ratio.size)
    assert abs(kept.mean() - share) < 4 * deviation and abs(ratio.mean() - 1) < 4 * deviation * scale


@pytest.mark.parametrize("num_layers", [1, 2])
def test_what_was_dropped_is_fed_back(num_layers, feeding, call, arrays, random, assert_close):
    """The first layer's states can be computed from the results alone: its cell, the tokens, and h~ as put out."""
    layer = feeding(num_layers)
    outputs, _, after = call(layer, training=True)
    assert 0.2 < np.mean(outputs == 0) < 0.3
    np.testing.assert_array_equal(after["attentional"], outputs[:, -1])
    cell, sequences = layer.recurrent[0].cell, tf.constant(arrays[0], "float32")
    state, fed_back = {"hidden": tf.constant(random(BATCH, UNITS), "float32")}, random(BATCH, ATTENTIONAL)
    for t in range(TARGET):
        state = cell.step(cell.project(tf.concat([sequences[:, t], fed_back], axis=-1)), state)
        fed_back = outputs[:, t]
    assert_close(after["layers"][0], state, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy, feeding, call):
    layer = feeding(2, dtype=policy)
    outputs, weights, state = call(layer, training=True)
    assert {result.dtype.name for result in tf.nest.flatten([outputs, state])} == {layer.compute_dtype}
    assert weights.dtype == tf.float32
    assert 0.2 < np.mean(outputs == 0) < 0.3


def test_gradients_in_a_graph(feeding, call, arrays, random):
    """Dropped units get no gradient, and every weight gets one."""
    layer = feeding(2, residual=True)

    @tf.function(input_signature=[tf.TensorSpec((None, None, FEATURES))])
    def gradients(sequences):
        with tf.GradientTape() as tape:
            outputs = call(layer, sequences, training=True)[0]
            total = tf.reduce_sum(outputs * random(BATCH, TARGET, ATTENTIONAL))
        return tape.gradient(total, [weight.value for weight in layer.trainable_weights])

    first, second = gradients(arrays[0]), gradients(arrays[0])
    for weight, one, other in zip(layer.trainable_weights, first, second, strict=True):
        assert np.isfinite(one).all() and np.abs(one).max() > 1e-3, weight.path
        assert np.abs(one - other).max() > 1e-4, weight.path
