"""The recurrent decoder against its layers called one by one, and what its constructor refuses."""

import keras
import numpy as np
import pytest
from helpers import randomized, softmax

from kerasseq.decoders import RecurrentDecoder
from kerasseq.layers.attention import SCORES
from kerasseq.layers.cells import CELLS

VOCABULARY, EMBEDDING, UNITS, MEMORY = 9, 3, 2, 5

IDS = np.array([[2, 7, 4], [2, 5, 0]], dtype="int32")
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=bool)


@pytest.fixture
def case(random):
    """A function of options to a decoder with random weights, and a context for it."""

    def build(units=UNITS, memory=MEMORY, **options):
        decoder = RecurrentDecoder(VOCABULARY, EMBEDDING, units, **options)
        names = CELLS[decoder.options["cell"]].state_names
        context = {
            "memory": random(2, 4, memory),
            "memory_mask": MASK,
            "states": [
                {name: random(2, units, seed=7 + 2 * layer + index) for index, name in enumerate(names)}
                for layer in range(decoder.options["num_layers"])
            ],
            "encoder_token_ids": np.array([[5, 8, 5, 3], [5, 3, 0, 0]], dtype="int32"),
        }
        decoder(IDS, context)
        return randomized(decoder, scale=1.0), context

    return build


def through(recurrent, sequences, states):
    """The layers of a stack one after another, each from its own state."""
    after = []
    for layer, state in zip(recurrent, states, strict=True):
        sequences, state = layer(sequences, initial_state=state)
        after.append(state)
    return sequences.numpy(), after


def assert_same(states, expected):
    keras.tree.map_structure(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), states, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_without_attention(cell, case):
    """Layer upon layer, each from its own state; the initial states are copies of the encoder's."""
    decoder, context = case(cell=cell, num_layers=2)
    hidden, states = through(decoder.placement.stack.recurrent, decoder.embedding(IDS), context["states"])
    kernel, bias = decoder.logits.get_weights()
    outputs, state = decoder.run(IDS, *decoder.start(context))
    np.testing.assert_allclose(outputs["logits"], hidden @ kernel + bias, atol=1e-5)
    assert_same(state, {"layers": states})


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize(
    "attention, placement", [("luong", "after"), ("bahdanau", "inside"), ("luong", "input_feeding")]
)
def test_placements(attention, placement, copy, case):
    """`tanh(W_c [c; h])` of Luong et al. 2015, equation 5; and `tanh(W [h; c; y])` with the attention inside.

    Where tokens are copied, the readout is linear, and all of it and the token decide between the two; h~ where that is
    fed back.
    """
    decoder, context = case(attention=attention, placement=placement, num_layers=2, copy=copy)
    placed, memory, states = decoder.placement, context["memory"], context["states"]
    constants = {"keys": memory @ decoder.attention.keys.get_weights()[0], "values": memory}
    embedded = decoder.embedding(IDS)
    if placement == "after":
        hidden, layers = through(placed.stack.recurrent, embedded, states)
        weights = softmax(np.where(MASK[:, None], np.einsum("btu,bsu->bts", hidden, constants["keys"]), -np.inf))
        features = readout = [np.einsum("bts,bsd->btd", weights, memory), hidden]
        final = {"layers": layers, "attention": {}}
    elif placement == "inside":
        first = {"cell": states[0], "attention": {}}
        hidden, attended, weights, first = placed.inside(embedded, first, constants, memory_mask=MASK)
        hidden, layers = through(placed.stack.recurrent, hidden, states[1:])
        features, readout = [hidden, attended, embedded], [hidden, attended]
        final = {"layers": [first["cell"], *layers], "attention": {}}
    else:
        initial = {"layers": states, "attention": {}, "attentional": np.zeros((2, UNITS), "float32")}
        attentional, weights, final = placed.feeding(embedded, initial, constants, memory_mask=MASK)
        attentional, readout = attentional.numpy(), [attentional]
    if placement != "input_feeding":
        kernel, bias = placed.attentional.get_weights()
        attentional = np.concatenate(features, axis=-1) @ kernel + bias
        attentional = attentional if copy else np.tanh(attentional)
    kernel, bias = decoder.logits.get_weights()
    expected = attentional @ kernel + bias
    outputs, state = decoder.run(IDS, *decoder.start(context))
    np.testing.assert_allclose(outputs["attention"], weights, atol=1e-6)
    assert_same(state, final)
    if not copy:
        np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)
        return
    kernel, bias = decoder.pointer_generator.get_weights()
    p_gen = 1 / (1 + np.exp(-(np.concatenate([*readout, embedded], axis=-1) @ kernel + bias)))  # (batch, target, 1)
    copied = np.einsum("bts,bsv->btv", weights, np.eye(VOCABULARY)[context["encoder_token_ids"]])
    np.testing.assert_allclose(outputs["generation_probability"], p_gen[:, :, 0], atol=1e-5)
    np.testing.assert_allclose(np.exp(outputs["logits"]), p_gen * softmax(expected) + (1 - p_gen) * copied, atol=1e-5)


@pytest.mark.parametrize(
    "options, projects",
    [({"units": EMBEDDING}, False), ({}, True), ({"attention": "luong"}, False)],
    ids=["equal sizes", "projected", "attention"],
)
def test_tied_embeddings_share_the_matrix(options, projects, case):
    decoder, context = case(**options, tie_embeddings=True)
    assert decoder.logits is None and (decoder.to_embedding is not None) == projects
    (matrix,) = [weight.numpy() for weight in decoder.weights if VOCABULARY in weight.shape]
    assert matrix.shape == (VOCABULARY, EMBEDDING)
    features, *_ = decoder.placement(decoder.embedding(IDS), *decoder.start(context))
    if projects:
        kernel, bias = decoder.to_embedding.get_weights()
        features = features @ kernel + bias
    np.testing.assert_allclose(decoder(IDS, context)["logits"], features @ matrix.T, atol=1e-5)
    np.testing.assert_array_equal(decoder.embedding(IDS), matrix[IDS])


def test_untied_embeddings_have_their_own_projection(case):
    decoder, _ = case()
    shapes = [weight.shape for weight in decoder.weights if VOCABULARY in weight.shape]
    assert shapes == [(VOCABULARY, EMBEDDING), (UNITS, VOCABULARY), (VOCABULARY,)]


def test_tied_logits_start_small():
    """The embedding's rows have length 1 on average, so tied logits start near the scale of untied ones."""
    decoder = RecurrentDecoder(2_000, 64, 64, tie_embeddings=True)
    decoder.embedding.build()
    lengths = np.linalg.norm(decoder.embedding.embeddings.numpy(), axis=-1)
    np.testing.assert_allclose(lengths.mean(), 1, atol=0.02)


@pytest.mark.parametrize("vocabulary_size", [50, 2_000])
def test_untied_logits_start_at_the_scale_of_the_features(vocabulary_size):
    """The kernel's deviation depends on the number of features alone (LeCun et al. 1998)."""
    keras.utils.set_random_seed(0)
    decoder = RecurrentDecoder(vocabulary_size, 8, 64)
    decoder.logits.build((None, None, 64))
    assert np.std(decoder.logits.kernel) == pytest.approx(64**-0.5, rel=0.05)


@pytest.mark.parametrize("attention", SCORES)
def test_default_placements(attention):
    decoder = RecurrentDecoder(VOCABULARY, EMBEDDING, UNITS, attention=attention, num_heads=2)
    inside = attention in ("bahdanau", "location", "monotonic")
    assert type(decoder.placement).__name__ == ("AttentionInside" if inside else "AttentionAfter")


def test_states_of_cells_feeding_and_alignment(case):
    decoder, context = case(attention="location", placement="input_feeding", tie_embeddings=True, num_layers=2)
    state, constants = decoder.start(context)
    assert keras.tree.map_structure(np.shape, state) == {
        "layers": [{"hidden": (2, UNITS), "cell": (2, UNITS)}] * 2,
        "attentional": (2, EMBEDDING),
        "attention": {"alignment": (2, 4)},
    }
    np.testing.assert_array_equal(state["attentional"], np.zeros((2, EMBEDDING)))
    np.testing.assert_array_equal(state["attention"]["alignment"], [[1, 0, 0, 0]] * 2)
    assert set(constants) == {"keys", "values", "memory_mask", "shared"}


@pytest.mark.parametrize(
    "attention, projections", [("luong", {"keys"}), ("dot", set()), ("multi_head", {"keys", "values"})]
)
def test_the_memory_is_projected_once(attention, projections, case):
    decoder, context = case(memory=UNITS, attention=attention, num_heads=2)
    _, constants = decoder.start(context)
    for name in ("keys", "values"):
        expected = context["memory"]
        if name in projections:
            expected = expected @ getattr(decoder.attention, name).get_weights()[0]
        np.testing.assert_allclose(constants[name], expected, atol=1e-6)


def test_the_policy_is_that_of_all_layers_within():
    """But for the logits, which are in single precision whatever the policy."""
    decoder = RecurrentDecoder(VOCABULARY, EMBEDDING, UNITS, attention="luong", dtype="mixed_bfloat16")
    placed = decoder.placement
    layers = [decoder.bridge, decoder.embedding, decoder.embedding_dropout, decoder.attention, decoder.attention.keys]
    layers += [placed, placed.attentional, placed.stack, placed.stack.recurrent[0], placed.stack.recurrent[0].cell]
    assert {layer.dtype_policy.name for layer in layers} == {"mixed_bfloat16"}
    assert decoder.logits.dtype_policy.name == "float32"
    again = RecurrentDecoder.from_config(decoder.get_config())
    assert again.bridge.dtype_policy.name == again.placement.dtype_policy.name == "mixed_bfloat16"


def test_dropout_only_in_training(case):
    decoder, context = case(dropout=0.5)
    logits = [decoder(IDS, context, training=training)["logits"].numpy() for training in (False, False, True, True)]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[2], logits[3])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"attention": "self"}, "attention must be one of 'luong', 'dot', .* Received: attention='self'."),
        ({"attention": "luong", "placement": "top"}, "placement must be one of 'after', 'input_feeding', 'inside', or"),
        ({"cell": "rnn"}, "cell must be one of 'simple_rnn', 'lstm', 'gru', 'ssru'. Received: cell='rnn'."),
        ({"bridge": "linear"}, "bridge must be one of 'zero', 'copy', 'dense', or None .*bridge='linear'"),
        (
            {"attention": "multi_head", "num_heads": 3},
            "a multiple of num_heads. Received: units=2, num_heads=3",
        ),
        ({"attention": "multi_head", "num_heads": 0}, "num_heads must be a positive integer. Received: num_heads=0."),
        ({"copy": True}, "copy=True copies tokens by attention. Received: attention=None."),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\). Received: dropout=1.0."),
        ({"num_layers": 0}, "num_layers must be a positive integer"),
        ({"attention": "dot"}, "'dot' multiplies .* Received: units=2 .* of the size 5. Choose units=5"),
    ],
)
def test_errors(options, message, case):
    with pytest.raises(ValueError, match=message):
        case(**options)
