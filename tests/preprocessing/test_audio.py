"""Log-mel frames against NumPy, and the preprocessor of sounds."""

import logging

import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq.preprocessing import AudioPreprocessor, encode_wav
from kerasseq.preprocessing.log_mel import FLOOR, MIN_DEVIATION, count_frames, frame_sizes, log_mel_frames

RATE = 8_000


def noise(seconds, seed=1, scale=0.1):
    return np.random.default_rng(seed).normal(scale=scale, size=int(seconds * RATE))


PAIRS = [
    (encode_wav(noise(0.1 * length, length), RATE), "one two three four"[: 3 + length].strip())
    for length in range(1, 9)
]


@pytest.fixture(scope="module")
def preprocessor(vocabularies):
    return AudioPreprocessor(vocabularies[0], RATE, num_bins=20, max_seconds=0.6, max_target_length=12)


@pytest.fixture(scope="module")
def encode(preprocessor):
    return tf.function(preprocessor.encode_source, input_signature=[preprocessor.source_signature])


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
    return (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), MIN_DEVIATION)


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


def test_encoded_sources(encode):
    inputs = encode([PAIRS[0][0], b"none", PAIRS[4][0]])
    assert {name: (tensor.dtype, tensor.shape[0]) for name, tensor in inputs.items()} == {
        "encoder_frames": (tf.float32, 3),
        "encoder_mask": (tf.bool, 3),
    }
    assert inputs["encoder_mask"].numpy().sum(axis=1).tolist() == [8, 1, 48]


def test_remarks(preprocessor):
    sounds = [encode_wav(noise(seconds), RATE) for seconds in (0.3, 0.02, 1.24)]
    remarks = preprocessor.remarks([*sounds, b"RIFF", b""])["problem"].numpy()
    assert [remark.decode() for remark in remarks] == [
        "",
        "The sound is shorter than 25 ms.",
        "The sound lasts 1.2 s. Only the first 0.6 s are used.",
        *["Not a WAV file, or damaged: expected RIFF/WAVE with PCM or float samples."] * 2,
    ]


@pytest.mark.parametrize("stride", [1, 4])
def test_source_tokens_are_times(preprocessor, encode, stride):
    inputs = encode([PAIRS[0][0], PAIRS[1][0]])  # 8 and 18 frames
    tokens = preprocessor.source_tokens(inputs, stride).numpy()
    times = [f"{0.01 * frame:.2f}".encode() for frame in range(0, 18, stride)]
    assert tokens[1].tolist() == times
    real = -(-8 // stride)
    assert tokens[0].tolist() == times[:real] + [b""] * (len(times) - real)


def test_examples_are_small_and_long_enough(preprocessor):
    sounds = preprocessor.example_sources(3, 1.5)
    assert len(sounds) == 3 and len(sounds[0]) < 4_000
    np.testing.assert_allclose(preprocessor.seconds(sounds), 0.9, atol=1e-3)


def test_long_sounds_in_data_sets(preprocessor, caplog):
    """Dropped or truncated like long targets, and padded to multiples."""
    dataset = preprocessor.dataset(PAIRS, batch_size=8)
    assert "2 of 8 pairs are longer than 0.6 s or 12 target tokens: truncated" in caplog.text
    ((inputs, labels),) = dataset
    assert inputs["encoder_mask"].numpy().sum(axis=1).tolist() == [8, 18, 28, 38, 48, 58, 58, 58]
    dataset = preprocessor.dataset(PAIRS, batch_size=8, shuffle=True, pad_to_multiple=8)
    assert "2 of 8 pairs are longer than 0.6 s or 12 target tokens: dropped" in caplog.text
    ((inputs, labels),) = dataset
    assert len(labels) == 6
    assert inputs["encoder_frames"].shape[1] == inputs["encoder_mask"].shape[1] == 64 and labels.shape[1] % 8 == 0


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


@pytest.mark.parametrize(
    ("sounds", "message"),
    [
        (["sound.wav"], r"contents of WAV files, as pathlib.Path\('sound.wav'\).read_bytes\(\).*index 0: a str"),
        ([PAIRS[0][0], None], "index 1: a NoneType"),
        ([PAIRS[0][0], b"ID3 and so on"], r"index 1: 13 bytes of MP3. Convert it.*ffmpeg -i"),
    ],
)
def test_bad_sources(preprocessor, sounds, message):
    with pytest.raises(ValueError, match=message):
        preprocessor.raw_batch(sounds)


def test_raw_batch_warns_of_long_and_short_sounds(preprocessor, caplog):
    with caplog.at_level(logging.WARNING):
        preprocessor.raw_batch([PAIRS[0][0], encode_wav(noise(1.5), RATE), encode_wav([], RATE)])
    assert "1 of 3 sounds are longer than 0.6 s: truncated. The longest has 1.5 s." in caplog.text
    assert "1 of 3 sounds are shorter than 25 ms" in caplog.text


@pytest.mark.parametrize("seconds", [0.1, 0.7, 3.3])
def test_limits_are_exact(seconds, vocabularies):
    """Sounds of exactly one frame, and of exactly `max_seconds`, are whole."""
    limited = AudioPreprocessor(vocabularies[0], RATE, num_bins=20, max_seconds=seconds)
    longest = round(seconds * RATE)
    sounds = [encode_wav(noise(9)[:samples], RATE) for samples in (199, 200, longest, longest + 1)]
    problems, lengths = tf.function(lambda raw: (limited.remarks(raw)["problem"], limited.waveforms(raw)[1]))(sounds)
    problems = [problem.decode() for problem in problems.numpy()]
    assert "shorter" in problems[0] and problems[1:3] == ["", ""] and "Only the first" in problems[3]
    np.testing.assert_array_equal(lengths, [199, 200, longest, longest])
    limited.dataset([(sounds[2], "one")], 1, too_long="error")


@pytest.mark.parametrize("augmentation", ["noise", 1, [1], None])
def test_augmentation_is_checked(preprocessor, augmentation):
    with pytest.raises(ValueError, match="augmentation must be layers of waveforms"):
        preprocessor.dataset(PAIRS, batch_size=1, augmentation=augmentation)


def test_bad_pairs(preprocessor):
    with pytest.raises(ValueError, match="tuples of bytes and a string.*Received at index 0"):
        preprocessor.dataset([("sound.wav", "one")], batch_size=1)
    with pytest.raises(ValueError, match="index 1: 4 bytes that begin with b'RIFF'"):
        preprocessor.dataset([PAIRS[0], (b"RIFF", "one")], batch_size=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_rate": 100}, "sample_rate must be at least 1000"),
        ({"sample_rate": 8e3}, "sample_rate must be a positive integer"),
        ({"num_bins": 0}, "num_bins must be a positive integer"),
        ({"max_seconds": 0}, "max_seconds must be"),
        ({"max_seconds": 1e6}, "max_seconds must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AudioPreprocessor(**arguments)


def test_from_pairs():
    preprocessor = AudioPreprocessor.from_pairs(
        PAIRS, vocabulary_size=275, sample_rate=RATE, num_bins=20, max_seconds=0.6, max_target_length=12
    )
    assert preprocessor.target_vocabulary_size <= 275
    expected = {"sample_rate": RATE, "num_bins": 20, "max_seconds": 0.6, "max_target_length": 12}
    assert expected.items() <= preprocessor.get_config().items()
