"""Decodes WAV files in the graph. Files that cannot be decoded do not fail the batch."""

import io
import wave
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kerasseq.types import Tensor

MIN_RATE, MAX_RATE = 1_000, 768_000  # accepted samples per second
MIN_SHARE_OF_POWER = 0.01  # of the mean of channels, in the power of a channel; uncorrelated ones leave a half
MAX_CHUNKS = 1_000  # before the samples; bounds the work for files of zeros, in which every 8 bytes are an empty chunk
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # formats in the "fmt " chunk


def decode_wavs(raw: Tensor, sample_rate: int, max_seconds: float) -> tuple[Tensor, Tensor, Tensor]:
    """Decodes WAV files to waveforms.

    Reads PCM samples of 8, 16, 24 and 32 bits and float samples of 32 and 64 bits. Channels are averaged, unless they
    cancel each other, as those of opposite phases do: then the loudest is used. Other sample rates are resampled.
    Truncated files are decoded up to their end.

    Args:
        raw: string `(batch,)`, contents of WAV files.
        sample_rate: int, samples per second of the waveforms.
        max_seconds: float, the maximum duration. Longer sounds are truncated.

    Returns:
        waveforms, float32 `(batch, samples)`, padded with zeros, in [-1, 1] except where resampling overshoots at the
        edges of clipped sounds; their lengths, int32 `(batch,)`, 0 for unreadable files; and the duration of each sound
        before truncation in seconds, float32 `(batch,)`, -1 for unreadable files.
    """
    batch_size = tf.shape(raw)[0]

    def read(index, content):
        samples, rate, seconds = parse_wav(content, max_seconds)
        samples = resample(samples, rate, sample_rate)
        return index, samples, tf.size(samples), seconds

    rows = tf.data.Dataset.from_tensor_slices((tf.range(batch_size), raw))
    read = tf.autograph.experimental.do_not_convert(read)
    rows = rows.map(read, num_parallel_calls=2).ignore_errors()
    # get_single_element requires a batch: add a row, in case there is no other.
    extra = tf.data.Dataset.from_tensors((batch_size, tf.zeros([1]), 0, 0.0))
    rows = rows.concatenate(extra).padded_batch(tf.cast(batch_size + 1, tf.int64), padded_shapes=([], [None], [], []))
    index, waveforms, lengths, seconds = rows.get_single_element()
    shape = [batch_size + 1, tf.shape(waveforms)[1]]
    index = index[:, tf.newaxis]
    waveforms = tf.scatter_nd(index, waveforms, shape)[:-1]
    lengths = tf.scatter_nd(index, lengths, shape[:1])[:-1]
    seconds = tf.tensor_scatter_nd_update(tf.fill(shape[:1], -1.0), index, seconds)[:-1]
    return waveforms, lengths, seconds


def parse_wav(content: Tensor, max_seconds: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the samples of a WAV file, float32 `(samples,)`, its sample rate, int32, and its seconds, float32.

    Fails if the file is not a WAV file.

    Source: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0", 1991; "Multiple Channel
    Audio Data and WAVE Files", 2007.
    """
    size = tf.strings.length(content)
    is_wav = (tf.strings.substr(content, 0, 4) == "RIFF") & (tf.strings.substr(content, 8, 4) == "WAVE")
    tf.debugging.Assert(is_wav, ["not a WAV file"])

    # === Chunks ===

    def more(number, position, form, data, length):
        return (number < MAX_CHUNKS) & (position + 8 <= size) & (data < 0)

    def next_chunk(number, position, form, data, length):
        name = tf.strings.substr(content, position, 4)
        # Streams declare sizes beyond the end of the file: clip them.
        chunk = tf.cast(integer(content, position + 4, 4), tf.uint32)
        chunk = tf.cast(tf.minimum(chunk, tf.cast(size - position - 8, tf.uint32)), tf.int32)
        # Others leave a size of 0, so samples follow, and not a chunk with its name.
        is_open = (name == "data") & (chunk == 0) & (tf.strings.substr(content, position + 8, 4) != "LIST")
        chunk = tf.where(is_open, size - position - 8, chunk)
        form = tf.where(name == "fmt ", position + 8, form)
        data = tf.where(name == "data", position + 8, data)
        length = tf.where(name == "data", chunk, length)
        return number + 1, position + 8 + chunk + chunk % 2, form, data, length

    _, _, form, data, length = tf.while_loop(more, next_chunk, (0, 12, -1, -1, 0))
    tf.debugging.Assert((form >= 0) & (data >= 0), ["no chunk 'fmt ' before a chunk 'data'"])

    # === Format ===
    kind, channels = integer(content, form, 2), integer(content, form + 2, 2)
    rate, bits = integer(content, form + 4, 4), integer(content, form + 14, 2)
    kind = tf.cond(kind == EXTENSIBLE, lambda: integer(content, form + 24, 2), lambda: kind)
    possible = tf.debugging.Assert(
        (channels > 0) & (rate >= MIN_RATE) & (rate <= MAX_RATE), ["channels", channels, rate]
    )
    with tf.control_dependencies([possible]):  # Resampling from 2 GHz would exhaust the memory before the row fails.
        channels, rate = tf.identity(channels), tf.identity(rate)

    # === Samples ===
    block = channels * tf.maximum(bits // 8, 1)  # bytes of one sample of all channels
    seconds = tf.cast(length // block, tf.float32) / tf.cast(rate, tf.float32)
    max_samples = tf.cast(tf.round(max_seconds * tf.cast(rate, tf.float32)), tf.int32)
    length = block * tf.minimum(length // block, max_samples)
    samples = decode_samples(tf.strings.substr(content, data, length), kind, bits)
    samples = tf.where(tf.math.is_finite(samples), tf.clip_by_value(samples, -1.0, 1.0), 0.0)
    return mixed(tf.reshape(samples, [-1, channels])), rate, seconds


def mixed(samples: Tensor) -> Tensor:
    """Averages channels, float32 `(samples, channels)`; where they cancel each other, returns the loudest of them."""
    mean = tf.reduce_mean(samples, axis=1)
    powers = tf.reduce_sum(tf.square(samples), axis=0)
    cancel = tf.reduce_sum(tf.square(mean)) < MIN_SHARE_OF_POWER * tf.reduce_mean(powers)
    return tf.where(cancel, tf.gather(samples, tf.argmax(powers), axis=1), mean)


# Formats in the "fmt " chunk that are not decoded.
OTHER_FORMATS = {2: "Microsoft ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 85: "MP3"}
OTHER_FILES = {
    b"RF64": "an RF64 file", b"RIFX": "a big-endian RIFX file", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3",
    b"FORM": "AIFF",
}  # fmt: skip


def name_of_format(content: bytes) -> str:
    """What a file that cannot be decoded is, as far as its first bytes say."""
    for start, name in OTHER_FILES.items():
        if content.startswith(start):
            return f"{len(content)} bytes of {name}"
    place = content.find(b"fmt ", 12, 512)
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE" and place >= 0:
        number = int.from_bytes(content[place + 8 : place + 10], "little")
        if number in OTHER_FORMATS:
            return f"a WAV file with {OTHER_FORMATS[number]} samples"
    return f"{len(content)} bytes that begin with {content[:12]!r}"


def integer(content: Tensor, position: Tensor | int, size: int) -> Tensor:
    """Reads an unsigned integer of 2 bytes, or a signed one of 4 bytes, as int32."""
    content = tf.strings.substr(content, position, size)
    return tf.cast(tf.io.decode_raw(content, {2: tf.uint16, 4: tf.int32}[size])[0], tf.int32)


def decode_samples(content: Tensor, kind: Tensor, bits: Tensor) -> Tensor:
    """Decodes the bytes of a "data" chunk to float32 samples in [-1, 1]."""

    def decode(dtype, size):
        whole = tf.strings.length(content) // size * size
        return tf.io.decode_raw(tf.strings.substr(content, 0, whole), dtype)

    def three_bytes():
        parts = tf.cast(tf.reshape(decode(tf.uint8, 3), [-1, 3]), tf.int32)
        value = parts[:, 0] + 256 * parts[:, 1] + 65_536 * parts[:, 2]
        return tf.cast(tf.where(value >= 1 << 23, value - (1 << 24), value), tf.float32) / (1 << 23)

    branches = {
        (PCM, 8): lambda: (tf.cast(decode(tf.uint8, 1), tf.float32) - 128.0) / 128.0,
        (PCM, 16): lambda: tf.cast(decode(tf.int16, 2), tf.float32) / (1 << 15),
        (PCM, 24): three_bytes,
        (PCM, 32): lambda: tf.cast(decode(tf.int32, 4), tf.float32) / (1 << 31),
        (FLOAT, 32): lambda: decode(tf.float32, 4),
        (FLOAT, 64): lambda: tf.cast(decode(tf.float64, 8), tf.float32),
    }  # by format and bits per sample
    known = [(kind == some) & (bits == width) for some, width in branches]
    tf.debugging.Assert(tf.reduce_any(known), ["neither PCM nor float samples", kind, bits])
    return tf.switch_case(tf.argmax(tf.stack(known), output_type=tf.int32), list(branches.values()))


def resample(samples: Tensor, rate: Tensor, sample_rate: int) -> Tensor:
    """Resamples by truncating or extending the spectrum, which is exact for frequencies that both rates can represent.

    Float32 `(samples,)` at `rate` per second -> `(ceil(samples * sample_rate / rate),)` at `sample_rate` per second.
    """

    def resampled():
        # Whole seconds make both lengths integers. One more second of silence separates the ends, which the periodic
        # spectrum makes neighbours.
        seconds = -(-tf.size(samples) // rate) + 1
        before, after = seconds * rate, seconds * sample_rate
        spectrum = tf.signal.rfft(samples, [before])
        bins = tf.minimum(before, after) // 2
        spectrum = tf.pad(spectrum[:bins], [[0, after // 2 + 1 - bins]])
        wave = tf.signal.irfft(spectrum, [after]) * (tf.cast(after, tf.float32) / tf.cast(before, tf.float32))
        ratio = sample_rate / tf.cast(rate, tf.float64)
        return wave[: tf.cast(tf.math.ceil(tf.cast(tf.size(samples), tf.float64) * ratio), tf.int32)]

    return tf.cond(rate == sample_rate, lambda: samples, resampled)


def encode_wav(samples: Sequence[float] | np.ndarray, sample_rate: int) -> bytes:
    """Encodes samples as a WAV file, 16-bit PCM, one channel.

    Args:
        samples: sequence of floats, clipped to [-1, 1].
        sample_rate: int, samples per second.

    Returns:
        bytes, the contents of the file.

    Example:

    >>> import kerasseq
    >>> kerasseq.preprocessing.encode_wav([0.0, 0.5], 8_000)[:4]
    b'RIFF'
    """
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        clipped = np.clip(np.asarray(samples, dtype="float64"), -1.0, 1.0)
        writer.writeframes(np.round(clipped * 32_767).astype("<i2").tobytes())
    return file.getvalue()
