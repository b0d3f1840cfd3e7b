"""The preprocessor of images, and features in place of images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.datasets import load_drawn_scenes
from kerasseq.preprocessing import ImagePreprocessor, image_files, images

PAIRS, _, _ = load_drawn_scenes(60, image_size=24)
PICTURE = PAIRS[0][0]


@pytest.fixture(scope="module")
def preprocessor(vocabularies):
    return ImagePreprocessor(vocabularies[0], image_size=(20, 24))


@pytest.fixture(scope="module")
def decoded(preprocessor):
    """A function from image files to pixels."""
    encode = tf.function(preprocessor.encode_source, input_signature=[preprocessor.source_signature])
    return lambda files: encode(files)["encoder_images"].numpy()


# === One batch ===


def test_size_of_one_number():
    square = ImagePreprocessor(image_size=8)
    assert square.image_size == (8, 8) and square.encoder_inputs == {"encoder_images": (8, 8, 3)}


def test_regions_are_named(preprocessor, strings):
    rows_and_columns = np.moveaxis(np.indices((2, 3)), 0, -1).reshape(1, 6, 2)
    names = preprocessor.source_tokens({"regions": tf.constant(rows_and_columns, tf.int32)})
    assert strings(names) == [["0,0", "0,1", "0,2", "1,0", "1,1", "1,2"]]


def test_example_sources(preprocessor):
    sources = preprocessor.example_sources(3, 1.5)
    assert len(set(sources)) == 3 and not any(preprocessor.remarks([*sources, PICTURE])["problem"].numpy())
    assert tf.io.decode_image(sources[1]).shape == (30, 36, 3)
    assert tf.io.decode_image(preprocessor.example_sources(1, 0.001)[0]).shape == (1, 1, 3)


# === Raw sources ===


def test_nothing_is_traced_twice(monkeypatch):
    """Tracing takes a hundred times as long as decoding a few images."""
    traced, decode = [], image_files.read_jpeg

    def read_jpeg(*args, **options):
        traced.append(None)
        return decode(*args, **options)

    monkeypatch.setattr(image_files, "read_jpeg", read_jpeg)
    preprocessor = ImagePreprocessor(image_size=8)

    def use(count):
        raw = preprocessor.raw_batch([PICTURE] * count)
        return preprocessor.encode_source(raw), preprocessor.remarks(raw)

    use(1)
    first = len(traced)
    assert first >= 2
    use(2)
    assert len(traced) == first


@pytest.mark.parametrize("bad", ["photo.jpg", None, np.zeros((8, 8, 3))])
def test_raw_batch_refuses_what_is_no_bytes(preprocessor, bad):
    with pytest.raises(ValueError, match=rf"must be bytes.*read_bytes.*Received at index 1: {type(bad).__name__}"):
        preprocessor.raw_batch([PICTURE, bad])


def test_raw_batch_refuses_what_is_no_image(preprocessor):
    with pytest.raises(ValueError, match=r"JPEG or PNG files. Received at index 1: 6 bytes that begin with b'GIF89a'"):
        preprocessor.raw_batch([PICTURE, b"GIF89a"])


def test_raw_batch_refuses_damaged_images(preprocessor, monkeypatch):
    monkeypatch.setattr(images, "IMAGES_AT_ONCE", 2)
    preprocessor.raw_batch([PICTURE, PICTURE, PICTURE])
    with pytest.raises(ValueError, match="Received: 2 of 4 are damaged.*, those at index 1, 3. Leave them out"):
        preprocessor.raw_batch([PICTURE, PICTURE[:50], PICTURE, PICTURE[:60]])


# === Data sets ===


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


def test_dataset_warns_of_damaged_images(preprocessor, decoded, caplog):
    inputs, _ = next(iter(preprocessor.dataset([PAIRS[0], (PICTURE[:50], "damaged")], batch_size=2)))
    np.testing.assert_array_equal(inputs["encoder_images"][1], 127.5)
    np.testing.assert_array_equal(inputs["encoder_images"][0], decoded([PICTURE])[0])
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


def test_feature_pairs_go_through_the_extractor_once(preprocessor, decoded):
    inputs = keras.Input((20, 24, 3))
    extractor = keras.Model(inputs, keras.layers.AveragePooling2D(4)(inputs))
    sizes = []
    predict, extractor.predict_on_batch = extractor.predict_on_batch, lambda x: sizes.append(len(x)) or predict(x)
    pairs = [(PAIRS[0][0], "one"), (PAIRS[1][0], ["two", "three"]), (PAIRS[0][0], "four"), (PAIRS[2][0], "five")]
    made = preprocessor.feature_pairs(pairs, extractor, batch_size=2)
    assert [target for _, target in made] == [target for _, target in pairs]
    assert made[0][0] is made[2][0] and sizes == [2, 1]
    for (features, _), (image, _) in zip(made, pairs, strict=True):
        expected = decoded([image])[0].reshape(5, 4, 6, 4, 3).mean((1, 3))
        assert features.shape == (5, 6, 3) and features.dtype == "float16"
        np.testing.assert_allclose(features, expected, rtol=1e-3)


def test_dataset_of_features(preprocessor):
    features = np.arange(24, dtype="float16").reshape(2, 2, 3, 2)
    (inputs, labels), = preprocessor.dataset([(features[0], "a"), (features[1], "b")], batch_size=2)  # fmt: skip
    np.testing.assert_array_equal(inputs["encoder_features"], features)
    assert inputs["encoder_features"].dtype == "float32"
    assert [text.decode() for text in preprocessor.decode(labels).numpy()] == ["a", "b"]
    with pytest.raises(ValueError, match="augmentation applies to images. Received: features"):
        preprocessor.dataset([(features[0], "a")], batch_size=2, augmentation=lambda images, training: images)


# === Construction ===


@pytest.mark.parametrize("image_size", [0, -1, 1.5, (20,), (20, 0), (20, 24, 3), "large"])
def test_bad_sizes(image_size):
    with pytest.raises(ValueError, match="image_size must be"):
        ImagePreprocessor(image_size=image_size)
    with pytest.raises(ValueError, match="image_size must be"):
        ImagePreprocessor.from_pairs(PAIRS, image_size=image_size)


def test_pairs_and_augmentation_are_checked(preprocessor):
    with pytest.raises(ValueError, match="augmentation must be a function of images"):
        preprocessor.dataset(PAIRS, batch_size=2, augmentation=["flip"])
    with pytest.raises(ValueError, match="Received at index 1: b'"):
        preprocessor.feature_pairs([PAIRS[0], PICTURE], None)


def test_from_pairs():
    made = ImagePreprocessor.from_pairs(PAIRS, vocabulary_size=290, image_size=(20, 24), max_target_length=30)
    assert (made.image_size, made.max_target_length, made.target_vocabulary_size) == ((20, 24), 30, 290)
    assert made.get_config()["image_size"] == [20, 24]
