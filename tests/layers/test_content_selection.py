import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.joining import decoder_outputs, select_inputs
from kerasseq.layers import ContentSelection, ContentSelectionLoss
from kerasseq.layers import content_selection as content_selection_module
from kerasseq.losses import MaskedCrossentropy
from kerasseq.models import PointerGeneratorSeq2Seq

IDS = np.array([[5, 4, 7, 3], [6, 3, 0, 0], [3, 0, 0, 0]], dtype="int32")
SOURCE_MASK = IDS != 0
TARGET_MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], dtype=bool)
ATTENTION = np.random.default_rng(0).dirichlet(np.ones(4), size=TARGET_MASK.shape) * SOURCE_MASK[:, None]
ATTENTION = (ATTENTION / ATTENTION.sum(axis=-1, keepdims=True)).astype("float32")
SELECTION = (2 * np.random.default_rng(1).normal(size=IDS.shape)).astype("float32")
OUTPUTS = np.random.default_rng(2).normal(size=(*TARGET_MASK.shape, 6)).astype("float32")

BATCH = {
    "encoder_token_ids": IDS,
    "decoder_token_ids": np.array([[2, 7, 4, 5, 6], [2, 5, 0, 0, 0], [2, 4, 4, 6, 0]], dtype="int32"),
}
LABELS = np.array([[7, 4, 5, 6, 3], [5, 3, 0, 0, 0], [4, 4, 6, 3, 0]], dtype="int32")


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


# === What the selector does to the attention ===


def reweighted(attention, selection, weight, threshold, ids=IDS, end_id=3):
    """a_i r_i^w / sum_k a_k r_k^w, with r_i = odds(q_i) / odds(threshold), and r_i = 1 for END."""
    result = np.zeros(attention.shape)
    for b, t in np.ndindex(*attention.shape[:2]):
        ratios = sigmoid(selection[b]) / (1 - sigmoid(selection[b])) / (threshold / (1 - threshold))
        products = attention[b, t] * np.where(ids[b] == end_id, 1.0, ratios**weight)
        result[b, t] = products / products.sum() * attention[b, t].sum()
    return result


@pytest.mark.parametrize("weight", [0.5, 1.0, 3])
@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_equations(weight, threshold):
    weights = ContentSelection(weight, threshold)(ATTENTION, SELECTION, IDS)
    np.testing.assert_allclose(weights, reweighted(ATTENTION, SELECTION, weight, threshold), atol=1e-6)
    np.testing.assert_allclose(np.sum(weights, axis=-1), 1.0, atol=1e-6)
    assert np.abs(weights - ATTENTION).max() > 0.05


def test_sums_stay_what_they_were():
    """As of monotonic attention, which adds up to less than 1."""
    lower = ATTENTION * np.array([1.0, 0.5, 0.1, 0.0, 1.0])[:, None]
    weights = ContentSelection(1.0)(lower, SELECTION, IDS)
    np.testing.assert_allclose(np.sum(weights, axis=-1), lower.sum(axis=-1), atol=1e-6)


def test_training_and_weight_0_change_nothing():
    np.testing.assert_array_equal(ContentSelection(1.0)(ATTENTION, SELECTION, IDS, training=True), ATTENTION)
    np.testing.assert_array_equal(ContentSelection()(ATTENTION, SELECTION, IDS), ATTENTION)


def test_the_threshold_alone_is_neutral():
    neutral = np.full(SELECTION.shape, np.log(0.3 / 0.7), "float32")
    np.testing.assert_allclose(ContentSelection(2.0, 0.3)(ATTENTION, neutral, IDS), ATTENTION, atol=1e-6)


def test_another_end():
    weights = ContentSelection(1.0, end_id=7)(ATTENTION, SELECTION, IDS)
    np.testing.assert_allclose(weights, reweighted(ATTENTION, SELECTION, 1.0, 0.5, end_id=7), atol=1e-6)


@pytest.mark.parametrize("logit", [-1e6, 1e6])
def test_a_selector_that_is_all_too_sure(logit):
    selection = np.where(np.arange(4) == 1, -logit, logit).astype("float32") * np.ones((3, 1), "float32")
    weights = ContentSelection(2.0)(ATTENTION, selection, IDS).numpy()
    assert np.isfinite(weights).all() and not weights[~np.broadcast_to(SOURCE_MASK[:, None], weights.shape)].any()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)
    assert (weights[0, :, 1] < 1e-6).all() if logit > 0 else (weights[0, :, 1] > 0.99).all()


def test_a_graph_with_unknown_sizes():
    signature = [
        tf.TensorSpec((None, None, None)), tf.TensorSpec((None, None)), tf.TensorSpec((None, None), "int32"),
    ]  # fmt: skip
    graph = tf.function(ContentSelection(1.0), input_signature=signature)
    for rows, steps, positions in ((3, 5, 4), (2, 1, 2), (1, 1, 1), (0, 5, 4), (3, 0, 4), (3, 5, 0)):
        given = ATTENTION[:rows, :steps, :positions], SELECTION[:rows, :positions]
        expected = reweighted(*given, 1.0, 0.5, ids=IDS[:rows, :positions])
        np.testing.assert_allclose(graph(*given, IDS[:rows, :positions]), expected, atol=1e-6)


def test_config():
    layer = ContentSelection(name="chosen")
    layer.weight, layer.threshold = 0.75, 0.3
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "kerasseq>ContentSelection"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.weight, again.threshold, again.end_id, again.name) == (0.75, 0.3, 3, "chosen")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), "1", None])
def test_bad_weights(weight):
    for layer in (ContentSelection, ContentSelectionLoss):
        with pytest.raises(ValueError, match=f"must be a number of at least 0. Received: weight={weight!r}."):
            layer(weight)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, float("nan"), "0.5", None])
def test_bad_thresholds(threshold):
    with pytest.raises(ValueError, match=f"threshold must be .*Received: threshold={threshold!r}."):
        ContentSelection(threshold=threshold)


# === What the selector learns ===


def loss_by_hand(selection, attention, source_mask=SOURCE_MASK, target_mask=TARGET_MASK):
    losses = []
    for b, i in np.argwhere(source_mask):
        copied = min(1.0, sum(attention[b, t, i] for t in np.flatnonzero(target_mask[b])))
        q = sigmoid(selection[b, i])
        losses.append(-copied * np.log(q) - (1 - copied) * np.log(1 - q))
    return np.mean(losses)


def loss_of(layer, selection=SELECTION, attention=ATTENTION, source_mask=SOURCE_MASK, target_mask=TARGET_MASK):
    layer(OUTPUTS, selection, attention, source_mask=source_mask, target_mask=target_mask)
    (loss,) = layer.losses
    return float(loss)


def test_loss():
    expected = loss_by_hand(SELECTION, ATTENTION)
    assert expected > 0.1
    for weight in (1.0, 0.25):
        assert loss_of(ContentSelectionLoss(weight)) == pytest.approx(weight * expected, abs=1e-6)


def test_padding_changes_no_loss():
    attention = np.where(TARGET_MASK[:, :, None], ATTENTION, 0.6)
    attention = np.pad(attention, ((0, 0), (0, 2), (0, 3)), constant_values=0.5)
    selection = np.pad(SELECTION, ((0, 0), (0, 3)), constant_values=4.0)
    masks = [np.pad(mask, ((0, 0), (0, more))) for mask, more in ((SOURCE_MASK, 3), (TARGET_MASK, 2))]
    padded = loss_of(ContentSelectionLoss(), selection, attention, *masks)
    assert padded == pytest.approx(loss_of(ContentSelectionLoss()), abs=1e-6)


def test_no_loss_where_nothing_is_real():
    assert loss_of(ContentSelectionLoss(), source_mask=np.zeros_like(SOURCE_MASK)) == 0.0
    layer = ContentSelectionLoss(0.0)
    layer(OUTPUTS, SELECTION, ATTENTION, source_mask=SOURCE_MASK, target_mask=TARGET_MASK)
    assert layer.losses == []


def test_no_gradient_into_the_attention():
    selection, attention, layer = tf.constant(SELECTION), tf.constant(ATTENTION), ContentSelectionLoss()
    with tf.GradientTape() as tape:
        tape.watch([selection, attention])
        layer(OUTPUTS, selection, attention, source_mask=SOURCE_MASK, target_mask=TARGET_MASK)
        loss = layer.losses[0]
    gradient, nothing = tape.gradient(loss, [selection, attention])
    copied = np.minimum(np.sum(ATTENTION * TARGET_MASK[:, :, None], axis=1), 1.0)
    expected = (sigmoid(SELECTION) - copied) * SOURCE_MASK / SOURCE_MASK.sum()
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert nothing is None or not np.any(nothing)


# === In a model ===


@pytest.fixture(scope="module")
def model():
    model = PointerGeneratorSeq2Seq(9, cell="gru", units=4, embedding_dim=3, content_selection=True)
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=weight.shape, scale=0.7) for weight in model.get_weights()])
    return model


@pytest.fixture
def selecting(model):
    layer = model.get_layer("decoder").get_layer("content_selection")
    layer.weight, layer.threshold = 1.0, 0.4
    yield model
    layer.weight, layer.threshold = 0.0, 0.5


def prepared(model):
    """What encoder and bridge give for `IDS`."""
    context = {"encoder_token_ids": tf.constant(IDS)}
    for name in ("encoder", "bridge"):
        context |= model.get_layer(name)(select_inputs(model.get_layer(name), context))
    return context


def test_the_selector_by_hand(model):
    """One hidden layer over the memory: `q = sigmoid(w^T tanh(W h + b) + c)`."""
    context = prepared(model)
    (W, b), (w, c) = (
        model.get_layer("bridge").get_layer(name).get_weights() for name in ("selector_hidden", "selector")
    )
    expected = np.tanh(context["memory"].numpy() @ W + b) @ w + c
    np.testing.assert_allclose(context["selection"], expected[:, :, 0], atol=1e-5)
    assert context["selection"].dtype == tf.float32 and np.std(expected) > 0.1


def test_copies_follow_the_selector(selecting):
    """The copied part of the mixture has the new weights; what is generated, and the states, stay as they were."""
    after = decoder_outputs(selecting)(BATCH)
    selecting.get_layer("decoder").get_layer("content_selection").weight = 0.0
    before = decoder_outputs(selecting)(BATCH)
    np.testing.assert_array_equal(after["generation_probability"], before["generation_probability"])
    for state, expected in zip(after["states"], before["states"], strict=True):
        np.testing.assert_array_equal(state, expected)
    moved = np.zeros(before["logits"].shape)
    for b, t, i in np.ndindex(*before["attention"].shape):
        moved[b, t, IDS[b, i]] += after["attention"][b, t, i] - before["attention"][b, t, i]
    moved *= 1 - before["generation_probability"].numpy()[:, :, None]
    np.testing.assert_allclose(np.exp(after["logits"]) - np.exp(before["logits"]), moved, atol=1e-6)
    assert np.abs(moved).max() > 0.01


def test_step_by_step(selecting):
    decoder, context = selecting.get_layer("decoder"), prepared(selecting)
    context["decoder_token_ids"] = tf.constant(BATCH["decoder_token_ids"])
    whole = decoder(select_inputs(decoder, context))
    for position in range(5):
        context["decoder_token_ids"] = tf.constant(BATCH["decoder_token_ids"][:, position : position + 1])
        outputs = decoder(select_inputs(decoder, context))
        for name in ("logits", "attention"):
            np.testing.assert_allclose(outputs[name][:, 0], whole[name][:, position], atol=1e-5)
        context["states"] = outputs["states"]


def test_padding_changes_no_answer(selecting):
    padded = selecting({name: np.pad(ids, ((0, 0), (0, 3))) for name, ids in BATCH.items()})
    np.testing.assert_allclose(padded[:, :5], selecting(BATCH), atol=1e-5)


def test_fit_learns_both_and_saves_all(tmp_path):
    model = PointerGeneratorSeq2Seq(9, cell="gru", units=4, embedding_dim=3, content_selection=True)
    selection, attention = prepared(model)["selection"].numpy(), decoder_outputs(model)(BATCH)["attention"].numpy()
    selector_loss = loss_by_hand(selection, attention, target_mask=BATCH["decoder_token_ids"] != 0)
    model.compile("adam", MaskedCrossentropy(), metrics=[MaskedCrossentropy(name="crossentropy")])
    results = model.evaluate(BATCH, LABELS, verbose=0, return_dict=True)
    assert results["loss"] == pytest.approx(results["crossentropy"] + selector_loss, rel=1e-5)
    before = model.get_weights()
    model.fit(BATCH, LABELS, verbose=0)
    for weight, old in zip(model.weights, before, strict=True):
        assert np.abs(weight.numpy() - old).max() > 0, weight.path
    layer = model.get_layer("decoder").get_layer("content_selection")
    layer.weight, layer.threshold = 1.0, 0.3
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(BATCH), model(BATCH))
    loaded = loaded.get_layer("decoder").get_layer("content_selection")
    assert (loaded.weight, loaded.threshold) == (1.0, 0.3)


def test_example():
    result = doctest.testmod(content_selection_module)
    assert result.attempted and not result.failed
