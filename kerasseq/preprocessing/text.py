"""Text pairs to token ids and back."""

import logging
import zlib

import keras
import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_number
from kerasseq.preprocessing.batching import batched, check_pairs, data_set_options, pad
from kerasseq.preprocessing.ids import padded, shift_right, string_tensor, together, tokens
from kerasseq.preprocessing.long_texts import BOUNDARY, WIDE_SENTENCE_END, cut_rows, sentences, split_clauses
from kerasseq.preprocessing.subword_sampling import subword_sampler
from kerasseq.preprocessing.target_texts import TargetTexts, check_length, cut, kept_pairs
from kerasseq.preprocessing.vocabulary import END_ID, NUM_SPECIAL_TOKENS, train_vocabulary
from kerasseq.preprocessing.word_pieces import word_pieces

logger = logging.getLogger(__name__)

WORD_START = "▁"  # SentencePiece's mark
CONTINUATION_BYTE = "<0x[89AB][0-9A-F]>"


@keras.saving.register_keras_serializable(package="kerasseq")
class TextPreprocessor(TargetTexts):
    """Subword tokens for both sides of text pairs.

    Ids: 0 padding, 1 unknown, 2 start, 3 end, then bytes, then subwords. A source is followed by END, so it is never
    empty. All encoding and decoding runs in TensorFlow graphs, in training and in a model server alike.

    Usually made by `TextPreprocessor.from_pairs`.

    Args:
        source_vocabulary: bytes, a serialised SentencePiece model with these ids; see `train_vocabulary`.
        target_vocabulary: the same for the targets. Default: one joint vocabulary.
        max_source_length: int, tokens of a source, END included. Longer sources are cut in `encode_source`.
        max_target_length: int, tokens of a target, END included.

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

    vocabulary_files = ("source.spm", "target.spm")

    def __init__(
        self, source_vocabulary=None, target_vocabulary=None, max_source_length=128, max_target_length=128, **kwargs
    ):
        check_length("max_source_length", max_source_length)
        vocabularies = [vocabulary for vocabulary in (source_vocabulary, target_vocabulary) if vocabulary is not None]
        super().__init__(vocabularies, max_target_length, **kwargs)
        self.max_source_length = max_source_length

    @classmethod
    def from_pairs(
        cls,
        pairs,
        vocabulary_size=8_000,
        joint=False,
        max_source_length=128,
        max_target_length=128,
        normalization="nmt_nfkc",
    ):
        """Trains the vocabularies on pairs.

        Args:
            pairs: list of (source, target) tuples of str.
            vocabulary_size: int, ids of each vocabulary at most, at least 261; small data may give fewer.
            joint: bool, whether both sides share one vocabulary.
            max_source_length: int, tokens of a source at most, END included.
            max_target_length: int, tokens of a target at most, END included.
            normalization: `"nmt_nfkc"` folds compatibility forms and white space; `"identity"` keeps every character,
                which full-width Chinese punctuation needs.

        Returns:
            a `TextPreprocessor`.

        Raises:
            ValueError: if there are no pairs, a pair is not two strings, or the vocabulary is too small.
        """
        pairs = list(pairs)
        check_pairs(pairs)
        sources, targets = zip(*pairs, strict=True)
        if joint:
            vocabularies = [train_vocabulary([*sources, *targets], vocabulary_size, normalization)]
        else:
            vocabularies = [train_vocabulary(texts, vocabulary_size, normalization) for texts in (sources, targets)]
        return cls(*vocabularies, max_source_length=max_source_length, max_target_length=max_target_length)

    def _set_vocabularies(self, vocabularies):
        super()._set_vocabularies(vocabularies)
        self.source_vocabulary_size = int(self._tokenizers[0].vocab_size())

    @property
    def joint(self):
        """Whether sources and targets share one vocabulary."""
        return len(self._vocabularies) == 1

    # === One batch, in the graph ===

    @property
    def encoder_inputs(self):
        """The shapes of what `encode_source` gives, without the batch."""
        return {"encoder_token_ids": (None,)}

    @property
    def source_signature(self):
        """What raw sources look like: `tf.TensorSpec([None], tf.string)`, UTF-8."""
        return tf.TensorSpec([None], tf.string, name="text")

    def encode_source(self, texts):
        """Texts to encoder inputs.

        Args:
            texts: string `(batch,)`.

        Returns:
            `{"encoder_token_ids": int32 (batch, source)}`: ids, END, padding. Longer sources keep their first
            `max_source_length - 1` tokens.
        """
        ids = self.tokenize(tf.convert_to_tensor(texts), "source")
        return {"encoder_token_ids": padded(ids, self.max_source_length)}

    def encode_parts(self, texts, every_sentence=False):
        """As `encode_source`, but a source that is too long is not cut: its parts are rows of their own.

        Parts are the sentences of a source, see `kerasseq.preprocessing.long_texts.sentences`, of sentences that are
        too long by themselves the lines, and what ends in a full stop, and of these at last pieces between words.

        Args:
            texts: string `(batch,)`.
            every_sentence: bool, whether sources that are not too long are taken apart as well, if they have several
                sentences.

        Returns:
            `{"encoder_token_ids": int32 (parts, source)}`, and int32 `(parts,)`, the index of the source that each row
            belongs to. Parts of one source follow each other.
        """
        texts = tf.convert_to_tensor(texts)
        ids = self.tokenize(texts, "source")
        apart = ids.row_lengths() > self.max_source_length
        if every_sentence:
            apart |= sentences(texts).row_lengths() > 1
        rows = tf.range(ids.nrows())

        def with_parts():
            parts, owners = self._parts(tf.boolean_mask(texts, apart))
            owners = tf.concat([tf.boolean_mask(rows, ~apart), tf.gather(tf.boolean_mask(rows, apart), owners)], 0)
            parts = tf.concat([tf.ragged.boolean_mask(ids, ~apart), parts], axis=0)
            order = tf.argsort(owners, stable=True)
            parts = tf.gather(parts, order)
            return parts.flat_values, parts.row_splits, tf.gather(owners, order)

        values, row_splits, owners = tf.cond(
            tf.reduce_any(apart), with_parts, lambda: (ids.flat_values, ids.row_splits, rows)
        )
        parts = tf.RaggedTensor.from_row_splits(values, row_splits, validate=False)
        return {"encoder_token_ids": padded(parts, self.max_source_length)}, tf.cast(owners, tf.int32)

    def _parts(self, texts):
        """Ragged ids of all parts of texts, END included, and the index of the text of each."""
        units = sentences(texts)
        lengths = self.tokenize(units.flat_values, "source").row_lengths()
        clauses = split_clauses(units.flat_values, lengths > self.max_source_length)
        owners = tf.gather(units.value_rowids(), clauses.value_rowids())
        ids = self.tokenize(clauses.flat_values, "source")[:, :-1]
        pieces = self.tokenizers[0].id_to_string(ids.flat_values)
        begins_word = tf.strings.substr(pieces, 0, 1, unit="UTF8_CHAR") == WORD_START
        begins_character = ~tf.strings.regex_full_match(pieces, CONTINUATION_BYTE)
        parts, unit = cut_rows(ids, begins_word, begins_character, self.max_source_length - 1)
        end = tf.fill([parts.nrows(), 1], END_ID)
        return tf.concat([parts, end], axis=1), tf.gather(owners, unit)

    def join_parts(self, texts, owners, count):
        """Outputs of parts to outputs of sources: string `(parts, hypotheses)` -> `(count, hypotheses)`.

        Parts are joined by a space, but for none behind the full stops of East Asian scripts.
        """
        joined = tf.math.unsorted_segment_sum(tf.ones_like(owners), owners, count)[:, tf.newaxis] > 1
        texts = tf.strings.unsorted_segment_join(texts, owners, count, separator=BOUNDARY)
        spaced = tf.strings.regex_replace(texts, WIDE_SENTENCE_END + BOUNDARY, r"\1")
        spaced = tf.strings.strip(tf.strings.regex_replace(spaced, f"{BOUNDARY}+", " "))
        return tf.where(joined, spaced, texts)

    def remarks(self, texts):
        """`ignored_tokens`, int32 `(batch,)`: how many tokens of each source `encode_source` cuts off."""
        lengths = tf.cast(self.tokenize(tf.convert_to_tensor(texts), "source").row_lengths(), tf.int32)
        return {"ignored_tokens": tf.maximum(lengths - self.max_source_length, 0)}

    def example_sources(self, count, share):
        """Texts of random subwords, for warming up.

        Args:
            count: int.
            share: float, their length as a share of `max_source_length`.

        Returns:
            list of `count` bytes in UTF-8, the same in every call.
        """
        length = max(1, int(share * self.max_source_length) - 1)
        first = NUM_SPECIAL_TOKENS + 256  # Subwords, not bytes.
        ids = np.random.default_rng(1).integers(first, self.source_vocabulary_size, (count, length), dtype=np.int32)
        return self.tokenizers[0].detokenize(ids).numpy().tolist()

    def source_tokens(self, context, steps=1):
        """The subwords of sources, for the axes of plots: string `(batch, positions)`, empty for padding.

        Args:
            context: dict with what `encode_source` gives.
            steps: int, subwords of a position of the memory; they are joined.
        """
        return together(tokens(self.tokenizers[0], context["encoder_token_ids"]), steps)

    # === Raw sources from Python ===

    def raw_batch(self, texts, split=False):
        """Checks texts and makes a string tensor of them; says aloud which are too long.

        Args:
            texts: list of str, or of bytes in UTF-8.
            split: bool, whether long ones will go through in parts, see `encode_parts`; else they will be cut.

        Returns:
            string tensor `(batch,)`.

        Raises:
            ValueError: if an element is not a text.
        """
        for index, text in enumerate(texts):
            if not isinstance(text, (str, bytes)):
                raise ValueError(
                    f"Sources must be strings. Received at index {index}: {text!r} ({type(text).__name__})."
                )
        raw = string_tensor(texts)
        # Counted, not guessed from the bytes: normalization makes up to eleven bytes of one.
        lengths = self.tokenize(raw, "source").row_lengths().numpy()
        too_long = int((lengths > self.max_source_length).sum())
        if too_long:
            logger.warning(
                "%d of %d texts are longer than the %d tokens that this model reads (the longest has %d). %s",
                too_long, len(lengths), self.max_source_length, lengths.max(),
                "They are split into sentences, which go through apart and are joined again."
                if split else "What is beyond is ignored: split long texts into sentences.",
            )  # fmt: skip
        return raw

    # === Data sets ===

    def dataset(
        self,
        pairs,
        batch_size,
        shuffle=False,
        seed=0,
        too_long=None,
        pad_to_multiple=None,
        subword_sampling=None,
        copies=1,
    ):
        """A `tf.data.Dataset` of batches for `fit`, `evaluate` and `predict`.

        Args:
            pairs: list of (source, target) tuples of str.
            batch_size: int, pairs a batch.
            shuffle: `False` keeps the order. `True` shuffles every pass and puts pairs of like length together. An
                `EpochShuffle`, also given to `fit` as a callback, makes resumed runs repeat uninterrupted ones.
            seed: int, for `shuffle=True` and for `subword_sampling`.
            too_long: what to do with pairs longer than `max_source_length` or `max_target_length`: `"drop"` them,
                `"truncate"` them, or raise an `"error"`. How many there were is logged as a warning. Default: drop
                when shuffled; else truncate, so that there is a row for every pair.
            pad_to_multiple: int, lengths are rounded up to its multiples, for few distinct shapes. Default: 4 when
                shuffled, else 1.
            subword_sampling: float above 0. Both sides are cut into subwords anew in every pass: a segmentation is
                drawn with a probability proportional to its own under the vocabulary's model, to the power of this
                number. The smaller, the more it varies; 0.2 to 0.5 are usual. It keeps a model from learning small
                data by heart. Where the drawn one is longer than the model reads, and by default, it is the most
                probable one.
            copies: 2 puts each pair into two neighbouring rows, for `kerasseq.losses.RDropCrossentropy`. Their targets
                are the same, while sampling may cut each copy of the source in another way.

        Returns:
            a data set of `({"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}, labels)`,
            all int32, labels `(batch, target)`, where batch is `batch_size * copies`.

        Raises:
            ValueError: if there are no pairs, none is left, one is not two strings, `subword_sampling` is not
                positive, or `copies` is neither 1 nor 2.

        Source: Kudo 2018, section 3.3 (subword regularization).
        """
        pairs = list(pairs)
        check_pairs(pairs)
        if copies not in (1, 2):
            raise ValueError(f"copies must be 1 or 2. Received: copies={copies!r}.")
        too_long, pad_to_multiple = data_set_options(batch_size, shuffle, too_long, pad_to_multiple)
        if subword_sampling is not None and not check_number("subword_sampling", subword_sampling):
            raise ValueError("subword_sampling must be above 0, or None. Received: subword_sampling=0.")
        sources, targets, kept = self._tokenize_pairs(pairs, too_long)
        lengths = np.array([[len(target), len(source)] for source, target in zip(sources, targets, strict=True)])
        texts = [pairs[row] for row in kept]

        def segmented(side, rows, seeds):
            """The ids of one side of rows, a list of arrays."""
            usual, limit = ((sources, self.max_source_length), (targets, self.max_target_length))[side]
            if subword_sampling is None:
                return [usual[row] for row in rows]
            # A resumed run draws the same again.
            seed_of_rows = zlib.crc32(np.asarray([seed, *seeds, side, *rows], "int64").tobytes())
            vocabulary = self._vocabularies[-side]  # The last one is the targets', and a joint one is both.
            sampler = subword_sampler(vocabulary, subword_sampling)
            drawn = sampler.sample([texts[row][side] for row in rows], seed_of_rows)
            return [ids if len(ids) <= limit else usual[row] for row, ids in zip(rows, drawn, strict=True)]

        def make_batch(rows, seeds):
            labels = np.repeat(pad(segmented(1, rows, seeds), pad_to_multiple), copies, axis=0)
            encoder_token_ids = pad(segmented(0, np.repeat(rows, copies), seeds), pad_to_multiple)
            return {"encoder_token_ids": encoder_token_ids, "decoder_token_ids": shift_right(labels)}, labels

        ids = tf.TensorSpec([None, None], tf.int32)
        signature = ({"encoder_token_ids": ids, "decoder_token_ids": ids}, ids)
        return batched(lengths, batch_size, shuffle, seed, make_batch, signature)

    def _tokenize_pairs(self, pairs, too_long):
        sources, targets = zip(*pairs, strict=True)
        sources, targets = self._tokenize_all(sources, "source"), self._tokenize_all(targets, "target")
        fits = [
            len(source) <= self.max_source_length and len(target) <= self.max_target_length
            for source, target in zip(sources, targets, strict=True)
        ]
        limits = f"{self.max_source_length} source or {self.max_target_length} target tokens"
        rows = kept_pairs(fits, limits, too_long)
        return (
            [cut(sources[row], self.max_source_length) for row in rows],
            [cut(targets[row], self.max_target_length) for row in rows],
            rows,
        )

    def word_pieces(self):
        """What `kerasseq.samplers.SourceWords` has to know of the target vocabulary, see word_pieces.py."""
        with tf.init_scope():
            tokenizer = self.tokenizers[-1]
            return word_pieces(tokenizer.id_to_string(tf.range(self.target_vocabulary_size)).numpy())

    # === Saving ===

    def get_config(self):
        return {**super().get_config(), "max_source_length": self.max_source_length}
