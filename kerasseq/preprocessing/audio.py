"""Sounds to log-mel frames; their transcripts to token ids and back."""

import logging

import keras
import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_number, check_positive_integer
from kerasseq.preprocessing.batching import batched, check_pairs, data_set_options, pad
from kerasseq.preprocessing.ids import shift_right
from kerasseq.preprocessing.log_mel import STEP_SECONDS, count_frames, frame_sizes, log_mel_frames
from kerasseq.preprocessing.target_texts import TargetTexts, cut, kept_pairs
from kerasseq.preprocessing.vocabulary import train_vocabulary
from kerasseq.preprocessing.wav import LEAST_RATE, decode_wavs, encode_wav

logger = logging.getLogger(__name__)

SOUNDS_AT_ONCE = 64  # decoded in one call, for a bounded memory


@keras.saving.register_keras_serializable(package="kerasseq")
class AudioPreprocessor(TargetTexts):
    """Log-mel frames of WAV files, and subword tokens or characters of their transcripts.

    Sources are the contents of WAV files, bytes: any sample rate, any number of channels. Everything from the bytes on
    runs in TensorFlow graphs, in training and in a model server alike; see `kerasseq.preprocessing.log_mel`.

    Usually made by `AudioPreprocessor.from_pairs`.

    Args:
        target_vocabulary: bytes, a serialised SentencePiece model; see `train_vocabulary`.
        sample_rate: int, samples a second to which all sounds are brought.
        num_bins: int, mel bins of a frame.
        max_seconds: float; what comes later in a sound is not heard.
        max_target_length: int, tokens of a target, END included.

    Example:

    >>> import kerasseq
    >>> pairs = [(kerasseq.preprocessing.encode_wav([0.0, 0.1] * 800, 8_000), "one")] * 4
    >>> AudioPreprocessor = kerasseq.preprocessing.AudioPreprocessor
    >>> preprocessor = AudioPreprocessor.from_pairs(pairs, vocabulary_size=270, sample_rate=8_000)
    >>> preprocessor.encode_source([pairs[0][0]])["encoder_frames"].shape  # 0.2 s
    TensorShape([1, 18, 40])
    """

    def __init__(
        self,
        target_vocabulary=None,
        sample_rate=16_000,
        num_bins=40,
        max_seconds=20.0,
        max_target_length=128,
        **kwargs,
    ):
        super().__init__([] if target_vocabulary is None else [target_vocabulary], max_target_length, **kwargs)
        check_positive_integer("sample_rate", sample_rate)
        check_positive_integer("num_bins", num_bins)
        if sample_rate < LEAST_RATE:
            raise ValueError(
                f"sample_rate must be at least {LEAST_RATE} a second. Received: sample_rate={sample_rate}."
            )
        if not 0 < check_number("max_seconds", max_seconds) <= 600:
            raise ValueError(f"max_seconds must be in (0, 600]. Received: max_seconds={max_seconds!r}.")
        self.sample_rate = sample_rate
        self.num_bins = num_bins
        self.max_seconds = float(max_seconds)
        self._wavs_to_waveforms = tf.function(self.waveforms, input_signature=[self.source_signature])
        self._wavs_to_seconds = tf.function(
            lambda raw: decode_wavs(raw, self.sample_rate, self.max_seconds)[2],
            input_signature=[self.source_signature],
        )
        self._waveforms_to_frames = tf.function(
            self.frames,
            input_signature=[tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32)],
        )

    @classmethod
    def from_pairs(
        cls,
        pairs,
        vocabulary_size=300,
        sample_rate=16_000,
        num_bins=40,
        max_seconds=20.0,
        max_target_length=128,
        normalization="nmt_nfkc",
    ):
        """Trains the vocabulary on the transcripts of pairs.

        Args:
            pairs: list of (contents of a WAV file, transcript) tuples of bytes and str.
            vocabulary_size: int, ids at most, at least 261. 260 are special tokens and bytes, so with as many more as
                there are letters, the model spells; with more, it writes subwords.
            sample_rate, num_bins, max_seconds, max_target_length: as in the constructor.
            normalization: as in `train_vocabulary`.

        Returns:
            an `AudioPreprocessor`.

        Raises:
            ValueError: if there are no pairs, a pair is not bytes and a string, or the vocabulary is too small.
        """
        pairs = list(pairs)
        check_pairs(pairs, bytes)
        vocabulary = train_vocabulary([text for _, text in pairs], vocabulary_size, normalization)
        return cls(vocabulary, sample_rate, num_bins, max_seconds, max_target_length)

    # === One batch, in the graph ===

    @property
    def source_signature(self):
        """What raw sources look like: `tf.TensorSpec([None], tf.string)`, contents of WAV files."""
        return tf.TensorSpec([None], tf.string, name="audio_bytes")

    @property
    def frame_seconds(self):
        """The length of a frame: what is shorter cannot be heard."""
        return frame_sizes(self.sample_rate)[0] / self.sample_rate

    def waveforms(self, raw):
        """Contents of WAV files to float32 `(batch, samples)` and their lengths, int32 `(batch,)`, 0 if unreadable."""
        waveforms, lengths, _ = decode_wavs(tf.convert_to_tensor(raw, tf.string), self.sample_rate, self.max_seconds)
        return waveforms, lengths

    def frames(self, waveforms, lengths):
        """Waveforms to log-mel frames and their mask, see `kerasseq.preprocessing.log_mel.log_mel_frames`."""
        return log_mel_frames(waveforms, lengths, self.sample_rate, self.num_bins)

    def encode_source(self, raw):
        """Sounds to encoder inputs.

        Args:
            raw: string `(batch,)`, contents of WAV files. What cannot be read is taken for a moment of silence.

        Returns:
            `{"encoder_frames": float32 (batch, frames, bins), "encoder_mask": bool (batch, frames)}`, a frame every 10
            ms, at least one.
        """
        frames, mask = self.frames(*self.waveforms(raw))
        return {"encoder_frames": frames, "encoder_mask": mask}

    def remarks(self, raw):
        """`problem`, string `(batch,)`: what is wrong with each sound; empty if nothing is."""
        _, _, seconds = decode_wavs(tf.convert_to_tensor(raw, tf.string), self.sample_rate, self.max_seconds)
        lasts = tf.strings.as_string(seconds, precision=1)
        too_long = tf.strings.join(["The sound lasts ", lasts, f" s. The first {self.max_seconds:g} s were heard."])
        too_short = f"The sound is shorter than {1_000 * self.frame_seconds:g} ms."
        problem = tf.where(seconds > self.max_seconds, too_long, "")
        problem = tf.where(seconds < self.frame_seconds, too_short, problem)
        unreadable = "Not a WAV file, or damaged: expected RIFF/WAVE with samples of PCM or floats."
        return {"problem": tf.where(seconds < 0, unreadable, problem)}

    def source_tokens(self, context, steps=1):
        """When each position of the memory begins, in seconds: string `(batch, positions)`, empty for padding.

        Args:
            context: dict with what `encode_source` gives.
            steps: int, frames of a position.
        """
        mask = context["encoder_mask"][:, ::steps]
        begins = tf.range(tf.shape(mask)[1]) * steps
        seconds = tf.strings.as_string(tf.cast(begins, tf.float32) * STEP_SECONDS, precision=2)
        return tf.where(mask, seconds[tf.newaxis], "")

    def example_sources(self, count, share):
        """WAV files of noise, for warming up.

        Args:
            count: int.
            share: float, their length as a share of `max_seconds`.

        Returns:
            list of `count` bytes, the same in every call.
        """
        samples = max(1, int(share * self.max_seconds * LEAST_RATE))  # At the lowest rate, for small files.
        noise = np.random.default_rng(1).normal(scale=0.1, size=samples)
        return [encode_wav(noise, LEAST_RATE)] * count

    @property
    def encoder_inputs(self):
        """The shapes of what `encode_source` gives, without the batch."""
        return {"encoder_frames": (None, self.num_bins), "encoder_mask": (None,)}

    # === Raw sources from Python ===

    def raw_batch(self, sounds):
        """Checks sounds and makes a string tensor of them.

        Args:
            sounds: list of bytes, contents of WAV files.

        Returns:
            string tensor `(batch,)`.

        Raises:
            ValueError: if an element is not bytes, or no WAV file that can be read.
        """
        for index, sound in enumerate(sounds):
            if not isinstance(sound, bytes):
                raise ValueError(
                    "Sources must be the contents of WAV files, as pathlib.Path('sound.wav').read_bytes(). Received at "
                    f"index {index}: a {type(sound).__name__}."
                )
        seconds = self._seconds(sounds) if sounds else np.zeros(0)
        if too_long := np.sum(seconds > self.max_seconds):
            logger.warning(
                "%d of %d sounds are longer than %g s: truncated. The longest has %.1f s.",
                too_long, len(sounds), self.max_seconds, np.max(seconds),
            )  # fmt: skip
        if too_short := np.sum(seconds < self.frame_seconds):
            logger.warning(
                "%d of %d sounds are shorter than %g ms: nothing can be heard.",
                too_short, len(sounds), 1_000 * self.frame_seconds,
            )  # fmt: skip
        return tf.constant(sounds, tf.string, shape=[len(sounds)])

    def _check_readable(self, sounds, start, seconds):
        for index in np.flatnonzero(seconds < 0) + start:
            raise ValueError(
                "Sources must be WAV files with samples of PCM or floats. Received at index "
                f"{index}: {len(sounds[index])} bytes that begin with {sounds[index][:12]!r}. Other formats become WAV "
                "with ffmpeg: ffmpeg -i sound.mp3 sound.wav."
            )

    # === Data sets ===

    def dataset(self, pairs, batch_size, shuffle=False, seed=0, too_long=None, pad_to_multiple=None, augmentation=()):
        """A `tf.data.Dataset` of batches for `fit`, `evaluate` and `predict`.

        Args:
            pairs: list of (contents of a WAV file, transcript) tuples of bytes and str.
            batch_size: int, pairs a batch.
            shuffle: as in `TextPreprocessor.dataset`.
            seed: int, for `shuffle=True`.
            too_long: what to do with pairs longer than `max_seconds` or `max_target_length`: `"drop"` them,
                `"truncate"` them, or raise an `"error"`. Default: drop when shuffled, else truncate.
            pad_to_multiple: int, numbers of frames and tokens are rounded up to its multiples, for few distinct shapes.
                Default: 4 when shuffled, else 1.
            augmentation: a layer of waveforms, such as `kerasseq.layers.SpeedPerturbation()`, or a list of them: what
                they do to each batch differs from pass to pass.

        Returns:
            a data set of `({"encoder_frames": float32 (batch, frames, bins), "encoder_mask": bool (batch, frames),
            "decoder_token_ids": int32 (batch, target)}, labels)`, labels int32 `(batch, target)`.

        Raises:
            ValueError: if there are no pairs, none is left, one is not bytes and a string, or a sound cannot be read.
        """
        pairs = list(pairs)
        check_pairs(pairs, bytes)
        too_long, pad_to_multiple = data_set_options(batch_size, shuffle, too_long, pad_to_multiple)
        augmentation = [augmentation] if callable(augmentation) else augmentation
        if not isinstance(augmentation, (tuple, list)) or not all(map(callable, augmentation)):
            raise ValueError(
                "augmentation must be layers of waveforms, such as [kerasseq.layers.SpeedPerturbation()]. Received: "
                f"augmentation={augmentation!r}."
            )
        sounds, texts = zip(*pairs, strict=True)
        seconds = self._seconds(sounds)
        targets = self._tokenize_all(texts, "target")
        fits = [
            time <= self.max_seconds and len(target) <= self.max_target_length
            for time, target in zip(seconds, targets, strict=True)
        ]
        rows = kept_pairs(fits, f"{self.max_seconds:g} s or {self.max_target_length} target tokens", too_long)
        sounds = [sounds[row] for row in rows]
        targets = [cut(targets[row], self.max_target_length) for row in rows]
        samples = (np.minimum(seconds[rows], self.max_seconds) * self.sample_rate).astype("int64")
        lengths = np.stack([count_frames(samples, self.sample_rate), [len(target) for target in targets]], axis=1)

        def make_batch(rows, _):
            waveforms, lengths = self._wavs_to_waveforms(tf.constant([sounds[row] for row in rows]))
            for layer in augmentation:
                waveforms, lengths = layer(waveforms, lengths, training=True)
            frames, mask = self._waveforms_to_frames(waveforms, lengths)
            missing = -frames.shape[1] % pad_to_multiple
            labels = pad([targets[row] for row in rows], pad_to_multiple)
            inputs = {
                "encoder_frames": np.pad(frames.numpy(), ((0, 0), (0, missing), (0, 0))),
                "encoder_mask": np.pad(mask.numpy(), ((0, 0), (0, missing))),
                "decoder_token_ids": shift_right(labels),
            }
            return inputs, labels

        ids = tf.TensorSpec([None, None], tf.int32)
        inputs = {
            "encoder_frames": tf.TensorSpec([None, None, self.num_bins], tf.float32),
            "encoder_mask": tf.TensorSpec([None, None], tf.bool),
            "decoder_token_ids": ids,
        }
        return batched(lengths, batch_size, shuffle, seed, make_batch, (inputs, ids))

    def _seconds(self, sounds):
        """The seconds of each sound, checked: float array `(sounds,)`."""
        all_seconds = []
        for start in range(0, len(sounds), SOUNDS_AT_ONCE):
            seconds = self._wavs_to_seconds(tf.constant(sounds[start : start + SOUNDS_AT_ONCE]))
            self._check_readable(sounds, start, seconds.numpy())
            all_seconds.append(seconds.numpy())
        return np.concatenate(all_seconds)

    # === Saving ===

    def get_config(self):
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "num_bins": self.num_bins,
            "max_seconds": self.max_seconds,
        }
