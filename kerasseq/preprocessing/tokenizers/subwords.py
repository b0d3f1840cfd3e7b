"""Subwords, with SentencePiece."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Self

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.ids import TEXTS_AT_ONCE, string_tensor
from kerasseq.preprocessing.subword_sampling import subword_sampler
from kerasseq.preprocessing.tokenizers.base import Tokenizer
from kerasseq.preprocessing.vocabulary import (
    NUM_SPECIAL_TOKENS,
    WORD_START,
    check_texts,
    check_vocabulary,
    protected_tokens_of,
    train_vocabulary,
)
from kerasseq.preprocessing.vocabulary_size import default_vocabulary_size, warn_about_subwords
from kerasseq.preprocessing.word_pieces import BYTE, word_pieces
from kerasseq.types import Tensor

CONTINUATION_BYTE = "<0x[89AB][0-9A-F]>"


class SubwordTokenizer(Tokenizer):
    """Subwords of a SentencePiece model.

    With byte fallback, no text is unknown. In models without, characters that are in no subword have id 1, and are left
    out of outputs.

    Args:
        vocabulary: bytes, a serialized SentencePiece model with the ids 0 for padding, 1 for unknown, 2 for start and 3
            for end; see `kerasseq.preprocessing.train_vocabulary`.
        any_ids: bool, whether other ids are accepted, in a model whose ids are mapped to those of a preprocessor.

    Raises:
        ValueError: if it is no SentencePiece model, or its ids are others.

    Example:

    >>> import kerasseq
    >>> vocabulary = kerasseq.preprocessing.train_vocabulary(["one two three"] * 20, vocabulary_size=280)
    >>> tokenizer = kerasseq.preprocessing.SubwordTokenizer(vocabulary)
    >>> tokenizer.detokenize(tokenizer.tokenize(["two one"])).numpy().tolist()
    [b'two one']

    Source: Kudo and Richardson 2018.
    """

    suffix = "spm"

    def __init__(self, vocabulary: bytes, any_ids: bool = False) -> None:
        import tensorflow_text  # Deferred: importing kerasseq stays cheap.

        if not any_ids:
            check_vocabulary(vocabulary)
        super().__init__(name="subwords")
        self._vocabulary, self._any_ids = vocabulary, any_ids
        # SavedModels loaded into one process share resources of the same name: derive the name from the content.
        name = f"sentencepiece_{hashlib.sha256(vocabulary).hexdigest()[:16]}"
        self._model = tensorflow_text.SentencepieceTokenizer(vocabulary, out_type=tf.int32, name=name)
        with tf.init_scope():
            self.vocabulary_size = int(self._model.vocab_size())
            pieces = self._model.id_to_string(tf.range(self.vocabulary_size)).numpy()
        self.first_text_id = 1 + max(
            (index for index, piece in enumerate(pieces) if BYTE.fullmatch(piece.decode())),
            default=NUM_SPECIAL_TOKENS - 1,
        )

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        vocabulary_size: int | None = None,
        normalization: str | None = None,
        protected_tokens: Sequence[str] = (),
    ) -> Self:
        """Trains a vocabulary on texts, see `kerasseq.preprocessing.train_vocabulary`. Warns if it does not suit them.

        Args:
            texts: iterable of str.
            vocabulary_size: int, the maximum number of ids. Default: derived from the texts, at most 8,000, see
                `kerasseq.preprocessing.vocabulary_size.default_vocabulary_size`.
            normalization, protected_tokens: as in `kerasseq.preprocessing.train_vocabulary`.

        Returns:
            a `SubwordTokenizer`.

        Raises:
            ValueError: if there are no texts, one is not a str, or `vocabulary_size` is too small for them.
        """
        texts = check_texts(texts)
        default = default_vocabulary_size(texts)
        size = default if vocabulary_size is None else vocabulary_size
        tokenizer = cls(train_vocabulary(texts, size, normalization, protected_tokens))
        counts = np.zeros(tokenizer.vocabulary_size, "int64")
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            ids = tokenizer.tokenize(string_tensor(texts[start : start + TEXTS_AT_ONCE])).flat_values
            counts += np.bincount(ids, minlength=len(counts))
        pieces = tokenizer.id_to_string(tf.range(tokenizer.first_text_id, tokenizer.vocabulary_size)).numpy()
        warn_about_subwords(
            [piece.decode() for piece in pieces], counts[tokenizer.first_text_id :], default, tokenizer.vocabulary_size
        )
        return tokenizer

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

    def word_pieces(self) -> dict[str, np.ndarray]:
        with tf.init_scope():
            pieces = self.id_to_string(tf.range(self.vocabulary_size)).numpy().tolist()
            return word_pieces(pieces, set(protected_tokens_of(self._vocabulary)))

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
                return type(self)(self._vocabulary, self._any_ids)
        return self

    def sampler(self, alpha: float) -> Callable[[Sequence[str], int], list[np.ndarray]]:
        return subword_sampler(self._vocabulary, alpha).sample
