"""`RecurrentAttention` and `InputFeeding`: every attention and every cell in their loop."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import layers
from kerasseq.layers import InputFeeding, RecurrentAttention
from kerasseq.layers.attention import make_attention

BATCH, TARGET, SOURCE, FEATURES, UNITS, ATTENTIONAL, DIM = 2, 3, 5, 3, 4, 7, 6

MASK = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 0, 0]], dtype=bool)

# Each attention and each cell in both loops: attention, cell; number of layers and residual connections of the stack.
CASES = {
    "inside": [
        ("luong", "simple_rnn"), ("dot", "lstm"), ("bahdanau", "gru"), ("multi_head", "plain_test_cell"),
        ("location", "lstm"), ("coverage", "simple_rnn"), ("monotonic", "gru"),
    ],
    "feeding": [
        ("luong", "lstm", 3, True), ("dot", "plain_test_cell", 2, False), ("bahdanau", "simple_rnn", 1, False),
        ("multi_head", "gru", 1, False), ("location", "gru", 2, True), ("coverage", "lstm", 1, False),
        ("monotonic", "simple_rnn", 2, False),
    ],
}  # fmt: skip
# Each attention in one of the loops is a fast test.
EACH = [
    pytest.param((loop, *case), marks=pytest.mark.slow if (place + index) % 2 == 0 else ())
    for place, loop in enumerate(CASES)
    for index, case in enumerate(CASES[loop])
]
# One of each loop with and without a state of the attention.
SOME = [(loop, *CASES[loop][index]) for loop in CASES for index in (3, 6)]

pytestmark = pytest.mark.usefixtures("plain_test_cell")


class Case:
    """A layer with random weights, and inputs that fit it: sequences, state and constants."""

    def __init__(self, random, randomize, loop, name, cell, num_layers=1, residual=False, seed=None, **options):
        self.feeds, self.heads = loop == "feeding", (2,) if name == "multi_head" else ()
        attention = make_attention(name, UNITS, num_heads=2)
        config = {**attention.get_config(), **options} | ({} if seed is None else {"seed": seed})
        attention = type(attention).from_config(config)
        if self.feeds:
            stack = {"cell": cell, "num_layers": num_layers, "residual": residual}
            self.layer = InputFeeding(UNITS, attention, ATTENTIONAL, name="loop", **stack, **options)
            recurrent = self.layer.recurrent
        else:
            self.layer = RecurrentAttention(UNITS, attention, cell=cell, name="loop", **options)
            recurrent = [self.layer.recurrent]
        self.attention, self.cells = attention, [layer.cell for layer in recurrent]
        self.dim = UNITS if name in ("multi_head", "dot") else DIM
        values = random(BATCH, SOURCE, self.dim)
        self.constants = {"keys": values if name == "dot" else random(BATCH, SOURCE, UNITS, seed=1), "values": values}
        states = [
            {name: random(BATCH, UNITS, seed=7 + 2 * index + place) for place, name in enumerate(cell.state_names)}
            for index, cell in enumerate(self.cells)
        ]
        alignment = np.abs(random(BATCH, SOURCE, seed=3)) * MASK * 0.2
        self.state = {"attention": {"alignment": alignment} if attention.has_state else {}}
        if self.feeds:
            self.state |= {"layers": states, "attentional": random(BATCH, ATTENTIONAL)}
        else:
            self.state["cell"] = states[0]
        self.inputs = [random(BATCH, TARGET, FEATURES), self.state, self.constants]
        shapes = {name: value.shape for name, value in self.constants.items()}
        self.layer.build((BATCH, None, FEATURES), shapes)
        randomize(self.layer, 0.5)

    def __call__(self, sequences, state, constants, mask=MASK, **options):
        return self.layer(sequences, state, constants, memory_mask=mask, **options)

    def by_steps(self, sequences, state, constants):
        steps = []
        for t in range(TARGET):
            *step, state = self(sequences[:, t : t + 1], state, constants)
            steps.append(step)
        return [tf.concat(parts, axis=-2) for parts in zip(*steps, strict=True)] + [state]

    def by_hand(self, sequences, state, constants, noise=None):
        """Of the attention's `step` and the cells' `step` alone."""
        sequences, state, constants = tf.nest.map_structure(tensor, [sequences, state, constants])
        results, alignment = [], state["attention"]
        states = state["layers"] if self.feeds else [state["cell"]]
        fed_back = state.get("attentional")
        for t in range(TARGET):
            attend = functools.partial(
                self.attention.step, constants=constants, state=alignment, memory_mask=MASK,
                noise=None if noise is None else noise[:, t],
            )  # fmt: skip
            if self.feeds:
                outputs, after = tf.concat([sequences[:, t], fed_back], axis=-1), []
                for index, cell in enumerate(self.cells):
                    after.append(cell.step(cell.project(outputs), states[index]))
                    hidden = after[index]["hidden"]
                    outputs = outputs + hidden if index and self.layer.residual else hidden
                states = after
                context, weights, alignment = attend(outputs)
                fed_back = self.layer.attentional(tf.concat([context, outputs], axis=-1))
                results.append([fed_back, weights])
            else:
                context, weights, alignment = attend(states[0]["hidden"])
                projected = self.cells[0].project(tf.concat([sequences[:, t], context], axis=-1))
                states = [self.cells[0].step(projected, states[0])]
                results.append([states[0]["hidden"], context, weights])
        final = {"layers": states, "attentional": fed_back} if self.feeds else {"cell": states[0]}
        stacked = [np.stack(parts, axis=-2) for parts in zip(*results, strict=True)]
        return [*stacked, {**final, "attention": alignment}]


def tensor(array):
    return tf.constant(array, "float32")


@pytest.fixture(scope="module")
def make_case(plain_test_cell, random, randomize):
    return functools.partial(Case, random, randomize)


@pytest.fixture(
    scope="module",
    params=EACH,
    ids=lambda case: "-".join(case[:3]),
)
def case(request, make_case):
    return make_case(*request.param)


def test_equals_attention_and_cells_by_hand(case, assert_close):
    assert_close(case(*case.inputs), case.by_hand(*case.inputs), atol=5e-6)


def test_step_by_step_equals_whole(case, gradients, assert_close):
    """A static step runs without the loop."""
    assert_close(case.by_steps(*case.inputs), case(*case.inputs), atol=2e-6)
    by_steps, whole = (gradients(run, case.inputs, case.layer.weights) for run in (case.by_steps, case))
    assert_close(by_steps, whole, atol=2e-5)
    assert all(np.abs(gradient).max() > 1e-6 for gradient in whole)


def test_padding_of_the_source_changes_nothing(case, assert_close):
    width = ((0, 0), (0, 3))
    constants = {name: np.pad(value, (*width, (0, 0)), constant_values=9.0) for name, value in case.constants.items()}
    alignment = {name: np.pad(value, width) for name, value in case.state["attention"].items()}
    *results, weights, state = case(
        case.inputs[0], {**case.state, "attention": alignment}, constants, np.pad(MASK, width)
    )
    assert not weights[..., SOURCE:].numpy().any()
    state["attention"] = {name: value[:, :SOURCE] for name, value in state["attention"].items()}
    assert_close([*results, weights[..., :SOURCE], state], case(*case.inputs), atol=2e-6)


def like(case, make):
    """The structure of the inputs with unknown sizes of batch, target and source."""
    inputs = tf.nest.map_structure(lambda array: make((*[None] * (array.ndim - 1), array.shape[-1])), case.inputs)
    inputs[1]["attention"] = {name: make((None, None)) for name in case.state["attention"]}
    return inputs


@pytest.mark.parametrize(
    "options",
    [pytest.param(case, marks=pytest.mark.slow if index in (1, 2) else ()) for index, case in enumerate(SOME)],
    ids=lambda case: "-".join(case[:3]),
)
def test_graphs_of_unknown_sizes(options, make_case, gradients, count_loops, assert_close):
    """One loop over the target, and none over a static step."""
    case = make_case(*options)
    own = 1 if options[1] == "monotonic" else 0  # Over the source.
    signature = like(case, tf.TensorSpec)
    graph = tf.function(lambda *inputs: case(*inputs), input_signature=signature)
    assert count_loops(graph) == own + 1
    assert_close(*(gradients(run, case.inputs, case.layer.weights) for run in (graph, case)), atol=1e-5)
    signature[0] = tf.TensorSpec((None, 1, FEATURES))
    assert count_loops(tf.function(lambda *inputs: case(*inputs), input_signature=signature)) == own


def functional(case):
    """A model of the layer alone."""
    inputs = like(case, lambda shape: keras.Input(shape[1:]))
    mask = keras.Input((None,), dtype="bool")
    return keras.Model([*inputs, mask], case(*inputs, mask))


def test_symbolic_shapes(case):
    """Those of `compute_output_spec` are those of a call, and states are distinct tensors."""
    symbolic, results = functional(case).output, case(*case.inputs)
    for spec, result in zip(tf.nest.flatten(symbolic), tf.nest.flatten(results), strict=True):
        assert spec.dtype == result.dtype.name and len(spec.shape) == len(result.shape)
        for size, real in zip(spec.shape, result.shape, strict=True):
            assert size == real or size is None and real in (BATCH, TARGET, SOURCE)
    assert symbolic[0].shape == (None, None, ATTENTIONAL if case.feeds else UNITS)
    assert symbolic[-2].shape == (None, *case.heads, None, None)
    states = tf.nest.flatten(symbolic[-1])
    assert len({id(state) for state in states}) == len(states)


@pytest.mark.parametrize("options", SOME[::2], ids=lambda case: "-".join(case[:3]))
def test_saved_model(options, make_case, tmp_path, assert_close):
    """What is loaded has the same weights by the same paths, and computes the same."""
    case = make_case(*options)
    model = functional(case)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]
    inputs = [*tf.nest.map_structure(tensor, case.inputs), tf.constant(MASK)]
    assert_close(again(inputs), model(inputs), atol=0)


def test_configuration(case):
    config = keras.saving.serialize_keras_object(case.layer)
    assert config["registered_name"] == f"kerasseq>{type(case.layer).__name__}"
    config.pop("build_config", None)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == case.layer.get_config()
    assert type(again.attention) is type(case.attention) and again.attention.name == "attention"


@pytest.mark.parametrize("options", EACH, ids=lambda case: "-".join(case[:3]))
def test_half_precision(options, make_case):
    """Attention weights are float32, and with a state of the attention everything is."""
    half, case = make_case(*options, dtype="mixed_float16"), make_case(*options)
    for time in (1, TARGET):
        inputs = [case.inputs[0][:, :time], *case.inputs[1:]]
        *floats, weights, state = half(*inputs)
        dtype = tf.float32 if case.attention.has_state else tf.float16
        assert {result.dtype for result in tf.nest.flatten([floats, state])} == {dtype}
        assert weights.dtype == tf.float32
        for result, expected in zip([*floats, weights], case(*inputs)[:-1], strict=True):
            np.testing.assert_allclose(tf.cast(result, "float32"), expected, atol=3e-2)
    assert [spec.dtype for spec in tf.nest.flatten(functional(half).output)] == [
        result.dtype.name for result in tf.nest.flatten([floats, weights, state])
    ]


@pytest.mark.parametrize("options", SOME[1::2], ids=lambda case: "-".join(case[:3]))
def test_noise_of_the_attention_in_training(options, make_case, assert_close):
    """Drawn before the loop, as an equal layer draws it."""
    case, twin = make_case(*options, seed=5), make_case(*options, seed=5)
    noise = twin.attention.draw_noise(case.inputs[0], case.constants["values"], training=True)
    results = case(*case.inputs, training=True)
    assert_close(results, case.by_hand(*case.inputs, noise=noise), atol=5e-6)
    assert np.abs(results[0] - case(*case.inputs)[0]).max() > 1e-3


# === The papers ===


def softmax(scores, mask):
    exponentials = np.exp(scores) * mask
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def cell_weights(cell):
    return [np.float64(weight.numpy()) for weight in cell.weights]


def bahdanau(case, numpy_cell, mask, sequences, states):
    """Bahdanau et al. 2015: `e_ij = v^T tanh(W s_{i-1} + U h_j)`, `c_i = sum_j a_ij h_j`.

    `U h_j` are the keys, and the next state is `s_i = f(s_{i-1}, [y; c_i])`.
    """
    (cell,), keys, values = case.cells, *case.constants.values()
    query_kernel, score_vector = (np.float64(weight.numpy()) for weight in case.attention.weights)
    steps = []
    for i in range(TARGET):
        weights = softmax(np.tanh((states[0] @ query_kernel)[:, None] + keys) @ score_vector, mask)
        context = np.einsum("bs,bsd->bd", weights, values)
        inputs = np.concatenate([sequences[:, i], context], axis=-1)
        states = numpy_cell(case.layer.recurrent.cell_name, inputs, states, *cell_weights(cell))
        steps.append([states[0], context, weights])
    return [np.stack(parts, axis=1) for parts in zip(*steps, strict=True)], states


def luong(case, numpy_cell, mask, sequences, states):
    """Luong et al. 2015, section 3.3 with equations 5 and 7, for one layer."""
    (cell,), keys, values = case.cells, *case.constants.values()
    *states, fed_back = states
    kernel, bias = (np.float64(weight.numpy()) for weight in case.layer.attentional.weights)
    steps = []
    for t in range(TARGET):
        inputs = np.concatenate([sequences[:, t], fed_back], axis=-1)  # [y_{t-1}; h~_{t-1}]
        states = numpy_cell(case.layer.cell_name, inputs, states, *cell_weights(cell))
        weights = softmax(np.einsum("bu,bsu->bs", states[0], keys), mask)
        context = np.einsum("bs,bsd->bd", weights, values)
        fed_back = np.tanh(np.concatenate([context, states[0]], axis=-1) @ kernel + bias)  # of [c_t; h_t]
        steps.append([fed_back, weights])
    return [np.stack(parts, axis=1) for parts in zip(*steps, strict=True)], [*states, fed_back]


@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru"])
@pytest.mark.parametrize("loop, name, paper", [("inside", "bahdanau", bahdanau), ("feeding", "luong", luong)])
def test_equations(loop, name, paper, cell, make_case, numpy_cell, assert_close):
    case = make_case(loop, name, cell)
    states = case.state["layers"][0] if case.feeds else case.state["cell"]
    states = [states[name] for name in case.cells[0].state_names]
    states += [case.state["attentional"]] if case.feeds else []
    for mask in (None, MASK):
        *results, state = case(*case.inputs, mask)
        real = np.ones_like(MASK) if mask is None else mask
        expected, final = paper(case, numpy_cell, real, case.inputs[0], states)
        after = state["layers"][0] if case.feeds else state["cell"]
        after = [after[name] for name in case.cells[0].state_names] + ([state["attentional"]] if case.feeds else [])
        assert_close([results, after], [expected, final], atol=3e-6)


def test_bad_arguments():
    attention = layers.LuongAttention(2)
    for name in ("units", "attentional_units", "num_layers"):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer. Received: {name}=0."):
            InputFeeding(**{"units": 2, "attention": attention, "attentional_units": 2, name: 0})
    for dropout in (1.0, -0.1, "0.1", None):
        with pytest.raises(ValueError, match=rf"dropout must be in \[0, 1\). Received: dropout={dropout!r}."):
            InputFeeding(2, attention, 2, dropout=dropout)
    with pytest.raises(ValueError, match="units must be a positive integer. Received: units=0."):
        RecurrentAttention(0, attention)
    for loop, more in ((RecurrentAttention, ()), (InputFeeding, (2,))):
        with pytest.raises(ValueError, match="attention must be an attention layer .* Received: attention='luong'"):
            loop(2, "luong", *more)
        with pytest.raises(ValueError, match="cell must be one of 'simple_rnn', .* Received: cell='rnn'."):
            loop(2, attention, *more, cell="rnn")
