"""Tokenizers with a list of tokens."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import tensorflow as tf

from kerasseq.preprocessing.tokenizers.base import Tokenizer
from kerasseq.preprocessing.vocabulary import UNKNOWN_ID
from kerasseq.types import Tensor

SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>")  # of the ids 0 to 3, as SentencePiece writes them


class ListedTokenizer(Tokenizer):
    """A tokenizer with a list of tokens: the token at index i has the id i + 4.

    Subclasses define `tokenize` and `detokenize`, and can be constructed from `arguments` by name.

    Args:
        arguments: dict of the constructor's arguments, which the asset stores as JSON; `tokens`, a list of str, is one
            of them.
        name: str.
    """

    def __init__(self, arguments: Mapping[str, Any], name: str) -> None:
        super().__init__(name=name)
        tokens: Sequence[str] = arguments["tokens"]
        strings = [*SPECIAL_TOKENS, *tokens]
        self.vocabulary_size = len(strings)
        # Bytes: lists would be tracked, token by token, whenever a graph is saved.
        self._asset = json.dumps(arguments).encode()
        ids = {string: index for index, string in enumerate(SPECIAL_TOKENS)}
        ids |= {string: index for index, string in reversed(list(enumerate(strings))) if index >= len(SPECIAL_TOKENS)}
        with tf.init_scope():
            self._strings = tf.constant(strings)
            pairs = tf.lookup.KeyValueTensorInitializer(list(ids), tf.constant(list(ids.values())))
            self._ids = tf.lookup.StaticHashTable(pairs, default_value=UNKNOWN_ID)

    def id_to_string(self, token_ids: Tensor) -> Tensor:
        return tf.gather(self._strings, token_ids)

    def string_to_id(self, tokens: Tensor) -> Tensor:
        return self._ids.lookup(tf.convert_to_tensor(tokens))

    def to_bytes(self) -> bytes:
        return self._asset

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        return cls(**json.loads(content))
