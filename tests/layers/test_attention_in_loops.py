"""`RecurrentAttention` and `InputFeeding` with every kind of attention in their loop."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import layers
from kerasseq.layers import InputFeeding, Recurrent, RecurrentAttention

BATCH, TARGET, SOURCE, FEATURES, UNITS, ATTENTIONAL, DIM = 2, 3, 5, 3, 4, 7, 6

MASK = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 0, 0]], dtype=bool)

ATTENTIONS = {
    "luong": layers.LuongAttention,
    "dot": layers.LuongAttention,
    "bahdanau": functools.partial(layers.BahdanauAttention, UNITS),
    "multi_head": functools.partial(layers.MultiHeadAttention, UNITS, num_heads=2),
    "location": functools.partial(layers.LocationAttention, UNITS, filters=2, kernel_size=3),
    "coverage": functools.partial(layers.CoverageAttention, UNITS),
    "monotonic": functools.partial(layers.MonotonicAttention, UNITS, score_bias=-2.0),
}

# The loop, its cell and its options.
LOOPS = {
    "inside": functools.partial(RecurrentAttention, UNITS, cell="gru"),
    "inside, normalized": functools.partial(RecurrentAttention, UNITS, cell="lstm", layer_normalization=True),
    "feeding": functools.partial(InputFeeding, UNITS, ATTENTIONAL, cell="lstm"),
    "feeding, deep": functools.partial(InputFeeding, UNITS, ATTENTIONAL, cell="gru", num_layers=2, residual=True),
}


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


class Case:
    """A layer with random weights, and inputs that fit it."""

    def __init__(self, loop, kind, **options):
        self.kind = kind
        self.layer = LOOPS[loop](attention=ATTENTIONS[kind](name="score", **options), name="loop", **options)
        self.feeds = isinstance(self.layer, InputFeeding)
        self.heads = (2,) if kind == "multi_head" else ()
        self.dim = UNITS if kind in ("multi_head", "dot") else DIM
        memory = random(BATCH, SOURCE, self.dim)
        keys = memory if kind == "dot" else random(BATCH, SOURCE, UNITS)
        self.cells = self.layer.recurrent if self.feeds else [self.layer.recurrent]
        sizes = [UNITS] * (layers.CELLS[self.layer.cell].num_states * len(self.cells)) + [ATTENTIONAL] * self.feeds
        states = [random(BATCH, size, seed=7 + index) for index, size in enumerate(sizes)]
        if self.layer.attention.num_states:
            states.append(np.float32(layers.StartAlignment()(MASK)))
        self.inputs = [random(BATCH, TARGET, FEATURES), keys, memory, *states]
        self.layer.build((BATCH, None, FEATURES), [state.shape for state in states], keys.shape, memory.shape)
        for index, weight in enumerate(self.layer.weights):
            weight.assign(0.5 * random(*weight.shape, seed=20 + index))

    def __call__(self, sequences, keys, memory, *states, mask=MASK):
        return self.layer(sequences, list(states), keys, memory, source_mask=mask)

    def by_steps(self, sequences, keys, memory, *states):
        steps = []
        for t in range(TARGET):
            *step, states = self(sequences[:, t : t + 1], keys, memory, *states)
            steps.append(step)
        return [tf.concat(parts, axis=-2) for parts in zip(*steps, strict=True)] + states

    def by_hand(self, sequences, keys, memory, *states):
        """Of the attention's `attend` and the cells' `step` alone."""
        attention, per_cell = self.layer.attention, layers.CELLS[self.layer.cell].num_states
        count = per_cell * len(self.cells)
        states, alignments = list(states[: count + self.feeds]), list(states[count + self.feeds :])
        results = []
        for t in range(TARGET):
            if self.feeds:
                outputs, after = np.concatenate([sequences[:, t], states[-1]], axis=-1), []
                for index, cell in enumerate(self.cells):
                    own = states[per_cell * index : per_cell * (index + 1)]
                    after += cell.step(cell.project(outputs), own)
                    result = after[per_cell * index]
                    outputs = outputs + result if index and self.layer.residual else result
                context, weights, alignments = attention.attend(outputs, keys, memory, alignments, MASK)
                states = [*after, self.layer.attentional(np.concatenate([context, outputs], axis=-1))]
                results.append([states[-1], weights])
            else:
                context, weights, alignments = attention.attend(states[0], keys, memory, alignments, MASK)
                inputs = np.concatenate([sequences[:, t], context], axis=-1)
                states = self.cells[0].step(self.cells[0].project(inputs), states)
                results.append([states[0], context, weights])
        return [np.stack(parts, axis=-2) for parts in zip(*results, strict=True)] + [*states, *alignments]


@pytest.fixture(params=[(loop, kind) for loop in LOOPS for kind in ATTENTIONS], ids="-".join)
def case(request):
    return Case(*request.param)


def test_equals_attention_and_cell_by_hand(case, assert_close):
    assert_close(case(*case.inputs), case.by_hand(*case.inputs), atol=5e-6)


def weightings(results):
    results = tf.nest.flatten(results)
    return [random(*result.shape, seed=60 + index) for index, result in enumerate(results)]


def test_step_by_step_equals_whole(case, weighted_gradients, assert_close):
    results = case(*case.inputs)
    assert_close(case.by_steps(*case.inputs), results, atol=1e-6)
    by_steps, whole = (
        weighted_gradients(run, case.inputs, case.layer.weights, weightings(results)) for run in (case.by_steps, case)
    )
    assert_close(by_steps, whole, atol=1e-5)
    assert all(np.abs(gradient).max() > 1e-6 for gradient in whole)


def test_source_padding_changes_nothing(case, assert_close):
    sequences, keys, memory, *states = case.inputs
    count = len(states) - case.layer.attention.num_states
    *whole, after = case(*case.inputs)
    width = ((0, 0), (0, 3))
    keys, memory = (np.pad(array, (*width, (0, 0)), constant_values=9.0) for array in (keys, memory))
    states[count:] = [np.pad(state, width) for state in states[count:]]
    *padded, padded_after = case(sequences, keys, memory, *states, mask=np.pad(MASK, width))
    padded[-1] = padded[-1][..., :SOURCE]
    padded_after[count:] = [state[:, :SOURCE] for state in padded_after[count:]]
    assert_close([padded, padded_after], [whole, after], atol=1e-6)


@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("loop", ["inside", "feeding, deep"])
def test_gradients_of_a_graph_of_unknown_sizes(loop, kind, weighted_gradients, assert_close):
    case = Case(loop, kind)
    signature = [tf.TensorSpec((*[None] * (array.ndim - 1), array.shape[-1])) for array in case.inputs]
    if case.layer.attention.num_states:
        signature[-1] = tf.TensorSpec((None, None))
    graph = tf.function(lambda *inputs: case(*inputs), input_signature=signature)
    results = graph(*case.inputs)
    assert_close(results, case(*case.inputs), atol=5e-6)
    gradients, expected = (
        weighted_gradients(run, case.inputs, case.layer.weights, weightings(results)) for run in (graph, case)
    )
    assert_close(gradients, expected, atol=1e-5)


def functional(case):
    """A model of the layer alone, whose sizes of batch, target and source are unknown."""
    inputs = [keras.Input((*[None] * (array.ndim - 2), array.shape[-1])) for array in case.inputs]
    if case.layer.attention.num_states:
        inputs[-1] = keras.Input((None,))
    mask = keras.Input((None,), dtype="bool")
    return keras.Model([*inputs, mask], case(*inputs, mask=mask))


def test_symbolic_shapes(case):
    results = functional(case).output
    outputs, *contexts, weights = results[:-1]
    assert outputs.shape == (None, None, ATTENTIONAL if case.feeds else UNITS)
    assert [context.shape for context in contexts] == ([] if case.feeds else [(None, None, case.dim)])
    assert (weights.shape, weights.dtype) == ((None, *case.heads, None, None), "float32")
    widths = [array.shape[-1] for array in case.inputs[3:]]
    if case.layer.attention.num_states:
        widths[-1] = None
    assert [state.shape for state in results[-1]] == [(None, width) for width in widths]


def test_saved_model(case, tmp_path, assert_close):
    """What is loaded has the same weights by the same paths, and computes the same."""
    model = functional(case)
    assert all(weight.path.startswith("loop/") for weight in model.weights)
    assert len({weight.path for weight in model.weights}) == len(model.weights)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]
    assert_close(again([*case.inputs, MASK]), model([*case.inputs, MASK]), atol=0)


def test_config(case):
    config = keras.saving.serialize_keras_object(case.layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == case.layer.get_config()
    assert type(again.attention) is type(case.layer.attention) and again.attention.name == "score"
    assert [weight.path for weight in again.weights] == [weight.path for weight in case.layer.weights]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("loop", LOOPS)
def test_default_attention(loop, policy, assert_close):
    """Made by the layer, in its precision, it can be saved like any other."""
    layer = LOOPS[loop](name="loop", dtype=policy)
    assert layer.attention.dtype_policy.name == policy
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again.attention) is type(layer.attention)
    assert again.attention.dtype_policy.name == policy
    assert again.get_config() == layer.get_config()


def test_configurations_without_attention_still_load():
    """Models saved before there was a choice say nothing of it."""
    config = RecurrentAttention(UNITS, cell="lstm", name="decoder").get_config()
    del config["attention"], config["layer_normalization"]
    layer = RecurrentAttention.from_config(config)
    assert isinstance(layer.attention, layers.BahdanauAttention) and layer.attention.name == "attention"
    assert (layer.attention.units, layer.cell, layer.layer_normalization) == (UNITS, "lstm", False)
    config = Recurrent(UNITS, cell="lstm").get_config()
    del config["layer_normalization"]
    assert Recurrent.from_config(config).layer_normalization is False


@pytest.mark.parametrize("time", [1, TARGET])
@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("loop", ["inside", "feeding"])
def test_half_precision(loop, kind, time):
    half, case = Case(loop, kind, dtype="mixed_float16"), Case(loop, kind)
    inputs = [case.inputs[0][:, :time], *case.inputs[1:]]
    *results, states = half(*inputs)
    *expected, _ = case(*inputs)
    *floats, weights = results
    dtype = tf.float32 if case.layer.attention.num_states else tf.float16
    assert {tensor.dtype for tensor in [*floats, *states]} == {dtype}
    assert weights.dtype == tf.float32
    for result, reference in zip(results, expected, strict=True):
        np.testing.assert_allclose(tf.cast(result, "float32"), reference, atol=3e-2)
    symbolic = functional(half)
    assert [tensor.dtype for tensor in tf.nest.flatten(symbolic.output)] == [
        tensor.dtype.name for tensor in tf.nest.flatten([results, states])
    ]


def test_bad_states_and_attention():
    with pytest.raises(
        ValueError, match="InputFeeding needs 4 initial states: 2 of its cells, 1 of its own, 1 of its att"
    ):
        InputFeeding(4, 5, attention=layers.LocationAttention(4))(
            np.zeros((1, 2, 3)), [np.zeros((1, 4))] * 3, np.zeros((1, 6, 4)), np.zeros((1, 6, 4))
        )
    with pytest.raises(ValueError, match="RecurrentAttention needs 1 initial states: 1 of its cells.*Received: 2."):
        RecurrentAttention(4, cell="gru")(
            np.zeros((1, 2, 3)), [np.zeros((1, 4))] * 2, np.zeros((1, 6, 4)), np.zeros((1, 6, 4))
        )
    for layer in (InputFeeding, RecurrentAttention):
        with pytest.raises(ValueError, match="attention must be an attention layer .* Received: attention='luong'"):
            layer(4, 5, attention="luong") if layer is InputFeeding else layer(4, attention="luong")
