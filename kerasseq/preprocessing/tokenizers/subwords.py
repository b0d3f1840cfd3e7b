"""Subwords, with SentencePiece."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.subword_sampling import subword_sampler
from kerasseq.preprocessing.tokenizers.base import Tokenizer
from kerasseq.preprocessing.vocabulary import NUM_BYTE_TOKENS, NUM_SPECIAL_TOKENS, WORD_START
from kerasseq.types import Tensor

CONTINUATION_BYTE = "<0x[89AB][0-9A-F]>"


class SubwordTokenizer(Tokenizer):
    """Subwords of a SentencePiece model with byte fallback.

    Args:
        vocabulary: bytes, a serialized SentencePiece model; see `kerasseq.preprocessing.train_vocabulary`.

    Example:

    >>> import kerasseq
    >>> vocabulary = kerasseq.preprocessing.train_vocabulary(["one two three"] * 20, vocabulary_size=280)
    >>> tokenizer = kerasseq.preprocessing.SubwordTokenizer(vocabulary)
    >>> tokenizer.detokenize(tokenizer.tokenize(["two one"])).numpy().tolist()
    [b'two one']

    Source: Kudo and Richardson 2018.
    """

    suffix = "spm"
    first_text_id = NUM_SPECIAL_TOKENS + NUM_BYTE_TOKENS

    def __init__(self, vocabulary: bytes) -> None:
        import tensorflow_text  # Deferred: importing kerasseq stays cheap.

        super().__init__(name="subwords")
        self._vocabulary = vocabulary
        # SavedModels loaded into one process share resources of the same name: derive the name from the content.
        name = f"sentencepiece_{hashlib.sha256(vocabulary).hexdigest()[:16]}"
        self._model = tensorflow_text.SentencepieceTokenizer(vocabulary, out_type=tf.int32, name=name)
        self.vocabulary_size = int(self._model.vocab_size())

    def tokenize(self, texts: Tensor) -> tf.RaggedTensor:
        return self._model.tokenize(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace"))

    def detokenize(self, token_ids: Tensor) -> Tensor:
        return self._model.detokenize(token_ids)

    def id_to_string(self, token_ids: Tensor) -> Tensor:
        return self._model.id_to_string(token_ids)

    def string_to_id(self, tokens: Tensor) -> Tensor:
        return self._model.string_to_id(tokens)

    def boundaries(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        pieces = self.id_to_string(token_ids)
        begins_word = tf.strings.substr(pieces, 0, 1, unit="UTF8_CHAR") == WORD_START
        return begins_word, ~tf.strings.regex_full_match(pieces, CONTINUATION_BYTE)

    def to_bytes(self) -> bytes:
        return self._vocabulary

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        return cls(content)

    def usable(self) -> Self:
        # TF Text keeps a model only as long as the eager operation that created it, and keras.utils.set_random_seed and
        # clear_session delete the cached eager operations. init_scope: a model created in a graph that is being traced
        # would be deleted with that graph.
        with tf.init_scope():
            try:
                self._model.vocab_size()
            except tf.errors.NotFoundError:
                return type(self)(self._vocabulary)
        return self

    def sampler(self, alpha: float) -> Callable[[Sequence[str], int], list[np.ndarray]]:
        return subword_sampler(self._vocabulary, alpha).sample
