"""Target texts to token ids and back: what the preprocessors of texts, sounds and images share."""

import hashlib
import logging
import numbers
import os

import keras
import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.ids import padded, shift_right, string_tensor, tokens
from kerasseq.preprocessing.vocabulary import END_ID, NUM_SPECIAL_TOKENS

logger = logging.getLogger(__name__)

TEXTS_AT_ONCE = 10_000  # tokenised in one call, for a bounded memory


class TargetTexts(keras.layers.Layer):
    """Subword tokens of target texts. A preprocessor is one of these with an encoding of its sources.

    Ids: 0 padding, 1 unknown, 2 start, 3 end, then bytes, then subwords. All encoding and decoding runs in TensorFlow
    graphs, in training and in a model server alike.

    Args:
        vocabularies: list of bytes, serialised SentencePiece models with these ids, the one of the targets last; empty
            for a preprocessor that will get them from its assets.
        max_target_length: int, tokens of a target, END included.
    """

    # What its vocabularies are called among the assets. The first must be there.
    vocabulary_files = ("target.spm",)

    def __init__(self, vocabularies=(), max_target_length=128, **kwargs):
        super().__init__(**kwargs)
        check_length("max_target_length", max_target_length)
        self.max_target_length = max_target_length
        self.built = True
        if vocabularies:
            self._set_vocabularies(vocabularies)

    # === Vocabularies ===

    def _set_vocabularies(self, vocabularies):
        self._vocabularies = list(vocabularies)
        self._make_tokenizers()
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

    def tokenize(self, texts, side):
        """Texts to ragged ids with END behind.

        Args:
            texts: string `(batch,)`. Invalid UTF-8 becomes U+FFFD, which `nmt_nfkc` normalises to a space.
            side: `"source"` or `"target"`, where a preprocessor has several vocabularies.

        Returns:
            int32 `tf.RaggedTensor` `(batch, None)`.
        """
        tokenizer = self.tokenizers[{"source": 0, "target": -1}[side]]
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        ids = tokenizer.tokenize(texts)
        end = tf.fill([ids.nrows(), 1], END_ID)
        return tf.concat([ids, end], axis=1)

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

    def target_tokens(self, token_ids):
        """The subwords of target ids, int32 `(batch, target)`: string `(batch, target)`, empty for padding."""
        return tokens(self.tokenizers[-1], token_ids)

    # === Many texts, from Python ===

    def _tokenize_all(self, texts, side):
        """A list of int32 arrays, ids with END behind, for a list of str."""
        all_ids = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            ragged = self.tokenize(string_tensor(texts[start : start + TEXTS_AT_ONCE]), side)
            all_ids += np.split(ragged.flat_values.numpy(), ragged.row_limits().numpy()[:-1])
        return all_ids

    # === Saving ===

    def get_config(self):
        return {**super().get_config(), "max_target_length": self.max_target_length}

    def save_assets(self, folder):
        """Writes the vocabularies as SentencePiece models, under the names in `vocabulary_files`."""
        for name, vocabulary in zip(self.vocabulary_files, self._vocabularies, strict=False):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(vocabulary)

    def load_assets(self, folder):
        """Reads what `save_assets` wrote."""
        paths = [os.path.join(folder, name) for name in self.vocabulary_files]
        if not os.path.exists(paths[0]):
            raise ValueError(
                f"Expected a SentencePiece model {self.vocabulary_files[0]!r} in {folder}. Received: no such file."
            )
        vocabularies = []
        for path in filter(os.path.exists, paths):
            with open(path, "rb") as file:
                vocabularies.append(file.read())
        self._set_vocabularies(vocabularies)


def check_length(name, value):
    """Raises a `ValueError` for a length that has no room for END and a token."""
    if not isinstance(value, numbers.Integral) or value < 2:
        raise ValueError(f"{name} must be an integer of at least 2, END included. Received: {name}={value!r}.")


def cut(ids, limit):
    """Ids with END behind, at most `limit` of them; what is cut off leaves END."""
    return ids if len(ids) <= limit else np.append(ids[: limit - 1], END_ID)


def kept_pairs(fits, limits, too_long):
    """Which pairs a data set has, after what is said or raised about those that are too long.

    Args:
        fits: list of bool, for each pair whether it is short enough.
        limits: str, the limits in words.
        too_long: `"drop"`, `"truncate"` or `"error"`.

    Returns:
        list of int, the indices of the pairs.
    """
    number_too_long = len(fits) - sum(fits)
    if number_too_long:
        message = f"{number_too_long} of {len(fits)} pairs are longer than {limits}"
        if too_long == "error" or (too_long == "drop" and not any(fits)):
            raise ValueError(f"{message}. Raise the limits of the preprocessor, or pass too_long='truncate'.")
        logger.warning("%s: %s.", message, {"drop": "dropped", "truncate": "truncated"}[too_long])
    return [index for index, fit in enumerate(fits) if fit or too_long == "truncate"]
