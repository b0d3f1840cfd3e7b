import doctest
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import CoverageAttention, LocationAttention, MonotonicAttention
from kerasseq.layers import alignment_attention as alignment_attention_module

BATCH, TARGET, SOURCE, QUERY_DIM, UNITS, DIM = 3, 3, 5, 4, 3, 2

# A row without padding, one padded on the right, and one on the left and with a gap.
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 1, 0, 1]], dtype=bool)
ALL_REAL = np.ones_like(MASK)

LAYERS = {
    "location": functools.partial(LocationAttention, UNITS, filters=2, kernel_size=3),
    "even location": functools.partial(LocationAttention, UNITS, filters=2, kernel_size=4),
    "wide location": functools.partial(LocationAttention, UNITS, filters=2, kernel_size=13),
    "coverage": functools.partial(CoverageAttention, UNITS),
    "monotonic": functools.partial(MonotonicAttention, UNITS),
}


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


QUERY, KEYS, MEMORY = random(BATCH, TARGET, QUERY_DIM), random(BATCH, SOURCE, UNITS), random(BATCH, SOURCE, DIM)
# Weights of an earlier step: they add up to less than 1, and padding has none.
STATE = np.abs(random(BATCH, SOURCE, seed=1)) * MASK * 0.2
INPUTS = [QUERY, KEYS, MEMORY, STATE]

WEIGHTING = [
    random(*shape, seed=5).astype("float32") for shape in ((BATCH, TARGET, DIM), (BATCH, TARGET, SOURCE), STATE.shape)
]


@pytest.fixture(params=LAYERS)
def layer(request):
    layer = LAYERS[request.param]()
    layer.build(QUERY.shape, KEYS.shape, MEMORY.shape)
    layer.set_weights([random(*weight.shape, seed=20 + index) for index, weight in enumerate(layer.weights)])
    return layer


def softmax(energies, mask):
    weights = np.zeros_like(energies)
    exponentials = np.exp(energies[mask])
    weights[mask] = exponentials / exponentials.sum()
    return weights


def location(query, keys, state, mask, query_kernel, bias, score_vector, filters, location_kernel):
    """Chorowski et al. 2015: `f_i = F * a_{i-1}` (8), `e_ij = w^T tanh(W s_{i-1} + V h_j + U f_ij + b)` (9)."""
    width = len(filters)
    energies = np.zeros(len(keys))
    for j in range(len(keys)):
        located = np.zeros(filters.shape[-1])
        for tap in range(width):
            position = j + tap - (width - 1) // 2  # an even filter reaches one further to the right
            if 0 <= position < len(keys):
                located += filters[tap, 0] * state[position]
        energies[j] = score_vector @ np.tanh(query @ query_kernel + keys[j] + located @ location_kernel + bias)
    weights = softmax(energies, mask)
    return weights, weights


def coverage(query, keys, state, mask, query_kernel, bias, score_vector, coverage_vector):
    """See et al. 2017: `c_t = sum_{t' < t} a_t'` (10), `e_ti = v^T tanh(W_h h_i + W_s s_t + w_c c_ti + b)` (11)."""
    energies = np.zeros(len(keys))
    for i in range(len(keys)):
        energies[i] = score_vector @ np.tanh(keys[i] + query @ query_kernel + coverage_vector * state[i] + bias)
    weights = softmax(energies, mask)
    return weights, state + weights


def monotonic(query, keys, state, mask, query_kernel, bias, score_vector, gain, offset):
    """Raffel et al. 2017: `a_ij = p_ij sum_{k <= j} a_{i-1,k} prod_{k <= l < j} (1 - p_il)` (8)."""
    p, weights = np.zeros(len(keys)), np.zeros(len(keys))
    for j in np.flatnonzero(mask):
        energy = score_vector @ np.tanh(query @ query_kernel + keys[j] + bias)
        p[j] = 1 / (1 + np.exp(-(gain * energy / np.linalg.norm(score_vector) + offset)))
    for j in range(len(keys)):
        weights[j] = p[j] * sum(state[k] * np.prod(1 - p[k:j]) for k in range(j + 1))
    return weights, weights


EQUATIONS = {LocationAttention: location, CoverageAttention: coverage, MonotonicAttention: monotonic}


def by_the_paper(layer, mask, query, keys, memory, state, *parameters):
    equation = EQUATIONS[type(layer)]
    contexts, weights, states = np.zeros((BATCH, TARGET, DIM)), np.zeros((BATCH, TARGET, SOURCE)), np.zeros_like(state)
    for b in range(BATCH):
        after = state[b]
        for i in range(TARGET):
            weights[b, i], after = equation(query[b, i], keys[b], after, mask[b], *parameters)
            for j in range(SOURCE):
                contexts[b, i] += weights[b, i, j] * memory[b, j]
        states[b] = after
    return contexts, weights, states


def parameters(layer):
    return [np.asarray(weight.numpy(), "float64") for weight in layer.weights]


@pytest.mark.parametrize("mask", [None, MASK], ids=["all real", "masked"])
def test_equations(layer, mask, assert_close):
    expected = by_the_paper(layer, ALL_REAL if mask is None else mask, *INPUTS, *parameters(layer))
    assert_close(layer(*INPUTS, source_mask=mask), expected, atol=2e-6)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all real", "masked"])
def test_gradients(layer, mask, central_differences, weighted_gradients, assert_close):
    def total(*arrays):
        results = by_the_paper(layer, ALL_REAL if mask is None else mask, *arrays)
        return sum((result * w).sum() for result, w in zip(results, WEIGHTING, strict=True))

    gradients = weighted_gradients(functools.partial(layer, source_mask=mask), INPUTS, layer.weights, WEIGHTING)
    expected = central_differences(total, [*INPUTS, *parameters(layer)])
    assert_close(gradients, expected, atol=2e-5)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in gradients)


def by_calls(layer, mask, query, keys, memory, state):
    steps = []
    for i in range(TARGET):
        *step, state = layer(query[:, i : i + 1], keys, memory, state, source_mask=mask)
        steps.append(step)
    return [tf.concat(parts, axis=1) for parts in zip(*steps, strict=True)] + [state]


def by_attending(layer, mask, query, keys, memory, state):
    steps, states = [], [state]
    for i in range(TARGET):
        *step, states = layer.attend(query[:, i], keys, memory, states, mask)
        steps.append(step)
    assert len(states) == layer.num_states == 1
    return [tf.stack(parts, axis=1) for parts in zip(*steps, strict=True)] + states


@pytest.mark.parametrize("by_steps", [by_calls, by_attending])
def test_step_by_step_equals_whole(layer, by_steps, weighted_gradients, assert_close):
    inputs = [tf.constant(array, "float32") for array in INPUTS]
    assert_close(by_steps(layer, MASK, *inputs), layer(*inputs, source_mask=MASK), atol=1e-6)
    gradients = weighted_gradients(functools.partial(by_steps, layer, MASK), inputs, layer.weights, WEIGHTING)
    whole = functools.partial(layer, source_mask=MASK)
    assert_close(gradients, weighted_gradients(whole, inputs, layer.weights, WEIGHTING), atol=2e-6)


def test_gradients_of_a_graph_with_unknown_sizes(layer, weighted_gradients, assert_close):
    """Training runs in a graph: loops, and for monotonic attention a loop with its own gradient inside of the loop."""
    whole = functools.partial(layer, source_mask=MASK)
    signature = [tf.TensorSpec((None, None, array.shape[-1])) for array in INPUTS[:3]] + [tf.TensorSpec((None, None))]
    graph = tf.function(whole, input_signature=signature)
    expected = weighted_gradients(whole, INPUTS, layer.weights, WEIGHTING)
    assert_close(weighted_gradients(graph, INPUTS, layer.weights, WEIGHTING), expected, atol=2e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_source_padding_changes_nothing(layer, side, assert_close):
    width = ((0, 0), (7, 0) if side == "left" else (0, 7))
    real = slice(7, None) if side == "left" else slice(None, SOURCE)
    context, weights, state = layer(*INPUTS, source_mask=MASK)
    padded = layer(
        QUERY,
        np.pad(KEYS, (*width, (0, 0)), constant_values=9.0),
        np.pad(MEMORY, (*width, (0, 0)), constant_values=9.0),
        np.pad(STATE, width),
        source_mask=np.pad(MASK, width),
    )
    assert not np.delete(padded[1], np.arange(SOURCE + 7)[real], axis=-1).any()
    assert_close([padded[0], padded[1][:, :, real], padded[2][:, real]], [context, weights, state], atol=1e-6)


def test_padded_positions_have_no_say(layer):
    garbage = 100 * ~MASK[:, :, None]
    results = layer(QUERY, KEYS + garbage, MEMORY + garbage, STATE, source_mask=MASK)
    for result, expected in zip(results, layer(*INPUTS, source_mask=MASK), strict=True):
        np.testing.assert_array_equal(result, expected)
    assert not results[1].numpy()[np.broadcast_to(~MASK[:, None], (BATCH, TARGET, SOURCE))].any()


def test_row_without_real_positions(layer, weighted_gradients):
    mask = MASK & [[True], [False], [True]]
    inputs = [QUERY, KEYS, MEMORY, STATE * mask]
    context, weights, state = layer(*inputs, source_mask=mask)
    assert not context[1].numpy().any() and not weights[1].numpy().any() and not state[1].numpy().any()
    call = functools.partial(layer, source_mask=mask)
    for gradient in weighted_gradients(call, inputs, layer.weights, WEIGHTING):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("factor", [1e3, -1e3])
def test_large_scores_stay_finite(layer, factor, weighted_gradients):
    weights = dict(zip((weight.name for weight in layer.weights), layer.weights, strict=True))
    weights["gain" if isinstance(layer, MonotonicAttention) else "score_vector"].assign_add(
        keras.ops.full_like(weights["gain" if "gain" in weights else "score_vector"], factor)
    )
    call = functools.partial(layer, source_mask=MASK)
    results = [*call(*INPUTS), *weighted_gradients(call, INPUTS, layer.weights, WEIGHTING)]
    assert all(np.isfinite(result).all() for result in results)


def test_loop_over_the_target_only_for_sequences(layer, count_loops):
    # The recurrence of monotonic attention over the source is a loop of its own, over a logarithmic number of rounds.
    own = 1 if isinstance(layer, MonotonicAttention) else 0
    for time, loops in ((1, own), (None, own + 1)):

        @tf.function(input_signature=[tf.TensorSpec((BATCH, time, QUERY_DIM))])
        def call(query):
            return layer(query, KEYS, MEMORY, STATE, source_mask=MASK)

        assert count_loops(call) == loops


@pytest.mark.parametrize("time", [1, TARGET])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(layer, policy, time):
    half = type(layer).from_config({**layer.get_config(), "dtype": policy})
    half.build(QUERY.shape, KEYS.shape, MEMORY.shape)
    half.set_weights(layer.get_weights())
    context, weights, state = half(QUERY[:, :time], KEYS, MEMORY, STATE, source_mask=MASK)
    assert half.compute_dtype == "float32"  # A state in 16 bits would be rounded in every step.
    expected = layer(QUERY[:, :time], *INPUTS[1:], source_mask=MASK)
    for result, reference in zip((context, weights, state), expected, strict=True):
        assert result.dtype == tf.float32
        np.testing.assert_allclose(result, reference, atol=1e-6)


@pytest.mark.parametrize("target", [None, 1, 6])
def test_symbolic_shapes(layer, target):
    inputs = [keras.Input(shape) for shape in ((target, QUERY_DIM), (None, UNITS), (None, DIM), (None,))]
    context, weights, state = layer(*inputs, source_mask=keras.Input((None,), dtype="bool"))
    assert (context.shape, weights.shape, state.shape) == ((None, target, DIM), (None, target, None), (None, None))
    assert (context.dtype, weights.dtype, state.dtype) == ("float32",) * 3


def test_config(layer):
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == f"kerasseq>{type(layer).__name__}"
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in layer.weights]


def test_options_are_kept():
    assert LocationAttention(4, filters=5, kernel_size=6).get_config().items() >= {
        ("units", 4), ("filters", 5), ("kernel_size", 6)
    }  # fmt: skip
    assert MonotonicAttention(4, score_bias=-4.0).get_config().items() >= {("units", 4), ("score_bias", -4.0)}


@pytest.mark.parametrize("kind", [LocationAttention, CoverageAttention, MonotonicAttention])
def test_bad_arguments(kind):
    with pytest.raises(ValueError, match="units must be a positive integer. Received: units=0."):
        kind(0)
    message = rf"{kind.__name__}\(units=3\) needs keys of that size. Received: keys \(3, 5, 2\).*Dense\(3, use_bias"
    with pytest.raises(ValueError, match=message):
        kind(UNITS)(QUERY, MEMORY, MEMORY, STATE)


@pytest.mark.parametrize("argument", ["filters", "kernel_size"])
def test_bad_filters(argument):
    with pytest.raises(ValueError, match=f"{argument} must be a positive integer. Received: {argument}=-1."):
        LocationAttention(UNITS, **{argument: -1})


def test_examples():
    result = doctest.testmod(alignment_attention_module)
    assert result.attempted and not result.failed
