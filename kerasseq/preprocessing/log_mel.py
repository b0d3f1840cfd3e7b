"""Waveforms to log-mel frames, in the graph."""

import tensorflow as tf

FRAME_SECONDS, STEP_SECONDS = 0.025, 0.010
LOWEST_FREQUENCY = 20.0  # Hz
FLOOR = 1e-6  # About the energy of white noise at -60 dB of full scale: what is below counts as silence.
LEAST_DEVIATION = 0.1  # of logarithms; a bin that hardly varies is not blown up


def frame_sizes(sample_rate):
    """Samples of a frame, samples from one frame to the next, and the length of its Fourier transform."""
    length, step = round(FRAME_SECONDS * sample_rate), round(STEP_SECONDS * sample_rate)
    return length, step, 1 << (length - 1).bit_length()


def count_frames(lengths, sample_rate):
    """The frames of waveforms of so many samples, at least 1: works for tensors and arrays of int."""
    length, step, _ = frame_sizes(sample_rate)
    frames = (lengths - length) // step + 1
    return tf.maximum(frames, 1) if tf.is_tensor(frames) else frames.clip(1)


def log_mel_frames(waveforms, lengths, sample_rate, num_bins):
    """Logarithms of the energy in mel bins, normalized over each sound.

    Frames of 25 ms, every 10 ms, with Hann windows; triangular filters from 20 Hz to half the sample rate, evenly
    spaced on the mel scale. Each bin has mean 0 and deviation 1 over the frames of a sound, so that loudness and
    microphone matter little, as long as what is to be heard is well above -60 dB of full scale. What is padded changes
    nothing.

    Args:
        waveforms: float32 `(batch, samples)`, zeros behind.
        lengths: int32 `(batch,)`, how many samples are real.
        sample_rate: int, samples a second.
        num_bins: int.

    Returns:
        float32 `(batch, frames, bins)`, zeros behind, and bool `(batch, frames)`, true for the frames of the sound.
        A sound that is shorter than a frame has one.
    """
    length, step, transform = frame_sizes(sample_rate)
    missing = tf.maximum(length - tf.shape(waveforms)[1], 0)
    # One row more, for there is no Fourier transform of no rows.
    waveforms, lengths = tf.pad(waveforms, [[0, 1], [0, missing]]), tf.pad(lengths, [[0, 1]])
    spectra = tf.signal.stft(waveforms, length, step, transform)  # (batch, frames, transform / 2 + 1)
    filters = tf.signal.linear_to_mel_weight_matrix(
        num_bins, transform // 2 + 1, sample_rate, LOWEST_FREQUENCY, sample_rate / 2
    )
    frames = tf.math.log(tf.matmul(tf.math.square(tf.abs(spectra)), filters) / length + FLOOR)
    mask = tf.sequence_mask(count_frames(lengths, sample_rate), tf.shape(frames)[1])

    real = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
    count = tf.reduce_sum(real, axis=1, keepdims=True)
    centred = (frames - tf.reduce_sum(frames * real, axis=1, keepdims=True) / count) * real
    deviation = tf.sqrt(tf.reduce_sum(tf.square(centred), axis=1, keepdims=True) / count)
    return (centred / tf.maximum(deviation, LEAST_DEVIATION))[:-1], mask[:-1]
