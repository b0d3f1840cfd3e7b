import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers.linear_recurrence import by_blocks, by_doubling, linear_recurrence

BATCH = 3
LENGTHS = [1, 2, 3, 7, 8, 64, 300]


def by_loop(decay, inputs):
    """`y_j = d_j y_{j-1} + x_j`, `y_0 = x_0`, in float64."""
    outputs, y = np.zeros(np.shape(inputs)), np.zeros(len(inputs))
    for j in range(np.shape(inputs)[1]):
        y = decay[:, j] * y + inputs[:, j]
        outputs[:, j] = y
    return outputs


def make(time):
    random = np.random.default_rng(time)
    return random.uniform(0, 1, (BATCH, time)), random.normal(size=(BATCH, time))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("time", LENGTHS)
def test_equals_loop(time, dtype, tolerance):
    decay, inputs = make(time)
    outputs = linear_recurrence(tf.constant(decay, dtype), tf.constant(inputs, dtype))
    assert outputs.dtype == dtype
    np.testing.assert_allclose(outputs, by_loop(decay, inputs), atol=tolerance)


def test_decay_may_be_anything():
    """Above 1, below 0, or exactly 0; the first decay meets nothing."""
    decay = np.array([[9.0, 2.0, -0.5, 0.0, 3.0, 1.0]])
    inputs = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    outputs = linear_recurrence(tf.constant(decay), tf.constant(inputs))
    np.testing.assert_array_equal(outputs, [[1, 4, 1, 4, 17, 23]])


@pytest.mark.parametrize("time", [1, 2, 3, 7, 8, 32])
def test_gradients(time, central_differences, gradients, assert_close):
    expected = central_differences(by_loop, list(make(time)))
    assert_close(gradients(linear_recurrence, make(time), dtype="float64"), expected, atol=1e-8)


def test_gradients_of_a_long_sequence(gradients, assert_close):
    """Against what TensorFlow derives for the loop, one step after the other."""

    def loop(decay, inputs):
        outputs, y = [], tf.zeros(BATCH, "float64")
        for j in range(300):
            y = decay[:, j] * y + inputs[:, j]
            outputs.append(y)
        return tf.stack(outputs, axis=1)

    assert_close(*(gradients(run, make(300), dtype="float64") for run in (linear_recurrence, loop)), atol=1e-11)


def test_gradients_in_a_graph_of_unknown_length(gradients, assert_close):
    graph = tf.function(linear_recurrence, input_signature=[tf.TensorSpec((None, None))] * 2)
    for time in (1, 5, 300):
        assert_close(*(gradients(run, make(time)) for run in (graph, linear_recurrence)), atol=1e-5)


@pytest.mark.parametrize("first", [1e-6, 0.0, 1e-30])
def test_nothing_underflows(first, gradients):
    """The closed form divides by cumulative products, here of 1e-6 to the power of 20: what comes later is lost."""
    decay = np.where(np.arange(200) < 20, first, 0.9)[None].astype("float32")
    inputs = np.zeros((1, 200), "float32")
    inputs[0, [0, 30, 150]] = 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        products = np.cumprod(decay, axis=1)
        closed_form = products * np.cumsum(inputs / products, axis=1)
    assert not np.allclose(closed_form, by_loop(decay, inputs), atol=0.1)
    outputs = linear_recurrence(decay, inputs)
    np.testing.assert_allclose(outputs, by_loop(np.float64(decay), inputs), rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(outputs[0, 160], 0.9**10 + 0.9**130, rtol=1e-5)
    for gradient in gradients(linear_recurrence, [decay, inputs]):
        assert np.isfinite(gradient).all()


def test_logarithmic_number_of_rounds(monkeypatch):
    """A loop over 1,000 positions would take 1,000 rounds."""
    rounds = []
    take = keras.ops.take
    monkeypatch.setattr(keras.ops, "take", lambda *args, **options: rounds.append(1) or take(*args, **options))
    linear_recurrence(tf.ones((1, 1000)), tf.ones((1, 1000)))
    assert len(rounds) == 2 * 10  # of the decay and of the outputs


# === In blocks ===


@pytest.mark.parametrize("time", [1, 2, 7, 8, 9, 64, 300])
def test_blocks_equal_loop(time):
    """Along the first of three axes, in a graph of unknown length too, and so do the gradients."""
    random = np.random.default_rng(time)
    decay, inputs = random.uniform(0, 1, (time, 2, 3)), random.normal(size=(time, 2, 3))
    rows = [np.moveaxis(array, 0, -1).reshape(6, time) for array in (decay, inputs)]
    expected = np.moveaxis(by_loop(*rows).reshape(2, 3, time), -1, 0)
    first = functools.partial(by_blocks, axis=0)
    graph = tf.function(first, input_signature=[tf.TensorSpec((None, None, 3), "float64")] * 2)
    for run in (first, graph):
        np.testing.assert_allclose(run(tf.constant(decay), tf.constant(inputs)), expected, atol=1e-13)
    np.testing.assert_allclose(by_blocks(*map(tf.constant, rows)), by_loop(*rows), atol=1e-13)


@pytest.mark.parametrize("time", [1, 8, 30])
def test_gradients_of_blocks(time, gradients, assert_close):
    random = np.random.default_rng(time)
    arrays = [random.uniform(0, 1, (time, 2, 3)), random.normal(size=(time, 2, 3))]
    by_solver = [
        gradients(functools.partial(linear_recurrence, axis=0, solve=solve), arrays, dtype="float64")
        for solve in (by_blocks, by_doubling)
    ]
    assert_close(*by_solver, atol=1e-12)
