"""Data augmentation of audio: layers that are active in training only."""

import math
import numbers

import keras
from keras import ops

from kerasseq.arguments import check_number
from kerasseq.types import Tensor


class SoundAugmentation(keras.layers.Layer):
    """Base class of augmentations of waveforms; the identity without `training=True`. Subclasses define `augment`."""

    def __init__(self, seed: int | None = None, **kwargs):
        # Half precision would add quantization noise to waveforms.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, waveforms, lengths, training=False):
        return self.augment(waveforms, lengths) if training else (waveforms, lengths)

    def augment(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The augmented waveforms `(batch, samples)` and their lengths `(batch,)`."""
        raise NotImplementedError

    def uniform(self, shape: tuple, low: float, high: float) -> Tensor:
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="kerasseq")
class SpeedPerturbation(SoundAugmentation):
    """Changes the speed of each waveform, and with it the pitch, after Ko et al. 2015.

    The paper uses the speeds 0.9, 1 and 1.1; here a speed is drawn uniformly for each waveform. Resampling interpolates
    linearly: it attenuates the highest frequencies, and speeding up aliases those beyond half the sample rate. The
    number of samples must be known, so the layer is for eager use, as in `AudioPreprocessor.dataset`.

    Args:
        least: float, the lowest speed.
        most: float, the highest speed.
        seed: int, of the random numbers.

    Call arguments:
        waveforms: float32 `(batch, samples)`, padded with zeros.
        lengths: int32 `(batch,)`, numbers of real samples.
        training: bool.

    Returns:
        waveforms and their lengths; in training the waveforms have `ceil(samples / least)` samples.

    Example:

    >>> import keras, kerasseq
    >>> waveforms, lengths = keras.ops.ones((2, 90)), keras.ops.array([90, 45], dtype="int32")
    >>> faster = kerasseq.layers.SpeedPerturbation(least=2.0, most=2.0)
    >>> keras.ops.convert_to_numpy(faster(waveforms, lengths, training=True)[1]).tolist()
    [45, 23]
    """

    def __init__(self, least: float = 0.9, most: float = 1.1, seed: int | None = None, **kwargs):
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
        positions = ops.arange(longest, dtype="float32")[None] * speed[:, None]  # (batch, longest)
        below = ops.floor(positions)
        share = positions - below
        index = ops.cast(below, "int32")
        padded = ops.pad(waveforms, ((0, 0), (0, 2)))
        left, right = (ops.take_along_axis(padded, ops.minimum(index + step, samples + 1), axis=1) for step in (0, 1))
        inside = ops.arange(longest, dtype="int32")[None] < lengths[:, None]
        return ops.where(inside, left * (1.0 - share) + right * share, 0.0), lengths

    def get_config(self):
        return {**super().get_config(), "least": self.least, "most": self.most}


@keras.saving.register_keras_serializable(package="kerasseq")
class AdditiveNoise(SoundAugmentation):
    """Adds white noise at a random signal-to-noise ratio.

    Args:
        least_ratio: float, the lowest signal-to-noise ratio in decibels.
        most_ratio: float, the highest one.
        seed: int, of the random numbers.

    Call arguments:
        waveforms: float32 `(batch, samples)`, padded with zeros.
        lengths: int32 `(batch,)`, numbers of real samples.
        training: bool.

    Returns:
        waveforms `(batch, samples)` and their lengths. Silence and padding get no noise.

    Example:

    >>> import keras, kerasseq
    >>> waveforms, lengths = keras.ops.ones((2, 90)), keras.ops.array([90, 45], dtype="int32")
    >>> noisy, _ = kerasseq.layers.AdditiveNoise()(waveforms, lengths, training=True)
    >>> keras.ops.shape(noisy)
    (2, 90)
    """

    def __init__(self, least_ratio: float = 10.0, most_ratio: float = 40.0, seed: int | None = None, **kwargs):
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
    """Time and frequency masking of SpecAugment, without time warping (Park et al. 2019).

    Masked values become 0, the mean of normalized frames. Widths are drawn for each example: from 0 to
    `frequency_width` bins, and from 0 to `time_share` of its frames.

    Args:
        frequency_masks: int, number of frequency masks.
        frequency_width: int, largest width of a frequency mask in bins.
        time_masks: int, number of time masks.
        time_share: float in [0, 1], largest width of a time mask as a share of the example's frames.
        seed: int, of the random numbers.

    Call arguments:
        frames: float `(batch, frames, bins)`.
        mask: bool `(batch, frames)`, true for real frames.
        training: bool.

    Returns:
        frames of the same shape, unchanged without `training=True`.

    Example:

    >>> import keras, kerasseq
    >>> mask = keras.ops.ones((2, 50), dtype="bool")
    >>> frames = kerasseq.layers.SpecAugment(seed=1)(keras.ops.ones((2, 50, 40)), mask, training=True)
    >>> 0.0 < float(keras.ops.mean(frames)) < 1.0
    True
    """

    def __init__(
        self,
        frequency_masks: int = 2,
        frequency_width: int = 8,
        time_masks: int = 2,
        time_share: float = 0.1,
        seed: int | None = None,
        **kwargs,
    ):
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
        all_bins, widest = ops.full((batch,), float(bins)), float(self.frequency_width)
        hidden_bins = self._intervals(batch, bins, self.frequency_masks, all_bins, widest)
        hidden_time = self._intervals(batch, time, self.time_masks, lengths, (self.time_share * lengths)[:, None])
        hidden = ops.logical_or(hidden_time[:, :, None], hidden_bins[:, None, :])
        return ops.where(hidden, ops.zeros_like(frames), frames)

    def _intervals(self, batch, size, count, lengths, widest):
        """Bool `(batch, size)`, true within any of `count` random intervals inside the lengths `(batch,)`."""
        drawn = keras.random.uniform((2, batch, count), dtype="float32", seed=self.seed_generator)
        width = drawn[0] * widest  # (batch, count)
        begin = drawn[1] * ops.maximum(lengths[:, None] - width, 0.0)
        center = ops.arange(size, dtype="float32")[None, None] + 0.5
        inside = ops.logical_and(center >= begin[:, :, None], center < (begin + width)[:, :, None])
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
