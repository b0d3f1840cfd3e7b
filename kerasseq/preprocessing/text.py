"""Text pairs to token ids and back."""

import hashlib
import logging
import numbers
import os

import keras
import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_positive_integer
from kerasseq.preprocessing.batching import PassShuffle, bucketed_batches, check_pairs, pad
from kerasseq.preprocessing.ids import padded, shift_right, string_tensor, tokens
from kerasseq.preprocessing.long_texts import BOUNDARY, WIDE_SENTENCE_END, cut_rows, sentences
from kerasseq.preprocessing.vocabulary import END_ID, NUM_SPECIAL_TOKENS, train_vocabulary
from kerasseq.preprocessing.word_pieces import word_pieces

logger = logging.getLogger(__name__)

TOO_LONG = ("drop", "truncate", "error")
TEXTS_AT_ONCE = 10_000  # tokenised in one call, for a bounded memory
WORD_START = "▁"  # SentencePiece's mark
CONTINUATION_BYTE = "<0x[89AB][0-9A-F]>"
VOCABULARY_FILES = ("source.spm", "target.spm")


@keras.saving.register_keras_serializable(package="kerasseq")
class TextPreprocessor(keras.layers.Layer):
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

    def __init__(
        self, source_vocabulary=None, target_vocabulary=None, max_source_length=128, max_target_length=128, **kwargs
    ):
        super().__init__(**kwargs)
        for name, value in {"max_source_length": max_source_length, "max_target_length": max_target_length}.items():
            if not isinstance(value, numbers.Integral) or value < 2:
                raise ValueError(f"{name} must be an integer of at least 2, END included. Received: {name}={value!r}.")
        self.max_source_length = max_source_length
        self.max_target_length = max_target_length
        self.built = True
        # A saved preprocessor is made without vocabularies and gets them from its assets.
        if source_vocabulary is not None:
            self._set_vocabularies(source_vocabulary, target_vocabulary)

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

    def _set_vocabularies(self, source_vocabulary, target_vocabulary):
        self._vocabularies = (
            [source_vocabulary] if target_vocabulary is None else [source_vocabulary, target_vocabulary]
        )
        self._make_tokenizers()
        self.source_vocabulary_size = int(self._tokenizers[0].vocab_size())
        self.target_vocabulary_size = int(self._tokenizers[-1].vocab_size())

    def _make_tokenizers(self):
        import tensorflow_text  # Deferred: importing kerasseq stays cheap.

        # The class that an exported graph can track. SavedModels loaded in one process share models of one name, so the
        # name says which vocabulary it is.
        self._tokenizers = [
            tensorflow_text.SentencepieceTokenizer(
                vocabulary, out_type=tf.int32, name=f"sentencepiece_{hashlib.sha256(vocabulary).hexdigest()[:16]}"
            )
            for vocabulary in self._vocabularies
        ]

    @property
    def joint(self):
        """Whether sources and targets share one vocabulary."""
        return len(self._vocabularies) == 1

    @property
    def tokenizers(self):
        """The `tensorflow_text.SentencepieceTokenizer`s of sources and targets: two, or the joint one alone.

        A graph with this preprocessor in it has to track them to be saved.
        """
        # TF Text leaves a model to the operation that made it, and keras.utils.set_random_seed and clear_session delete
        # all operations that TensorFlow holds ready: so look whether the models are still there.
        with tf.init_scope():  # Not in a graph that is being traced, which would take the models along when it ends.
            try:
                self._tokenizers[0].vocab_size()
            except tf.errors.NotFoundError:
                self._make_tokenizers()
        return self._tokenizers

    # === One batch, in the graph ===

    @property
    def source_signature(self):
        """What raw sources look like: `tf.TensorSpec([None], tf.string)`, UTF-8."""
        return tf.TensorSpec([None], tf.string, name="text")

    def tokenize(self, texts, side):
        """Texts to ragged ids with END behind.

        Args:
            texts: string `(batch,)`. Invalid UTF-8 becomes U+FFFD, which `nmt_nfkc` normalises to a space.
            side: `"source"` or `"target"`.

        Returns:
            int32 `tf.RaggedTensor` `(batch, None)`.
        """
        tokenizer = self.tokenizers[{"source": 0, "target": -1}[side]]
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        ids = tokenizer.tokenize(texts)
        end = tf.fill([ids.nrows(), 1], END_ID)
        return tf.concat([ids, end], axis=1)

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

    def encode_parts(self, texts):
        """As `encode_source`, but a source that is too long is not cut: its parts are rows of their own.

        Parts are the sentences of a source, see `kerasseq.preprocessing.long_texts.sentences`, and of sentences that
        are too long by themselves pieces between words. Sources that are not too long are never taken apart.

        Args:
            texts: string `(batch,)`.

        Returns:
            `{"encoder_token_ids": int32 (parts, source)}`, and int32 `(parts,)`, the index of the source that each row
            belongs to. Parts of one source follow each other.
        """
        texts = tf.convert_to_tensor(texts)
        ids = self.tokenize(texts, "source")
        too_long = ids.row_lengths() > self.max_source_length
        rows = tf.range(ids.nrows())

        def with_parts():
            parts, owners = self._parts(tf.boolean_mask(texts, too_long))
            owners = tf.concat(
                [tf.boolean_mask(rows, ~too_long), tf.gather(tf.boolean_mask(rows, too_long), owners)], 0
            )
            parts = tf.concat([tf.ragged.boolean_mask(ids, ~too_long), parts], axis=0)
            order = tf.argsort(owners, stable=True)
            parts = tf.gather(parts, order)
            return parts.flat_values, parts.row_splits, tf.gather(owners, order)

        values, row_splits, owners = tf.cond(
            tf.reduce_any(too_long), with_parts, lambda: (ids.flat_values, ids.row_splits, rows)
        )
        parts = tf.RaggedTensor.from_row_splits(values, row_splits, validate=False)
        return {"encoder_token_ids": padded(parts, self.max_source_length)}, tf.cast(owners, tf.int32)

    def _parts(self, texts):
        """Ragged ids of all parts of long texts, END included, and the index of the text of each."""
        units = sentences(texts)
        ids = self.tokenize(units.flat_values, "source")[:, :-1]
        pieces = self.tokenizers[0].id_to_string(ids.flat_values)
        begins_word = tf.strings.substr(pieces, 0, 1, unit="UTF8_CHAR") == WORD_START
        begins_character = ~tf.strings.regex_full_match(pieces, CONTINUATION_BYTE)
        parts, unit = cut_rows(ids, begins_word, begins_character, self.max_source_length - 1)
        end = tf.fill([parts.nrows(), 1], END_ID)
        return tf.concat([parts, end], axis=1), tf.gather(units.value_rowids(), unit)

    def join_parts(self, texts, owners, count):
        """Outputs of parts to outputs of sources: string `(parts, hypotheses)` -> `(count, hypotheses)`.

        Parts are joined by a space, but for none behind the full stops of East Asian scripts.
        """
        joined = tf.math.unsorted_segment_sum(tf.ones_like(owners), owners, count)[:, tf.newaxis] > 1
        texts = tf.strings.unsorted_segment_join(texts, owners, count, separator=BOUNDARY)
        spaced = tf.strings.regex_replace(texts, WIDE_SENTENCE_END + BOUNDARY, r"\1")
        spaced = tf.strings.strip(tf.strings.regex_replace(spaced, f"{BOUNDARY}+", " "))
        return tf.where(joined, spaced, texts)

    def ignored_tokens(self, texts):
        """How many tokens of each source `encode_source` cuts off: string `(batch,)` -> int32 `(batch,)`."""
        lengths = tf.cast(self.tokenize(tf.convert_to_tensor(texts), "source").row_lengths(), tf.int32)
        return tf.maximum(lengths - self.max_source_length, 0)

    def encode_target(self, texts):
        """Texts to decoder inputs and labels.

        Args:
            texts: string `(batch,)`.

        Returns:
            decoder_token_ids, START and the ids, and labels, the ids and END; both int32 `(batch, target)`. Longer
            targets keep their first `max_target_length - 1` tokens.
        """
        ids = self.tokenize(tf.convert_to_tensor(texts), "target")
        labels = padded(ids, self.max_target_length)
        return shift_right(labels), labels

    def encode_prefix(self, texts):
        """Texts to the ids that an output begins with.

        Args:
            texts: list of str, or of bytes in UTF-8.

        Returns:
            int32 `(batch, prefix)`, without START and END, padded with 0; no column where all texts are empty.
        """
        return self.tokenize(string_tensor(texts), "target")[:, :-1].to_tensor()

    def decode(self, token_ids):
        """Ids to texts.

        Args:
            token_ids: int32 `(batch, target)`. Everything from the first END on is ignored, and so is padding.

        Returns:
            string `(batch,)`.
        """
        token_ids = tf.convert_to_tensor(token_ids, tf.int32)
        before_end = tf.math.cumsum(tf.cast(token_ids == END_ID, tf.int32), axis=1) == 0
        kept = tf.ragged.boolean_mask(token_ids, before_end & (token_ids >= NUM_SPECIAL_TOKENS))
        return self.tokenizers[-1].detokenize(kept)

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

    def source_tokens(self, encoder_inputs):
        """The subwords of encoder inputs, for the axes of plots: string `(batch, source)`, empty for padding."""
        return tokens(self.tokenizers[0], encoder_inputs["encoder_token_ids"])

    def target_tokens(self, token_ids):
        """The subwords of target ids, int32 `(batch, target)`: string `(batch, target)`, empty for padding."""
        return tokens(self.tokenizers[-1], token_ids)

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

    def dataset(self, pairs, batch_size, shuffle=False, seed=0, too_long=None, pad_to_multiple=None):
        """A `tf.data.Dataset` of batches for `fit`, `evaluate` and `predict`.

        Args:
            pairs: list of (source, target) tuples of str.
            batch_size: int, pairs a batch.
            shuffle: `False` keeps the order. `True` shuffles every pass and puts pairs of like length together. An
                `EpochShuffle`, also given to `fit` as a callback, makes resumed runs repeat uninterrupted ones.
            seed: int, for `shuffle=True`.
            too_long: what to do with pairs longer than `max_source_length` or `max_target_length`: `"drop"` them,
                `"truncate"` them, or raise an `"error"`. How many there were is logged as a warning. Default: drop
                when shuffled; else truncate, so that there is a row for every pair.
            pad_to_multiple: int, lengths are rounded up to its multiples, for few distinct shapes. Default: 4 when
                shuffled, else 1.

        Returns:
            a data set of `({"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}, labels)`,
            all int32, labels `(batch, target)`.

        Raises:
            ValueError: if there are no pairs, none is left, or one is not two strings.
        """
        pairs = list(pairs)
        check_pairs(pairs)
        if shuffle is not False and shuffle is not True and not hasattr(shuffle, "next_epoch"):
            raise ValueError(f"shuffle must be True, False or an EpochShuffle. Received: shuffle={shuffle!r}.")
        if too_long is None:
            too_long = "drop" if shuffle else "truncate"
        if too_long not in TOO_LONG:
            raise ValueError(f"too_long must be one of {', '.join(map(repr, TOO_LONG))}. Received: {too_long!r}.")
        check_positive_integer("batch_size", batch_size)
        if pad_to_multiple is None:
            pad_to_multiple = 4 if shuffle else 1
        check_positive_integer("pad_to_multiple", pad_to_multiple)
        sources, targets = self._tokenize_pairs(pairs, too_long)
        lengths = np.array([[len(target), len(source)] for source, target in zip(sources, targets, strict=True)])
        if shuffle is True:
            shuffle = PassShuffle(seed)

        def batches():
            if shuffle:
                batches = bucketed_batches(lengths, batch_size, shuffle.seed, shuffle.next_epoch())
            else:
                batches = np.split(np.arange(len(lengths)), range(batch_size, len(lengths), batch_size))
            for batch in batches:
                labels = pad([targets[index] for index in batch], pad_to_multiple)
                encoder_token_ids = pad([sources[index] for index in batch], pad_to_multiple)
                yield {"encoder_token_ids": encoder_token_ids, "decoder_token_ids": shift_right(labels)}, labels

        ids = tf.TensorSpec([None, None], tf.int32)
        dataset = tf.data.Dataset.from_generator(
            batches, output_signature=({"encoder_token_ids": ids, "decoder_token_ids": ids}, ids)
        )
        number_of_batches = -(-len(lengths) // batch_size)
        options = tf.data.Options()
        # There is nothing to tune, and the end of a pass may wait for the tuner's thread, which sleeps ever longer.
        options.autotune.enabled = False
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(number_of_batches)).prefetch(2)
        return dataset.with_options(options)

    def _tokenize_pairs(self, pairs, too_long):
        sides = []
        for texts, side in zip(zip(*pairs, strict=True), ("source", "target"), strict=True):
            ids = []
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                ragged = self.tokenize(string_tensor(texts[start : start + TEXTS_AT_ONCE]), side)
                ids += np.split(ragged.flat_values.numpy(), ragged.row_limits().numpy()[:-1])
            sides.append(ids)
        limits = (self.max_source_length, self.max_target_length)
        fits = [
            all(len(ids) <= limit for ids, limit in zip(pair, limits, strict=True)) for pair in zip(*sides, strict=True)
        ]
        number_too_long = len(pairs) - sum(fits)
        if number_too_long:
            message = (
                f"{number_too_long} of {len(pairs)} pairs are longer than {limits[0]} source or {limits[1]} target "
                "tokens"
            )
            if too_long == "error" or (too_long == "drop" and not any(fits)):
                raise ValueError(
                    f"{message}. Raise max_source_length and max_target_length, or pass too_long='truncate'."
                )
            logger.warning("%s: %s.", message, {"drop": "dropped", "truncate": "truncated"}[too_long])
        if too_long == "truncate":
            return [
                [ids if len(ids) <= limit else np.append(ids[: limit - 1], END_ID) for ids in side]
                for side, limit in zip(sides, limits, strict=True)
            ]
        return [[ids for ids, fit in zip(side, fits, strict=True) if fit] for side in sides]

    def word_pieces(self):
        """What `kerasseq.samplers.SourceWords` has to know of the target vocabulary, see word_pieces.py."""
        with tf.init_scope():
            tokenizer = self.tokenizers[-1]
            return word_pieces(tokenizer.id_to_string(tf.range(self.target_vocabulary_size)).numpy())

    # === Saving ===

    def get_config(self):
        return {
            **super().get_config(),
            "max_source_length": self.max_source_length,
            "max_target_length": self.max_target_length,
        }

    def save_assets(self, folder):
        """Writes the vocabularies as SentencePiece models: `source.spm`, and `target.spm` unless they are joint."""
        for name, vocabulary in zip(VOCABULARY_FILES, self._vocabularies, strict=False):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(vocabulary)

    def load_assets(self, folder):
        """Reads what `save_assets` wrote."""
        vocabularies = [None, None]
        for index, name in enumerate(VOCABULARY_FILES):
            path = os.path.join(folder, name)
            if os.path.exists(path):
                with open(path, "rb") as file:
                    vocabularies[index] = file.read()
        if vocabularies[0] is None:
            raise ValueError(
                f"Expected a SentencePiece model {VOCABULARY_FILES[0]!r} in {folder}. Received: no such file."
            )
        self._set_vocabularies(*vocabularies)
