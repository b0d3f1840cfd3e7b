import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import CELLS, RecurrentAttention
from kerasseq.layers import recurrent_attention as recurrent_attention_module

BATCH, TARGET, SOURCE, FEATURES, UNITS, DIM = 2, 4, 3, 3, 2, 5

MASK = np.array([[1, 1, 1], [1, 1, 0]], dtype=bool)


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


SEQUENCES, KEYS, MEMORY = random(BATCH, TARGET, FEATURES), random(BATCH, SOURCE, UNITS), random(BATCH, SOURCE, DIM)


def random_states(cell):
    return [random(BATCH, UNITS, seed=7 + index) for index in range(CELLS[cell].num_states)]


@pytest.fixture(scope="module", params=CELLS)
def layer(request):
    layer = RecurrentAttention(UNITS, cell=request.param)
    states_shape = [(BATCH, UNITS)] * CELLS[request.param].num_states
    layer.build((BATCH, None, FEATURES), states_shape, KEYS.shape, MEMORY.shape)
    for index, weight in enumerate(layer.weights):
        weight.assign(random(*weight.shape, seed=20 + index))
    return layer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell_step(cell, x, states, kernel, recurrent_kernel, bias, recurrent_bias):
    if cell == "simple_rnn":
        return [np.tanh(x @ kernel + states[0] @ recurrent_kernel + bias)]
    inputs = np.split(x @ kernel + bias, CELLS[cell].num_gates, axis=-1)
    hiddens = np.split(states[0] @ recurrent_kernel + recurrent_bias, CELLS[cell].num_gates, axis=-1)
    if cell == "lstm":
        i, f, g, o = (a + b for a, b in zip(inputs, hiddens, strict=True))
        memory = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(memory), memory]
    update, reset = sigmoid(inputs[0] + hiddens[0]), sigmoid(inputs[1] + hiddens[1])
    return [update * states[0] + (1 - update) * np.tanh(inputs[2] + reset * hiddens[2])]


def numpy_loop(layer, states, mask):
    """`e_ij = v^T tanh(W s_{i-1} + U h_j)`, `c_i = sum_j a_ij h_j`, `s_i = f(s_{i-1}, [y; c_i])`."""
    recurrent = layer.recurrent
    weights = [np.float64(w.numpy()) for w in (recurrent.kernel, recurrent.recurrent_kernel, recurrent.bias)]
    weights.append(0 if recurrent.recurrent_bias is None else np.float64(recurrent.recurrent_bias.numpy()))
    query_kernel, score_vector = (np.float64(w.numpy()) for w in layer.attention.weights)
    hiddens, contexts, alignments = [], [], []
    for i in range(TARGET):
        energies = np.tanh((states[0] @ query_kernel)[:, None] + KEYS) @ score_vector  # (batch, source)
        exponentials = np.exp(energies) * mask
        alignment = exponentials / exponentials.sum(axis=-1, keepdims=True)
        context = np.einsum("bs,bsd->bd", alignment, MEMORY)
        states = cell_step(layer.cell, np.concatenate([SEQUENCES[:, i], context], axis=-1), states, *weights)
        hiddens.append(states[0])
        contexts.append(context)
        alignments.append(alignment)
    return [np.stack(steps, axis=1) for steps in (hiddens, contexts, alignments)] + [states]


def assert_close(results, expected, atol):
    for result, reference in zip(tf.nest.flatten(results), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(result, reference, atol=atol)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all real", "masked"])
def test_equations(layer, mask):
    states = random_states(layer.cell)
    results = layer(SEQUENCES, states, KEYS, MEMORY, source_mask=mask)
    assert_close(results, numpy_loop(layer, states, np.ones_like(MASK) if mask is None else mask), atol=2e-6)


def test_step_by_step_equals_whole(layer):
    states = random_states(layer.cell)
    *whole, final_states = layer(SEQUENCES, states, KEYS, MEMORY, source_mask=MASK)
    steps = []
    for i in range(TARGET):
        *step, states = layer(SEQUENCES[:, i : i + 1], states, KEYS, MEMORY, source_mask=MASK)
        steps.append(step)
    assert_close([np.concatenate(parts, axis=1) for parts in zip(*steps, strict=True)], whole, atol=1e-6)
    assert_close(states, final_states, atol=1e-6)


def test_source_padding_changes_nothing(layer):
    states = random_states(layer.cell)
    outputs, contexts, weights, final_states = layer(SEQUENCES, states, KEYS, MEMORY, source_mask=MASK)
    padding = ((0, 0), (0, 2))
    padded = layer(
        SEQUENCES,
        states,
        np.pad(KEYS, (*padding, (0, 0)), constant_values=9.0),
        np.pad(MEMORY, (*padding, (0, 0)), constant_values=9.0),
        source_mask=np.pad(MASK, padding),
    )
    assert not padded[2][:, :, SOURCE:].numpy().any()
    assert_close(padded, [outputs, contexts, np.pad(weights, ((0, 0), *padding)), final_states], atol=1e-6)


def test_gradients_step_by_step_equal_whole(layer):
    """Through the loop as through the cell called step by step: of the inputs, states, keys, memory and all weights."""
    inputs = [tf.constant(array, "float32") for array in (SEQUENCES, KEYS, MEMORY, *random_states(layer.cell))]
    weights = [weight.value for weight in layer.weights]
    weighting = [random(BATCH, TARGET, size, seed=9).astype("float32") for size in (UNITS, DIM, SOURCE)]

    def total(results):
        return sum(tf.reduce_sum(result * w) for result, w in zip(results, weighting, strict=True))

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        sequences, keys, memory, *states = inputs
        value = total(layer(sequences, states, keys, memory, source_mask=MASK)[:3])
    gradients = tape.gradient(value, [*inputs, *weights])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        sequences, keys, memory, *states = inputs
        steps = []
        for i in range(TARGET):
            *step, states = layer(sequences[:, i : i + 1], states, keys, memory, source_mask=MASK)
            steps.append(step)
        value = total([tf.concat(parts, axis=1) for parts in zip(*steps, strict=True)])
    assert_close(gradients, tape.gradient(value, [*inputs, *weights]), atol=2e-5)
    assert all(np.abs(gradient).max() > 1e-4 for gradient in gradients)


@pytest.mark.parametrize("time, loops", [(1, False), (None, True)])
def test_loop_only_for_sequences(layer, time, loops):
    states = [tf.constant(state, "float32") for state in random_states(layer.cell)]

    @tf.function(input_signature=[tf.TensorSpec((BATCH, time, FEATURES))])
    def call(sequences):
        return layer(sequences, states, KEYS, MEMORY, source_mask=MASK)

    definition = call.get_concrete_function().graph.as_graph_def()
    nodes = [*definition.node, *(node for part in definition.library.function for node in part.node_def)]
    assert any("While" in node.op for node in nodes) is loops


def test_symbolic_shapes(layer):
    outputs, contexts, weights, states = layer(
        keras.Input((None, FEATURES)),
        [keras.Input((UNITS,)) for _ in range(CELLS[layer.cell].num_states)],
        keras.Input((None, UNITS)),
        keras.Input((None, DIM)),
        source_mask=keras.Input((None,), dtype="bool"),
    )
    assert (outputs.shape, contexts.shape) == ((None, None, UNITS), (None, None, DIM))
    assert weights.shape == (None, None, None)
    assert [state.shape for state in states] == [(None, UNITS)] * CELLS[layer.cell].num_states


@pytest.mark.parametrize("time", [1, TARGET])
def test_half_precision(layer, time):
    states = random_states(layer.cell)
    half = RecurrentAttention(UNITS, cell=layer.cell, dtype="mixed_float16")
    half(SEQUENCES, states, KEYS, MEMORY)
    half.set_weights(layer.get_weights())
    outputs, contexts, weights, _ = half(SEQUENCES[:, :time], states, KEYS, MEMORY, source_mask=MASK)
    assert (outputs.dtype, contexts.dtype, weights.dtype) == (tf.float16, tf.float16, tf.float32)
    expected = layer(SEQUENCES[:, :time], states, KEYS, MEMORY, source_mask=MASK)[0]
    np.testing.assert_allclose(tf.cast(outputs, "float32"), expected, atol=2e-2)


def test_config(layer):
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "kerasseq>RecurrentAttention"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.units, again.cell, again.name) == (UNITS, layer.cell, layer.name)


def test_bad_arguments():
    with pytest.raises(ValueError, match="cell must be one of 'simple_rnn', 'lstm', 'gru'. Received: cell='rnn'."):
        RecurrentAttention(UNITS, cell="rnn")
    with pytest.raises(ValueError, match="units must be a positive integer. Received: units=0."):
        RecurrentAttention(0)
    with pytest.raises(ValueError, match=r"units=2\) needs keys of that size. Received: keys \(2, 3, 5\)"):
        RecurrentAttention(UNITS, cell="gru")(SEQUENCES, random_states("gru"), MEMORY, MEMORY)


def test_example():
    result = doctest.testmod(recurrent_attention_module)
    assert result.attempted and not result.failed
