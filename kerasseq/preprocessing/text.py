"""The preprocessor of text pairs."""

import logging
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.base import Preprocessor
from kerasseq.preprocessing.batching import Shuffle
from kerasseq.preprocessing.ids import join_groups, padded, string_tensor
from kerasseq.preprocessing.long_texts import join_texts, sentences, split_texts
from kerasseq.preprocessing.pairs import check_length, check_pairs
from kerasseq.preprocessing.text_dataset import text_dataset
from kerasseq.preprocessing.tokenizers import Tokenizer
from kerasseq.preprocessing.vocabulary import train_vocabulary
from kerasseq.preprocessing.word_pieces import word_pieces
from kerasseq.types import Pair, Tensor

logger = logging.getLogger(__name__)


@keras.saving.register_keras_serializable(package="kerasseq")
class TextPreprocessor(Preprocessor):
    """Tokenizes both sides of text pairs.

    Ids: 0 padding, 1 unknown, 2 start, 3 end, then bytes, then subwords. Sources end in END and so are never empty. All
    encoding and decoding runs in TensorFlow graphs, in training and in a model server alike.

    Usually made by `TextPreprocessor.from_pairs`.

    Args:
        source_vocabulary: bytes, a serialized SentencePiece model with these ids, see `train_vocabulary`; a
            `Tokenizer`; or a tokenizer of KerasHub, see `kerasseq.encoders.from_backbone`.
        target_vocabulary: the same for the targets. Default: sources and targets share one vocabulary.
        max_source_length: int, the maximum number of tokens of a source, END included. `encode_source` truncates longer
            sources.
        max_target_length: int, the maximum number of tokens of a target, END included.

    Example:

    >>> import kerasseq
    >>> pairs = [("one two", "eins zwei"), ("two one", "zwei eins")] * 20
    >>> preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(pairs, vocabulary_size=280)
    >>> ids = preprocessor.encode_source(["two two"])["encoder_token_ids"]
    >>> inputs, labels = next(iter(preprocessor.dataset(pairs, batch_size=8)))
    >>> inputs["decoder_token_ids"].shape == labels.shape
    True
    >>> preprocessor.decode(labels)[0].numpy().decode()
    'eins zwei'
    """

    vocabulary_names = ("source", "target")

    max_source_length: int

    def __init__(
        self,
        source_vocabulary: Any = None,
        target_vocabulary: Any = None,
        max_source_length: int = 128,
        max_target_length: int = 128,
        **kwargs: Any,
    ) -> None:
        check_length("max_source_length", max_source_length)
        vocabularies = [vocabulary for vocabulary in (source_vocabulary, target_vocabulary) if vocabulary is not None]
        super().__init__(vocabularies, max_target_length, **kwargs)
        self.max_source_length = max_source_length

    @classmethod
    def from_pairs(
        cls,
        pairs: Sequence[Pair],
        vocabulary_size: int = 8_000,
        joint: bool = False,
        max_source_length: int = 128,
        max_target_length: int = 128,
        normalization: str = "nmt_nfkc",
    ) -> Self:
        """Trains the vocabularies on pairs.

        Args:
            pairs: list of (source, target) tuples of str.
            vocabulary_size: int, the maximum number of ids of each vocabulary, at least 261; small data may yield
                fewer.
            joint: bool, whether sources and targets share one vocabulary.
            max_source_length: int, the maximum number of tokens of a source, END included.
            max_target_length: int, the maximum number of tokens of a target, END included.
            normalization: `"nmt_nfkc"` normalizes compatibility characters and white space; `"identity"` keeps every
                character, which full-width Chinese punctuation requires.

        Returns:
            a `TextPreprocessor`.

        Raises:
            ValueError: if there are no pairs, a pair is not two strings, or the vocabulary size is too small.
        """
        pairs = list(pairs)
        check_pairs(pairs)
        sources, targets = zip(*pairs, strict=True)
        shared = [*sources, *targets] if joint else sources
        source_vocabulary = train_vocabulary(shared, vocabulary_size, normalization)
        target_vocabulary = None if joint else train_vocabulary(targets, vocabulary_size, normalization)
        return cls(source_vocabulary, target_vocabulary, max_source_length, max_target_length)

    # === Vocabularies ===

    @property
    def joint(self) -> bool:
        """Whether sources and targets share one vocabulary."""
        return len(self.tokenizers) == 1

    @property
    def source_tokenizer(self) -> Tokenizer:
        """The tokenizer of the sources."""
        return self.tokenizers[0]

    @property
    def source_vocabulary_size(self) -> int:
        """The number of ids of the source vocabulary."""
        return self.source_tokenizer.vocabulary_size

    def word_pieces(self) -> dict[str, np.ndarray]:
        if not self.joint:
            return super().word_pieces()
        with tf.init_scope():
            pieces = self.target_tokenizer.id_to_string(tf.range(self.target_vocabulary_size))
            return word_pieces(pieces.numpy().tolist())

    # === Sources ===

    @property
    def source_signature(self) -> tf.TensorSpec:
        """The signature of raw sources: `tf.TensorSpec([None], tf.string)`, UTF-8."""
        return tf.TensorSpec([None], tf.string, name="text")

    @property
    def encoder_inputs(self) -> dict[str, tuple[int | None, ...]]:
        return {"encoder_token_ids": (None,)}

    def encode_source(self, raw: Tensor) -> dict[str, Tensor]:
        """Encodes texts to encoder inputs.

        Args:
            raw: string `(batch,)`.

        Returns:
            `{"encoder_token_ids": int32 (batch, source)}`: tokens, END, padding. Longer sources are truncated to their
            first `max_source_length - 1` tokens and END.
        """
        ids = self.tokenize(tf.convert_to_tensor(raw), "source")
        return {"encoder_token_ids": padded(ids, self.max_source_length)}

    def raw_batch(self, sources: Sequence[str | bytes], split: bool = False) -> Tensor:
        """Checks texts and converts them to a string tensor. Warns about texts that are too long.

        Args:
            sources: list of str, or of bytes in UTF-8.
            split: bool, whether long texts will be split (see `encode_parts`) rather than truncated.

        Returns:
            string tensor `(batch,)`.

        Raises:
            ValueError: if an element is not a text.
        """
        for index, text in enumerate(sources):
            if not isinstance(text, (str, bytes)):
                raise ValueError(
                    f"Sources must be strings. Received at index {index}: {text!r} ({type(text).__name__})."
                )
        raw = string_tensor(sources)
        # The number of bytes is no bound on the number of tokens: normalization can multiply it by eleven.
        lengths = self.tokenize(raw, "source").row_lengths().numpy()
        too_long = int((lengths > self.max_source_length).sum())
        if too_long:
            logger.warning(
                "%d of %d texts are longer than the model's limit of %d tokens (the longest has %d). %s",
                too_long, len(lengths), self.max_source_length, lengths.max(),
                "They are split into sentences, and the outputs are joined."
                if split else "They are truncated. Split long texts into sentences.",
            )  # fmt: skip
        return raw

    def remarks(self, raw: Tensor) -> dict[str, Tensor]:
        """Returns `ignored_tokens`, int32 `(batch,)`: how many tokens of each source `encode_source` drops."""
        lengths = tf.cast(self.tokenize(tf.convert_to_tensor(raw), "source").row_lengths(), tf.int32)
        return {"ignored_tokens": tf.maximum(lengths - self.max_source_length, 0)}

    def example_sources(self, count: int, share: float) -> list[bytes]:
        """Returns texts of random tokens for warm-up requests, the same in every call.

        Args:
            count: int, the number of texts.
            share: float, their length as a share of `max_source_length`.

        Returns:
            list of bytes in UTF-8.
        """
        return self.source_tokenizer.example_texts(count, max(1, int(share * self.max_source_length) - 1))

    def source_tokens(self, context: dict[str, Tensor], stride: int = 1) -> Tensor:
        """Returns the tokens of sources, for the axes of plots.

        Args:
            context: dict with the outputs of `encode_source`.
            stride: int, tokens per memory position; they are joined.

        Returns:
            string `(batch, positions)`, empty for padding.
        """
        return join_groups(self.source_tokenizer.tokens(context["encoder_token_ids"]), stride)

    # === Long sources ===

    @property
    def splits_sources(self) -> bool:
        return True

    def encode_parts(self, raw: Tensor, every_sentence: bool = False) -> tuple[dict[str, Tensor], Tensor]:
        """Encodes texts as `encode_source` does, but splits those that are too long instead of truncating them.

        Texts are split into sentences, see `kerasseq.preprocessing.long_texts.sentences`. Sentences that are too long
        are split at line breaks and punctuation, and what is still too long between words.

        Args:
            raw: string `(batch,)`.
            every_sentence: bool, whether to split every text of several sentences, not only those that are too long.

        Returns:
            `{"encoder_token_ids": int32 (parts, source)}`, and int32 `(parts,)`, the index of the source of each part,
            in ascending order.
        """
        texts = tf.convert_to_tensor(raw)
        ids = self.tokenize(texts, "source")
        is_split = ids.row_lengths() > self.max_source_length
        if every_sentence:
            is_split |= sentences(texts).row_lengths() > 1
        rows = tf.range(ids.nrows())

        def with_parts():
            parts, owners = split_texts(tf.boolean_mask(texts, is_split), self.source_tokenizer, self.max_source_length)
            owners = tf.gather(tf.boolean_mask(rows, is_split), owners)
            owners = tf.concat([tf.boolean_mask(rows, ~is_split), owners], axis=0)
            parts = tf.concat([tf.ragged.boolean_mask(ids, ~is_split), parts], axis=0)
            order = tf.argsort(owners, stable=True)
            parts = tf.gather(parts, order)
            return parts.flat_values, parts.row_splits, tf.gather(owners, order)

        values, row_splits, owners = tf.cond(
            tf.reduce_any(is_split), with_parts, lambda: (ids.flat_values, ids.row_splits, rows)
        )
        parts = tf.RaggedTensor.from_row_splits(values, row_splits, validate=False)
        return {"encoder_token_ids": padded(parts, self.max_source_length)}, tf.cast(owners, tf.int32)

    def join_parts(self, texts: Tensor, owners: Tensor, count: Tensor) -> Tensor:
        """Joins outputs by spaces, except after the full stops of East Asian scripts; see `Preprocessor.join_parts`."""
        return join_texts(texts, owners, count)

    # === Data sets ===

    def dataset(
        self,
        pairs: Sequence[Pair],
        batch_size: int,
        shuffle: Shuffle = False,
        seed: int = 0,
        too_long: str | None = None,
        pad_to_multiple: int | None = None,
        subword_sampling: float | None = None,
        copies: int = 1,
    ) -> tf.data.Dataset:
        """Builds a `tf.data.Dataset` of batches for `fit`, `evaluate` and `predict`.

        Args:
            pairs: list of (source, target) tuples of str.
            batch_size: int, pairs per batch.
            shuffle: `False` keeps the order. `True` shuffles every pass and batches pairs of similar lengths. An
                `EpochShuffle` that is also passed to `fit` as a callback makes resumed runs repeat uninterrupted ones.
            seed: int, for `shuffle=True` and for `subword_sampling`.
            too_long: what to do with pairs longer than `max_source_length` or `max_target_length`: `"drop"` them,
                `"truncate"` them, or raise an `"error"`. Their number is logged as a warning. Default: drop if
                shuffled; else truncate, so that every pair has a row.
            pad_to_multiple: int, round lengths up to multiples of it, to limit the number of distinct shapes. Default:
                4 if shuffled, else 1.
            subword_sampling: float above 0. Draws new segmentations of both sides in every pass, with probabilities
                proportional to those of the vocabulary's model to the power of this number; smaller values vary more,
                and 0.2 to 0.5 are usual. This regularizes models of small data. Default: always the most probable
                segmentation, which also replaces drawn ones that are too long.
            copies: 2 puts each pair into two neighbouring rows, for `kerasseq.losses.RDropCrossentropy`. The copies
                have the same target; the segmentations of their sources are drawn separately.

        Returns:
            a data set of `({"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}, labels)`,
            all int32, labels `(batch, target)`, where batch is `batch_size * copies`.

        Raises:
            ValueError: if there are no pairs, none is left, a pair is not two strings, `subword_sampling` is not
                positive, or `copies` is neither 1 nor 2.

        Source: Kudo 2018, section 3.3 (subword regularization).
        """
        limits = (self.max_source_length, self.max_target_length)
        return text_dataset(
            self, limits, pairs, batch_size, shuffle, seed, too_long, pad_to_multiple, subword_sampling, copies
        )

    # === Saving ===

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_source_length": self.max_source_length}
