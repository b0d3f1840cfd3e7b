"""WAV files in the graph: any sample rate, any number of channels, and rows that are no WAV files at all."""

import io
import wave

import numpy as np
import tensorflow as tf

LEAST_RATE, HIGHEST_RATE = 1_000, 768_000  # samples a second that are taken for a sound
MOST_CHUNKS = 1_000  # before the sound begins: zeros would be as many as there are bytes
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # of the chunk "fmt "
# (format, bits a sample), in the order of the branches of `samples_of`
SAMPLE_TYPES = [(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)]


def decode_wavs(raw, sample_rate, max_seconds):
    """Contents of WAV files to waveforms.

    PCM of 8, 16, 24 and 32 bits and floats of 32 and 64 bits are read; channels are averaged; other sample rates are
    resampled. A file that is cut off gives the samples that it has. Rows that cannot be read do not fail the others.

    Args:
        raw: string `(batch,)`.
        sample_rate: int, samples a second of the waveforms.
        max_seconds: float; what comes later is not read.

    Returns:
        waveforms, float32 `(batch, samples)`, in [-1, 1] but for what resampling adds at the edges of clipped sounds,
        zeros behind; their lengths, int32 `(batch,)`, 0 for what
        could not be read; and the seconds of each sound, float32 `(batch,)`, before it was cut, -1 for what could not
        be read.
    """
    batch_size = tf.shape(raw)[0]

    def read(index, content):
        samples, rate, seconds = parse_wav(content, max_seconds)
        samples = resample(samples, rate, sample_rate)
        return index, samples, tf.size(samples), seconds

    rows = tf.data.Dataset.from_tensor_slices((tf.range(batch_size), raw))
    rows = rows.map(read, num_parallel_calls=2).ignore_errors()
    # One row more, so that there is one.
    extra = tf.data.Dataset.from_tensors((batch_size, tf.zeros([1]), 0, 0.0))
    rows = rows.concatenate(extra).padded_batch(tf.cast(batch_size + 1, tf.int64), padded_shapes=([], [None], [], []))
    index, waveforms, lengths, seconds = rows.get_single_element()
    shape = [batch_size + 1, tf.shape(waveforms)[1]]
    index = index[:, tf.newaxis]
    waveforms = tf.scatter_nd(index, waveforms, shape)[:-1]
    lengths = tf.scatter_nd(index, lengths, shape[:1])[:-1]
    seconds = tf.tensor_scatter_nd_update(tf.fill(shape[:1], -1.0), index, seconds)[:-1]
    return waveforms, lengths, seconds


def parse_wav(content, max_seconds):
    """The first samples of one WAV file, float32 `(samples,)`, its sample rate, int32, and its seconds, float32.

    Fails if it is no WAV file.

    Source: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0", 1991; "Multiple Channel
    Audio Data and WAVE Files", 2007.
    """
    size = tf.strings.length(content)
    is_wav = (tf.strings.substr(content, 0, 4) == "RIFF") & (tf.strings.substr(content, 8, 4) == "WAVE")
    tf.debugging.Assert(is_wav, ["not a WAV file"])

    # === Chunks ===

    def more(number, position, form, data, length):
        return (number < MOST_CHUNKS) & (position + 8 <= size) & (data < 0)

    def next_chunk(number, position, form, data, length):
        name = tf.strings.substr(content, position, 4)
        # Sizes beyond the end, as those of streams, are cut.
        chunk = tf.cast(integer(content, position + 4, 4), tf.uint32)
        chunk = tf.cast(tf.minimum(chunk, tf.cast(size - position - 8, tf.uint32)), tf.int32)
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
        (channels > 0) & (rate >= LEAST_RATE) & (rate <= HIGHEST_RATE), ["channels", channels, rate]
    )
    with tf.control_dependencies([possible]):  # A spectrum of 2 GHz takes all memory before the row has failed.
        channels, rate = tf.identity(channels), tf.identity(rate)

    # === Samples ===
    block = channels * tf.maximum(bits // 8, 1)  # bytes of a moment, all channels
    seconds = tf.cast(length // block, tf.float32) / tf.cast(rate, tf.float32)
    most = tf.cast(tf.round(max_seconds * tf.cast(rate, tf.float32)), tf.int32)
    length = block * tf.minimum(length // block, most)
    samples = samples_of(tf.strings.substr(content, data, length), kind, bits)
    samples = tf.reduce_mean(tf.reshape(samples, [-1, channels]), axis=1)
    return tf.where(tf.math.is_finite(samples), tf.clip_by_value(samples, -1.0, 1.0), 0.0), rate, seconds


def integer(content, position, size):
    """The unsigned integer of 2 bytes, or the one of 4 bytes as int32, at a position."""
    content = tf.strings.substr(content, position, size)
    return tf.cast(tf.io.decode_raw(content, {2: tf.uint16, 4: tf.int32}[size])[0], tf.int32)


def samples_of(content, kind, bits):
    """Float32 samples in [-1, 1] of the bytes of a chunk `data`."""

    def decode(dtype, bytes_a_sample):
        whole = tf.strings.length(content) // bytes_a_sample * bytes_a_sample
        return tf.io.decode_raw(tf.strings.substr(content, 0, whole), dtype)

    def three_bytes():
        parts = tf.cast(tf.reshape(decode(tf.uint8, 3), [-1, 3]), tf.int32)
        value = parts[:, 0] + 256 * parts[:, 1] + 65_536 * parts[:, 2]
        return tf.cast(tf.where(value >= 1 << 23, value - (1 << 24), value), tf.float32) / (1 << 23)

    branches = [
        lambda: (tf.cast(decode(tf.uint8, 1), tf.float32) - 128.0) / 128.0,
        lambda: tf.cast(decode(tf.int16, 2), tf.float32) / (1 << 15),
        three_bytes,
        lambda: tf.cast(decode(tf.int32, 4), tf.float32) / (1 << 31),
        lambda: decode(tf.float32, 4),
        lambda: tf.cast(decode(tf.float64, 8), tf.float32),
    ]
    known = [(kind == some) & (bits == width) for some, width in SAMPLE_TYPES]
    tf.debugging.Assert(tf.reduce_any(known), ["neither PCM nor float samples", kind, bits])
    return tf.switch_case(tf.argmax(tf.stack(known), output_type=tf.int32), branches)


def resample(samples, rate, sample_rate):
    """Another number of samples a second: cuts or extends the spectrum, so what both rates can hold is kept exactly.

    Args:
        samples: float32 `(samples,)`.
        rate: int32, their number a second.
        sample_rate: int, the number wanted.

    Returns:
        float32 `(ceil(samples * sample_rate / rate),)`.
    """

    def resampled():
        # Whole seconds, so that both lengths are whole numbers; one more is silent, for the ends are neighbours here.
        seconds = -(-tf.size(samples) // rate) + 1
        before, after = seconds * rate, seconds * sample_rate
        spectrum = tf.signal.rfft(samples, [before])
        bins = tf.minimum(before, after) // 2
        spectrum = tf.pad(spectrum[:bins], [[0, after // 2 + 1 - bins]])
        wave = tf.signal.irfft(spectrum, [after]) * (tf.cast(after, tf.float32) / tf.cast(before, tf.float32))
        ratio = sample_rate / tf.cast(rate, tf.float64)
        return wave[: tf.cast(tf.math.ceil(tf.cast(tf.size(samples), tf.float64) * ratio), tf.int32)]

    return tf.cond(rate == sample_rate, lambda: samples, resampled)


def encode_wav(samples, sample_rate):
    """The contents of a WAV file, 16-bit PCM, of one channel.

    Args:
        samples: sequence of floats, cut to [-1, 1].
        sample_rate: int, samples a second.

    Returns:
        bytes.

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
        samples = np.clip(np.asarray(samples, dtype="float64"), -1.0, 1.0)
        writer.writeframes(np.round(samples * 32_767).astype("<i2").tobytes())
    return file.getvalue()
