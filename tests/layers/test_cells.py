"""One contract for all cells, in `Recurrent` and step by step, the cells of the table and one with a `step` alone."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import output_of

from kerasseq.layers import Recurrent
from kerasseq.layers.cells import CELLS

BATCH, TIME, FEATURES, UNITS = 4, 5, 3, 2

NAMES = [*CELLS, "plain_test_cell"]

KERAS_LAYERS = {
    "simple_rnn": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": functools.partial(keras.layers.GRU, reset_after=True),
}

# A row without padding, one padded on the right, one on the left, and one with a gap.
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 1, 0]], dtype=bool)

pytestmark = pytest.mark.usefixtures("plain_test_cell")


@pytest.fixture(scope="module")
def recurrent(plain_test_cell, randomize):
    """A layer whose weights, biases included, are all random."""

    def recurrent(cell, reverse=False, dtype="float64"):
        layer = Recurrent(UNITS, cell=cell, reverse=reverse, dtype=dtype)
        layer.build((None, None, FEATURES))
        return randomize(layer)

    return recurrent


@pytest.fixture(scope="module", params=[(cell, reverse) for cell in NAMES for reverse in (False, True)], ids=str)
def layer(request, recurrent):
    return recurrent(*request.param)


@pytest.fixture(scope="module")
def inputs(random):
    return random(BATCH, TIME, FEATURES)


@pytest.fixture
def state(layer, random):
    return {name: random(BATCH, UNITS, seed=7 + index) for index, name in enumerate(layer.cell.state_names)}


def call(layer, inputs, state, mask=MASK, training=None):
    return layer(inputs, initial_state=state, sequence_mask=mask, training=training)


def steps_of(layer, time=TIME):
    return range(time)[:: -1 if layer.reverse else 1]


def by_equations(layer, numpy_cell, mask, inputs, state, *weights):
    """The equations of the cell, one step after the other; masked steps carry the state."""
    if layer.cell_name == "plain_test_cell":
        kernel, bias = weights
        step = lambda x, states: [(states[0] + x @ kernel + bias) / 2]  # noqa: E731
    else:
        step = lambda x, states: numpy_cell(layer.cell_name, x, states, *weights)  # noqa: E731
    states, outputs = list(state.values()), np.zeros((*inputs.shape[:2], UNITS))
    for t in steps_of(layer, inputs.shape[1]):
        after = step(inputs[:, t], states)
        states = [np.where(mask[:, t, None], new, old) for new, old in zip(after, states, strict=True)]
        outputs[:, t] = output_of(layer.cell_name, states)
    return outputs, dict(zip(state, states, strict=True))


@pytest.mark.parametrize("time", [1, TIME])
def test_equations(layer, inputs, state, time, numpy_cell, assert_close):
    for mask in (None, MASK[:, -time:]):
        real = np.ones((BATCH, time), bool) if mask is None else mask
        expected = by_equations(layer, numpy_cell, real, inputs[:, :time], state, *layer.get_weights())
        assert_close(call(layer, inputs[:, :time], state, mask), expected, atol=1e-13)


def test_gradients(layer, inputs, state, numpy_cell, central_differences, gradients, assert_close):
    """What a cell derives by hand, and what the framework does without `training`, against differences."""

    def by_arrays(inputs, *arrays):
        after = dict(zip(state, arrays, strict=False))
        return by_equations(layer, numpy_cell, MASK, inputs, after, *arrays[len(state) :])

    expected = central_differences(by_arrays, [inputs, *state.values(), *layer.get_weights()])
    # Nests are flattened in the order of their keys.
    expected[1 : 1 + len(state)] = [gradient for _, gradient in sorted(zip(state, expected[1:], strict=False))]
    for training in (True, False):
        run = functools.partial(call, layer, training=training)
        assert_close(gradients(run, [inputs, state], layer.weights, "float64"), expected, atol=1e-8)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in expected)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", KERAS_LAYERS)
def test_equals_keras(cell, reverse, padded, recurrent, inputs, random, assert_close):
    layer = recurrent(cell, reverse)
    twin = KERAS_LAYERS[cell](UNITS, return_sequences=True, return_state=True, go_backwards=reverse, dtype="float64")
    twin.build((None, None, FEATURES))
    kernel, recurrent_kernel, *biases = layer.get_weights()
    twin.set_weights([kernel, recurrent_kernel, np.stack(biases) if cell == "gru" else biases[0]])
    mask = MASK if padded else np.ones_like(MASK)
    states = [random(BATCH, UNITS, seed=7 + index) for index in range(len(layer.cell.state_names))]
    expected, *expected_states = twin(inputs, initial_state=[tf.constant(state) for state in states], mask=mask)
    outputs, final_state = call(layer, inputs, dict(zip(layer.cell.state_names, states, strict=True)), mask)
    # Before the first real step Keras puts out zeros, Recurrent the state that it holds.
    expected = keras.ops.flip(expected, axis=1) if reverse else expected
    assert_close([outputs.numpy()[mask], list(final_state.values())], [expected.numpy()[mask], expected_states], 1e-12)


def test_without_a_state_starts_from_zeros(layer, inputs, state, assert_close):
    zeros = {name: np.zeros((BATCH, UNITS)) for name in state}
    assert_close(layer.cell.initial_state(BATCH), zeros, atol=0)
    assert_close(layer(inputs), call(layer, inputs, zeros, None), atol=0)


def test_step_by_step_equals_whole(layer, inputs, state, assert_close):
    """By calls of a static length of 1, by the cell's `step`, and by calls of the cell."""
    cell, whole = layer.cell, call(layer, inputs, state)
    calls, steps, outputs = state, state, np.zeros((BATCH, TIME, UNITS))
    for t in steps_of(layer):
        output, calls = call(layer, inputs[:, t : t + 1], calls, MASK[:, t : t + 1])
        outputs[:, t : t + 1] = output
        after = cell.step(cell.project(inputs[:, t]), steps)
        assert_close(cell(inputs[:, t], steps), after, atol=1e-14)
        steps = {name: np.where(MASK[:, t, None], after[name], steps[name]) for name in state}
    assert_close([outputs, calls], whole, atol=1e-13)
    assert_close(steps, whole[1], atol=1e-13)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(layer, inputs, state, side, assert_close):
    outputs, final_state = call(layer, inputs, state)
    width = ((0, 0), (2, 0) if side == "left" else (0, 2))
    real = slice(2, None) if side == "left" else slice(None, TIME)
    padded = np.pad(inputs, (*width, (0, 0)), constant_values=9.0)
    padded_outputs, padded_state = call(layer, padded, state, np.pad(MASK, width))
    assert_close([padded_outputs[:, real], padded_state], [outputs, final_state], atol=1e-13)


def test_parts_add_up_to_the_projection(layer, inputs, assert_close):
    cell = layer.cell
    parts = cell.project_part(inputs[..., :2], 0) + cell.project_part(inputs[..., 2:], 2)
    assert_close(parts + cell.bias, cell.project(inputs), atol=1e-14)


def test_symbolic_shapes_and_configuration(layer, inputs, state, assert_close):
    """States stay apart in a functional model."""
    sequences = keras.Input((None, FEATURES), dtype="float64")
    outputs, final_state = layer(sequences)
    assert outputs.shape == (None, None, UNITS)
    assert {name: value.shape for name, value in final_state.items()} == dict.fromkeys(state, (None, UNITS))
    assert_close(keras.Model(sequences, [outputs, final_state])(inputs), layer(inputs), atol=1e-14)
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "kerasseq>Recurrent"
    assert keras.saving.deserialize_keras_object(config).get_config() == layer.get_config()


@pytest.mark.parametrize("cell, reverse", [("simple_rnn", True), ("lstm", False), ("gru", True), ("lstm", True)])
def test_graphs(cell, reverse, recurrent, inputs, random, gradients, assert_close, count_loops, graph_nodes):
    """One loop over an unknown length and none over a static step; without training, no gradient of our own."""
    layer = recurrent(cell, reverse)
    state = {name: random(BATCH, UNITS, seed=7) for name in layer.cell.state_names}

    def traced(time, training=None):
        signature = [
            tf.TensorSpec((None, time, FEATURES), "float64"),
            {name: tf.TensorSpec((None, UNITS), "float64") for name in state},
            tf.TensorSpec((None, time), "bool"),
        ]
        run = functools.partial(call, layer, training=training)
        return tf.function(lambda *inputs: run(*inputs), input_signature=signature)

    whole, single, inference = traced(None), traced(1), traced(None, training=False)
    assert [count_loops(graph) for graph in (whole, single, inference)] == [1, 0, 1]
    has_own_gradient = [
        any(node.attr["_gradient_op_type"].s for node in graph_nodes(graph)) for graph in (whole, single, inference)
    ]
    assert has_own_gradient == [True, False, False]
    assert_close(whole(inputs, state, MASK), call(layer, inputs, state), atol=1e-13)
    in_graph = gradients(lambda *given: whole(*given, MASK), [inputs, state], layer.weights, "float64")
    eager = gradients(functools.partial(call, layer), [inputs, state], layer.weights, "float64")
    assert_close(in_graph, eager, atol=1e-12)
    outputs, after = single(inputs[:, :1], state, MASK[:, :1])
    assert_close([outputs, after], call(layer, inputs[:, :1], state, MASK[:, :1]), atol=1e-13)
    np.testing.assert_array_equal(outputs[2, 0], state["hidden"][2])  # The masked row keeps its state.


@pytest.mark.parametrize("policy, atol", [("mixed_float16", 1e-2), ("mixed_bfloat16", 8e-2)])
@pytest.mark.parametrize("cell", NAMES)
def test_half_precision(cell, policy, atol, recurrent, inputs):
    half, exact = recurrent(cell, dtype=policy), recurrent(cell, dtype="float32")
    assert half.cell.kernel.dtype == "float32"
    for time in (1, TIME):
        outputs, state = half(inputs[:, :time], sequence_mask=MASK[:, :time])
        assert {outputs.dtype.name, *(value.dtype.name for value in state.values())} == {half.compute_dtype}
        expected = exact(inputs[:, :time], sequence_mask=MASK[:, :time])[0]
        np.testing.assert_allclose(tf.cast(outputs, "float32"), expected, atol=atol)


def test_initial_weights():
    for name in KERAS_LAYERS:
        cell = CELLS[name](UNITS)
        cell.build((None, FEATURES))
        # The forget gate of an LSTM is the second block.
        assert cell.bias.numpy().tolist() == ([0, 0, 1, 1, 0, 0, 0, 0] if name == "lstm" else [0] * cell.width)


@pytest.mark.parametrize("name", CELLS)
def test_initial_kernels_of_gates(name):
    """Each gate has a matrix of Glorot and Bengio 2010, equation 16, and an orthogonal one, of its own."""
    features, units = 96, 64
    keras.utils.set_random_seed(1)
    cell = CELLS[name](units)
    cell.build((None, features))
    limit = np.sqrt(6 / (features + units))
    gates = np.split(cell.kernel.numpy(), cell.num_gates, axis=1)
    for gate in gates:
        assert 0.99 * limit < np.abs(gate).max() <= limit
        assert gate.std() == pytest.approx(limit / np.sqrt(3), rel=0.03)
    assert len({gate.tobytes() for gate in gates}) == cell.num_gates
    if name == "ssru":
        return
    recurrent_gates = np.split(cell.recurrent_kernel.numpy(), cell.num_gates, axis=1)
    for gate in recurrent_gates:
        np.testing.assert_allclose(gate @ gate.T, np.eye(units), atol=1e-5)
    assert len({gate.tobytes() for gate in recurrent_gates}) == cell.num_gates


def test_initial_weights_follow_the_seed():
    kernels = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        cell = CELLS["gru"](UNITS)
        cell.build((None, FEATURES))
        kernels.append((cell.kernel.numpy().tobytes(), cell.recurrent_kernel.numpy().tobytes()))
    assert kernels[0] == kernels[1]
    assert kernels[0][0] != kernels[2][0] and kernels[0][1] != kernels[2][1]


@pytest.mark.parametrize("units", [0, -1, 2.0, "2", None, True])
def test_bad_arguments(units):
    with pytest.raises(ValueError, match=f"units must be a positive integer. Received: units={units!r}."):
        Recurrent(units)
    with pytest.raises(ValueError, match="cell must be one of 'simple_rnn', 'lstm', 'gru'.* Received: cell='rnn'."):
        Recurrent(UNITS, cell="rnn")
