"""One contract for all attention scores, and their equations."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import layers
from kerasseq.layers.attention import SCORES, get_score, make_attention

BATCH, TARGET, SOURCE, UNITS, HEADS = 3, 3, 5, 4, 2

# A row without padding, one padded on the right, and one on the left and with a gap.
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 1, 0, 1]], dtype=bool)

LOCATIONS = {
    name: functools.partial(layers.LocationAttention, UNITS, filters=2, kernel_size=size)
    for name, size in {"location": 3, "even location": 4, "wide location": 13}.items()
}
LAYERS = {name: functools.partial(make_attention, name, UNITS, num_heads=HEADS) for name in SCORES} | LOCATIONS


class Case:
    """A layer with random weights, and inputs that fit it."""

    def __init__(self, name, random, randomize):
        self.name, self.layer = name, LAYERS[name]()
        self.dim = UNITS if name == "dot" else 3
        self.query = random(BATCH, TARGET, UNITS if name in ("dot", "luong") else 5)
        self.memory = random(BATCH, SOURCE, self.dim)
        # Of an earlier step: the weights sum to less than 1, and padding has none.
        alignment = np.abs(random(BATCH, SOURCE, seed=1)) * MASK * 0.2
        self.state = {"alignment": alignment} if self.layer.has_state else {}
        self.inputs = [self.query, self.memory, self.state]
        self.build(self.layer)
        randomize(self.layer)

    def build(self, layer):
        layer.build_projections(self.memory.shape)
        constants = layer.prepare(tf.constant(self.memory, "float32"))
        layer.build(self.query.shape, {name: tuple(value.shape) for name, value in constants.items()})

    def __call__(self, query, memory, state, mask=MASK):
        return self.layer(query, self.layer.prepare(memory), state, memory_mask=mask)

    def by_steps(self, query, memory, state, mask=MASK):
        constants, steps = self.layer.prepare(memory), []
        for t in range(TARGET):
            *step, state = self.layer.step(query[:, t], constants, state, mask)
            steps.append(step)
        return [tf.stack(parts, axis=-2) for parts in zip(*steps, strict=True)] + [state]

    def parameters(self):
        """By the name of the weight, or of the projection."""
        return {
            weight.path.removesuffix("/kernel").rpartition("/")[2]: np.asarray(weight.numpy(), "float64")
            for weight in self.layer.weights
        }


@pytest.fixture(scope="module", params=LAYERS)
def case(request, random, randomize):
    return Case(request.param, random, randomize)


def test_every_name_has_a_layer():
    for name, score in SCORES.items():
        layer = make_attention(name, UNITS, num_heads=HEADS)
        assert type(layer) is score.layer and layer.units == UNITS
    assert make_attention("multi_head", UNITS, num_heads=HEADS).num_heads == HEADS
    with pytest.raises(ValueError, match="attention must be one of 'luong', 'dot', .* Received: attention='foo'."):
        get_score("foo")


# === Equations, for one row and one step ===


def softmax(scores, mask):
    exponentials = np.exp(scores) * mask
    return exponentials / (exponentials.sum() or 1.0)


def content(score):
    """Scores of each position by its content alone."""

    def step(query, memory, alignment, mask, w):
        weights = softmax(np.array([score(query, position, w) for position in memory]), mask)
        return weights @ memory, weights, alignment

    return step


def concat(h_t, h_s, w):
    """Luong et al. 2015, section 3.1: `v_a^T tanh(W_a [h_t; h_s])`."""
    return w["score_vector"] @ np.tanh(
        np.concatenate([h_t, h_s]) @ np.concatenate([w["query_kernel"], w["attention_keys"]])
    )


def bahdanau(s, h, w):
    """Bahdanau et al. 2015, A.1.2: `v^T tanh(W s + U h)`."""
    return w["score_vector"] @ np.tanh(s @ w["query_kernel"] + h @ w["attention_keys"])


def multi_head(query, memory, alignment, mask, w):
    """Vaswani et al. 2017: `Concat(head_1, ...) W^O`, `head_i = softmax(Q W_i^Q (K W_i^K)^T / sqrt(d_k)) V W_i^V`."""
    heads, weights, size = [], [], UNITS // HEADS
    for i in range(HEADS):
        own = slice(i * size, (i + 1) * size)
        scores = (memory @ w["attention_keys"][:, own]) @ (query @ w["query_kernel"][:, own]) / np.sqrt(size)
        weights.append(softmax(scores, mask))
        heads.append(weights[-1] @ memory @ w["attention_values"][:, own])
    return np.concatenate(heads) @ w["output_kernel"], np.array(weights), alignment


def location(query, memory, alignment, mask, w):
    """Chorowski et al. 2015: `f_i = F * a_{i-1}` (8), `e_ij = w^T tanh(W s_{i-1} + V h_j + U f_ij + b)` (9)."""
    filters, scores = w["filter_kernel"], np.zeros(len(memory))
    for j in range(len(memory)):
        located = np.zeros(filters.shape[-1])
        for tap in range(len(filters)):
            position = j + tap - (len(filters) - 1) // 2  # An even filter reaches one further to the right.
            if 0 <= position < len(memory):
                located += filters[tap, 0] * alignment[position]
        hidden = query @ w["query_kernel"] + memory[j] @ w["attention_keys"] + located @ w["location_kernel"]
        scores[j] = w["score_vector"] @ np.tanh(hidden + w["bias"])
    weights = softmax(scores, mask)
    return weights @ memory, weights, weights


def coverage(query, memory, alignment, mask, w):
    """See et al. 2017: `c_t = sum_{t' < t} a_t'` (10), `e_ti = v^T tanh(W_h h_i + W_s s_t + w_c c_ti + b)` (11)."""
    scores = np.zeros(len(memory))
    for i in range(len(memory)):
        hidden = memory[i] @ w["attention_keys"] + query @ w["query_kernel"] + w["coverage_vector"] * alignment[i]
        scores[i] = w["score_vector"] @ np.tanh(hidden + w["bias"])
    weights = softmax(scores, mask)
    return weights @ memory, weights, alignment + weights


def monotonic(query, memory, alignment, mask, w):
    """Raffel et al. 2017: `a_ij = p_ij sum_{k <= j} a_{i-1,k} prod_{k <= l < j} (1 - p_il)` (8)."""
    p, weights = np.zeros(len(memory)), np.zeros(len(memory))
    for j in np.flatnonzero(mask):
        energy = w["score_vector"] @ np.tanh(query @ w["query_kernel"] + memory[j] @ w["attention_keys"] + w["bias"])
        p[j] = 1 / (1 + np.exp(-(w["gain"] * energy / np.linalg.norm(w["score_vector"]) + w["offset"])))
    for j in range(len(memory)):
        weights[j] = p[j] * sum(alignment[k] * np.prod(1 - p[k:j]) for k in range(j + 1))
    return weights @ memory, weights, weights


EQUATIONS = {
    "luong": content(lambda h_t, h_s, w: h_t @ (h_s @ w["attention_keys"])),
    "dot": content(lambda h_t, h_s, w: h_t @ h_s),
    "concat": content(concat),
    "bahdanau": content(bahdanau),
    "multi_head": multi_head,
    "coverage": coverage,
    "monotonic": monotonic,
    **dict.fromkeys(LOCATIONS, location),
}


def by_the_paper(case, mask, query, memory, state, w):
    contexts, weights, alignments = [], [], []
    for b in range(len(query)):
        alignment, steps = state["alignment"][b] if state else None, []
        for t in range(TARGET):
            *step, alignment = EQUATIONS[case.name](query[b, t], memory[b], alignment, mask[b], w)
            steps.append(step)
        contexts.append(np.stack([context for context, _ in steps]))
        weights.append(np.stack([weight for _, weight in steps], axis=-2))
        alignments.append(alignment)
    return np.stack(contexts), np.stack(weights), {"alignment": np.stack(alignments)} if state else {}


@pytest.mark.parametrize("mask", [None, MASK], ids=["all real", "masked"])
def test_equations(case, mask, assert_close):
    real = np.ones_like(MASK) if mask is None else mask
    assert_close(case(*case.inputs, mask), by_the_paper(case, real, *case.inputs, case.parameters()), atol=5e-6)


def test_gradients(case, central_differences, gradients, assert_close):
    """By the queries, the memory through all projections, the state and all weights, in whole and step by step."""
    states, names = list(case.state), list(case.parameters())

    def by_arrays(query, memory, *arrays):
        state = dict(zip(states, arrays, strict=False))
        return by_the_paper(case, MASK[1:], query, memory, state, dict(zip(names, arrays[len(states) :], strict=True)))

    inputs = tf.nest.map_structure(lambda array: array[1:], case.inputs)  # The rows with padding.
    arrays = [*tf.nest.flatten(inputs), *case.parameters().values()]
    expected = central_differences(by_arrays, arrays)
    for run in (case, case.by_steps):
        assert_close(gradients(functools.partial(run, mask=MASK[1:]), inputs, case.layer.weights), expected, atol=1e-4)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in expected)


def test_dot_score_by_hand():
    layer, memory = layers.DotAttention(2), np.array([[[np.log(3), 5.0], [0.0, 7.0]]])
    context, weights, _ = layer(np.array([[[1.0, 0.0]]]), layer.prepare(memory))
    np.testing.assert_allclose(weights, [[[0.75, 0.25]]], atol=1e-6)
    np.testing.assert_allclose(context[0, 0, 1], 5.5, atol=1e-6)


@pytest.mark.parametrize("name", ["dot", "bahdanau", "multi_head"])
def test_equals_keras(name, random, randomize, assert_close):
    case = Case(name, random, randomize)
    query, memory, w = case.query, case.memory, case.parameters()
    if name == "multi_head":
        twin = keras.layers.MultiHeadAttention(HEADS, UNITS // HEADS, output_shape=UNITS, use_bias=False)
        twin(query, memory, memory)
        kernels = [
            w[name].reshape(-1, HEADS, UNITS // HEADS)
            for name in ("query_kernel", "attention_keys", "attention_values")
        ]
        twin.set_weights([*kernels, w["output_kernel"].reshape(HEADS, -1, UNITS)])
        mask = np.broadcast_to(MASK[:, None], (BATCH, TARGET, SOURCE))
        expected = twin(query, memory, memory, attention_mask=mask, return_attention_scores=True)
    else:
        keys = memory
        if name == "bahdanau":
            query, keys = query @ w["query_kernel"], memory @ w["attention_keys"]
        twin = keras.layers.Attention() if name == "dot" else keras.layers.AdditiveAttention()
        twin.build([query.shape, memory.shape, keys.shape])
        twin.set_weights([w["score_vector"]] if name == "bahdanau" else [])
        expected = twin([query, memory, keys], mask=[None, MASK], return_attention_scores=True)
    assert_close(case(*case.inputs)[:2], expected, atol=1e-5)


# === What holds for all ===


def test_step_by_step_equals_whole(case, assert_close):
    """By `step`, and by calls with a target of the static length 1."""
    whole = case(*case.inputs)
    inputs = tf.nest.map_structure(lambda array: tf.constant(array, "float32"), case.inputs)
    assert_close(case.by_steps(*inputs), whole, atol=2e-6)
    state, steps = case.state, []
    for t in range(TARGET):
        *step, state = case(case.query[:, t : t + 1], case.memory, state)
        steps.append(step)
    assert_close([*(tf.concat(parts, axis=-2) for parts in zip(*steps, strict=True)), state], whole, atol=2e-6)


def test_weights(case):
    """Exact zeros for padding, which has no effect; else weights sum to 1, or to at most 1 if monotonic."""
    context, weights, state = case(*case.inputs)
    weights = weights.numpy()
    padding = np.broadcast_to(~MASK[:, None] if weights.ndim == 3 else ~MASK[:, None, None], weights.shape)
    assert (weights[padding] == 0).all() and (weights[~padding] >= 0).all()
    if case.name == "monotonic":
        assert (weights.sum(axis=-1) < 1).all()
    else:
        assert (weights[~padding] > 0).all()
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
    garbage = case(case.query, case.memory + 100 * ~MASK[:, :, None], case.state)
    for result, expected in zip(tf.nest.flatten(garbage), tf.nest.flatten([context, weights, state]), strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(case, side, assert_close):
    width = ((0, 0), (7, 0) if side == "left" else (0, 7))
    real = slice(7, None) if side == "left" else slice(None, SOURCE)
    state = {name: np.pad(value, width) for name, value in case.state.items()}
    memory = np.pad(case.memory, (*width, (0, 0)), constant_values=9.0)
    context, weights, state = case(case.query, memory, state, np.pad(MASK, width))
    state = {name: value[:, real] for name, value in state.items()}
    assert not np.delete(weights, np.arange(SOURCE + 7)[real], axis=-1).any()
    assert_close([context, weights[..., real], state], case(*case.inputs), atol=2e-6)


def test_row_without_real_positions(case, gradients):
    """Zeros, not NaN."""
    mask = MASK & [[True], [False], [True]]
    inputs = [case.query, case.memory, {name: value * mask for name, value in case.state.items()}]
    results = case(*inputs, mask)
    assert not any(result.numpy()[1].any() for result in tf.nest.flatten(results))
    run = functools.partial(case, mask=mask)
    assert all(np.isfinite(gradient).all() for gradient in gradients(run, inputs, case.layer.weights))


@pytest.mark.parametrize("factor", [1e3, -1e3])
def test_large_scores_stay_finite(case, factor, gradients):
    inputs = [case.query, factor * case.memory, case.state]
    results = [*tf.nest.flatten(case(*inputs)), *gradients(case, inputs, case.layer.weights)]
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize(
    "name",
    [
        "multi_head",
        "location",
        "monotonic",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("luong", "coverage")),
    ],
)
def test_graphs_of_unknown_sizes(name, random, randomize, gradients, count_loops, assert_close):
    """A loop over the target only for a state, and only over a sequence.

    The recurrence of monotonic attention over the source is a loop of its own, over a logarithmic number of rounds.
    """
    case = Case(name, random, randomize)
    own = 1 if name == "monotonic" else 0

    def traced(time):
        signature = [tf.TensorSpec((None, time, case.query.shape[-1])), tf.TensorSpec((None, None, case.dim))]
        states = {name: tf.TensorSpec((None, None)) for name in case.state}
        return tf.function(lambda *inputs: case(*inputs), input_signature=[*signature, states])

    whole = traced(None)
    assert count_loops(whole) == own + case.layer.has_state
    assert count_loops(traced(1)) == own
    results = (gradients(run, case.inputs, case.layer.weights) for run in (whole, case))
    assert_close(*results, atol=5e-6)


@pytest.mark.parametrize("policy, atol", [("mixed_float16", 0.1), ("mixed_bfloat16", 0.5)])
def test_half_precision(case, policy, atol):
    """Weights are float32, and with a state everything is: it would be rounded in every step."""
    half = type(case.layer).from_config({**case.layer.get_config(), "dtype": policy})
    case.build(half)
    half.set_weights(case.layer.get_weights())
    constants = half.prepare(tf.constant(case.memory, half.compute_dtype))
    for time in (1, TARGET):
        query = case.query[:, :time]
        context, weights, state = half(query, constants, case.state, memory_mask=MASK)
        expected_context, expected_weights, expected_state = case(query, case.memory, case.state)
        assert weights.dtype == tf.float32 and context.dtype.name == half.compute_dtype
        if case.layer.has_state:
            assert (half.compute_dtype, state["alignment"].dtype) == ("float32", tf.float32)
            np.testing.assert_allclose(state["alignment"], expected_state["alignment"], atol=1e-6)
        bound = 5e-6 if case.layer.has_state else atol
        np.testing.assert_allclose(tf.cast(context, "float32"), expected_context, atol=bound)
        np.testing.assert_allclose(weights, expected_weights, atol=bound)


@pytest.mark.parametrize("target", [None, 1, 6])
def test_symbolic_shapes(case, target):
    query, memory = keras.Input((target, case.query.shape[-1])), keras.Input((None, case.dim))
    mask = keras.Input((None,), dtype="bool")
    state = case.layer.initial_state(mask)
    assert {name: (value.shape, value.dtype) for name, value in state.items()} == {
        name: ((None, None), "float32") for name in case.state
    }
    context, weights, state = case(query, memory, state, mask)
    heads = (HEADS,) if case.name == "multi_head" else ()
    context_dim = UNITS if case.name == "multi_head" else case.dim
    assert (context.shape, context.dtype) == ((None, target, context_dim), "float32")
    assert (weights.shape, weights.dtype) == ((None, *heads, target, None), "float32")
    assert case.layer.step_weights_shape(BATCH, SOURCE) == (BATCH, *heads, SOURCE)
    real = case(*case.inputs)
    assert real[0].shape == (BATCH, TARGET, context.shape[-1])
    assert real[1].shape == (BATCH, *heads, TARGET, SOURCE)
    assert {name: (value.shape, value.dtype) for name, value in state.items()} == {
        name: ((None, None), "float32") for name in real[2]
    }


def test_initial_alignment(case):
    """All weight on the first real position, or no coverage yet."""
    mask = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0], [1, 0, 1]], dtype=bool)
    first = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]])
    state = case.layer.initial_state(mask)
    assert set(state) == set(case.state)
    if state:
        assert state["alignment"].dtype == tf.float32
        np.testing.assert_array_equal(state["alignment"], 0 * first if case.name == "coverage" else first)


def test_configuration(case):
    config = keras.saving.serialize_keras_object(case.layer)
    assert config["registered_name"] == f"kerasseq>{type(case.layer).__name__}"
    assert keras.saving.deserialize_keras_object(config).get_config() == case.layer.get_config()
    policy = keras.DTypePolicy("bfloat16" if case.layer.has_state else "mixed_bfloat16")
    half = type(case.layer).from_config({**case.layer.get_config(), "dtype": policy})
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(half))
    assert again.dtype_policy.name == half.dtype_policy.name


def test_options_are_kept():
    options = {"units": 4, "filters": 5, "kernel_size": 6}
    assert layers.LocationAttention(**options).get_config().items() >= options.items()
    options = {"units": 4, "score_bias": -4.0, "noise": 0.5, "seed": 3}
    assert layers.MonotonicAttention(**options).get_config().items() >= options.items()
    options = {"units": 6, "num_heads": 3}
    assert layers.MultiHeadAttention(**options).get_config().items() >= options.items()


@pytest.mark.parametrize("units", [0, 1.5, "4", None])
def test_bad_units(units):
    for score in SCORES.values():
        with pytest.raises(ValueError, match=f"units must be a positive integer. Received: units={units!r}."):
            score.layer(units)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.LocationAttention(4, filters=-1), "filters must be a positive integer. Received: filters=-1."),
        (lambda: layers.LocationAttention(4, kernel_size=0), "kernel_size must be a positive integer. Received: k"),
        (lambda: layers.MultiHeadAttention(4, num_heads=0), "num_heads must be a positive integer. Received: num_h"),
        (
            lambda: layers.MultiHeadAttention(10),
            "units must be a multiple of num_heads. .*num_heads=4. Choose 12 units",
        ),
        (lambda: layers.MonotonicAttention(4, noise=-1), "noise must be a number of at least 0. Received: noise=-1."),
        (lambda: layers.LuongAttention(4).build((2, 3, 5), {}), r"units must be the size of the query.*\(2, 3, 5\)"),
        (
            lambda: layers.DotAttention(4).build_projections((2, 3, 8)),
            "Received: units=4 in the decoder, a memory of the size 8. Choose units=8 .*, bidirectional=False",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
