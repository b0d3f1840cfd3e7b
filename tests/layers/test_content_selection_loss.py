import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.joining import decoder_outputs, select_inputs
from kerasseq.layers import ContentSelectionLoss
from kerasseq.layers import content_selection_loss as content_selection_loss_module
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


# === The layer ===


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


@pytest.mark.parametrize("seed", range(3))
def test_what_a_deletion_keeps(seed):
    """Tokens that come again and again are told apart by where the decoder looks, if only a little more than elsewhere.

    As it does by default: on, from where it was.
    """
    random = np.random.default_rng(seed)
    ids = random.integers(4, 9, size=(20, 12)).astype("int32")  # Five tokens.
    kept = random.random(ids.shape) < 0.5
    target, attention = np.zeros((20, 13), "int32"), np.full((20, 13, 12), 1e-3, "float32")
    target[:, 0] = 2
    for b, row in enumerate(kept):
        for t, i in enumerate(np.flatnonzero(row)):
            target[b, t + 1] = ids[b, i]
            attention[b, t, i] = 0.2  # The rest of the attention is at tokens that do not come next.
            attention[b, t, ids[b] != ids[b, i]] = 0.1
    copied = content_selection_loss_module.copied_positions(attention, ids, target)
    np.testing.assert_allclose(copied, kept, atol=0.06)


def test_a_token_that_is_hardly_looked_at_was_not_copied():
    attention = np.array([[[1.0, 1e-6], [0.5, 0.5]]], "float32")
    copied = content_selection_loss_module.copied_positions(attention, np.array([[4, 5]]), np.array([[2, 5]]))
    np.testing.assert_array_equal(copied, [[0.0, 0.0]])


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
    copied = content_selection_loss_module.copied_positions(
        ATTENTION[:rows, :steps, :positions], ids, TARGET[:rows, :steps]
    )
    np.testing.assert_array_equal(copied, np.zeros(ids.shape))


def test_config():
    layer = ContentSelectionLoss(0.5, name="chosen")
    layer.weight = 0.75
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "kerasseq>ContentSelectionLoss"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.weight, again.name) == (0.75, "chosen")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), "1", None])
def test_bad_weights(weight):
    with pytest.raises(ValueError, match=f"must be a number of at least 0. Received: weight={weight!r}."):
        ContentSelectionLoss(weight)
    with pytest.raises(ValueError, match=f"must be a number of at least 0. Received: .*={weight!r}."):
        PointerGeneratorSeq2Seq(9, units=4, embedding_dim=3, content_selection_loss=weight)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    layer = ContentSelectionLoss(dtype=policy)
    outputs = layer(OUTPUTS, SELECTION, ATTENTION, IDS, TARGET)
    np.testing.assert_array_equal(outputs, OUTPUTS)
    assert layer.losses[0].dtype == tf.float32
    assert float(layer.losses[0]) == pytest.approx(loss_by_hand(SELECTION, ATTENTION), abs=1e-6)


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


def build(content_selection_loss, seed=0):
    model = PointerGeneratorSeq2Seq(
        9, cell="gru", units=4, embedding_dim=3, content_selection_loss=content_selection_loss
    )
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(size=weight.shape, scale=0.7) for weight in model.get_weights()])
    return model


def prepared(model, ids=IDS):
    """What encoder and bridge give for source ids."""
    context = {"encoder_token_ids": tf.constant(ids)}
    for name in ("encoder", "bridge"):
        context |= model.get_layer(name)(select_inputs(model.get_layer(name), context))
    return context


def test_the_selector_by_hand():
    """One hidden layer over the memory: `q = sigmoid(w^T tanh(W h + b) + c)`."""
    model = build(1.0)
    context = prepared(model)
    (W, b), (w, c) = (
        model.get_layer("bridge").get_layer(name).get_weights() for name in ("selector_hidden", "selector")
    )
    expected = np.tanh(context["memory"].numpy() @ W + b) @ w + c
    np.testing.assert_allclose(context["selection"], expected[:, :, 0], atol=1e-5)
    assert context["selection"].dtype == tf.float32 and np.std(expected) > 0.1


def test_no_selector_by_default():
    bridge = build(0.0).get_layer("bridge")
    assert "selection" not in bridge.output
    assert not [layer.name for layer in bridge.layers if "selector" in layer.name]


def test_fit_learns_both_and_saves_all(tmp_path):
    model = build(0.8)
    selection, attention = prepared(model)["selection"].numpy(), decoder_outputs(model)(BATCH)["attention"].numpy()
    model.compile("adam", MaskedCrossentropy(), metrics=[MaskedCrossentropy(name="crossentropy")])
    results = model.evaluate(BATCH, LABELS, verbose=0, return_dict=True)
    assert results["loss"] == pytest.approx(
        results["crossentropy"] + 0.8 * loss_by_hand(selection, attention), rel=1e-5
    )
    before = model.get_weights()
    model.fit(BATCH, LABELS, verbose=0)
    for weight, old in zip(model.weights, before, strict=True):
        assert np.abs(weight.numpy() - old).max() > 0, weight.path
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(BATCH), model(BATCH))
    np.testing.assert_allclose(loaded.losses, model.losses, rtol=1e-6)
    assert loaded.get_layer("content_selection_loss").weight == 0.8


def test_the_selector_alone_learns_what_is_kept():
    """Copies of the first three of six tokens: after training, the selector knows without having been told."""
    random = np.random.default_rng(0)
    source = np.stack([random.permutation(np.arange(4, 12))[:6] for _ in range(256)]).astype("int32")
    source = np.pad(source, ((0, 0), (0, 1)), constant_values=3)
    labels = np.pad(source[:, :3], ((0, 0), (0, 1)), constant_values=3)
    inputs = {
        "encoder_token_ids": source,
        "decoder_token_ids": np.pad(labels[:, :3], ((0, 0), (1, 0)), constant_values=2),
    }
    keras.utils.set_random_seed(0)
    model = PointerGeneratorSeq2Seq(12, cell="gru", units=32, embedding_dim=16, content_selection_loss=1.0)
    model.compile(keras.optimizers.Adam(0.01), MaskedCrossentropy())
    model.fit(inputs, labels, batch_size=32, epochs=20, verbose=0)
    right = (prepared(model, source)["selection"].numpy()[:, :6] > 0) == (np.arange(6) < 3)
    assert right.mean() > 0.95


def test_example():
    result = doctest.testmod(content_selection_loss_module)
    assert result.attempted and not result.failed
