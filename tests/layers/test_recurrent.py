import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import CELLS, Recurrent
from kerasseq.layers import recurrent as recurrent_module

BATCH, TIME, FEATURES, UNITS = 4, 5, 3, 2

KERAS_LAYERS = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}

# A row without padding, one padded on the right, one on the left, and one with a gap.
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 1, 0]], dtype=bool)


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def random_states(cell, batch=BATCH):
    return [random(batch, UNITS, seed=7 + index) for index in range(CELLS[cell].num_states)]


def recurrent(cell, reverse=False):
    """A layer in float64 whose weights, biases included, are all random."""
    layer = Recurrent(UNITS, cell=cell, reverse=reverse, dtype="float64")
    layer.build((None, None, FEATURES))
    layer.set_weights([random(*weight.shape, seed=index) for index, weight in enumerate(layer.weights)])
    return layer


def keras_twin(layer):
    """The layer of Keras with the same weights."""
    options = {"reset_after": True} if layer.cell == "gru" else {}
    twin = KERAS_LAYERS[layer.cell](
        UNITS, return_sequences=True, return_state=True, go_backwards=layer.reverse, dtype="float64", **options
    )
    twin.build((None, None, FEATURES))
    kernel, recurrent_kernel, *biases = layer.get_weights()
    twin.set_weights([kernel, recurrent_kernel, np.stack(biases) if layer.cell == "gru" else biases[0]])
    return twin


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_step(cell, x, states, weights):
    """The equations of one step, gate by gate."""
    kernel, recurrent_kernel, bias, *recurrent_bias = weights
    block = [slice(index * UNITS, (index + 1) * UNITS) for index in range(4)]
    if cell == "simple_rnn":
        (hidden,) = states
        both = np.concatenate([hidden, x], axis=-1)
        return [np.tanh(both @ np.concatenate([recurrent_kernel, kernel]) + bias)]  # tanh(W [h; x] + b)

    def gate(index, hidden):
        return x @ kernel[:, block[index]] + hidden @ recurrent_kernel[:, block[index]] + bias[block[index]]

    if cell == "lstm":
        hidden, memory = states
        memory = sigmoid(gate(1, hidden)) * memory + sigmoid(gate(0, hidden)) * np.tanh(gate(2, hidden))
        return [sigmoid(gate(3, hidden)) * np.tanh(memory), memory]

    (hidden,) = states
    update = sigmoid(gate(0, hidden) + recurrent_bias[0][block[0]])
    reset = sigmoid(gate(1, hidden) + recurrent_bias[0][block[1]])
    inner = hidden @ recurrent_kernel[:, block[2]] + recurrent_bias[0][block[2]]
    candidate = np.tanh(x @ kernel[:, block[2]] + bias[block[2]] + reset * inner)
    return [update * hidden + (1 - update) * candidate]


def outputs_and_gradients(layer, inputs, run, weighting, state_weighting):
    """Outputs in time order, final states, and gradients of a weighted sum of both, by inputs and by weights."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs, *states = run(layer)
        total = tf.reduce_sum(outputs * weighting)
        total += sum(tf.reduce_sum(state * w) for state, w in zip(states, state_weighting, strict=True))
    weights = [weight.value for weight in layer.trainable_weights]
    return outputs, states, tape.gradient(total, [*inputs, *weights])


@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_equals_keras(cell, reverse, with_mask, with_states):
    layer = recurrent(cell, reverse)
    twin = keras_twin(layer)
    inputs = tf.constant(random(BATCH, TIME, FEATURES))
    mask = tf.constant(MASK) if with_mask else None
    states = [tf.constant(state) for state in random_states(cell)] if with_states else None
    # Before the first real step Keras puts out zeros, Recurrent the state that it holds: compare the real steps there.
    compared = MASK if with_mask and with_states else np.ones_like(MASK)
    weighting = random(BATCH, TIME, UNITS, seed=3) * compared[:, :, None]
    state_weighting = [random(BATCH, UNITS, seed=4 + index) for index in range(CELLS[cell].num_states)]

    def run(layer):
        outputs, final_states = layer(inputs, initial_states=states, sequence_mask=mask)
        return [outputs, *final_states]

    def run_keras(twin):
        initial_state = states if states is None or len(states) > 1 else states[0]
        outputs, *final_states = twin(inputs, initial_state=initial_state, mask=mask)
        return [keras.ops.flip(outputs, axis=1) if reverse else outputs, *final_states]

    watched = [inputs, *(states or [])]
    outputs, final, gradients = outputs_and_gradients(layer, watched, run, weighting, state_weighting)
    expected, expected_final, expected_gradients = outputs_and_gradients(
        twin, watched, run_keras, weighting, state_weighting
    )
    np.testing.assert_allclose(outputs.numpy()[compared], expected.numpy()[compared], atol=1e-12)
    np.testing.assert_allclose(final, expected_final, atol=1e-12)
    if cell == "gru":
        *gradients, bias, recurrent_bias = gradients
        gradients.append(tf.stack([bias, recurrent_bias]))
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-11)


@pytest.mark.parametrize("time", [1, TIME])
@pytest.mark.parametrize("cell", CELLS)
def test_equations(cell, time):
    layer = recurrent(cell)
    inputs, states = random(BATCH, time, FEATURES), random_states(cell)
    outputs, final_states = layer(inputs, initial_states=states)
    expected = []
    for step in range(time):
        states = numpy_step(cell, inputs[:, step], states, layer.get_weights())
        expected.append(states[0])
    np.testing.assert_allclose(outputs, np.stack(expected, axis=1), atol=1e-13)
    np.testing.assert_allclose(final_states, states, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_without_states_starts_from_zeros(cell):
    layer = recurrent(cell)
    inputs = random(BATCH, TIME, FEATURES)
    zeros = [np.zeros((BATCH, UNITS))] * CELLS[cell].num_states
    np.testing.assert_array_equal(layer(inputs)[0], layer(inputs, initial_states=zeros)[0])


def traced(layer, time):
    """A graph over `(batch, time, features)` with mask and states."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, time, FEATURES), "float64"),
            tf.TensorSpec((None, time), "bool"),
            [tf.TensorSpec((None, UNITS), "float64")] * CELLS[layer.cell].num_states,
        ]
    )
    def call(sequences, mask, states):
        return layer(sequences, initial_states=states, sequence_mask=mask)

    return call


def has_loop(function):
    definition = function.get_concrete_function().graph.as_graph_def()
    nodes = [*definition.node, *(node for part in definition.library.function for node in part.node_def)]
    return any("While" in node.op for node in nodes)


@pytest.mark.parametrize("cell", CELLS)
def test_one_static_step_has_no_loop(cell):
    layer = recurrent(cell)
    single, whole = traced(layer, 1), traced(layer, None)
    assert not has_loop(single)
    assert has_loop(whole)
    inputs, mask, states = random(BATCH, 1, FEATURES), MASK[:, :1], random_states(cell)
    assert not mask.all()
    outputs, after = single(inputs, mask, states)
    expected, expected_after = whole(inputs, mask, states)
    np.testing.assert_allclose(outputs, expected, atol=1e-15)
    np.testing.assert_allclose(after, expected_after, atol=1e-15)
    np.testing.assert_array_equal(outputs[2, 0], states[0][2])  # the masked row keeps its state


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_nothing(cell, reverse, side):
    layer = recurrent(cell, reverse)
    inputs, states = random(BATCH, TIME, FEATURES), random_states(cell)
    outputs, final_states = layer(inputs, initial_states=states)
    width = ((0, 0), (2, 0) if side == "left" else (0, 2))
    real = slice(2, None) if side == "left" else slice(None, TIME)
    padded_outputs, padded_states = layer(
        np.pad(inputs, (*width, (0, 0)), constant_values=9.0),
        initial_states=states,
        sequence_mask=np.pad(np.ones((BATCH, TIME), bool), width),
    )
    np.testing.assert_allclose(padded_outputs[:, real], outputs, atol=1e-12)
    np.testing.assert_allclose(padded_states, final_states, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_step_by_step_equals_whole_sequence(cell):
    layer = recurrent(cell)
    inputs, states = random(BATCH, TIME, FEATURES), random_states(cell)
    whole, final_states = layer(inputs, initial_states=states, sequence_mask=MASK)
    steps = []
    for step in range(TIME):
        here = slice(step, step + 1)
        output, states = layer(inputs[:, here], initial_states=states, sequence_mask=MASK[:, here])
        steps.append(output)
    np.testing.assert_allclose(np.concatenate(steps, axis=1), whole, atol=1e-13)
    np.testing.assert_allclose(states, final_states, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_symbolic_shapes(cell):
    outputs, states = Recurrent(UNITS, cell=cell)(keras.Input((None, FEATURES)))
    assert outputs.shape == (None, None, UNITS)
    assert [state.shape for state in states] == [(None, UNITS)] * CELLS[cell].num_states


@pytest.mark.parametrize("cell", CELLS)
def test_states_stay_apart_in_a_functional_model(cell):
    layer = recurrent(cell)
    sequences = keras.Input((None, FEATURES), dtype="float64")
    model = keras.Model(sequences, layer(sequences))
    inputs = random(BATCH, TIME, FEATURES)
    outputs, states = model(inputs)
    expected_outputs, expected_states = layer(inputs)
    np.testing.assert_allclose(outputs, expected_outputs, atol=1e-13)
    np.testing.assert_allclose(states, expected_states, atol=1e-13)
    assert len({state.numpy().tobytes() for state in states}) == CELLS[cell].num_states


def test_initial_weights():
    layer = Recurrent(UNITS, cell="lstm")
    layer.build((None, None, FEATURES))
    assert layer.bias.numpy().tolist() == [0, 0, 1, 1, 0, 0, 0, 0]  # the forget gate is the second block
    recurrent_kernel = layer.recurrent_kernel.numpy()
    np.testing.assert_allclose(recurrent_kernel @ recurrent_kernel.T, np.eye(UNITS), atol=1e-6)
    for cell in ("simple_rnn", "gru"):
        layer = Recurrent(UNITS, cell=cell)
        layer.build((None, None, FEATURES))
        assert not layer.bias.numpy().any()


@pytest.mark.parametrize("cell", CELLS)
def test_config(cell):
    layer = Recurrent(UNITS, cell=cell, reverse=True, name="backward")
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "kerasseq>Recurrent"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.units, again.cell, again.reverse, again.name) == (UNITS, cell, True, "backward")


def test_half_precision():
    layer = Recurrent(UNITS, cell="lstm", dtype="mixed_float16")
    outputs, states = layer(random(BATCH, TIME, FEATURES), sequence_mask=MASK)
    assert layer.kernel.dtype == "float32"
    assert [outputs.dtype, *(state.dtype for state in states)] == [tf.float16] * 3
    exact = Recurrent(UNITS, cell="lstm")
    exact.build((None, None, FEATURES))
    exact.set_weights(layer.get_weights())
    expected = exact(random(BATCH, TIME, FEATURES), sequence_mask=MASK)[0]
    np.testing.assert_allclose(tf.cast(outputs, "float32"), expected, atol=5e-3)


def test_unknown_cell():
    with pytest.raises(ValueError, match="cell must be one of 'simple_rnn', 'lstm', 'gru'. Received: cell='rnn'."):
        Recurrent(UNITS, cell="rnn")


@pytest.mark.parametrize("units", [0, -1, 2.0, "2", None, True])
def test_bad_units(units):
    with pytest.raises(ValueError, match=f"units must be a positive integer. Received: units={units!r}."):
        Recurrent(units)


def test_example():
    result = doctest.testmod(recurrent_module)
    assert result.attempted and not result.failed
