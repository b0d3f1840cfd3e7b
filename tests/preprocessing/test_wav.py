"""WAV files of all kinds, against the samples they were made of, and what is no WAV file."""

import io
import re
import struct
import wave

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.preprocessing import encode_wav
from kerasseq.preprocessing.wav import decode_wavs, name_of_format

RATE = 8_000


@pytest.fixture(scope="module")
def decode():
    return tf.function(
        lambda raw: decode_wavs(raw, RATE, 2.0), input_signature=[tf.TensorSpec([None], tf.string)]
    ).get_concrete_function()


def tone(rate, seconds=1.3, frequency=440.0, phase=0.3):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate + phase)


def by_the_library(samples, rate, width):
    """A PCM file written by Python's own module; samples are `(time,)` or `(time, channels)`."""
    samples = samples.reshape(len(samples), -1)
    if width == 1:
        content = np.round(samples * 127 + 128).astype("u1").tobytes()
    elif width == 3:
        content = b"".join(struct.pack("<i", int(value))[:3] for value in np.round(samples.ravel() * (2**23 - 1)))
    else:
        content = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(f"<i{width}").tobytes()
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((samples.shape[1], width, rate, 0, "NONE", ""))
        writer.writeframes(content)
    return file.getvalue()


def by_hand(content, kind, bits, rate=RATE, channels=1, before=b"", extensible=False, size=None):
    """A file chunk by chunk."""
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    if extensible:
        form = struct.pack("<H", 0xFFFE) + form[2:] + struct.pack("<HHIH", 22, bits, 0, kind) + b"\0" * 14
    chunks = before + b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(content) if size is None else size) + content
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


# === Samples ===


@pytest.mark.parametrize(("width", "error"), [(1, 0.01), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
@pytest.mark.parametrize("channels", [1, 2])
def test_pcm(decode, width, error, channels):
    samples = tone(RATE)
    several = np.stack([samples, samples], axis=1) if channels == 2 else samples
    waveforms, lengths, seconds = decode(tf.constant([by_the_library(several, RATE, width)]))
    np.testing.assert_allclose(waveforms[0], samples, atol=error)
    assert lengths.numpy().tolist() == [len(samples)] and float(seconds[0]) == pytest.approx(1.3)


def test_channels_are_averaged(decode):
    samples = np.stack([tone(RATE), np.zeros(len(tone(RATE)))], axis=1)
    waveforms, _, _ = decode(tf.constant([by_the_library(samples, RATE, 2)]))
    np.testing.assert_allclose(waveforms[0], tone(RATE) / 2, atol=1e-4)


def test_channels_that_cancel_each_other(decode):
    """Those of opposite phases are a fault of wiring: the loudest is used. Others are averaged."""
    left, right = tone(RATE), tone(RATE, frequency=300.0)
    expected = {
        "opposite": ([left, -left], left),
        "opposite, and a little quieter": ([0.97 * left, -left], -left),
        "left alone": ([left, 0 * left], left / 2),
        "another sound": ([left, right], (left + right) / 2),
        "opposite, and much quieter": ([left, -0.5 * left], left / 4),
        "silence": ([0 * left, 0 * left], 0 * left),
    }
    files = [by_the_library(np.stack(channels, axis=1), RATE, 2) for channels, _ in expected.values()]
    waveforms, lengths, _ = decode(tf.constant(files))
    for name, waveform, (_, samples) in zip(expected, waveforms.numpy(), expected.values(), strict=True):
        np.testing.assert_allclose(waveform, samples, atol=1e-4, err_msg=name)
    assert set(lengths.numpy()) == {len(left)}


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("extensible", [False, True])
def test_floats(decode, bits, extensible):
    samples = np.array([0.25, -0.5, 2.0, -2.0, np.nan, np.inf])
    file = by_hand(samples.astype(f"<f{bits // 8}").tobytes(), 3, bits, extensible=extensible)
    waveforms, _, _ = decode(tf.constant([file]))
    np.testing.assert_array_equal(waveforms[0], [0.25, -0.5, 1.0, -1.0, 0.0, 0.0])


def test_other_chunks_are_passed_over(decode):
    """One of an odd size has a byte of padding behind it."""
    samples = (tone(RATE) * 32_767).astype("<i2").tobytes()
    file = by_hand(samples, 1, 16, before=b"LIST" + struct.pack("<I", 5) + b"notes\0")
    np.testing.assert_allclose(decode(tf.constant([file]))[0][0], tone(RATE), atol=1e-4)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 20, 0])
def test_streams_do_not_know_their_size(decode, size):
    samples = (tone(RATE) * 32_767).astype("<i2").tobytes()
    waveforms, lengths, _ = decode(tf.constant([by_hand(samples, 1, 16, size=size)]))
    assert lengths[0] == len(tone(RATE))
    np.testing.assert_allclose(waveforms[0], tone(RATE), atol=1e-4)


def test_no_samples_before_another_chunk(decode):
    file = by_hand(b"LIST" + struct.pack("<I", 4) + b"note", 1, 16, size=0)
    _, lengths, seconds = decode(tf.constant([file]))
    assert int(lengths[0]) == float(seconds[0]) == 0


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (by_hand(b"1234", 6, 8), "a WAV file with A-law samples"),
        (by_hand(b"1234", 7, 8, before=b"LIST" + struct.pack("<I", 4) + b"note"), "a WAV file with mu-law samples"),
        (b"RF64" + by_hand(b"1234", 1, 8)[4:], "bytes of an RF64 file"),
        (b"fLaC\0\0", "6 bytes of FLAC"),
        (by_hand(b"1234", 99, 8), "bytes that begin with b'RIFF"),
        (b"", "0 bytes that begin with b''"),
    ],
)
def test_what_is_refused_is_named(decode, content, name):
    assert re.search(name, name_of_format(content))
    assert decode(tf.constant([content]))[2][0] == -1


def test_a_file_that_breaks_off_gives_what_it_has(decode):
    file = by_the_library(tone(RATE), RATE, 2)
    for size in (45, 1_001, 5_000):  # 44 bytes of header; half a sample is none.
        waveforms, lengths, _ = decode(tf.constant([file[:size]]))
        assert lengths[0] == (size - 44) // 2
        np.testing.assert_allclose(waveforms[0, : lengths[0]], tone(RATE)[: lengths[0]], atol=1e-4)


def test_what_is_too_long_is_cut(decode):
    waveforms, lengths, seconds = decode(tf.constant([by_the_library(tone(RATE, 3.5), RATE, 2)]))
    assert lengths[0] == 2 * RATE and seconds[0] == 3.5
    np.testing.assert_allclose(waveforms[0], tone(RATE, 2.0), atol=1e-4)


# === Sample rates ===


@pytest.mark.parametrize("rate", [1_000, 11_025, 11_127, 16_000, 44_100, 48_000, 96_000, 192_000])
def test_resampled_tones(decode, rate):
    """A tone that both rates can hold keeps its shape; only the ends, where it breaks off, ring."""
    waveforms, lengths, _ = decode(tf.constant([by_the_library(tone(rate, 1.3, 330.0), rate, 2)]))
    assert int(lengths[0]) == pytest.approx(1.3 * RATE, abs=8)
    length = min(int(lengths[0]), int(1.3 * RATE))
    inner = slice(RATE // 10, length - RATE // 10)
    np.testing.assert_allclose(waveforms[0, inner], tone(RATE, 1.3, 330.0)[inner], atol=5e-3)


def test_what_a_rate_cannot_hold_is_silent(decode):
    """5 kHz is above half of 8,000 a second: it does not come back as 3 kHz."""
    waveforms, _, _ = decode(tf.constant([by_the_library(tone(44_100, 1.0, 5_000.0), 44_100, 2)]))
    assert np.abs(waveforms[0, 800:-800]).max() < 5e-3


# === What is no WAV file ===

BAD = {
    "nothing": b"",
    "a letter": b"a",
    "text": b"I am not a sound. " * 20,
    "only the head": by_the_library(tone(RATE), RATE, 2)[:12],
    "no samples": by_the_library(tone(RATE), RATE, 2)[:36],
    "no format": b"RIFF\x10\0\0\0WAVEdata\x04\0\0\0abcd",
    "mu-law": by_hand(b"\0" * 100, 7, 8),
    "12 bits": by_hand(b"\0" * 100, 1, 12),
    "no channels": by_hand(b"\0" * 100, 1, 16, channels=0),
    "no rate": by_hand(b"\0" * 100, 1, 16, rate=0),
    "gigahertz": by_hand(b"\0" * 100, 1, 16, rate=2_000_000_000),
    "big-endian": b"RIFX" + by_the_library(tone(RATE), RATE, 2)[4:],
}


def test_rows_that_cannot_be_read_do_not_disturb_others(decode):
    good = by_the_library(tone(RATE), RATE, 2)
    rows = [good, *BAD.values(), good]
    waveforms, lengths, seconds = decode(tf.constant(rows))
    assert lengths.numpy().tolist() == [len(tone(RATE)), *[0] * len(BAD), len(tone(RATE))]
    assert seconds[1:-1].numpy().tolist() == [-1.0] * len(BAD)
    for row in (0, -1):
        np.testing.assert_allclose(waveforms[row], tone(RATE), atol=1e-4)
    assert not waveforms[1:-1].numpy().any()


def test_no_rows(decode):
    waveforms, lengths, _ = decode(tf.constant([], tf.string))
    assert waveforms.shape[0] == lengths.shape[0] == 0


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
@hypothesis.given(st.data())
def test_damaged_headers_never_fail(decode, data):
    """Any bytes in place of some of the header's: an answer of finite samples."""
    file = bytearray(by_the_library(tone(RATE, 0.05), RATE, 2))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, 47))] = data.draw(st.integers(0, 255))
    waveforms, lengths, _ = decode(tf.constant([bytes(file), b"RIFF"]))
    assert np.isfinite(waveforms).all() and 0 <= lengths[0] <= 2 * RATE and lengths[1] == 0


def test_written_files_are_read_back(decode):
    samples = np.concatenate([tone(RATE), [1.5, -1.5]])
    with wave.open(io.BytesIO(encode_wav(samples, RATE))) as reader:
        assert (reader.getnchannels(), reader.getsampwidth(), reader.getframerate()) == (1, 2, RATE)
    waveforms, _, _ = decode(tf.constant([encode_wav(samples, RATE)]))
    np.testing.assert_allclose(waveforms[0], np.clip(samples, -1, 1), atol=1e-4)


@pytest.mark.parametrize(("chunks", "read"), [(10, True), (900, True), (1_100, False)])
def test_a_list_of_chunks_has_an_end(decode, chunks, read):
    """A megabyte of zeros is a hundred thousand empty chunks, and no sound behind them."""
    file = by_the_library(tone(RATE), RATE, 2)
    file = file[:12] + bytes(8 * chunks) + file[12:]
    _, lengths, _ = decode(tf.constant([file]))
    assert lengths.numpy().tolist() == [len(tone(RATE)) if read else 0]


def test_what_is_beyond_the_limit_counts_but_is_not_decoded(decode):
    """Its seconds are those of the whole, its samples those of the first 2 seconds, whatever comes later."""
    whole = by_the_library(np.tile(tone(RATE), 5), RATE, 2)
    broken = whole[: len(whole) // 2] + b"\xff" * (len(whole) - len(whole) // 2)
    waveforms, lengths, seconds = decode(tf.constant([whole, broken]))
    np.testing.assert_allclose(seconds, 5 * len(tone(RATE)) / RATE, rtol=1e-6)
    assert lengths.numpy().tolist() == [2 * RATE] * 2
    np.testing.assert_array_equal(waveforms[0], waveforms[1])
