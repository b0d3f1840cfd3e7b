"""The preprocessor of sounds and their transcripts."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_number, check_positive_integer
from kerasseq.preprocessing.base import Preprocessor
from kerasseq.preprocessing.batching import Batching, Shuffle, batched, pad
from kerasseq.preprocessing.log_mel import STEP_SECONDS, count_frames, frame_sizes, log_mel_frames
from kerasseq.preprocessing.pairs import check_pairs, check_weights, data_set_options, kept_pairs, of_kept, truncated
from kerasseq.preprocessing.tokenizers import Tokenizer
from kerasseq.preprocessing.vocabulary import train_vocabulary
from kerasseq.preprocessing.wav import MIN_RATE, decode_wavs, encode_wav, name_of_format
from kerasseq.types import Pair, Tensor

logger = logging.getLogger(__name__)

SOUNDS_AT_ONCE = 64  # decoded in one call, to bound the memory


@keras.saving.register_keras_serializable(package="kerasseq")
class AudioPreprocessor(Preprocessor):
    """Converts WAV files to log-mel frames, and tokenizes their transcripts.

    Sources are the contents of WAV files, bytes, with any sample rate and any number of channels. Decoding and feature
    extraction run in TensorFlow graphs, in training and in a model server alike; see `kerasseq.preprocessing.log_mel`.
    Usually made by `AudioPreprocessor.from_pairs`.

    Args:
        target_vocabulary: bytes, a serialized SentencePiece model, see `train_vocabulary`; or a `Tokenizer`.
        sample_rate: int, samples per second to which all sounds are resampled.
        num_bins: int, mel bins per frame.
        max_seconds: float, the maximum duration. Longer sounds are truncated.
        max_target_length: int, the maximum number of tokens of a target, END included.

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
        target_vocabulary: Tokenizer | bytes | None = None,
        sample_rate: int = 16_000,
        num_bins: int = 40,
        max_seconds: float = 20.0,
        max_target_length: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__([] if target_vocabulary is None else [target_vocabulary], max_target_length, **kwargs)
        check_positive_integer("sample_rate", sample_rate)
        check_positive_integer("num_bins", num_bins)
        if sample_rate < MIN_RATE:
            raise ValueError(f"sample_rate must be at least {MIN_RATE}. Received: sample_rate={sample_rate}.")
        if not 0 < check_number("max_seconds", max_seconds) <= 600:
            raise ValueError(f"max_seconds must be in (0, 600]. Received: max_seconds={max_seconds!r}.")
        self.sample_rate = sample_rate
        self.num_bins = num_bins
        self.max_seconds = float(max_seconds)
        # Traced once: the graphs of all samplers and signatures call them.
        self._wavs_to_waveforms = tf.function(self.waveforms, [self.source_signature], autograph=False)
        self._wavs_to_seconds = tf.function(self.seconds, [self.source_signature], autograph=False)
        waveforms = [tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32)]  # and their lengths
        self._waveforms_to_frames = tf.function(self.frames, waveforms, autograph=False)

    @classmethod
    def from_pairs(
        cls,
        pairs: Sequence[Pair],
        vocabulary_size: int = 300,
        sample_rate: int = 16_000,
        num_bins: int = 40,
        max_seconds: float = 20.0,
        max_target_length: int = 128,
        normalization: str | None = None,
    ) -> Self:
        """Trains the vocabulary on the transcripts of pairs.

        Args:
            pairs: list of (contents of a WAV file, transcript) tuples of bytes and str.
            vocabulary_size: int, the maximum number of ids, at least 261. 260 of them are special tokens and bytes:
                with one more per letter the tokens are characters, with more of them subwords.
            sample_rate, num_bins, max_seconds, max_target_length: as in the constructor.
            normalization: as in `train_vocabulary`.

        Raises:
            ValueError: if there are no pairs, a pair is not bytes and a string, or the vocabulary size is too small.
        """
        texts = [text for _, text in check_pairs(pairs, bytes)]
        vocabulary = train_vocabulary(texts, vocabulary_size, normalization)
        return cls(vocabulary, sample_rate, num_bins, max_seconds, max_target_length)

    # === Sources ===

    @property
    def source_signature(self) -> tf.TensorSpec:
        return tf.TensorSpec([None], tf.string, name="audio_bytes")

    @property
    def encoder_inputs(self) -> dict[str, tuple[int | None, ...]]:
        return {"encoder_frames": (None, self.num_bins), "encoder_mask": (None,)}

    @property
    def frame_seconds(self) -> float:
        """The duration of a frame, and the minimum duration of a sound."""
        return frame_sizes(self.sample_rate)[0] / self.sample_rate

    def waveforms(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Decodes WAV files to float32 `(batch, samples)` and lengths, int32 `(batch,)`, 0 for unreadable files."""
        return decode_wavs(tf.convert_to_tensor(raw, tf.string), self.sample_rate, self.max_seconds)[:2]

    def seconds(self, raw: Tensor) -> Tensor:
        """Returns the durations of WAV files before truncation, float32 `(batch,)`, -1 for unreadable files."""
        return decode_wavs(tf.convert_to_tensor(raw, tf.string), self.sample_rate, self.max_seconds)[2]

    def frames(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Converts waveforms to log-mel frames and their mask, see `kerasseq.preprocessing.log_mel.log_mel_frames`."""
        return log_mel_frames(waveforms, lengths, self.sample_rate, self.num_bins)

    def encode_source(self, raw: Tensor) -> dict[str, Tensor]:
        """Encodes WAV files, string `(batch,)`, to encoder inputs. Unreadable files become a frame of silence.

        Returns:
            `{"encoder_frames": float32 (batch, frames, bins), "encoder_mask": bool (batch, frames)}`, one frame every
            10 ms, at least one per sound.
        """
        frames, mask = self._waveforms_to_frames(*self._wavs_to_waveforms(tf.convert_to_tensor(raw, tf.string)))
        return {"encoder_frames": frames, "encoder_mask": mask}

    def raw_batch(self, sources: Sequence[bytes], split: bool = False) -> Tensor:
        """Converts WAV files to a string tensor. Warns about sounds that are too long or too short."""
        for index, sound in enumerate(sources):
            if not isinstance(sound, bytes):
                raise ValueError(
                    "Sources must be the contents of WAV files, as pathlib.Path('sound.wav').read_bytes(). Received at "
                    f"index {index}: a {type(sound).__name__}."
                )
        seconds = self._seconds(sources) if sources else np.zeros(0)
        if too_long := np.sum(seconds > self.max_seconds):
            logger.warning(
                "%d of %d sounds are longer than %g s: truncated. The longest has %.1f s.",
                too_long, len(sources), self.max_seconds, np.max(seconds),
            )  # fmt: skip
        if too_short := np.sum(seconds < self.frame_seconds):
            logger.warning(
                "%d of %d sounds are shorter than %g ms, the duration of one frame.",
                too_short, len(sources), 1_000 * self.frame_seconds,
            )  # fmt: skip
        return tf.constant(sources, tf.string, shape=[len(sources)])

    def _seconds(self, sounds: Sequence[bytes]) -> np.ndarray:
        """Returns the seconds of each sound, float `(sounds,)`; raises a `ValueError` for unreadable ones."""
        all_seconds = []
        for start in range(0, len(sounds), SOUNDS_AT_ONCE):
            seconds = self._wavs_to_seconds(tf.constant(sounds[start : start + SOUNDS_AT_ONCE])).numpy()
            if any(seconds < 0):
                index = start + int(np.argmax(seconds < 0))
                raise ValueError(
                    "Sources must be WAV files with PCM or float samples. Received at index "
                    f"{index}: {name_of_format(sounds[index])}. Convert it, for example with ffmpeg: ffmpeg -i sound "
                    "-c:a pcm_s16le sound.wav."
                )
            all_seconds.append(seconds)
        return np.concatenate(all_seconds)

    def remarks(self, raw: Tensor) -> dict[str, Tensor]:
        """Returns `problem`, string `(batch,)`: what is wrong with each sound, empty if nothing is."""
        seconds = self._wavs_to_seconds(tf.convert_to_tensor(raw, tf.string))
        duration = tf.strings.as_string(seconds, precision=1)
        used = f" s. Only the first {self.max_seconds:g} s are used."
        too_long = tf.strings.join(["The sound lasts ", duration, used])
        too_short = f"The sound is shorter than {1_000 * self.frame_seconds:g} ms."
        problem = tf.where(seconds > self.max_seconds, too_long, "")
        problem = tf.where(seconds < self.frame_seconds, too_short, problem)
        unreadable = "Not a WAV file, or damaged: expected RIFF/WAVE with PCM or float samples."
        return {"problem": tf.where(seconds < 0, unreadable, problem)}

    def example_sources(self, count: int, share: float) -> list[bytes]:
        """Returns WAV files of noise; `share` is their duration as a share of `max_seconds`."""
        samples = max(1, int(share * self.max_seconds * MIN_RATE))  # The lowest rate makes small files.
        noise = np.random.default_rng(1).normal(scale=0.1, size=samples)
        return [encode_wav(noise, MIN_RATE)] * count

    def source_tokens(self, context: dict[str, Tensor], stride: int = 1) -> Tensor:
        """Returns the start time of each memory position in seconds."""
        mask = context["encoder_mask"][:, ::stride]
        first_frames = tf.range(tf.shape(mask)[1]) * stride
        seconds = tf.strings.as_string(tf.cast(first_frames, tf.float32) * STEP_SECONDS, precision=2)
        return tf.where(mask, seconds[tf.newaxis], "")

    # === Data sets ===

    def dataset(
        self,
        pairs: Sequence[Pair],
        batch_size: int,
        shuffle: Shuffle = False,
        seed: int = 0,
        too_long: str | None = None,
        pad_to_multiple: int | None = None,
        augmentation: Callable[..., Any] | Sequence[Callable[..., Any]] = (),
        weights: Sequence[float] | None = None,
    ) -> tf.data.Dataset:
        """Builds a `tf.data.Dataset` of batches for `fit`, `evaluate` and `predict`.

        Args:
            pairs: list of (contents of a WAV file, transcript) tuples of bytes and str.
            batch_size, shuffle, seed, too_long, pad_to_multiple: as in `TextPreprocessor.dataset`, for pairs longer
                than `max_seconds` or `max_target_length`, and for numbers of frames and tokens.
            augmentation: a layer that augments waveforms, such as `kerasseq.layers.SpeedPerturbation()`, or a list of
                them. They are applied anew in every pass.
            weights: as in `TextPreprocessor.dataset`.

        Returns:
            a data set of `({"encoder_frames": float32 (batch, frames, bins), "encoder_mask": bool (batch, frames),
            "decoder_token_ids": int32 (batch, target)}, labels)`, labels int32 `(batch, target)`; with `weights`
            a third element, float32 `(batch,)`.

        Raises:
            ValueError: if there are no pairs, none is left, one is not bytes and a string, a sound is unreadable,
                or `weights` are not one number of at least 0 for each pair.
        """
        pairs = check_pairs(pairs, bytes)
        too_long, pad_to_multiple = data_set_options(batch_size, shuffle, too_long, pad_to_multiple)
        layers = [augmentation] if callable(augmentation) else augmentation
        if not isinstance(layers, (tuple, list)) or not all(map(callable, layers)):
            raise ValueError(
                "augmentation must be layers of waveforms, such as [kerasseq.layers.SpeedPerturbation()]. Received: "
                f"augmentation={augmentation!r}."
            )
        weights_of_pairs = check_weights(weights, len(pairs))
        sounds, texts = zip(*pairs, strict=True)
        seconds = self._seconds(sounds)
        targets = self.tokenize_all(texts, "target")
        fits = [
            time <= self.max_seconds and len(target) <= self.max_target_length
            for time, target in zip(seconds, targets, strict=True)
        ]
        kept = kept_pairs(fits, f"{self.max_seconds:g} s or {self.max_target_length} target tokens", too_long)
        kept_sounds = [sounds[row] for row in kept]
        kept_targets = [truncated(targets[row], self.max_target_length) for row in kept]
        samples = (np.minimum(seconds[kept], self.max_seconds) * self.sample_rate).astype("int64")
        lengths = np.stack([count_frames(samples, self.sample_rate), [len(target) for target in kept_targets]], axis=1)

        def make_batch(rows, _):
            waveforms, lengths = self._wavs_to_waveforms(tf.constant([kept_sounds[row] for row in rows]))
            for layer in layers:
                waveforms, lengths = layer(waveforms, lengths, training=True)
            frames, mask = self._waveforms_to_frames(waveforms, lengths)
            missing = -frames.shape[1] % pad_to_multiple
            inputs = {
                "encoder_frames": np.pad(frames.numpy(), ((0, 0), (0, missing), (0, 0))),
                "encoder_mask": np.pad(mask.numpy(), ((0, 0), (0, missing))),
            }
            return inputs, pad([kept_targets[row] for row in rows], pad_to_multiple)

        signature = {
            "encoder_frames": tf.TensorSpec([None, None, self.num_bins], tf.float32),
            "encoder_mask": tf.TensorSpec([None, None], tf.bool),
        }
        return batched(
            lengths, Batching(batch_size, shuffle=bool(shuffle)), shuffle, seed, make_batch, signature,
            self.vocabulary_digest, of_kept(weights_of_pairs, kept),
        )  # fmt: skip

    # === Saving ===

    def get_config(self) -> dict[str, Any]:
        own = {"sample_rate": self.sample_rate, "num_bins": self.num_bins, "max_seconds": self.max_seconds}
        return {**super().get_config(), **own}
