import doctest
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import CELLS, BahdanauAttention, InputFeeding
from kerasseq.layers import input_feeding as input_feeding_module

BATCH, TARGET, SOURCE, FEATURES, UNITS, ATTENTIONAL, DIM = 2, 3, 4, 3, 2, 5, 3

MASK = np.array([[1, 1, 1, 1], [0, 1, 1, 0]], dtype=bool)


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


SEQUENCES, KEYS, MEMORY = random(BATCH, TARGET, FEATURES), random(BATCH, SOURCE, UNITS), random(BATCH, SOURCE, DIM)

# Cell, number of layers, residual.
STACKS = [*((cell, layers, False) for cell in CELLS for layers in (1, 2)), *((cell, 3, True) for cell in CELLS)]


def initial_states(layer):
    sizes = [UNITS] * (CELLS[layer.cell].num_states * layer.num_layers) + [ATTENTIONAL]
    return [random(BATCH, size, seed=7 + index) for index, size in enumerate(sizes)]


def feeding(cell="gru", num_layers=1, residual=False, **options):
    layer = InputFeeding(UNITS, ATTENTIONAL, cell=cell, num_layers=num_layers, residual=residual, **options)
    shapes = [state.shape for state in initial_states(layer)]
    layer.build((BATCH, None, FEATURES), shapes, KEYS.shape, MEMORY.shape)
    for index, weight in enumerate(layer.weights):
        weight.assign(random(*weight.shape, seed=20 + index))
    return layer


@pytest.fixture(params=STACKS, ids=lambda stack: "-".join(map(str, stack)))
def layer(request):
    return feeding(*request.param)


def call(layer, sequences, keys, memory, *states):
    return layer(sequences, list(states), keys, memory, source_mask=MASK)


def arrays_of(layer):
    return {weight.path.split("/", 1)[1]: np.asarray(weight.numpy(), "float64") for weight in layer.weights}


def by_the_paper(layer, cell_step, mask, sequences, keys, memory, states, w):
    """Luong et al. 2015, section 3.3 with equations 5 and 7, one row and one step after the other."""
    cell, count = layer.cell, CELLS[layer.cell].num_states
    outputs, weights = np.zeros((BATCH, TARGET, ATTENTIONAL)), np.zeros((BATCH, TARGET, SOURCE))
    final_states = [np.zeros_like(state) for state in states]
    for b in range(BATCH):
        row = [state[b] for state in states]
        for t in range(TARGET):
            lower = np.concatenate([sequences[b, t], row[-1]])  # [y_{t-1}; h~_{t-1}]
            after = []
            for index in range(layer.num_layers):
                names = ["kernel", "recurrent_kernel", "bias"] + ["recurrent_bias"] * (cell == "gru")
                parameters = [w[f"recurrent_{index}/{name}"] for name in names]
                new = cell_step(cell, lower, row[count * index : count * (index + 1)], *parameters)
                after += new
                lower = lower + new[0] if layer.residual and index else new[0]
            exponentials = np.array([np.exp(lower @ keys[b, s]) if mask[b, s] else 0 for s in range(SOURCE)])
            weights[b, t] = exponentials / exponentials.sum()
            context = weights[b, t] @ memory[b]
            both = np.concatenate([context, lower])  # [c_t; h_t]
            outputs[b, t] = np.tanh(both @ w["attentional/kernel"] + w["attentional/bias"])
            row = [*after, outputs[b, t]]
        for state, value in zip(final_states, row, strict=True):
            state[b] = value
    return [outputs, weights, *final_states]


@pytest.mark.parametrize("mask", [None, MASK], ids=["all real", "masked"])
def test_equations(layer, mask, numpy_cell, assert_close):
    states = initial_states(layer)
    results = layer(SEQUENCES, states, KEYS, MEMORY, source_mask=mask)
    real = np.ones_like(MASK) if mask is None else mask
    expected = by_the_paper(layer, numpy_cell, real, SEQUENCES, KEYS, MEMORY, states, arrays_of(layer))
    assert_close(results, expected, atol=3e-6)


def weightings(layer):
    shapes = [(BATCH, TARGET, ATTENTIONAL), (BATCH, TARGET, SOURCE), *(state.shape for state in initial_states(layer))]
    return [random(*shape, seed=60 + index).astype("float32") for index, shape in enumerate(shapes)]


def test_gradients(layer, numpy_cell, central_differences, weighted_gradients, assert_close):
    """Of the inputs, all states, keys, memory and all weights."""
    names, states = list(arrays_of(layer)), initial_states(layer)
    weighting = weightings(layer)

    def total(sequences, keys, memory, *arrays):
        parameters = dict(zip(names, arrays[len(states) :], strict=True))
        results = by_the_paper(layer, numpy_cell, MASK, sequences, keys, memory, arrays[: len(states)], parameters)
        return sum((result * w).sum() for result, w in zip(results, weighting, strict=True))

    inputs = [SEQUENCES, KEYS, MEMORY, *states]
    gradients = weighted_gradients(functools.partial(call, layer), inputs, layer.weights, weighting)
    moved = [*inputs, *arrays_of(layer).values()]
    if layer.num_layers == 3:  # each number of each array takes long: one direction through all of them at once
        directions = [random(*array.shape, seed=80) for array in moved]
        slope = sum((np.asarray(gradient) * way).sum() for gradient, way in zip(gradients, directions, strict=True))
        (expected,) = central_differences(
            lambda step: total(*(array + step * way for array, way in zip(moved, directions, strict=True))),
            [np.zeros(())],
        )
        np.testing.assert_allclose(slope, expected, atol=5e-4)
    else:
        assert_close(gradients, central_differences(total, moved), atol=2e-5)
    assert all(np.abs(gradient).max() > 1e-4 for gradient in gradients)


def by_steps(layer, sequences, keys, memory, *states):
    steps, states = [], list(states)
    for t in range(TARGET):
        output, weights, states = call(layer, sequences[:, t : t + 1], keys, memory, *states)
        steps.append([output, weights])
    return [tf.concat(parts, axis=1) for parts in zip(*steps, strict=True)] + states


def test_step_by_step_equals_whole(layer, weighted_gradients, assert_close):
    inputs = [tf.constant(array, "float32") for array in (SEQUENCES, KEYS, MEMORY, *initial_states(layer))]
    assert_close(by_steps(layer, *inputs), call(layer, *inputs), atol=1e-6)
    gradients = weighted_gradients(functools.partial(by_steps, layer), inputs, layer.weights, weightings(layer))
    whole = weighted_gradients(functools.partial(call, layer), inputs, layer.weights, weightings(layer))
    assert_close(gradients, whole, atol=5e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_a_graph_of_unknown_sizes(cell, weighted_gradients, assert_close):
    layer = feeding(cell, 2, residual=True)
    eager = functools.partial(call, layer)
    inputs = [SEQUENCES, KEYS, MEMORY, *initial_states(layer)]
    signature = [tf.TensorSpec((*[None] * (array.ndim - 1), array.shape[-1])) for array in inputs]
    expected = weighted_gradients(eager, inputs, layer.weights, weightings(layer))
    graph = tf.function(eager, input_signature=signature)
    assert_close(weighted_gradients(graph, inputs, layer.weights, weightings(layer)), expected, atol=5e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_source_padding_changes_nothing(layer, side, assert_close):
    width = ((0, 0), (2, 0) if side == "left" else (0, 2))
    outputs, weights, states = layer(SEQUENCES, initial_states(layer), KEYS, MEMORY, source_mask=MASK)
    keys, memory = (np.pad(array, (*width, (0, 0)), constant_values=9.0) for array in (KEYS, MEMORY))
    padded = layer(SEQUENCES, initial_states(layer), keys, memory, source_mask=np.pad(MASK, width))
    assert_close(padded, [outputs, np.pad(weights, ((0, 0), *width)), states], atol=1e-6)


@pytest.mark.parametrize("time, loops", [(1, 0), (None, 1)])
def test_loop_only_for_sequences(layer, time, loops, count_loops):
    states = [tf.constant(state, "float32") for state in initial_states(layer)]

    @tf.function(input_signature=[tf.TensorSpec((BATCH, time, FEATURES))])
    def graph(sequences):
        return layer(sequences, states, KEYS, MEMORY, source_mask=MASK)

    assert count_loops(graph) == loops


@pytest.mark.parametrize("target", [None, 1])
def test_symbolic_shapes(layer, target):
    outputs, weights, states = layer(
        keras.Input((target, FEATURES)),
        [keras.Input(state.shape[1:]) for state in initial_states(layer)],
        keras.Input((None, UNITS)),
        keras.Input((None, DIM)),
        source_mask=keras.Input((None,), dtype="bool"),
    )
    assert (outputs.shape, weights.shape) == ((None, target, ATTENTIONAL), (None, target, None))
    assert [state.shape[1:] for state in states] == [state.shape[1:] for state in initial_states(layer)]
    assert len({id(state) for state in states}) == len(states)


@pytest.mark.parametrize("time", [1, TARGET])
@pytest.mark.parametrize("policy, atol", [("mixed_float16", 2e-2), ("mixed_bfloat16", 0.15)])
def test_half_precision(layer, policy, atol, time):
    half, states = feeding(layer.cell, layer.num_layers, layer.residual, dtype=policy), initial_states(layer)
    outputs, weights, after = half(SEQUENCES[:, :time], states, KEYS, MEMORY, source_mask=MASK)
    assert {outputs.dtype.name, *(state.dtype.name for state in after)} == {half.compute_dtype}
    assert weights.dtype == tf.float32
    expected = layer(SEQUENCES[:, :time], states, KEYS, MEMORY, source_mask=MASK)
    for result, reference in zip([outputs, weights], expected, strict=False):
        np.testing.assert_allclose(tf.cast(result, "float32"), reference, atol=atol)


def test_layer_normalization_is_that_of_the_cells(assert_close):
    """By hand from the layer's own cells; the tokens' and h~'s shares of the gates are normalized as one product."""
    layer = feeding("lstm", 2, layer_normalization=True)
    whole = call(layer, SEQUENCES, KEYS, MEMORY, *initial_states(layer))
    first, second = layer.recurrent
    *states, fed_back = (tf.constant(state, "float32") for state in initial_states(layer))
    outputs = []
    for t in range(TARGET):
        below = first.step(first.project(np.concatenate([SEQUENCES[:, t], fed_back], -1).astype("float32")), states[:2])
        above = second.step(second.project(below[0]), states[2:])
        states = [*below, *above]
        exponentials = np.exp(np.einsum("bu,bsu->bs", above[0], KEYS)) * MASK
        context = np.einsum("bs,bsd->bd", exponentials / exponentials.sum(-1, keepdims=True), MEMORY)
        fed_back = layer.attentional(np.concatenate([context, above[0]], axis=-1))
        outputs.append(fed_back)
    assert_close([whole[0], whole[2]], [np.stack(outputs, axis=1), [*states, fed_back]], atol=2e-6)


def test_bad_arguments():
    for name in ("units", "attentional_units", "num_layers"):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer. Received: {name}=0."):
            InputFeeding(**{"units": 2, "attentional_units": 2, name: 0})
    for dropout in (1.0, -0.1, "0.1", None):
        with pytest.raises(ValueError, match=rf"dropout must be in \[0, 1\). Received: dropout={dropout!r}."):
            InputFeeding(2, 2, dropout=dropout)
    with pytest.raises(ValueError, match="cell must be one of 'simple_rnn', 'lstm', 'gru'. Received: cell='rnn'."):
        InputFeeding(2, 2, cell="rnn")
    states = initial_states(feeding())
    with pytest.raises(ValueError, match=r"query and keys of one size.*query \(2, 1, 2\), keys \(2, 4, 6\)"):
        InputFeeding(UNITS, ATTENTIONAL, cell="gru")(SEQUENCES, states, np.ones((BATCH, SOURCE, 6)), MEMORY)
    with pytest.raises(ValueError, match=r"BahdanauAttention\(units=7\) needs keys of that size"):
        InputFeeding(UNITS, ATTENTIONAL, cell="gru", attention=BahdanauAttention(7))(SEQUENCES, states, KEYS, MEMORY)


def test_example():
    result = doctest.testmod(input_feeding_module)
    assert result.attempted and not result.failed
