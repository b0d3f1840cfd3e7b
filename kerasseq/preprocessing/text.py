"""The preprocessor of text pairs."""

import inspect
import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_number, check_positive_integer
from kerasseq.preprocessing.base import Preprocessor
from kerasseq.preprocessing.batching import Batching, Shuffle
from kerasseq.preprocessing.ids import join_groups, padded, string_tensor, word_numbers
from kerasseq.preprocessing.long_texts import BLANK, join_texts, sentences, split_texts
from kerasseq.preprocessing.pairs import (
    check_length,
    check_pairs,
    check_shard,
    check_weights,
    data_set_options,
    measured_length_ratio,
)
from kerasseq.preprocessing.prepared import PreparedPairs, prepare
from kerasseq.preprocessing.streams import TokenizedStream, is_stream, pairs_of, sampled
from kerasseq.preprocessing.text_batches import TextBatches
from kerasseq.preprocessing.tokenizers import Tokenizer, kinds_of_sides, train_tokenizer
from kerasseq.types import Pair, Tensor

logger = logging.getLogger(__name__)

PAIRS_MEASURED = 10_000  # at most about so many, for the ratio of lengths


@keras.saving.register_keras_serializable(package="kerasseq")
class TextPreprocessor(Preprocessor):
    """Tokenizes both sides of text pairs. Usually made by `TextPreprocessor.from_pairs`.

    Ids: 0 padding, 1 unknown, 2 start, 3 end, then the tokens: bytes and subwords, characters or words. Sources end in
    END and so are never empty. All encoding and decoding runs in TensorFlow graphs, in training and in a model server
    alike.

    Args:
        source_vocabulary: bytes, a serialized SentencePiece model with these ids, see `train_vocabulary`; a
            `Tokenizer`; or a tokenizer of KerasHub, see `kerasseq.encoders.from_backbone`.
        target_vocabulary: the same for the targets. Default: sources and targets share one vocabulary.
        max_source_length: int, the maximum number of tokens of a source, END included. `encode_source` truncates longer
            sources.
        max_target_length: int, the maximum number of tokens of a target, END included.
        length_ratio: float above 0. Outputs of `TextGenerator` have at most `length_ratio * source + 10` tokens, END
            included, for a source of so many; then a search need not follow a hypothesis that does not end up to the
            limit for all outputs. `from_pairs` takes half as much again as its pairs need. Default: no such limit.

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
        length_ratio: float | None = None,
        **kwargs: Any,
    ) -> None:
        check_length("max_source_length", max_source_length)
        if length_ratio is not None and not check_number("length_ratio", length_ratio):
            raise ValueError("length_ratio must be above 0, or None for no limit. Received: length_ratio=0.")
        vocabularies = [vocabulary for vocabulary in (source_vocabulary, target_vocabulary) if vocabulary is not None]
        super().__init__(vocabularies, max_target_length, **kwargs)
        self.max_source_length = max_source_length
        self.length_ratio = length_ratio
        self._parts_graph_key: tuple | None = None

    @classmethod
    def from_pairs(
        cls,
        pairs: Sequence[Pair],
        vocabulary_size: int | None = None,
        joint: bool = False,
        max_source_length: int = 128,
        max_target_length: int = 128,
        normalization: str | None = None,
        tokens: str | tuple[str, str] = "subwords",
        protected_tokens: Sequence[str] = (),
    ) -> Self:
        """Trains the vocabularies on pairs.

        Args:
            pairs: list of (source, target) tuples of str.
            vocabulary_size: int, the maximum number of ids of each vocabulary, with subwords at least 261; small data
                may yield fewer. Default: at most 8,000, and fewer subwords if few words of a side recur, see
                `kerasseq.preprocessing.vocabulary_size.default_vocabulary_size`.
            joint: bool, whether sources and targets share one vocabulary.
            max_source_length, max_target_length: as in the constructor.
            normalization: that of subwords, as in `train_vocabulary`. Characters and words are normalized to NFC.
            tokens: `"subwords"`; `"characters"`, for numbers, dates, spelling; or `"words"`, split at white space, for
                phonemes, commands, a small language. A pair for sources and targets, such as `("characters",
                "words")` from spelling to phonemes. Characters and words that the vocabulary lacks have id 1, and are
                left out of outputs; with subwords, none are. Give `vocabulary_size`, so that rare words have id 1 in
                training: otherwise unknown words mean nothing to the model.
            protected_tokens: list of str, such as `"<2fr>"` or `"<NUM1>"`, that are one token on both sides, which must
                be subwords; see also `kerasseq.preprocessing.Placeholders`.

        Raises:
            ValueError: if there are no pairs, a pair is not two strings, the vocabulary size is too small, or the kind
                of tokens is unknown, differs between sides that share one vocabulary, or has no `normalization` or
                `protected_tokens`.
        """
        source_tokens, target_tokens = kinds_of_sides(tokens, joint, normalization, protected_tokens)
        sources, targets = zip(*check_pairs(pairs), strict=True)
        shared = [*sources, *targets] if joint else sources
        options = {"normalization": normalization, "protected_tokens": protected_tokens}
        source_vocabulary = train_tokenizer(source_tokens, shared, vocabulary_size, **options)
        target_vocabulary = None if joint else train_tokenizer(target_tokens, targets, vocabulary_size, **options)
        preprocessor = cls(source_vocabulary, target_vocabulary, max_source_length, max_target_length)
        measured = slice(None, None, -(-len(sources) // PAIRS_MEASURED))
        source_ids = preprocessor.tokenize_all(sources[measured], "source")
        target_ids = preprocessor.tokenize_all(targets[measured], "target")
        preprocessor.length_ratio = measured_length_ratio(list(map(len, source_ids)), list(map(len, target_ids)))
        return preprocessor

    @classmethod
    def from_files(cls, files: Iterable[Pair], sample: int = 200_000, seed: int = 0, **options: Any) -> Self:
        """Trains the vocabularies on a random sample of pairs that need not fit into memory.

        Each pair has the same chance; which ones are drawn follows from their order and the seed.

        Args:
            files: `kerasseq.datasets.PairFiles`, or another iterable of (source, target) tuples of str, which is read
                once.
            sample: int, the number of pairs to train on; all if there are fewer, which is as `from_pairs`.
            seed: int, of the sample.
            **options: the arguments of `from_pairs` behind `pairs`, such as `vocabulary_size=32_000` and `joint=True`.

        Raises:
            ValueError: as `from_pairs`.

        Source: Vitter 1985, algorithm R (reservoir sampling).
        """
        check_positive_integer("sample", sample)
        inspect.signature(cls.from_pairs).bind((), **options)  # Unknown options are refused before files are read.
        return cls.from_pairs(sampled(pairs_of(files), sample, seed), **options)

    # === Vocabularies ===

    @property
    def joint(self) -> bool:
        return len(self.tokenizers) == 1

    @property
    def source_tokenizer(self) -> Tokenizer:
        """The tokenizer of the sources."""
        return self.tokenizers[0]

    @property
    def source_vocabulary_size(self) -> int:
        return self.source_tokenizer.vocabulary_size

    def word_pieces(self) -> dict[str, np.ndarray]:
        if not self.joint:
            return super().word_pieces()
        return self.target_tokenizer.word_pieces()

    # === Sources ===

    @property
    def source_signature(self) -> tf.TensorSpec:
        return tf.TensorSpec([None], tf.string, name="text")

    @property
    def encoder_inputs(self) -> dict[str, tuple[int | None, ...]]:
        return {"encoder_token_ids": (None,)}

    def encode_source(self, raw: Tensor) -> dict[str, Tensor]:
        """Encodes texts, string `(batch,)`, to `{"encoder_token_ids": int32 (batch, source)}`: tokens, END, padding.

        Longer sources are truncated to their first `max_source_length - 1` tokens and END.
        """
        ids = self.tokenize(tf.convert_to_tensor(raw), "source")
        return {"encoder_token_ids": padded(ids, self.max_source_length)}

    def raw_batch(self, sources: Sequence[str | bytes], split: bool = False) -> Tensor:
        """Converts texts, str or bytes in UTF-8, to a string tensor. Warns about texts that are too long."""
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

    def blank(self, raw: Tensor) -> Tensor:
        """Returns whether texts are empty, or white space as `str.isspace` knows it: bool `(batch,)`."""
        return tf.strings.regex_full_match(raw, BLANK)

    def remarks(self, raw: Tensor) -> dict[str, Tensor]:
        """Returns `ignored_tokens`, int32 `(batch,)`: how many tokens of each source `encode_source` drops."""
        lengths = tf.cast(self.tokenize(tf.convert_to_tensor(raw), "source").row_lengths(), tf.int32)
        return {"ignored_tokens": tf.maximum(lengths - self.max_source_length, 0)}

    def example_sources(self, count: int, share: float) -> list[bytes]:
        """Returns texts of random tokens, bytes in UTF-8; `share` is their length as a share of `max_source_length`."""
        return self.source_tokenizer.example_texts(count, max(1, int(share * self.max_source_length) - 1))

    def source_tokens(self, context: dict[str, Tensor], stride: int = 1) -> Tensor:
        """Returns the tokens of sources; the `stride` tokens of a memory position are joined."""
        return join_groups(self.source_tokenizer.tokens(context["encoder_token_ids"]), stride)

    def source_words(self, context: dict[str, Tensor], stride: int = 1) -> Tensor:
        """Returns the number of the word at each position of the memory, that of the first token of the position."""
        token_ids = context["encoder_token_ids"]
        return word_numbers(self.source_tokenizer.boundaries(token_ids)[0], token_ids)[:, ::stride]

    # === Long sources ===

    @property
    def splits_sources(self) -> bool:
        return True

    def lines(self, raw: Tensor) -> tf.RaggedTensor:
        r"""Splits texts at line breaks, `\n`, `\r\n` or `\r`: ragged string `(batch, None)`."""
        return tf.strings.split(tf.strings.regex_replace(raw, r"\r\n?", "\n"), "\n")

    def encode_parts(self, raw: Tensor, every_sentence: bool = False) -> tuple[dict[str, Tensor], Tensor]:
        """Splits texts into sentences, see `kerasseq.preprocessing.long_texts.sentences`, and encodes them.

        Sentences that are too long are split at line breaks and punctuation, and what is still too long between words.
        """
        # Traced once: the graphs of all samplers and signatures call it.
        key = (every_sentence, *self.tokenizers)
        if key != self._parts_graph_key:
            self._parts_graph = tf.function(
                lambda texts: self._encode_parts(texts, every_sentence), [self.source_signature], autograph=False
            )
            self._parts_graph_key = key
        return self._parts_graph(tf.convert_to_tensor(raw))

    def _encode_parts(self, texts, every_sentence):
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
        """Joins outputs by spaces, except after the full stops of East Asian scripts."""
        return join_texts(texts, owners, count)

    # === Data sets ===

    def dataset(
        self,
        pairs: Iterable[Pair] | tf.data.Dataset | PreparedPairs | str | os.PathLike[str],
        batch_size: int | None = None,
        shuffle: Shuffle = False,
        seed: int = 0,
        too_long: str | None = None,
        pad_to_multiple: int | None = None,
        subword_sampling: float | None = None,
        copies: int = 1,
        weights: Sequence[float] | None = None,
        batch_tokens: int | None = None,
        drop_remainder: bool = False,
        shard: tuple[int, int] | None = None,
        buffer_size: int = 100_000,
    ) -> tf.data.Dataset:
        """Builds a `tf.data.Dataset` of batches for `fit`, `evaluate` and `predict`.

        Args:
            pairs: list of (source, target) tuples of str, which is tokenized at once. Or `PreparedPairs`, or their
                folder, whose batches are those of the list, see `prepare`. Or a stream, which is read and
                tokenized in every pass, and need not fit into memory: `kerasseq.datasets.PairFiles`, another iterable
                of pairs that begins anew with each `iter`, or a `tf.data.Dataset` of pairs of string tensors.
            batch_size: int, pairs per batch; or `batch_tokens` instead.
            shuffle: `False` keeps the order. `True` shuffles every pass and batches pairs of similar lengths. An
                `EpochShuffle` that is also passed to `fit` as a callback makes resumed runs repeat uninterrupted ones.
            seed: int, for `shuffle=True` and for `subword_sampling`.
            too_long: what to do with pairs longer than `max_source_length` or `max_target_length`: `"drop"` them,
                `"truncate"` them, or raise an `"error"`. Their number is logged as a warning, that of a stream after
                its first pass. Default: drop if shuffled; else truncate, so that every pair has a row.
            pad_to_multiple: int, round lengths up to multiples of it, to limit the number of distinct shapes. Default:
                4 if shuffled and steps are compiled for each shape (on JAX, and on TensorFlow with a GPU), else 1.
            subword_sampling: float above 0, if both sides are subwords. Draws new segmentations of both sides in every
                pass, with probabilities proportional to those of the vocabulary's model to the power of this number;
                smaller values vary more, and 0.2 to 0.5 are usual. This regularizes models of small data. Default:
                always the most probable segmentation, which also replaces drawn ones that are too long.
            copies: 2 puts each pair into two neighbouring rows, for `kerasseq.losses.RDropCrossentropy`. The copies
                have the same target; the segmentations of their sources are drawn separately.
            weights: list of float, at least 0, one for each pair: factors of the losses of its tokens, such as 0.1 for
                noisy pairs. The divisor of the loss remains the number of tokens. Metrics are weighted if they are
                passed to `compile` as `weighted_metrics`. Not for streams. Default: none.
            batch_tokens: int, the most source tokens, and the most target tokens, of a batch, padding included; such as
                4,096. Batches of short pairs have more of them, so all take about the same time and memory. Shuffled
                pairs are sorted by length in every pass. With `subword_sampling`, the limit is that of the most
                probable segmentations; drawn ones are longer.
            drop_remainder: bool, whether a last batch of fewer than `batch_size` pairs is left out, so that all have
                one size. With a shuffle, the pairs of a pass that are left out are chosen at random.
            shard: tuple of int, (index, count): every `count`-th pair alone, for training in `count` processes, which
                have different indices and equal other arguments. Pairs that are dropped as too long do not count. All
                shards have equally many batches; for this, up to `count - 1` pairs are left out, and with
                `batch_tokens` some batches. Every process tokenizes all pairs. Default: all pairs.
            buffer_size: int, the number of pairs of a stream that are shuffled among each other: so many are read,
                tokenized, shuffled, sorted by length in groups of 100 batches, and made into batches. Pairs that stand
                further apart remain so: shuffle sorted files beforehand. A stream that fits has the batches of a list.

        Returns:
            a data set of `({"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}, labels)`,
            all int32, labels `(batch, target)`, where batch is `batch_size * copies`; with `weights` a third element,
            float32 `(batch,)`. The number of batches is known, except for streams.

        Raises:
            ValueError: if there are no pairs, none is left, a pair is not two strings, prepared pairs are damaged or
                have other vocabularies, `subword_sampling` is not positive, `copies` is neither 1 nor 2, `weights` are
                not one number of at least 0 for each pair, a pair has more tokens than `batch_tokens`, or pairs are an
                iterator, which cannot be read twice. While a stream is read, errors are `tf.errors.OpError`s with the
                same message.

        Source: Kudo 2018, section 3.3 (subword regularization).
        """
        if isinstance(pairs, (str, os.PathLike)) and os.path.isdir(os.path.expanduser(pairs)):
            pairs = PreparedPairs(pairs)
        is_prepared = isinstance(pairs, PreparedPairs)
        is_stream_of_pairs = not is_prepared and is_stream(pairs)
        checked: Any = pairs if is_prepared or is_stream_of_pairs else check_pairs(pairs)
        if copies not in (1, 2):
            raise ValueError(f"copies must be 1 or 2. Received: copies={copies!r}.")
        too_long, pad_to_multiple = data_set_options(batch_size, shuffle, too_long, pad_to_multiple, batch_tokens)
        if subword_sampling is not None and not check_number("subword_sampling", subword_sampling):
            raise ValueError("subword_sampling must be above 0, or None. Received: subword_sampling=0.")
        if drop_remainder and batch_size is None:
            raise ValueError(
                "drop_remainder needs batch_size: batches of batch_tokens differ in their numbers of pairs anyway. "
                "Received: drop_remainder=True and batch_size=None."
            )
        check_positive_integer("buffer_size", buffer_size)
        limits = self.max_source_length, self.max_target_length
        tokenizers = self.tokenizers
        batches = TextBatches(
            batching=Batching(
                batch_size,
                batch_tokens=None if batch_tokens is None else batch_tokens // copies,
                shuffle=bool(shuffle),
                drop_remainder=drop_remainder,
                shard=check_shard(shard),
            ),
            shuffle=shuffle,
            seed=seed,
            too_long=too_long,
            pad_to_multiple=pad_to_multiple,
            copies=copies,
            limits=limits,
            samplers=[
                None if subword_sampling is None else tokenizers[-side].sampler(subword_sampling) for side in (0, 1)
            ],
            vocabulary_digest=self.vocabulary_digest,
        )
        if isinstance(pairs, PreparedPairs):
            pairs.check_vocabulary(self.vocabulary_digest)
            if subword_sampling is not None and pairs.texts is None:
                raise ValueError(
                    f"subword_sampling needs the texts of the pairs. Received: {pairs.folder}, without them. Prepare "
                    "them anew, in another folder, with keep_texts=True."
                )
            return batches.from_table(pairs.texts or ((), ()), pairs.ids, check_weights(weights, len(pairs)))
        if is_stream_of_pairs:
            if weights is not None:
                raise ValueError(
                    "weights are those of a list of pairs. Received: weights and a stream. Pass a list, or prepare "
                    "the pairs with TextPreprocessor.prepare."
                )
            return batches.from_stream(TokenizedStream(pairs, self.tokenize_all, limits, too_long), buffer_size)
        weights_of_pairs = check_weights(weights, len(checked))
        sources, targets = zip(*checked, strict=True)
        ids = self.tokenize_all(sources, "source"), self.tokenize_all(targets, "target")
        return batches.from_table((sources, targets), ids, weights_of_pairs)

    def prepare(
        self, pairs: Iterable[Pair], folder: str | os.PathLike[str], workers: int = 1, keep_texts: bool = False
    ) -> PreparedPairs:
        """Tokenizes pairs once, and writes the ids to files for `dataset`, which need not fit into memory.

        If it is killed, another call with the same arguments goes on: what has been tokenized is kept, in parts of
        100,000 pairs. A pair takes 16 bytes and 2 for each token (4 with more than 65,536 ids), END included.

        Args:
            pairs: `kerasseq.datasets.PairFiles`, a list of (source, target) tuples of str, or another iterable of them
                that begins anew with each `iter`.
            folder: str or path-like, a new or empty folder, or one in which `prepare` was cut off. If it is complete,
                it is compared with the pairs.
            workers: int, the number of processes that tokenize. Several are spawned, so a script needs the usual
                `if __name__ == "__main__":`.
            keep_texts: bool, whether to write the texts as well, for `dataset(..., subword_sampling=...)`.

        Returns:
            `PreparedPairs`.

        Raises:
            ValueError: if the folder has other files, other vocabularies, or has been prepared from other pairs; or if
                a pair is not two strings.

        Example:

        >>> import pathlib, tempfile
        >>> import kerasseq
        >>> pairs = [("one two", "eins zwei"), ("two one", "zwei eins")] * 20
        >>> preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(pairs, vocabulary_size=280)
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "prepared"
        >>> len(preprocessor.prepare(pairs, folder))
        40
        >>> len(preprocessor.dataset(folder, batch_size=8, shuffle=True))
        5
        """
        return prepare(self, pairs, folder, workers, keep_texts)

    # === Saving ===

    def get_config(self) -> dict[str, Any]:
        lengths = {"max_source_length": self.max_source_length, "length_ratio": self.length_ratio}
        return {**super().get_config(), **lengths}
