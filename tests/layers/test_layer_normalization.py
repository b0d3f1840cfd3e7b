"""`Recurrent(layer_normalization=True)` against the equations of Ba et al. 2016.

The LSTM's are 20 to 22. A simple RNN normalizes the sum of the shares (equation 4), a GRU each share of the gates and
each share of the candidate by itself.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import CELLS, Recurrent

BATCH, TIME, FEATURES, UNITS = 4, 4, 3, 3

# A row without padding, one padded on the right, one on the left, and one with a gap.
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]], dtype=bool)

EPSILON = 1e-5


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


INPUTS = random(BATCH, TIME, FEATURES)


def random_states(cell):
    return [random(BATCH, UNITS, seed=7 + index) for index in range(CELLS[cell].num_states)]


def normalized(cell, reverse=False, **options):
    layer = Recurrent(UNITS, cell=cell, reverse=reverse, layer_normalization=True, **options)
    layer.build((None, None, FEATURES))
    layer.set_weights([random(*weight.shape, seed=40 + index) for index, weight in enumerate(layer.weights)])
    return layer


@pytest.fixture(params=[(cell, reverse) for cell in CELLS for reverse in (False, True)], ids=str)
def layer(request):
    return normalized(*request.param)


def parameters(layer):
    return {weight.name: np.asarray(weight.numpy(), "float64") for weight in layer.weights}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalize(row, gain):
    """`g / sigma (a - mu)` of one row (equations 3 and 4)."""
    mu = sum(row) / len(row)
    sigma = np.sqrt(sum((a - mu) ** 2 for a in row) / len(row) + EPSILON)
    return gain * (row - mu) / sigma


def one_step(cell, x, states, w):
    """One row."""
    inputs, hiddens = x @ w["kernel"], states[0] @ w["recurrent_kernel"]
    if cell == "simple_rnn":
        return [np.tanh(normalize(inputs + hiddens, w["input_gain"]) + w["bias"])]
    # `LN(W_h h; alpha_1) + LN(W_x x; alpha_2) + b` (equation 20): all four gates of an LSTM together, a GRU's two.
    width = {"lstm": 4, "gru": 2}[cell] * UNITS
    parts = [slice(0, width), slice(width, None)] if cell == "gru" else [slice(0, width)]
    inputs = np.concatenate([normalize(inputs[part], w["input_gain"][part]) for part in parts]) + w["bias"]
    hiddens = np.concatenate([normalize(hiddens[part], w["recurrent_gain"][part]) for part in parts])
    hiddens = hiddens + w.get("recurrent_bias", 0)
    inputs, hiddens = np.split(inputs, CELLS[cell].num_gates), np.split(hiddens, CELLS[cell].num_gates)
    if cell == "lstm":
        i, f, g, o = (a + b for a, b in zip(inputs, hiddens, strict=True))
        memory = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)  # equation 21
        read = normalize(memory, w["memory_gain"]) + w["memory_bias"]
        return [sigmoid(o) * np.tanh(read), memory]  # equation 22: what goes on is not normalized
    update, reset = sigmoid(inputs[0] + hiddens[0]), sigmoid(inputs[1] + hiddens[1])
    return [update * states[0] + (1 - update) * np.tanh(inputs[2] + reset * hiddens[2])]


def by_the_paper(layer, mask, inputs, states, w):
    """Outputs and final states, row by row; padded steps carry the states through."""
    outputs, final_states = np.zeros((*inputs.shape[:2], UNITS)), [state.copy() for state in states]
    for b in range(len(inputs)):
        row = [state[b] for state in states]
        for t in range(inputs.shape[1])[:: -1 if layer.reverse else 1]:
            if mask[b, t]:
                row = one_step(layer.cell, inputs[b, t], row, w)
            outputs[b, t] = row[0]
        for state, value in zip(final_states, row, strict=True):
            state[b] = value
    return [outputs, *final_states]


@pytest.mark.parametrize("time", [1, TIME])
@pytest.mark.parametrize("mask", [None, MASK], ids=["all real", "masked"])
def test_equations(layer, mask, time, assert_close):
    mask = None if mask is None else mask[:, -time:]
    inputs, states = INPUTS[:, -time:], random_states(layer.cell)
    results = layer(inputs, initial_states=states, sequence_mask=mask)
    real = np.ones((BATCH, time), bool) if mask is None else mask
    assert_close(results, by_the_paper(layer, real, inputs, states, parameters(layer)), atol=5e-6)


def test_without_states_starts_from_zeros(layer, assert_close):
    """The first step normalizes a share of exactly 0."""
    zeros = [np.zeros((BATCH, UNITS))] * CELLS[layer.cell].num_states
    assert_close(layer(INPUTS), by_the_paper(layer, np.ones_like(MASK), INPUTS, zeros, parameters(layer)), atol=5e-6)


def call(layer, mask, inputs, *states):
    return layer(inputs, initial_states=list(states), sequence_mask=mask)


def weightings(layer):
    shapes = [(BATCH, TIME, UNITS), *[(BATCH, UNITS)] * CELLS[layer.cell].num_states]
    return [random(*shape, seed=60 + index).astype("float32") for index, shape in enumerate(shapes)]


def test_gradients(layer, central_differences, weighted_gradients, assert_close):
    names = [weight.name for weight in layer.weights]
    count = CELLS[layer.cell].num_states
    weighting = weightings(layer)

    def total(inputs, *arrays):
        results = by_the_paper(layer, MASK, inputs, arrays[:count], dict(zip(names, arrays[count:], strict=True)))
        return sum((result * w).sum() for result, w in zip(results, weighting, strict=True))

    inputs = [INPUTS, *random_states(layer.cell)]
    gradients = weighted_gradients(functools.partial(call, layer, MASK), inputs, layer.weights, weighting)
    expected = central_differences(total, [*inputs, *parameters(layer).values()])
    assert_close(gradients, expected, atol=5e-5)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in gradients)


def test_gradients_of_a_graph_of_unknown_length(layer, weighted_gradients, assert_close):
    eager = functools.partial(call, layer, MASK)
    states = random_states(layer.cell)
    signature = [tf.TensorSpec((None, None, FEATURES)), *[tf.TensorSpec((None, UNITS))] * len(states)]
    graph = tf.function(eager, input_signature=signature)
    expected = weighted_gradients(eager, [INPUTS, *states], layer.weights, weightings(layer))
    assert_close(weighted_gradients(graph, [INPUTS, *states], layer.weights, weightings(layer)), expected, atol=5e-6)


def test_step_by_step_equals_whole(layer, assert_close):
    states = random_states(layer.cell)
    outputs, final_states = layer(INPUTS, initial_states=states, sequence_mask=MASK)
    steps = []
    for t in range(TIME)[:: -1 if layer.reverse else 1]:
        here = slice(t, t + 1)
        output, states = layer(INPUTS[:, here], initial_states=states, sequence_mask=MASK[:, here])
        steps.append(output)
    steps = np.concatenate(steps[:: -1 if layer.reverse else 1], axis=1)
    assert_close([steps, states], [outputs, final_states], atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(layer, side, assert_close):
    states = random_states(layer.cell)
    width = ((0, 0), (3, 0) if side == "left" else (0, 3))
    real = slice(3, None) if side == "left" else slice(None, TIME)
    inputs = np.pad(INPUTS, (*width, (0, 0)), constant_values=9.0)
    outputs, final_states = layer(inputs, initial_states=states, sequence_mask=np.pad(np.ones_like(MASK), width))
    assert_close([outputs[:, real], final_states], layer(INPUTS, initial_states=states), atol=1e-6)


def test_one_static_step_has_no_loop(layer, count_loops):
    for time, loops in ((1, 0), (None, 1)):
        graph = tf.function(layer, input_signature=[tf.TensorSpec((None, time, FEATURES))])
        assert count_loops(graph) == loops


def test_scale_of_the_inputs_does_not_matter(layer, assert_close):
    """Invariant to the scale of the weight matrices (table 1 of the paper), but for epsilon."""
    expected = layer(INPUTS)
    layer.kernel.assign(layer.kernel * 1000)
    layer.recurrent_kernel.assign(layer.recurrent_kernel * 1000)
    assert_close(layer(INPUTS), expected, atol=2e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_start_values(cell):
    layer = Recurrent(UNITS, cell=cell, layer_normalization=True)
    layer.build((None, None, FEATURES))
    plain = Recurrent(UNITS, cell=cell)
    plain.build((None, None, FEATURES))
    for name, value in parameters(layer).items():
        if name.endswith("gain"):
            assert (value == 1).all()
        elif name.endswith("bias"):
            np.testing.assert_array_equal(value, parameters(plain).get(name, 0 * value))
    added = {
        "simple_rnn": {"input_gain"},
        "lstm": {"input_gain", "recurrent_gain", "memory_gain", "memory_bias"},
        "gru": {"input_gain", "recurrent_gain"},
    }[cell]
    assert set(parameters(layer)) - set(parameters(plain)) == added


def test_equal_inputs_stay_finite(weighted_gradients):
    """Rows of a single value have a variance of 0."""
    layer = normalized("lstm")
    layer.set_weights([np.ones(weight.shape) for weight in layer.weights])
    inputs = [np.ones((BATCH, TIME, FEATURES)), *[np.zeros((BATCH, UNITS))] * 2]
    for gradient in weighted_gradients(functools.partial(call, layer, None), inputs, layer.weights, weightings(layer)):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("time", [1, TIME])
@pytest.mark.parametrize("policy, atol", [("mixed_float16", 1e-2), ("mixed_bfloat16", 8e-2)])
@pytest.mark.parametrize("cell", CELLS)
def test_half_precision(cell, policy, atol, time):
    half, layer = normalized(cell, dtype=policy), normalized(cell)
    outputs, states = half(INPUTS[:, :time], sequence_mask=MASK[:, :time])
    assert {outputs.dtype.name, *(state.dtype.name for state in states)} == {half.compute_dtype}
    expected = layer(INPUTS[:, :time], sequence_mask=MASK[:, :time])[0]
    np.testing.assert_allclose(tf.cast(outputs, "float32"), expected, atol=atol)


@pytest.mark.parametrize("cell", CELLS)
def test_large_values_in_half_precision(cell):
    """The squares of a variance overflow in float16 from 256 on; it is computed in float32."""
    outputs, states = normalized(cell, dtype="mixed_float16")(1e3 * INPUTS)
    assert np.isfinite(outputs).all() and np.isfinite(states).all()


def test_symbolic_shapes(layer):
    outputs, states = layer(keras.Input((None, FEATURES)), sequence_mask=keras.Input((None,), dtype="bool"))
    assert outputs.shape == (None, None, UNITS)
    assert [state.shape for state in states] == [(None, UNITS)] * CELLS[layer.cell].num_states


def test_config(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.layer_normalization is True
    assert again.get_config() == layer.get_config()
    assert not Recurrent(UNITS).layer_normalization
