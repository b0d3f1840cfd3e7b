import keras
import numpy as np
import pytest
from keras import layers

import kerasseq
from kerasseq.encoders import image_features
from kerasseq.losses import MaskedCrossentropy
from kerasseq.models import CaptioningSeq2Seq, with_backbone

VOCABULARY = 11
SIZES = {"embedding_dim": 6, "units": 8}
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(256, size=(3, 16, 24, 3)).astype("float32")
DECODER_TOKEN_IDS = np.array([[2, 7, 4, 5, 6], [2, 5, 0, 0, 0], [2, 4, 4, 6, 0]], dtype="int32")
LABELS = np.array([[7, 4, 5, 6, 3], [5, 3, 0, 0, 0], [4, 4, 6, 3, 0]], dtype="int32")
BATCH = {"encoder_images": IMAGES, "decoder_token_ids": DECODER_TOKEN_IDS}


def backbone(normalized=True, input_shape=(16, 24, 3)):
    """A grid of 4 x 6 places."""
    images = keras.Input(input_shape)
    features = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu")(images)
    if normalized:
        features = layers.BatchNormalization()(features)
    features = layers.Conv2D(7, 3, strides=2, padding="same", activation="tanh")(features)
    return keras.Model(images, features, name="small")


def randomized(model):
    model.set_weights([weight + RANDOM.uniform(-0.4, 0.4, weight.shape) for weight in model.get_weights()])
    return model


def grids(extractor):
    return extractor.predict_on_batch(IMAGES)


# === Models ===


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": "gru", "num_layers": 2, "tie_embeddings": True, "dropout": 0.2},
        pytest.param(
            {"cell": "simple_rnn", "bridge": "zero", "attention": "multi_head", "num_heads": 2}, marks=pytest.mark.slow
        ),
        pytest.param({"attention": "coverage", "placement": "input_feeding", "bridge": None}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_trains_every_part(options):
    model = CaptioningSeq2Seq(VOCABULARY, backbone(), normalization="tf", **SIZES, **options)
    assert model(BATCH).shape == (3, 5, VOCABULARY) and model.output.dtype == "float32"
    model.compile(keras.optimizers.Adam(0.02), MaskedCrossentropy(), run_eagerly=bool(options))
    before = [weight.numpy() for weight in model.trainable_weights]
    losses = model.fit(BATCH, LABELS, batch_size=3, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert all(
        not np.array_equal(old, new) for old, new in zip(before, model.trainable_weights, strict=True) if old.size > 1
    )


def test_memory_and_initial_states():
    """The memory is the grid row by row, normalized; the LSTM's two states start from dense layers over its mean."""
    small = randomized(backbone())
    model = CaptioningSeq2Seq(VOCABULARY, small, normalization="tf", **SIZES)
    context = model.encode({"encoder_images": IMAGES})
    memory = small(IMAGES / 127.5 - 1).numpy().reshape(3, 24, 7)
    assert memory.std(axis=1).min() > 0.05
    memory = memory - memory.mean(axis=-1, keepdims=True)
    memory /= np.sqrt(np.mean(memory**2, axis=-1, keepdims=True) + 1e-3)  # epsilon of Keras
    np.testing.assert_allclose(context["memory"], memory, atol=1e-5)
    assert context["memory_mask"].dtype == "bool" and np.all(context["memory_mask"])
    assert context["regions"][0].numpy().tolist() == [[row, column] for row in range(4) for column in range(6)]
    np.testing.assert_allclose(context["states"][0]["hidden"], memory.mean(axis=1), atol=1e-5)
    (initial,) = model.start(context)[0]["layers"]
    for name, activation in {"hidden": np.tanh, "cell": np.asarray}.items():
        kernel, bias = model.decoder.bridge.dense[f"{name}_0"].get_weights()
        np.testing.assert_allclose(initial[name], activation(memory.mean(axis=1) @ kernel + bias), atol=1e-5)


def test_step_by_step_as_in_training():
    model = CaptioningSeq2Seq(VOCABULARY, randomized(backbone()), normalization="tf", **SIZES, num_layers=2)
    state, constants = model.start(model.encode(BATCH))
    logits = []
    for token_ids in DECODER_TOKEN_IDS.T:
        outputs = model.step(token_ids, state, constants)
        state = outputs["state"]
        logits.append(outputs["logits"])
    np.testing.assert_allclose(np.stack(logits, axis=1), model(BATCH), atol=1e-5)


# === Pixels ===


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_normalization_is_that_of_keras_applications(mode):
    expected = keras.applications.imagenet_utils.preprocess_input(IMAGES.copy(), data_format="channels_last", mode=mode)
    np.testing.assert_allclose(kerasseq.layers.ImageNormalization(mode)(IMAGES), expected, atol=1e-4)


def test_normalization_stands_before_the_backbone():
    small = randomized(backbone())
    extractor = image_features(small, normalization="caffe")
    expected = small(kerasseq.layers.ImageNormalization("caffe")(IMAGES))
    np.testing.assert_allclose(extractor(IMAGES), expected, atol=1e-5)
    with pytest.raises(ValueError, match="mode must be one of None, 'tf', 'torch', 'caffe'. Received: mode='bgr'"):
        image_features(small, normalization="bgr")


# === Frozen backbones ===


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_frozen_backbone_stays_as_it_is(when):
    small = randomized(backbone())
    if when == "before":
        small.trainable = False
    model = CaptioningSeq2Seq(VOCABULARY, small, normalization="tf", **SIZES)
    if when == "after":
        model.encoder.trainable = False
    weights, features = small.get_weights(), small(IMAGES)
    assert not model.encoder.extractor.trainable_weights
    memories = [model.encode({"encoder_images": IMAGES}, training=training)["memory"] for training in (True, False)]
    np.testing.assert_allclose(*memories, atol=1e-6)
    model.compile("sgd", MaskedCrossentropy(), run_eagerly=True)
    model.fit(BATCH, LABELS, epochs=2, verbose=0)
    for old, new in zip(weights, small.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(small(IMAGES), features)


def test_batch_normalization_of_a_backbone_that_trains():
    small = randomized(backbone())
    model = CaptioningSeq2Seq(VOCABULARY, small, normalization="tf", **SIZES)
    mean = small.layers[2].moving_mean.numpy()
    model.compile("sgd", MaskedCrossentropy(), run_eagerly=True)
    model.fit(BATCH, LABELS, verbose=0)
    assert not np.array_equal(small.layers[2].moving_mean.numpy(), mean)


# === Features ===


def features_and_images(**options):
    """A model on features, the same with the backbone in front, and the backbone's features of `IMAGES`."""
    small = randomized(backbone())
    small.trainable = False
    extractor = image_features(small, normalization="tf")
    model = CaptioningSeq2Seq(VOCABULARY, None, feature_shape=extractor.output_shape[1:], **SIZES, **options)
    return model, with_backbone(model, extractor), grids(extractor)


def test_with_backbone_is_the_road_over_features():
    model, of_images, features = features_and_images()
    inputs = {"encoder_features": features, "decoder_token_ids": DECODER_TOKEN_IDS}
    np.testing.assert_allclose(of_images(BATCH), model(inputs), atol=1e-5)
    # What the one learns, the other knows.
    model.compile(keras.optimizers.Adam(0.05), MaskedCrossentropy(), run_eagerly=True)
    before = model(inputs).numpy()
    model.fit(inputs, LABELS, epochs=2, verbose=0)
    assert np.abs(model(inputs) - before).max() > 0.1
    np.testing.assert_allclose(of_images(BATCH), model(inputs), atol=1e-5)
    assert of_images.name == model.name
    shared = {id(weight) for weight in of_images.weights}
    assert shared == {id(weight) for part in (model, of_images.encoder.extractor) for weight in part.weights}


def test_both_roads_train_alike():
    model, of_images, features = features_and_images(doubly_stochastic_loss=0.5)
    start = model.get_weights()
    results = []
    inputs = {"encoder_features": features, "decoder_token_ids": DECODER_TOKEN_IDS}
    for trained, data in ((model, inputs), (of_images, BATCH)):
        model.set_weights(start)
        trained.compile(keras.optimizers.SGD(0.1), MaskedCrossentropy(), run_eagerly=True)
        losses = trained.fit(data, LABELS, batch_size=3, epochs=3, verbose=0).history["loss"]
        results.append((losses, model.get_weights()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4)
    for first, second in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_with_backbone_refuses_what_does_not_fit():
    model, of_images, _ = features_and_images()
    smaller, fitting = image_features(backbone(input_shape=(8, 8, 3))), image_features(backbone())
    with pytest.raises(
        ValueError, match=r"features of the shape \(4, 6, 7\). Received: an extractor that returns \(2, 2, 7"
    ):
        with_backbone(model, smaller)
    for reads_no_features in (of_images, backbone()):
        with pytest.raises(ValueError, match="with_backbone takes a model that reads features"):
            with_backbone(reads_no_features, fitting)
    for no_extractor in (backbone(), None):
        with pytest.raises(ValueError, match="extractor must be the model that computes the features"):
            with_backbone(model, no_extractor)


# === The loss ===


def test_doubly_stochastic_loss_is_part_of_training():
    model = CaptioningSeq2Seq(
        VOCABULARY, randomized(backbone()), normalization="tf", **SIZES, doubly_stochastic_loss=0.25
    )
    attention = model.decoder_outputs(BATCH)["attention"].numpy()
    loss = float(MaskedCrossentropy()(LABELS, model(BATCH)))
    real = DECODER_TOKEN_IDS != 0
    added = 0.25 * np.sum((1 - np.sum(attention * real[:, :, None], axis=1)) ** 2) / np.sum(real)
    model.compile("sgd", MaskedCrossentropy(), run_eagerly=True)
    assert added > 1 and model.evaluate(BATCH, LABELS, verbose=0) == pytest.approx(loss + added, rel=1e-5)
    model.get_layer("doubly_stochastic_loss").weight = 0.0
    model.compile("sgd", MaskedCrossentropy(), run_eagerly=True)
    assert model.evaluate(BATCH, LABELS, verbose=0) == pytest.approx(loss, rel=1e-5)


def test_with_backbone_keeps_the_weight_of_the_loss():
    _, of_images, _ = features_and_images(doubly_stochastic_loss=0.5)
    assert of_images.get_layer("doubly_stochastic_loss").weight == 0.5


# === Saving ===


@pytest.mark.parametrize("of_features", [False, True])
def test_saved_and_loaded(of_features, tmp_path):
    model, of_images, features = features_and_images(doubly_stochastic_loss=0.5)
    data = {"encoder_features": features, "decoder_token_ids": DECODER_TOKEN_IDS} if of_features else BATCH
    model = model if of_features else of_images
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(data), model(data), atol=1e-6)
    assert loaded.get_layer("doubly_stochastic_loss").weight == 0.5
    # The flags of layers are kept too: a frozen batch normalization does not adapt.
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    means = [weight.numpy() for weight in loaded.encoder.weights if "moving" in weight.path]
    assert bool(means) is not of_features
    loaded.compile("sgd", MaskedCrossentropy(), run_eagerly=True)
    assert np.isfinite(loaded.train_on_batch(data, LABELS))
    for before, after in zip(means, [w for w in loaded.encoder.weights if "moving" in w.path], strict=True):
        np.testing.assert_array_equal(before, after)


# === Arguments ===


def test_size_of_images_where_the_backbone_leaves_it_open():
    free = backbone(input_shape=(None, None, 3))
    model = CaptioningSeq2Seq(VOCABULARY, free, image_size=(16, 24), **SIZES)
    assert model.input["encoder_images"].shape == (None, 16, 24, 3)
    with pytest.raises(ValueError, match="image_size is required where the backbone takes images of any size"):
        CaptioningSeq2Seq(VOCABULARY, free, **SIZES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 32}, r"takes images of the shape \(16, 24, 3\), image_size=32 makes them \(32, 32, 3\)"),
        ({"feature_shape": (4, 6, 7)}, "either a backbone, or backbone=None and feature_shape"),
        ({"backbone": None}, "either a backbone, or backbone=None and feature_shape"),
        ({"backbone": None, "feature_shape": (4, 7)}, r"feature_shape must be \(rows, columns, channels\)"),
        ({"backbone": "vgg16"}, "backbone must be a keras.Model.*Received: 'vgg16'"),
        (
            {"bridge": "copy"},
            "bridge='copy' needs an encoder with the states of the decoder's cell. Received: an encoder with",
        ),
        ({"doubly_stochastic_loss": -1}, "doubly_stochastic_loss must be a number of at least 0"),
        ({"attention": "dot"}, "attention='dot' multiplies"),
        ({"units": 0}, "units must be a positive integer"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CaptioningSeq2Seq(**{"target_vocabulary_size": VOCABULARY, "backbone": backbone(), **SIZES, **arguments})


def test_a_backbone_without_a_grid():
    images = keras.Input((16, 24, 3))
    pooled = keras.Model(images, layers.GlobalAveragePooling2D()(images))
    with pytest.raises(
        ValueError, match=r"must return a grid of features.*\(None, 3\).*include_top=False and pooling=None"
    ):
        image_features(pooled)


def test_a_model_of_keras_applications():
    model = CaptioningSeq2Seq(
        VOCABULARY,
        keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, include_top=False, weights=None),
        normalization="tf",
        **SIZES,
    )
    inputs = {"encoder_images": np.zeros((3, 64, 64, 3)), "decoder_token_ids": DECODER_TOKEN_IDS}
    assert model(inputs).shape == (3, 5, VOCABULARY)
