"""Log-mel frames against NumPy, and the preprocessor of sounds."""

import doctest
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq.preprocessing import AudioPreprocessor, audio, encode_wav
from kerasseq.preprocessing.log_mel import FLOOR, LEAST_DEVIATION, count_frames, frame_sizes, log_mel_frames

RATE = 8_000


def noise(seconds, seed=1, scale=0.1):
    return np.random.default_rng(seed).normal(scale=scale, size=int(seconds * RATE))


PAIRS = [
    (encode_wav(noise(0.1 * length, length), RATE), "one two three four"[: 3 + length].strip())
    for length in range(1, 9)
]


@pytest.fixture(scope="module")
def preprocessor():
    return AudioPreprocessor.from_pairs(
        PAIRS, vocabulary_size=275, sample_rate=RATE, num_bins=20, max_seconds=0.6, max_target_length=12
    )


# === Frames ===


def frames_by_numpy(samples, num_bins):
    """The same with loops and the definition of the mel scale, for one sound."""
    length, step, transform = frame_sizes(RATE)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    rows = []
    edges = np.linspace(*(1127.0 * np.log1p(np.array([20.0, RATE / 2]) / 700.0)), num_bins + 2)
    mels = 1127.0 * np.log1p(np.arange(transform // 2 + 1) * RATE / transform / 700.0)
    for start in range(0, len(samples) - length + 1, step):
        energy = np.abs(np.fft.rfft(samples[start : start + length] * window, transform)) ** 2
        row = []
        for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
            rising, falling = (mels - low) / (middle - low), (high - mels) / (high - middle)
            weights = np.maximum(0.0, np.minimum(rising, falling))
            weights[0] = 0.0
            row.append(np.log(np.sum(weights * energy) / length + FLOOR))
        rows.append(row)
    rows = np.array(rows)
    return (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), LEAST_DEVIATION)


def test_frames_are_those_of_the_definition():
    samples = noise(0.31) * np.hanning(int(0.31 * RATE))
    frames, mask = log_mel_frames(tf.constant(samples[None], tf.float32), tf.constant([len(samples)]), RATE, 20)
    expected = frames_by_numpy(samples, 20)
    assert mask.shape == (1, len(expected)) and mask.numpy().all()
    np.testing.assert_allclose(frames[0], expected, atol=5e-3)


def test_padding_changes_nothing(preprocessor):
    """Alone, and beside a longer sound, on any length of padding."""
    short, long = noise(0.2), noise(0.5, 2)
    alone, _ = preprocessor.frames(tf.constant(short[None], tf.float32), tf.constant([len(short)]))
    for padding in (0, 1, 79, 2_400):
        waveforms = np.zeros((2, len(long) + padding), "float32")
        waveforms[0, : len(short)], waveforms[1, : len(long)] = short, long
        frames, mask = preprocessor.frames(tf.constant(waveforms), tf.constant([len(short), len(long)]))
        count = alone.shape[1]
        assert mask[0].numpy().tolist() == [True] * count + [False] * (frames.shape[1] - count)
        np.testing.assert_allclose(frames[0, :count], alone[0], atol=1e-4)
        assert not frames[0, count:].numpy().any()


def test_neither_loudness_nor_microphone_matters(preprocessor):
    """Ten times as loud, far above the floor: the same frames."""
    samples = tf.constant(noise(0.4, scale=0.05)[None], tf.float32)
    frames = [preprocessor.frames(factor * samples, tf.constant([samples.shape[1]]))[0] for factor in (1.0, 10.0)]
    np.testing.assert_allclose(frames[0], frames[1], atol=2e-2)


@pytest.mark.parametrize("samples", [1, 199, 200, 279, 280, 281, 4_000])
def test_counted_frames(samples):
    """A frame of 25 ms every 10 ms, while they fit; one for what is shorter."""
    expected = max(1, len(range(0, samples - 200 + 1, 80)))
    assert count_frames(np.array([samples]), RATE).tolist() == [expected]
    waveforms = tf.zeros([1, samples])
    assert log_mel_frames(waveforms, tf.constant([samples]), RATE, 20)[1].shape == (1, expected)


def test_silence_is_finite(preprocessor):
    frames, _ = preprocessor.frames(tf.zeros([1, 2_000]), tf.constant([2_000]))
    assert np.abs(frames).max() < 1e-4


# === The preprocessor ===


def test_encoded_sources(preprocessor):
    inputs = preprocessor.encode_source([PAIRS[0][0], b"none", PAIRS[4][0]])
    assert {name: (tensor.dtype, tensor.shape[0]) for name, tensor in inputs.items()} == {
        "encoder_frames": (tf.float32, 3),
        "encoder_mask": (tf.bool, 3),
    }
    assert inputs["encoder_mask"].numpy().sum(axis=1).tolist() == [8, 1, 48]
    assert preprocessor.encode_source([])["encoder_frames"].shape[0] == 0


def test_remarks(preprocessor):
    sounds = [encode_wav(noise(seconds), RATE) for seconds in (0.3, 0.02, 1.24)]
    remarks = preprocessor.remarks([*sounds, b"RIFF", b""])["problem"].numpy()
    assert [remark.decode() for remark in remarks] == [
        "",
        "The sound is shorter than 25 ms.",
        "The sound lasts 1.2 s. The first 0.6 s were heard.",
        *["Not a WAV file, or damaged: expected RIFF/WAVE with samples of PCM or floats."] * 2,
    ]


@pytest.mark.parametrize("steps", [1, 4])
def test_source_tokens_are_times(preprocessor, steps):
    inputs = preprocessor.encode_source([PAIRS[0][0], PAIRS[1][0]])  # 8 and 18 frames
    tokens = preprocessor.source_tokens(inputs, steps).numpy()
    times = [f"{0.01 * frame:.2f}".encode() for frame in range(0, 18, steps)]
    assert tokens[1].tolist() == times
    real = -(-8 // steps)
    assert tokens[0].tolist() == times[:real] + [b""] * (len(times) - real)


def test_examples_are_small_and_long_enough(preprocessor):
    sounds = preprocessor.example_sources(3, 1.5)
    assert len(sounds) == 3 and len(sounds[0]) < 4_000
    _, _, seconds = audio.decode_wavs(tf.constant(sounds), RATE, 0.6)
    np.testing.assert_allclose(seconds, 0.9, atol=1e-3)


def test_data_set(preprocessor, caplog):
    dataset = preprocessor.dataset(PAIRS, batch_size=3)
    assert "2 of 8 pairs are longer than 0.6 s or 12 target tokens: truncated" in caplog.text
    batches = list(dataset.as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [3, 3, 2] and len(dataset) == 3
    inputs, labels = batches[1]
    expected = preprocessor.encode_source([sound for sound, _ in PAIRS[3:6]])
    for name, tensor in expected.items():
        np.testing.assert_allclose(inputs[name], tensor, atol=1e-5)
    decoder_token_ids, expected_labels = preprocessor.encode_target([text for _, text in PAIRS[3:6]])
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_array_equal(inputs["decoder_token_ids"], decoder_token_ids)


def test_shuffled_data_set(preprocessor, caplog):
    """Each pair that is not too long once, in another order in each pass; lengths in multiples."""
    dataset = preprocessor.dataset(PAIRS, batch_size=2, shuffle=True, pad_to_multiple=8)
    assert "dropped" in caplog.text
    passes = [[labels for _, labels in dataset.as_numpy_iterator()] for _ in range(4)]
    texts = [sorted(t.decode() for labels in one for t in preprocessor.decode(labels).numpy()) for one in passes]
    assert texts == [sorted(text for _, text in PAIRS[:6])] * 4
    assert len({tuple(labels.tobytes() for labels in one) for one in passes}) > 1
    for inputs, labels in dataset.as_numpy_iterator():
        assert inputs["encoder_frames"].shape[1] % 8 == inputs["encoder_mask"].shape[1] % 8 == labels.shape[1] % 8 == 0


def test_augmentation_is_drawn_anew_in_each_pass(preprocessor):
    faster = kerasseq.layers.SpeedPerturbation(least=2.0, most=2.0)
    plain, doubled = (
        next(iter(preprocessor.dataset(PAIRS[1:2], 1, augmentation=layers)))[0]["encoder_mask"].shape[1]
        for layers in ([], [faster])
    )
    assert (plain, doubled) == (18, 8)
    dataset = preprocessor.dataset(PAIRS[:1], 1, augmentation=[kerasseq.layers.AdditiveNoise()])
    frames = [next(iter(dataset))[0]["encoder_frames"].numpy() for _ in range(2)]
    assert np.abs(frames[0] - frames[1]).max() > 1e-3


def test_saved_with_its_vocabulary(preprocessor, tmp_path):
    preprocessor.save_assets(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["target.spm"]
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(preprocessor))
    loaded.load_assets(tmp_path)
    assert loaded.get_config() == preprocessor.get_config()
    np.testing.assert_array_equal(loaded.encode_target(["one two"])[1], preprocessor.encode_target(["one two"])[1])
    one, other = (which.encode_source([PAIRS[2][0]])["encoder_frames"] for which in (loaded, preprocessor))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("sounds", "message"),
    [
        (["sound.wav"], r"contents of WAV files, as pathlib.Path\('sound.wav'\).read_bytes\(\).*index 0: a str"),
        ([PAIRS[0][0], None], "index 1: a NoneType"),
        ([PAIRS[0][0], b"ID3 and so on"], r"index 1: 13 bytes that begin with b'ID3 and so o'.*ffmpeg -i"),
    ],
)
def test_bad_sources(preprocessor, sounds, message):
    with pytest.raises(ValueError, match=message):
        preprocessor.raw_batch(sounds)


def test_sounds_that_are_too_long_are_told(preprocessor, caplog):
    long = encode_wav(noise(1.5), RATE)
    preprocessor.raw_batch([PAIRS[0][0], long])
    assert "1 of 2 sounds are longer than 0.6 s: truncated. The longest has 1.5 s." in caplog.text


def test_sounds_that_are_too_short_are_told(preprocessor, caplog):
    with caplog.at_level(logging.WARNING):
        preprocessor.raw_batch([PAIRS[0][0], encode_wav([0.1], RATE)])
    assert "1 of 2 sounds are shorter than 25 ms" in caplog.text


@pytest.mark.parametrize("seconds", [0.1, 0.7, 1.4, 3.3, 7.1])
def test_limits_are_exact(seconds):
    """Sounds of just a frame, and of just `max_seconds`, are whole."""
    limited = AudioPreprocessor.from_pairs(PAIRS, 275, sample_rate=RATE, num_bins=20, max_seconds=seconds)
    longest = round(seconds * RATE)
    sounds = [encode_wav(noise(9)[:samples], RATE) for samples in (199, 200, longest, longest + 1)]
    problems = [problem.decode() for problem in limited.remarks(sounds)["problem"].numpy()]
    assert "shorter" in problems[0] and problems[1:3] == ["", ""] and "The first" in problems[3]
    np.testing.assert_array_equal(limited.waveforms(sounds)[1], [199, 200, longest, longest])
    limited.dataset([(sounds[2], "one")], 1, too_long="error")


def test_a_file_without_samples_can_be_read(preprocessor):
    preprocessor.raw_batch([encode_wav([], RATE)])
    assert "shorter than 25 ms" in preprocessor.remarks([encode_wav([], RATE)])["problem"].numpy()[0].decode()


@pytest.mark.parametrize("augmentation", ["noise", 1, [1], None])
def test_augmentation_is_checked(preprocessor, augmentation):
    with pytest.raises(ValueError, match="augmentation must be layers of waveforms"):
        preprocessor.dataset(PAIRS, batch_size=1, augmentation=augmentation)


def test_bad_pairs(preprocessor):
    with pytest.raises(ValueError, match="tuples of bytes and a string.*Received at index 0"):
        preprocessor.dataset([("sound.wav", "one")], batch_size=1)
    with pytest.raises(ValueError, match="index 1: 4 bytes that begin with b'RIFF'"):
        preprocessor.dataset([PAIRS[0], (b"RIFF", "one")], batch_size=1)
    with pytest.raises(ValueError, match="7 of 8 pairs are longer than 0.6 s or 2 target"):
        AudioPreprocessor(preprocessor._vocabularies[0], RATE, 20, 0.6, 2).dataset(PAIRS, 2, too_long="error")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_rate": 100}, "sample_rate must be at least 1000"),
        ({"sample_rate": 8e3}, "sample_rate must be a positive integer"),
        ({"num_bins": 0}, "num_bins must be a positive integer"),
        ({"max_seconds": 0}, "max_seconds must be"),
        ({"max_seconds": 1e6}, "max_seconds must be"),
        ({"max_target_length": 1}, "max_target_length must be an integer of at least 2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AudioPreprocessor(**arguments)


def test_examples(caplog):
    with caplog.at_level(logging.ERROR, logger="kerasseq"):
        result = doctest.testmod(audio)
    assert result.attempted and not result.failed
