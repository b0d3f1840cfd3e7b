"""Sounds as they might have been: layers that are active in training only."""

import math
import numbers

import keras
from keras import ops

from kerasseq.arguments import check_number


class SoundAugmentation(keras.layers.Layer):
    """A layer of waveforms with a seeded random state; without `training=True` it changes nothing."""

    def __init__(self, seed=None, **kwargs):
        # In half precision waveforms would be noisy.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, waveforms, lengths, training=False):
        return self.augment(waveforms, lengths) if training else (waveforms, lengths)

    def uniform(self, shape, low, high):
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="kerasseq")
class SpeedPerturbation(SoundAugmentation):
    """Plays each sound a little faster or slower, which also moves its pitch, after Ko et al. 2015.

    The paper plays all sounds at three speeds, 0.9, 1 and 1.1; here each sound has a speed of its own, drawn evenly.
    Between samples it is interpolated linearly: the highest frequencies are dampened, and what a faster speed moves
    beyond half the sample rate comes back mirrored below it. The number of samples must be
    known, so the layer is for eager use, as within `AudioPreprocessor.dataset`.

    Args:
        least: float, the lowest speed.
        most: float, the highest speed.
        seed: int.

    Call arguments:
        waveforms: float32 `(batch, samples)`, zeros behind.
        lengths: int32 `(batch,)`, how many samples are real.
        training: bool.

    Returns:
        waveforms `(batch, samples)` and their lengths; in training there are `samples / least` of them.

    Example:

    >>> import keras, kerasseq
    >>> waveforms, lengths = keras.ops.ones((2, 90)), keras.ops.array([90, 45], dtype="int32")
    >>> faster = kerasseq.layers.SpeedPerturbation(least=2.0, most=2.0)
    >>> keras.ops.convert_to_numpy(faster(waveforms, lengths, training=True)[1]).tolist()
    [45, 23]
    """

    def __init__(self, least=0.9, most=1.1, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        if not 0 < check_number("least", least) <= check_number("most", most):
            raise ValueError(f"0 < least <= most must hold. Received: least={least!r}, most={most!r}.")
        self.least = least
        self.most = most

    def augment(self, waveforms, lengths):
        batch, samples = ops.shape(waveforms)
        speed = self.uniform((batch,), self.least, self.most)
        real = ops.cast(lengths, "float32")
        lengths = ops.cast(ops.ceil(real / speed), "int32")
        longest = math.ceil(samples / self.least)
        places = ops.arange(longest, dtype="float32")[None] * speed[:, None]  # (batch, longest)
        below = ops.floor(places)
        share = places - below
        index = ops.cast(below, "int32")
        padded = ops.pad(waveforms, ((0, 0), (0, 2)))
        left, right = (ops.take_along_axis(padded, ops.minimum(index + step, samples + 1), axis=1) for step in (0, 1))
        inside = ops.arange(longest, dtype="int32")[None] < lengths[:, None]
        return ops.where(inside, left * (1.0 - share) + right * share, 0.0), lengths

    def get_config(self):
        return {**super().get_config(), "least": self.least, "most": self.most}


@keras.saving.register_keras_serializable(package="kerasseq")
class AdditiveNoise(SoundAugmentation):
    """Adds white noise, as loud as a random signal-to-noise ratio says.

    Args:
        least_ratio: float, the lowest signal-to-noise ratio in decibels.
        most_ratio: float, the highest one.
        seed: int.

    Call arguments:
        waveforms: float32 `(batch, samples)`, zeros behind.
        lengths: int32 `(batch,)`, how many samples are real.
        training: bool.

    Returns:
        waveforms `(batch, samples)` and their lengths. Silence stays silent, and so does padding.

    Example:

    >>> import keras, kerasseq
    >>> waveforms, lengths = keras.ops.ones((2, 90)), keras.ops.array([90, 45], dtype="int32")
    >>> noisy, _ = kerasseq.layers.AdditiveNoise()(waveforms, lengths, training=True)
    >>> keras.ops.shape(noisy)
    (2, 90)
    """

    def __init__(self, least_ratio=10.0, most_ratio=40.0, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        decibels = (least_ratio, most_ratio)
        if not all(isinstance(ratio, numbers.Real) and math.isfinite(ratio) for ratio in decibels) or (
            least_ratio > most_ratio
        ):
            raise ValueError(
                "least_ratio <= most_ratio must hold, both finite numbers in decibels. Received: "
                f"least_ratio={least_ratio!r}, most_ratio={most_ratio!r}."
            )
        self.least_ratio = least_ratio
        self.most_ratio = most_ratio

    def augment(self, waveforms, lengths):
        batch, samples = ops.shape(waveforms)
        inside = ops.arange(samples, dtype="int32")[None] < lengths[:, None]
        count = ops.maximum(ops.cast(lengths, "float32"), 1.0)
        power = ops.sum(ops.where(inside, ops.square(waveforms), 0.0), axis=1) / count
        ratio = 10.0 ** (self.uniform((batch,), self.least_ratio, self.most_ratio) / 10.0)
        deviation = ops.sqrt(power / ratio)[:, None]
        noise = keras.random.normal((batch, samples), dtype="float32", seed=self.seed_generator)
        return ops.where(inside, waveforms + deviation * noise, 0.0), lengths

    def get_config(self):
        return {**super().get_config(), "least_ratio": self.least_ratio, "most_ratio": self.most_ratio}


@keras.saving.register_keras_serializable(package="kerasseq")
class SpecAugment(keras.layers.Layer):
    """Hides random bands of frequency and stretches of time, without time warping (Park et al. 2019).

    The hidden parts become 0, which is the mean of normalized frames. All widths are drawn for each sound by itself:
    from 0 to `frequency_width` bins, and from 0 to `time_share` of its frames.

    Args:
        frequency_masks: int, bands a sound.
        frequency_width: int, the most bins of a band.
        time_masks: int, stretches a sound.
        time_share: float in [0, 1], the most frames of a stretch as a share of the sound's.
        seed: int.

    Call arguments:
        frames: float `(batch, frames, bins)`.
        mask: bool `(batch, frames)`, true for real frames.
        training: bool.

    Returns:
        frames of the same shape; the same frames without `training=True`.

    Example:

    >>> import keras, kerasseq
    >>> mask = keras.ops.ones((2, 50), dtype="bool")
    >>> frames = kerasseq.layers.SpecAugment(seed=1)(keras.ops.ones((2, 50, 40)), mask, training=True)
    >>> 0.0 < float(keras.ops.mean(frames)) < 1.0
    True
    """

    def __init__(self, frequency_masks=2, frequency_width=8, time_masks=2, time_share=0.1, seed=None, **kwargs):
        super().__init__(**kwargs)
        for name, value in {"frequency_masks": frequency_masks, "time_masks": time_masks}.items():
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
                raise ValueError(f"{name} must be an integer of at least 0. Received: {name}={value!r}.")
        check_number("frequency_width", frequency_width)
        if check_number("time_share", time_share) > 1:
            raise ValueError(f"time_share must be in [0, 1]. Received: time_share={time_share!r}.")
        self.frequency_masks = frequency_masks
        self.frequency_width = frequency_width
        self.time_masks = time_masks
        self.time_share = time_share
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, frames, mask, training=False):
        if not training:
            return frames
        batch, time, bins = ops.shape(frames)
        lengths = ops.sum(ops.cast(mask, "float32"), axis=1)
        hidden_bins = self.intervals(
            batch, bins, self.frequency_masks, ops.full((batch,), float(bins)), float(self.frequency_width)
        )
        hidden_time = self.intervals(batch, time, self.time_masks, lengths, (self.time_share * lengths)[:, None])
        hidden = ops.logical_or(hidden_time[:, :, None], hidden_bins[:, None, :])
        return ops.where(hidden, ops.zeros_like(frames), frames)

    def intervals(self, batch, size, count, lengths, widest):
        """Bool `(batch, size)`, true in any of `count` random intervals within the lengths `(batch,)`."""
        drawn = keras.random.uniform((2, batch, count), dtype="float32", seed=self.seed_generator)
        width = drawn[0] * widest  # (batch, count)
        begin = drawn[1] * ops.maximum(lengths[:, None] - width, 0.0)
        place = ops.arange(size, dtype="float32")[None, None] + 0.5
        inside = ops.logical_and(place >= begin[:, :, None], place < (begin + width)[:, :, None])
        return ops.any(inside, axis=1)

    def compute_output_spec(self, frames, mask, training=False):
        return keras.KerasTensor(frames.shape, dtype=frames.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "frequency_masks": self.frequency_masks,
            "frequency_width": self.frequency_width,
            "time_masks": self.time_masks,
            "time_share": self.time_share,
            "seed": self.seed,
        }
