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

# The first source holds a token of its target twice.
IDS = np.array([[5, 4, 7, 5, 3], [6, 3, 0, 0, 0], [3, 0, 0, 0, 0]], dtype="int32")
TARGET = np.array([[2, 7, 4, 5, 6], [2, 6, 0, 0, 0], [2, 4, 4, 6, 0]], dtype="int32")
ATTENTION = np.random.default_rng(0).dirichlet(np.ones(5), size=TARGET.shape) * (IDS != 0)[:, None]
ATTENTION = (ATTENTION / ATTENTION.sum(axis=-1, keepdims=True)).astype("float32")
SELECTION = (2 * np.random.default_rng(1).normal(size=IDS.shape)).astype("float32")
OUTPUTS = np.random.default_rng(2).normal(size=(*TARGET.shape, 6)).astype("float32")

BATCH = {"encoder_token_ids": IDS, "decoder_token_ids": TARGET}
LABELS = np.array([[7, 4, 5, 6, 3], [6, 3, 0, 0, 0], [4, 4, 6, 3, 0]], dtype="int32")


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


# === What the selector has to say ===


def expected_ratios(selection, weight, threshold, ids=IDS, end_id=3):
    """(odds(q_i) / odds(threshold)) ** weight, and 1 for END."""
    odds = sigmoid(selection) / (1 - sigmoid(selection))
    return np.where(ids == end_id, 1.0, (odds / (threshold / (1 - threshold))) ** weight)


@pytest.mark.parametrize("weight", [0.5, 1.0, 3])
@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_equation(weight, threshold):
    ratios = ContentSelection(weight, threshold)(SELECTION, IDS)
    np.testing.assert_allclose(ratios, expected_ratios(SELECTION, weight, threshold), rtol=1e-5)
    assert np.ptp(ratios) > 0.5


def test_training_and_weight_0_change_nothing():
    np.testing.assert_array_equal(ContentSelection(1.0)(SELECTION, IDS, training=True), np.ones(IDS.shape))
    np.testing.assert_array_equal(ContentSelection()(SELECTION, IDS), np.ones(IDS.shape))


def test_the_threshold_is_neutral():
    neutral = np.full(SELECTION.shape, np.log(0.3 / 0.7), "float32")
    np.testing.assert_allclose(ContentSelection(2.0, 0.3)(neutral, IDS), np.ones(IDS.shape), atol=1e-6)


def test_another_end():
    ratios = ContentSelection(1.0, end_id=7)(SELECTION, IDS)
    np.testing.assert_allclose(ratios, expected_ratios(SELECTION, 1.0, 0.5, end_id=7), rtol=1e-5)


def test_a_selector_that_is_all_too_sure():
    ratios = ContentSelection(2.0)(np.full((1, 2), [1e6, -1e6], "float32"), np.array([[4, 5]]))
    np.testing.assert_allclose(ratios, [np.exp([20.0, -20.0])], rtol=1e-5)


def test_a_graph_with_unknown_sizes():
    signature = [tf.TensorSpec((None, None)), tf.TensorSpec((None, None), "int32")]
    graph = tf.function(ContentSelection(1.0), input_signature=signature)
    for rows, positions in ((3, 5), (1, 1), (0, 4), (3, 0)):
        ids, selection = IDS[:rows, :positions], SELECTION[:rows, :positions]
        np.testing.assert_allclose(graph(selection, ids), expected_ratios(selection, 1.0, 0.5, ids), rtol=1e-5)


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


def copied_by_hand(attention, ids=IDS, target=TARGET):
    """For each target token behind START, the attention to positions that hold it, divided by its sum; 1 at most."""
    copied = np.zeros(ids.shape)
    for b in range(len(ids)):
        for t, token in enumerate(target[b][1:]):
            places = np.flatnonzero(ids[b] == token) if token else []
            for i in places:
                copied[b, i] += attention[b, t, i] / attention[b, t, places].sum()
    return np.minimum(copied, 1.0)


def loss_by_hand(selection, attention, ids=IDS, target=TARGET):
    copied, q = copied_by_hand(attention, ids, target), sigmoid(selection)
    losses = -copied * np.log(q) - (1 - copied) * np.log(1 - q)
    return losses[ids != 0].mean()


def loss_of(layer, selection=SELECTION, attention=ATTENTION, ids=IDS, target=TARGET):
    layer(OUTPUTS, selection, attention, ids, target)
    (loss,) = layer.losses
    return float(loss)


def test_loss():
    copied = copied_by_hand(ATTENTION)
    assert copied.max() == 1.0 and ((copied > 0.01) & (copied < 0.99)).any()
    expected = loss_by_hand(SELECTION, ATTENTION)
    for weight in (1.0, 0.25):
        assert loss_of(ContentSelectionLoss(weight)) == pytest.approx(weight * expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_sharp_attention_finds_the_longest_common_subsequence(seed):
    """Targets are sources with tokens left out: attention to where the next token stands labels what was kept."""
    random = np.random.default_rng(seed)
    ids = random.integers(4, 9, size=(20, 12)).astype("int32")  # Five tokens, so each comes again and again.
    kept = random.random(ids.shape) < 0.5
    target, attention = np.zeros((20, 13), "int32"), np.full((20, 13, 12), 0.1 / 12, "float32")
    target[:, 0] = 2
    for b, row in enumerate(kept):
        for t, i in enumerate(np.flatnonzero(row)):
            target[b, t + 1] = ids[b, i]
            attention[b, t, i] += 100.0
    copied = content_selection_module.copied_positions(attention, ids, target)
    np.testing.assert_allclose(copied, kept, atol=2e-3)


def test_padding_changes_no_loss():
    attention = np.pad(ATTENTION, ((0, 0), (0, 2), (0, 3)), constant_values=0.5)
    selection = np.pad(SELECTION, ((0, 0), (0, 3)), constant_values=4.0)
    ids, target = np.pad(IDS, ((0, 0), (0, 3))), np.pad(TARGET, ((0, 0), (0, 2)))
    padded = loss_of(ContentSelectionLoss(), selection, attention, ids, target)
    assert padded == pytest.approx(loss_of(ContentSelectionLoss()), abs=1e-6)


def test_no_loss_where_nothing_is_real():
    assert loss_of(ContentSelectionLoss(), ids=np.zeros_like(IDS)) == 0.0
    layer = ContentSelectionLoss(0.0)
    layer(OUTPUTS, SELECTION, ATTENTION, IDS, TARGET)
    assert layer.losses == []


@pytest.mark.parametrize("rows, steps, positions", [(3, 1, 4), (0, 5, 4), (3, 5, 0), (1, 0, 4)])
def test_empty_sides(rows, steps, positions):
    """A target of START alone copies nothing."""
    ids = IDS[:rows, :positions]
    copied = content_selection_module.copied_positions(ATTENTION[:rows, :steps, :positions], ids, TARGET[:rows, :steps])
    np.testing.assert_array_equal(copied, np.zeros(ids.shape))


def test_no_gradient_into_the_attention():
    selection, attention, layer = tf.constant(SELECTION), tf.constant(ATTENTION), ContentSelectionLoss()
    with tf.GradientTape() as tape:
        tape.watch([selection, attention])
        layer(OUTPUTS, selection, attention, IDS, TARGET)
        loss = layer.losses[0]
    gradient, nothing = tape.gradient(loss, [selection, attention])
    expected = (sigmoid(SELECTION) - copied_by_hand(ATTENTION)) * (IDS != 0) / (IDS != 0).sum()
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
    """The copied part of the mixture has the ratios, and all adds up to 1 again; nothing else changes."""
    layer = selecting.get_layer("decoder").get_layer("content_selection")
    after = decoder_outputs(selecting)(BATCH)
    ratios = layer(prepared(selecting)["selection"], IDS).numpy()
    layer.weight = 0.0
    before = decoder_outputs(selecting)(BATCH)
    for name in ("attention", "generation_probability"):
        np.testing.assert_array_equal(after[name], before[name])
    for state, expected in zip(after["states"], before["states"], strict=True):
        np.testing.assert_array_equal(state, expected)
    expected = np.exp(np.float64(before["logits"]))
    for b, t, i in np.ndindex(*before["attention"].shape):
        copied = (1 - before["generation_probability"][b, t]) * before["attention"][b, t, i]
        expected[b, t, IDS[b, i]] += (ratios[b, i] - 1) * copied
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(np.exp(after["logits"]), expected, atol=1e-6)
    assert np.abs(expected - np.exp(before["logits"])).max() > 0.05


def test_a_lower_threshold_puts_off_the_end(selecting):
    """END is never copied more or less likely for the selector's sake, so all else counts more against it."""
    layer = selecting.get_layer("decoder").get_layer("content_selection")
    ends = []
    for layer.threshold in (0.6, 0.4, 0.2):
        ends.append(np.exp(selecting(BATCH))[:, :, 3])
    assert (np.diff(ends, axis=0)[:, 0] < 0).all()


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
    selector_loss = loss_by_hand(selection, attention)
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
