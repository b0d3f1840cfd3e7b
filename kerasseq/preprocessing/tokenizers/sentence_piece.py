"""SentencePiece models with ids of their own: the subwords of ALBERT, T5 and XLM-RoBERTa."""

import base64
from collections.abc import Sequence
from typing import Self

import tensorflow as tf

from kerasseq.preprocessing.tokenizers.listed import ListedTokenizer
from kerasseq.preprocessing.tokenizers.subwords import SubwordTokenizer
from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS
from kerasseq.types import Tensor


class SentencePieceTokenizer(ListedTokenizer):
    """Subwords of a SentencePiece model whose ids are not those of kerasseq.

    `SubwordTokenizer` reads models that `kerasseq.preprocessing.train_vocabulary` has trained.

    Args:
        model: str, a serialized SentencePiece model in base64.
        tokens: list of str, all pieces of the model in any order, and further tokens; the token at index i has the id
            i + 4.

    Raises:
        ValueError: if a piece of the model is missing among the tokens.

    Source: Kudo and Richardson 2018.
    """

    suffix = "sentencepiece"

    def __init__(self, model: str, tokens: Sequence[str]) -> None:
        super().__init__({"model": model, "tokens": list(tokens)}, name="sentence_piece")
        self._pieces = SubwordTokenizer(base64.b64decode(model), any_ids=True)
        pieces = self._pieces.id_to_string(tf.range(self._pieces.vocabulary_size))
        ids = self.string_to_id(pieces)  # (pieces,)
        if missing := tf.boolean_mask(pieces, ids < NUM_SPECIAL_TOKENS).numpy().tolist():
            raise ValueError(f"tokens must hold all pieces of the model. Missing: {missing[:5]}.")
        self._piece_ids = ids
        # The piece of each id, and whether there is one.
        size = [self.vocabulary_size]
        self._id_pieces = tf.scatter_nd(ids[:, tf.newaxis], tf.range(tf.size(ids)), size)
        self._has_piece = tf.scatter_nd(ids[:, tf.newaxis], tf.ones_like(ids), size) > 0

    def tokenize(self, texts: Tensor) -> tf.RaggedTensor:
        return tf.gather(self._piece_ids, self._pieces.tokenize(texts))

    def detokenize(self, token_ids: Tensor) -> Tensor:
        if not isinstance(token_ids, tf.RaggedTensor):
            token_ids = tf.RaggedTensor.from_tensor(token_ids)
        known = tf.ragged.boolean_mask(token_ids, tf.gather(self._has_piece, token_ids))
        return self._pieces.detokenize(tf.gather(self._id_pieces, known))

    def boundaries(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        return self._pieces.boundaries(tf.gather(self._id_pieces, token_ids))

    def usable(self) -> Self:
        if self._pieces.usable() is self._pieces:
            return self
        with tf.init_scope():
            return self.from_bytes(self.to_bytes())
