"""Every kind of attention in every placement, with every cell: step by step, padding, causality."""

import itertools

import keras
import numpy as np
import pytest

from kerasseq.joining import select_inputs
from kerasseq.layers import CELLS
from kerasseq.layers.kinds import ATTENTIONS, PLACEMENTS
from kerasseq.losses import MaskedCrossentropy
from kerasseq.models import AttentionSeq2Seq

SOURCE = np.array([[5, 4, 8, 3], [6, 3, 0, 0], [3, 0, 0, 0]], dtype="int32")
TARGET = np.array([[2, 7, 4, 5, 6], [2, 5, 0, 0, 0], [2, 4, 4, 6, 0]], dtype="int32")
BATCH = {"encoder_token_ids": SOURCE, "decoder_token_ids": TARGET}

COMBINATIONS = list(itertools.product(ATTENTIONS, PLACEMENTS, CELLS))


def build(attention, placement, cell, num_layers, variant):
    """A model with random weights; `variant` walks through the other options, so that all of them meet."""
    model = AttentionSeq2Seq(
        source_vocabulary_size=9,
        target_vocabulary_size=8,
        embedding_dim=3,
        units=4,
        num_heads=2,
        cell=cell,
        attention=attention,
        placement=placement,
        num_layers=num_layers,
        bidirectional=attention != "dot" and variant % 2 == 0,
        bridge=[None, "zero", "dense"][variant % 3],
        residual=variant % 5 < 3,
        layer_normalization=variant % 4 == 1,
        tie_embeddings=variant % 3 == 1,
        dropout=0.1,
    )
    random = np.random.default_rng(variant)
    model.set_weights([random.normal(scale=0.7, size=weight.shape) for weight in model.get_weights()])
    return model


def step_by_step(model, source, target):
    """As the generator decodes: encoder and bridge once, then a token at a time, everything passed as plain tensors."""
    encoder, bridge, decoder = (model.get_layer(name) for name in ("encoder", "bridge", "decoder"))
    available = {"encoder_token_ids": keras.ops.array(source)}
    available |= encoder(available)
    available |= bridge(select_inputs(bridge, available))
    whole = decoder(select_inputs(decoder, {**available, "decoder_token_ids": keras.ops.array(target)}))
    steps = []
    for position in range(target.shape[1]):
        available["decoder_token_ids"] = keras.ops.array(target[:, position : position + 1])
        outputs = decoder(select_inputs(decoder, available))
        available["states"] = outputs["states"]
        steps.append(outputs)
    return steps, whole


def check(attention, placement, cell, num_layers, variant):
    model = build(attention, placement, cell, num_layers, variant)
    logits = np.asarray(model(BATCH))
    assert logits.std() > 0.1

    # === Step by step ===
    steps, whole = step_by_step(model, SOURCE, TARGET)
    np.testing.assert_allclose(np.concatenate([step["logits"] for step in steps], axis=1), logits, atol=1e-5)
    assert set(whole) == {"logits", "states", "attention"} | (
        {"attention_heads"} if attention == "multi_head" else set()
    )
    for name in set(whole) & {"attention", "attention_heads"}:
        joined = np.concatenate([step[name] for step in steps], axis=-2)
        np.testing.assert_allclose(joined, whole[name], atol=1e-5)
    for state, expected in zip(steps[-1]["states"], whole["states"], strict=True):
        np.testing.assert_allclose(state, expected, atol=1e-5)

    # === Attention: within the source ===
    weights = np.asarray(whole["attention"])
    assert weights.shape == (3, 5, 4) and (weights >= 0).all()
    assert not weights[np.broadcast_to(SOURCE[:, None] == 0, weights.shape)].any()
    totals = weights.sum(axis=-1)
    if attention == "monotonic":
        assert (totals < 1 + 1e-5).all()
        assert (np.diff(np.cumsum(weights, axis=-1), axis=1) < 1e-5).all()  # It never moves back.
    else:
        np.testing.assert_allclose(totals, 1, atol=1e-5)

    # === Padding, causality, the source ===
    padded = model({**BATCH, "encoder_token_ids": np.pad(SOURCE, ((0, 0), (0, 3)))})
    np.testing.assert_allclose(padded, logits, atol=1e-5)
    alone = model({"encoder_token_ids": SOURCE[1:2, :2], "decoder_token_ids": TARGET[1:2]})
    np.testing.assert_allclose(alone, logits[1:2], atol=1e-5)
    later = TARGET.copy()
    later[:, 3] = [1, 7, 1]
    changed = np.asarray(model({**BATCH, "decoder_token_ids": later}))
    np.testing.assert_allclose(changed[:, :3], logits[:, :3], atol=1e-6)
    other_source = SOURCE.copy()
    other_source[:, 0] = [6, 7, 8]
    assert np.abs(model({**BATCH, "encoder_token_ids": other_source}) - logits).max() > 1e-4


@pytest.mark.parametrize("attention, placement, cell", COMBINATIONS)
def test_kinds(attention, placement, cell):
    """The depth and the other options change from one combination to the next."""
    variant = COMBINATIONS.index((attention, placement, cell))
    check(attention, placement, cell, num_layers=1 + variant % 2, variant=variant)


@pytest.mark.slow
@pytest.mark.parametrize("attention, placement, cell", COMBINATIONS)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_kinds_in_depth(attention, placement, cell, num_layers):
    variant = COMBINATIONS.index((attention, placement, cell))
    check(attention, placement, cell, num_layers, variant=7 * variant + num_layers)


@pytest.mark.parametrize(
    "attention, placement",
    [
        # A placement each in the fast tests: tracing a training step takes seconds.
        pytest.param(*pair, marks=() if index % (len(PLACEMENTS) + 1) == 0 else pytest.mark.slow)
        for index, pair in enumerate(itertools.product(ATTENTIONS, PLACEMENTS))
    ],
)
def test_every_weight_learns(attention, placement):
    """The gradient of the loss reaches every weight of the model, through whatever loop there is."""
    model = build(attention, placement, "gru", 2, variant=6)
    model.compile("sgd", MaskedCrossentropy())
    before = model.get_weights()
    model.train_on_batch(BATCH, np.array([[7, 4, 5, 6, 3], [5, 3, 0, 0, 0], [4, 4, 6, 3, 0]], dtype="int32"))
    for weight, old in zip(model.weights, before, strict=True):
        assert np.abs(weight.numpy() - old).max() > 0, weight.path


def test_default_placements():
    for attention in ATTENTIONS:
        model = AttentionSeq2Seq(9, 8, units=4, embedding_dim=3, attention=attention, bidirectional=False)
        kinds = {type(layer).__name__ for layer in model.get_layer("decoder").layers}
        inside = attention in ("bahdanau", "location", "monotonic")
        assert ("RecurrentAttention" in kinds) is inside and "InputFeeding" not in kinds


def test_states_are_those_of_cells_feeding_and_alignment():
    options = {"attention": "location", "placement": "input_feeding", "tie_embeddings": True}
    model = AttentionSeq2Seq(9, 8, units=4, embedding_dim=3, num_layers=2, **options)
    shapes = [state.shape for state in model.get_layer("decoder").input["states"]]
    assert shapes == [(None, 4)] * 4 + [(None, 3), (None, None)]


def test_errors():
    sizes = {"source_vocabulary_size": 9, "target_vocabulary_size": 8, "units": 6, "embedding_dim": 3}
    with pytest.raises(ValueError, match="placement must be one of 'after', 'input_feeding', 'inside', or None.*'top'"):
        AttentionSeq2Seq(**sizes, placement="top")
    with pytest.raises(ValueError, match="bridge must be one of 'zero', 'copy', 'dense', or None .*bridge='linear'"):
        AttentionSeq2Seq(**sizes, bridge="linear")
    with pytest.raises(ValueError, match="must be a multiple of num_heads. Received: units=6, num_heads=4.*Choose 8"):
        AttentionSeq2Seq(**sizes, attention="multi_head")
    with pytest.raises(ValueError, match="num_heads must be a positive integer. Received: num_heads=0."):
        AttentionSeq2Seq(**sizes, attention="multi_head", num_heads=0)
    with pytest.raises(ValueError, match="'dot' multiplies .* Received: 6 units, a memory of 12. Choose an encoder"):
        AttentionSeq2Seq(**sizes, attention="dot")
    with pytest.raises(ValueError, match="bridge='copy' needs encoder states of the decoder's size. Received: .* 12"):
        AttentionSeq2Seq(**sizes, bridge="copy")
