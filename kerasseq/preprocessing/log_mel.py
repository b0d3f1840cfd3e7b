"""Log-mel frames of waveforms, in the graph."""

from typing import Any

import tensorflow as tf

from kerasseq.types import Tensor

FRAME_SECONDS, STEP_SECONDS = 0.025, 0.010
MIN_FREQUENCY = 20.0  # Hz
FLOOR = 1e-6  # About the energy of white noise at -60 dB of full scale: lower energies count as silence.
MIN_DEVIATION = 0.1  # of log energies; bins that hardly vary are not amplified


def frame_sizes(sample_rate: int) -> tuple[int, int, int]:
    """Returns the samples per frame, the samples from one frame to the next, and the size of the Fourier transform."""
    length, step = round(FRAME_SECONDS * sample_rate), round(STEP_SECONDS * sample_rate)
    return length, step, 1 << (length - 1).bit_length()


def count_frames(lengths: Any, sample_rate: int) -> Any:
    """Returns the number of frames of waveforms, at least 1, for lengths in samples: a tensor or an array of int."""
    length, step, _ = frame_sizes(sample_rate)
    frames = (lengths - length) // step + 1
    return tf.maximum(frames, 1) if tf.is_tensor(frames) else frames.clip(1)


def log_mel_frames(waveforms: Tensor, lengths: Tensor, sample_rate: int, num_bins: int) -> tuple[Tensor, Tensor]:
    """Computes the logarithms of the energy in mel bins, normalized over each sound.

    Frames of 25 ms, every 10 ms, with Hann windows; triangular filters from 20 Hz to half the sample rate, evenly
    spaced on the mel scale. Each bin has mean 0 and deviation 1 over the frames of a sound, which removes the effects
    of loudness and microphone as long as the energy is well above -60 dB of full scale. Padding has no effect.

    Args:
        waveforms: float32 `(batch, samples)`, padded with zeros, `sample_rate` samples per second.
        lengths: int32 `(batch,)`, the samples of each waveform.

    Returns:
        float32 `(batch, frames, bins)`, padded with zeros, and bool `(batch, frames)`, true for the frames of the
        sound. Sounds that are shorter than a frame have one.
    """
    length, step, transform = frame_sizes(sample_rate)
    missing = tf.maximum(length - tf.shape(waveforms)[1], 0)
    # The Fourier transform of an empty batch fails: add a row.
    waveforms, lengths = tf.pad(waveforms, [[0, 1], [0, missing]]), tf.pad(lengths, [[0, 1]])
    spectra = tf.signal.stft(waveforms, length, step, transform)  # (batch, frames, transform / 2 + 1)
    filters = tf.signal.linear_to_mel_weight_matrix(
        num_bins, transform // 2 + 1, sample_rate, MIN_FREQUENCY, sample_rate / 2
    )
    frames = tf.math.log(tf.matmul(tf.math.square(tf.abs(spectra)), filters) / length + FLOOR)
    mask = tf.sequence_mask(count_frames(lengths, sample_rate), tf.shape(frames)[1])

    real = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
    count = tf.reduce_sum(real, axis=1, keepdims=True)
    centred = (frames - tf.reduce_sum(frames * real, axis=1, keepdims=True) / count) * real
    deviation = tf.sqrt(tf.reduce_sum(tf.square(centred), axis=1, keepdims=True) / count)
    return (centred / tf.maximum(deviation, MIN_DEVIATION))[:-1], mask[:-1]
