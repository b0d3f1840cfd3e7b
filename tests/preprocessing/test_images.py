import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.datasets import load_drawn_scenes
from kerasseq.encoders import image_encoder
from kerasseq.preprocessing import ImagePreprocessor, images

PAIRS, _, _ = load_drawn_scenes(60, image_size=24)
PICTURE = PAIRS[0][0]
START, END = 2, 3


@pytest.fixture(scope="module")
def preprocessor():
    return ImagePreprocessor.from_pairs(PAIRS, vocabulary_size=300, image_size=(20, 24))


def decoded(preprocessor, contents):
    return preprocessor.encode_source(contents)["encoder_images"].numpy()


# === One batch ===


def test_encoding_in_a_graph_of_any_batch_size(preprocessor):
    encode = tf.function(preprocessor.encode_source, input_signature=[preprocessor.source_signature])
    for contents in ([], [PICTURE], [PAIRS[1][0], b"", PICTURE]):
        encoded = encode(tf.constant(contents, tf.string))["encoder_images"]
        assert encoded.shape == (len(contents), 20, 24, 3) and encoded.dtype == "float32"
    np.testing.assert_array_equal(encoded[2], decoded(preprocessor, [PICTURE])[0])
    assert encode.get_concrete_function().structured_outputs["encoder_images"].shape.as_list() == [None, 20, 24, 3]


def test_size_of_one_number():
    square = ImagePreprocessor(image_size=8)
    assert square.image_size == (8, 8) and decoded(square, [PICTURE]).shape == (1, 8, 8, 3)


def test_remarks(preprocessor):
    problems = preprocessor.remarks([PICTURE, b"a"])["problem"].numpy()
    assert problems.tolist() == [b"", b"not a JPEG or PNG image"]


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (1, 6), (6, 1)])
def test_places_are_named(preprocessor, rows, columns):
    context = image_encoder(feature_shape=(rows, columns, 5))({"encoder_features": np.zeros((2, rows, columns, 5))})
    names = preprocessor.source_tokens(context).numpy()
    assert names.tolist() == [[f"{row},{column}".encode() for row in range(rows) for column in range(columns)]] * 2


def test_example_sources(preprocessor):
    sources = preprocessor.example_sources(3, 1.5)
    assert sources == preprocessor.example_sources(3, 1.5) and len(set(sources)) == 3
    assert not any(preprocessor.remarks(sources)["problem"].numpy())
    assert tf.io.decode_image(sources[1]).shape == (30, 36, 3)
    assert tf.io.decode_image(preprocessor.example_sources(1, 0.001)[0]).shape == (1, 1, 3)


# === Raw sources ===


def test_raw_batch(preprocessor):
    assert preprocessor.raw_batch([PICTURE, PICTURE]).numpy().tolist() == [PICTURE] * 2
    assert preprocessor.raw_batch([]).shape == (0,)


@pytest.mark.parametrize("bad", ["photo.jpg", None, np.zeros((8, 8, 3))])
def test_raw_batch_refuses_what_is_no_bytes(preprocessor, bad):
    with pytest.raises(ValueError, match=rf"must be bytes.*read_bytes.*Received at index 1: {type(bad).__name__}"):
        preprocessor.raw_batch([PICTURE, bad])


def test_raw_batch_refuses_what_is_no_image(preprocessor):
    with pytest.raises(ValueError, match=r"JPEG or PNG files. Received at index 1: 6 bytes that begin with b'GIF89a'"):
        preprocessor.raw_batch([PICTURE, b"GIF89a"])


def test_raw_batch_refuses_damaged_images(preprocessor, monkeypatch):
    monkeypatch.setattr(images, "CHECKED_TOGETHER", 2)
    preprocessor.raw_batch([PICTURE, PICTURE, PICTURE])
    with pytest.raises(ValueError, match="Received: 2 of 4 are damaged.*, those at index 1, 3. Leave them out"):
        preprocessor.raw_batch([PICTURE, PICTURE[:50], PICTURE, PICTURE[:60]])


# === Data sets ===


def test_dataset_keeps_the_order(preprocessor):
    dataset = preprocessor.dataset(PAIRS, batch_size=7)
    assert len(dataset) == 8
    row = 0
    for inputs, labels in dataset:
        assert sorted(inputs) == ["decoder_token_ids", "encoder_images"]
        sources, targets = zip(*PAIRS[row : row + 7], strict=True)
        np.testing.assert_array_equal(inputs["encoder_images"], decoded(preprocessor, list(sources)))
        assert [text.decode() for text in preprocessor.decode(labels).numpy()] == list(targets)
        expected, _ = preprocessor.encode_target(list(targets))
        np.testing.assert_array_equal(inputs["decoder_token_ids"], expected)
        row += len(labels)
    assert row == len(PAIRS)


def test_shuffled_pairs_stay_together(preprocessor):
    answers = {decoded(preprocessor, [image]).tobytes(): text for image, text in PAIRS}
    seen = []
    for inputs, labels in preprocessor.dataset(PAIRS, batch_size=7, shuffle=True):
        texts = [text.decode() for text in preprocessor.decode(labels).numpy()]
        assert texts == [answers[image.numpy().tobytes()] for image in inputs["encoder_images"]]
        assert labels.shape[1] % 4 == 0
        seen += texts
    assert sorted(seen) == sorted(text for _, text in PAIRS) and seen != [text for _, text in PAIRS]


def test_long_texts(preprocessor, caplog):
    short = ImagePreprocessor(preprocessor._vocabularies[0], image_size=8, max_target_length=5)
    longest = [len(ids) for ids in short._tokenize_all([text for _, text in PAIRS], "target")]
    assert min(longest) > 5
    _, labels = next(iter(short.dataset(PAIRS, batch_size=60)))
    assert labels.shape == (54, 5) and np.all(labels[:, -1] == END)
    assert "54 of 54 pairs are longer than 5 target tokens: truncated." in caplog.text
    with pytest.raises(ValueError, match="54 of 54 pairs are longer"):
        short.dataset(PAIRS, batch_size=60, shuffle=True)


def test_augmentation(preprocessor):
    inputs, _ = next(iter(preprocessor.dataset(PAIRS, batch_size=4)))
    flip = keras.layers.RandomFlip("horizontal", seed=1)
    seen = set()
    for _ in range(8):
        flipped, _ = next(iter(preprocessor.dataset(PAIRS, batch_size=4, augmentation=flip)))
        for image, changed in zip(inputs["encoder_images"].numpy(), flipped["encoder_images"].numpy(), strict=True):
            is_same, is_mirrored = np.array_equal(image, changed), np.array_equal(image[:, ::-1], changed)
            assert is_same or is_mirrored
            seen.add(is_mirrored)
    assert seen == {False, True}


def test_dataset_warns_of_damaged_images(preprocessor, caplog):
    inputs, _ = next(iter(preprocessor.dataset([PAIRS[0], (PICTURE[:50], "damaged")], batch_size=2)))
    np.testing.assert_array_equal(inputs["encoder_images"][1], 127.5)
    np.testing.assert_array_equal(inputs["encoder_images"][0], decoded(preprocessor, [PICTURE])[0])
    assert "1 images of a batch are damaged" in caplog.text


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "at least one"),
        ([("photo.jpg", "a dog")], r"bytes and a string.*index 0"),
        ([PAIRS[0], (PICTURE, b"a dog")], r"bytes and a string.*index 1"),
        ([PAIRS[0], (b"GIF89a", "a dog")], "JPEG or PNG files. Received at index 1"),
        ([(np.zeros((2, 2, 5)), "a"), (PICTURE, "b")], r"ndarray and a string.*index 1"),
        ([(np.zeros((2, 2, 5)), "a"), (np.zeros((2, 3, 5)), "b")], r"one shape.*\(2, 2, 5\), \(2, 3, 5\)"),
        ([(np.zeros((4, 5)), "a")], r"\(rows, columns, channels\).*\(4, 5\)"),
    ],
)
def test_bad_pairs(preprocessor, pairs, message):
    with pytest.raises(ValueError, match=message):
        preprocessor.dataset(pairs, batch_size=2)


# === Features ===


def test_feature_pairs_go_through_the_extractor_once(preprocessor):
    inputs = keras.Input((20, 24, 3))
    extractor = keras.Model(inputs, keras.layers.AveragePooling2D(4)(inputs))
    sizes = []
    predict, extractor.predict_on_batch = extractor.predict_on_batch, lambda x: sizes.append(len(x)) or predict(x)
    pairs = [(PAIRS[0][0], "one"), (PAIRS[1][0], ["two", "three"]), (PAIRS[0][0], "four"), (PAIRS[2][0], "five")]
    made = preprocessor.feature_pairs(pairs, extractor, batch_size=2)
    assert [target for _, target in made] == [target for _, target in pairs]
    assert made[0][0] is made[2][0] and sizes == [2, 1]
    for (features, _), (image, _) in zip(made, pairs, strict=True):
        expected = decoded(preprocessor, [image])[0].reshape(5, 4, 6, 4, 3).mean((1, 3))
        assert features.shape == (5, 6, 3) and features.dtype == "float16"
        np.testing.assert_allclose(features, expected, rtol=1e-3)


def test_dataset_of_features(preprocessor):
    features = np.arange(24, dtype="float16").reshape(2, 2, 3, 2)
    (inputs, labels), = preprocessor.dataset([(features[0], "a"), (features[1], "b")], batch_size=2)  # fmt: skip
    np.testing.assert_array_equal(inputs["encoder_features"], features)
    assert inputs["encoder_features"].dtype == "float32"
    assert [text.decode() for text in preprocessor.decode(labels).numpy()] == ["a", "b"]
    with pytest.raises(ValueError, match="augmentation changes images. Received: features"):
        preprocessor.dataset([(features[0], "a")], batch_size=2, augmentation=lambda images, training: images)


# === Construction ===


@pytest.mark.parametrize("image_size", [0, -1, 1.5, (20,), (20, 0), (20, 24, 3), "large"])
def test_bad_sizes(image_size):
    with pytest.raises(ValueError, match="image_size must be"):
        ImagePreprocessor(image_size=image_size)
    with pytest.raises(ValueError, match="image_size must be"):
        ImagePreprocessor.from_pairs(PAIRS, image_size=image_size)


def test_saved_and_loaded(preprocessor, tmp_path):
    preprocessor.save_assets(str(tmp_path))
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(preprocessor))
    loaded.load_assets(str(tmp_path))
    assert (loaded.image_size, loaded.max_target_length) == ((20, 24), 64)
    assert loaded.target_vocabulary_size == preprocessor.target_vocabulary_size
    np.testing.assert_array_equal(decoded(loaded, [PICTURE]), decoded(preprocessor, [PICTURE]))


def test_examples_of_the_documentation():
    assert doctest.testmod(images).failed == 0


def test_pairs_and_augmentation_are_checked(preprocessor):
    with pytest.raises(ValueError, match="augmentation must be a function of images"):
        preprocessor.dataset(PAIRS, batch_size=2, augmentation=["flip"])
    with pytest.raises(ValueError, match="Received at index 1: b'"):
        preprocessor.feature_pairs([PAIRS[0], PICTURE], None)
