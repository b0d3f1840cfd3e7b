"""The contract of `kerasseq.encoders.Encoder`, for every encoder."""

import json

import keras
import keras_hub
import numpy as np
import pytest
from helpers import dtype_policy
from keras import layers

from kerasseq.encoders import (
    BackboneEncoder,
    Encoder,
    EnsembleEncoder,
    FeatureEncoder,
    FramesEncoder,
    ImageEncoder,
    RecurrentEncoder,
    TransformerEncoder,
    image_features,
)
from kerasseq.layers import PaddingMask
from kerasseq.layers.cells import CELLS

VOCABULARY = 9


def custom():
    """Not recurrent: a graph of Keras layers, serialized as such."""
    ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    mask = PaddingMask()(ids)
    memory = layers.Embedding(VOCABULARY, 5)(ids)
    state = layers.GlobalMaxPooling1D()(layers.Lambda(masked, output_shape=(None, 5))([memory, mask]))
    outputs = {"memory": memory, "memory_mask": mask, "states": [{"hidden": state}]}
    return Encoder({"encoder_token_ids": ids}, outputs, vocabulary_size=VOCABULARY)


@keras.saving.register_keras_serializable(package="tests")
def masked(tensors):
    return keras.ops.where(tensors[1][:, :, None], tensors[0], -1e9)


def image_encoder():
    images = keras.Input((8, 8, 3))
    features = layers.BatchNormalization()(layers.Conv2D(5, 3, strides=2, padding="same")(images))
    extractor = image_features(keras.Model(images, features), normalization="tf")
    return ImageEncoder(extractor, FeatureEncoder(extractor.output_shape[1:], name="feature_encoder"))


def backbone_encoder():
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=5, num_layers=1, num_heads=2, hidden_dim=6, intermediate_dim=4, max_sequence_length=20
    )
    return BackboneEncoder(backbone, VOCABULARY, padding_id=1, end_id=3, start_id=2)


def half_encoder():
    """Of an encoder-decoder, without a start token."""
    backbone = keras_hub.models.T5Backbone(
        vocabulary_size=5, num_layers=1, num_heads=2, hidden_dim=6, intermediate_dim=4
    )
    return BackboneEncoder(backbone, VOCABULARY, padding_id=0, end_id=1)


# For each encoder the sizes of its memory and its states, the number of layers, the cell, and the stride.
CASES = {
    "tokens": (
        lambda: RecurrentEncoder(VOCABULARY, 3, 2, cell="lstm", num_layers=2, bidirectional=True, dropout=0.2),
        (4, 2, "lstm", 1),
    ),
    "residual": (
        lambda: RecurrentEncoder(VOCABULARY, 3, 2, cell="simple_rnn", num_layers=3, residual=True, name="reader"),
        (2, 3, "simple_rnn", 1),
    ),
    "pyramid": (lambda: RecurrentEncoder(VOCABULARY, 3, 2, cell="gru", num_layers=3, pyramidal=True), (2, 3, "gru", 4)),
    "frames": (lambda: FramesEncoder(4, 2, cell="gru", num_layers=1, filters=3, spec_augment={}), (4, 1, "gru", 4)),
    "pyramid of frames": (
        lambda: FramesEncoder(4, 2, num_layers=2, subsampling="pyramidal", bidirectional=False),
        (2, 2, "lstm", 2),
    ),
    "features": (lambda: FeatureEncoder((4, 4, 5)), (5, 1, "gru", 1)),
    "images": (image_encoder, (5, 1, "gru", 1)),
    "transformer": (
        lambda: TransformerEncoder(VOCABULARY, 6, num_layers=2, num_heads=2, feedforward_dim=5, dropout=0.2),
        (6, 1, "gru", 1),
    ),
    "backbone": (backbone_encoder, (6, 1, "gru", 1)),
    "half": (half_encoder, (6, 1, "gru", 1)),
    "custom": (custom, (5, 1, "gru", 1)),
    "ensemble": (
        lambda: EnsembleEncoder(
            [
                RecurrentEncoder(VOCABULARY, 3, 3, cell="gru", num_layers=2, pyramidal=True),
                RecurrentEncoder(VOCABULARY, 3, 2, num_layers=2),
            ]
        ),
        (3, 2, "gru", 2),
    ),
}
LENGTHS = (9, 1, 6)


def inputs_of(encoder, lengths=LENGTHS):
    """A batch with padding: rows of these lengths."""
    random = np.random.default_rng(1)
    real = np.arange(max(lengths)) < np.array(lengths)[:, None]
    batch = {
        "encoder_token_ids": np.where(real, random.integers(3, VOCABULARY, real.shape), 0).astype("int32"),
        "encoder_frames": random.normal(size=(*real.shape, 4)).astype("float32"),
        "encoder_mask": real,
        "encoder_features": random.normal(size=(len(lengths), 4, 4, 5)).astype("float32"),
        "encoder_images": random.integers(256, size=(len(lengths), 8, 8, 3)).astype("float32"),
    }
    return {name: batch[name] for name in encoder.input}


@pytest.fixture(scope="module", params=CASES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(name):
    model = CASES[name][0]()
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(random.normal(size=weight.shape))
    return model


def assert_same(one, other, atol=0.0):
    for first, second in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
        np.testing.assert_allclose(first, second, atol=atol)


def test_outputs(encoder, name):
    """As symbolic outputs, and as tensors: names, shapes and dtypes."""
    dim, num_layers, cell, stride = CASES[name][1]
    assert encoder.name == ("reader" if name == "residual" else "encoder")
    assert (encoder.memory_dim, encoder.stride) == (dim, stride)
    assert encoder.vocabulary_size == (VOCABULARY if "encoder_token_ids" in encoder.input else None)
    for outputs in (encoder.output, encoder(inputs_of(encoder))):
        extra = {"regions"} if name in ("features", "images") else {"members"} if name == "ensemble" else set()
        assert set(outputs) == {"memory", "memory_mask", "states"} | extra
        memory, mask, states = outputs["memory"], outputs["memory_mask"], outputs["states"]
        assert memory.shape[-1] == dim and keras.backend.standardize_dtype(memory.dtype) == "float32"
        assert mask.shape == memory.shape[:2] and keras.backend.standardize_dtype(mask.dtype) == "bool"
        assert [set(state) for state in states] == [set(CELLS[cell].state_names)] * num_layers
        assert all(state.shape == (memory.shape[0], dim) for state in keras.tree.flatten(states))


def test_the_stride_is_the_number_of_steps_of_a_position(encoder):
    mask = np.asarray(encoder(inputs_of(encoder))["memory_mask"])
    lengths = [-(-length // encoder.stride) for length in LENGTHS]
    if "encoder_features" in encoder.input or "encoder_images" in encoder.input:
        lengths = [16] * len(LENGTHS)  # regions
    assert mask.tolist() == (np.arange(mask.shape[1]) < np.array(lengths)[:, None]).tolist()


def test_rows_do_not_depend_on_padding_or_on_other_rows(encoder, padding=5):
    batch = inputs_of(encoder)
    plain = encoder(batch)
    mask = np.asarray(plain["memory_mask"])
    alone = encoder({key: value[1:2] for key, value in batch.items()})
    sequences = {"encoder_token_ids", "encoder_frames", "encoder_mask"} & set(batch)
    padded = {
        key: np.pad(value, [(0, 0), (0, padding)] + [(0, 0)] * (value.ndim - 2)) if key in sequences else value
        for key, value in batch.items()
    }
    results = encoder(padded)
    assert_same(alone["states"], keras.tree.map_structure(lambda state: state[1:2], plain["states"]), 1e-5)
    assert_same(results["states"], plain["states"], 1e-5)
    memory = np.asarray(results["memory"])[:, : mask.shape[1]]
    np.testing.assert_allclose(memory[mask], np.asarray(plain["memory"])[mask], atol=1e-5)
    assert not np.any(np.asarray(results["memory_mask"])[:, mask.shape[1] :])


def test_configuration(encoder, name):
    """JSON, without a graph where there are arguments; what is rebuilt from it computes the same."""
    text = json.dumps(encoder.get_config())
    if name not in ("custom", "images"):
        assert len(text) < 1_000 and "inbound_nodes" not in text
    again = type(encoder).from_config(json.loads(text))
    assert type(again) is type(encoder) and json.loads(json.dumps(again.get_config())) == json.loads(text)
    if name != "half":  # T5's normalizations have no names of their own, so Keras numbers them.
        assert [weight.path for weight in again.weights] == [weight.path for weight in encoder.weights]
    assert (again.stride, again.vocabulary_size) == (encoder.stride, encoder.vocabulary_size)
    again.set_weights(encoder.get_weights())
    assert_same(again(inputs_of(encoder)), encoder(inputs_of(encoder)))


def test_saved_alone(encoder, tmp_path):
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    assert type(loaded) is type(encoder)
    assert_same(loaded(inputs_of(encoder)), encoder(inputs_of(encoder)))


@pytest.mark.parametrize("name", ["tokens", "frames", "ensemble"])
def test_the_precision_is_kept(name):
    """Rebuilt where the default is single precision."""
    with dtype_policy("mixed_bfloat16"):
        encoder = CASES[name][0]()
    again = type(encoder).from_config(encoder.get_config())
    assert again.output["memory"].dtype == encoder.output["memory"].dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


def test_missing_outputs():
    ids = keras.Input((None,), name="encoder_token_ids")
    with pytest.raises(ValueError, match=r"Missing: \['memory_mask', 'states'\]. Received: \['memory'\]"):
        Encoder({"encoder_token_ids": ids}, {"memory": layers.Embedding(3, 2)(ids)})


def parts():
    """Inputs and outputs of an encoder."""
    ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    memory, mask = layers.Embedding(VOCABULARY, 5)(ids), PaddingMask()(ids)
    mean = layers.GlobalAveragePooling1D()(memory, mask=mask)
    return {"encoder_token_ids": ids}, {"memory": memory, "memory_mask": mask, "states": [{"hidden": mean}]}


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("states", lambda states: states[0], "states must be a list with a dict for each layer.*Received: .*hidden"),
        ("states", lambda states: [states[0]["hidden"]], "states must be a list with a dict for each layer"),
        ("states", lambda states: [], r"states must be a list with a dict for each layer.*Received: states=\[\]"),
        ("states", lambda states: [{}], "states must be a list with a dict for each layer"),
        (
            "memory_mask",
            lambda mask: keras.ops.cast(mask, "float32"),
            "memory_mask must be bool.*Received: .*dtype=float32",
        ),
        ("memory_mask", lambda mask: None, "memory_mask must be bool.*Received: memory_mask=None"),
    ],
)
def test_outputs_of_another_form(name, change, message):
    inputs, outputs = parts()
    with pytest.raises(ValueError, match=message):
        Encoder(inputs, {**outputs, name: change(outputs[name])})


class Unregistered(Encoder):
    def __init__(self, size, name="encoder"):
        super().__init__(*parts(), name=name)

    def get_arguments(self):
        return {"size": VOCABULARY}


@keras.saving.register_keras_serializable(package="tests")
class WithoutArguments(Encoder):
    def __init__(self, size, name="encoder"):
        super().__init__(*parts(), vocabulary_size=size, name=name)


@keras.saving.register_keras_serializable(package="tests")
class WithoutAllArguments(Unregistered):
    def __init__(self, size, units=5, name="encoder"):
        super().__init__(size, name)


@keras.saving.register_keras_serializable(package="tests")
class WithoutName(Unregistered):
    def __init__(self, size):
        super().__init__(size)


@keras.saving.register_keras_serializable(package="tests")
class AnyNames(Unregistered):
    def __init__(self, size, **options):
        super().__init__(size, **options)


@pytest.mark.parametrize(
    "kind, message",
    [
        (Unregistered, "class must be registered.*Received: Unregistered, which is not. Write @keras.saving"),
        (
            WithoutArguments,
            r"Expected for WithoutArguments: \['name', 'size'\]. Received: \['inputs', .*Define a get_arg",
        ),
        (WithoutAllArguments, r"Expected .*: \['name', 'size', 'units'\]. Received: \['name', 'size'\]"),
        (WithoutName, r"Expected .*: \['size'\]. Received: \['name', 'size'\]"),
    ],
)
def test_an_encoder_that_could_not_be_loaded_is_not_saved(kind, message, tmp_path):
    encoder = kind(VOCABULARY)
    with pytest.raises(ValueError, match=message):
        encoder.save(tmp_path / "encoder.keras")


def test_a_constructor_of_any_names():
    encoder = AnyNames(VOCABULARY, name="reader")
    assert AnyNames.from_config(encoder.get_config()).name == "reader"


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: RecurrentEncoder(0, 3, 2), "vocabulary_size must be a positive integer"),
        (lambda: RecurrentEncoder(9, 3, 2, num_layers=0), "num_layers must be a positive integer"),
        (lambda: RecurrentEncoder(9, 3, 2, cell="rnn"), "cell must be one of"),
        (lambda: RecurrentEncoder(9, 3, 2, dropout=1.0), "dropout must be in"),
        (lambda: RecurrentEncoder(9, 3, 2, residual=True, pyramidal=True), "A pyramidal encoder has no residual"),
        (lambda: FramesEncoder(4, 2, residual=True, subsampling="pyramidal"), "A pyramidal encoder has no residual"),
        (lambda: FramesEncoder(4, 2, subsampling="stride"), "subsampling must be one of 'convolutional', 'pyramidal'"),
        (lambda: FramesEncoder(4, 2, spec_augment=True), "spec_augment must be a dict"),
        (lambda: FeatureEncoder((4, 5)), "feature_shape must be"),
    ],
)
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()
