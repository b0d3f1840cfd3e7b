"""Characters."""

import unicodedata
from collections.abc import Sequence

import tensorflow as tf

from kerasseq.preprocessing.tokenizers.token_list import TokenList, normalized
from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS
from kerasseq.types import Tensor

JOINER = "\u200d"  # joins emoji


class CharacterTokenizer(TokenList):
    """The characters of an alphabet, white space included.

    A character is a Unicode code point of the text in NFC: `"e\\u0301"`, composed to `"é"`, is one; a combining mark
    that is not part of a composed character, and each code point of an emoji sequence, is one of its own. Texts are
    not changed otherwise, so `detokenize(tokenize(text))` is the text in NFC. Characters that are not in the alphabet
    have id 1, and are left out of outputs.

    Args:
        tokens: str or list of str, the characters in the order of their ids, from 4 on.

    Raises:
        ValueError: if there are no characters, one is not a single code point in NFC or is there twice, or they are a
            set.

    Example:

    >>> import kerasseq
    >>> tokenizer = kerasseq.preprocessing.CharacterTokenizer("abc ")
    >>> tokenizer.tokenize(["cab a", "ax"]).to_list()
    [[6, 4, 5, 7, 4], [4, 1]]
    >>> tokenizer.detokenize(tokenizer.tokenize(["cab a", "ax"])).numpy().tolist()
    [b'cab a', b'a']
    """

    suffix = "chars"
    separator = ""
    unit = "character"

    def __init__(self, tokens: str | Sequence[str]) -> None:
        if isinstance(tokens, str):
            tokens = list(unicodedata.normalize("NFC", tokens))
        super().__init__(tokens)
        characters = [text.decode() for text in self._strings[NUM_SPECIAL_TOKENS:].numpy()]
        other = [False] * NUM_SPECIAL_TOKENS
        with tf.init_scope():
            self._is_space = tf.constant([*other, *(character.isspace() for character in characters)])
            self._is_mark = tf.constant([*other, *(is_mark(character) for character in characters)])

    @classmethod
    def split(cls, texts: Tensor) -> tf.RaggedTensor:
        return tf.strings.unicode_split(normalized(texts), "UTF-8")

    def boundaries(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        is_space = tf.gather(self._is_space, token_ids)
        after_space = tf.concat([tf.ones_like(is_space[..., :1]), is_space[..., :-1]], axis=-1)
        return after_space & ~is_space, ~tf.gather(self._is_mark, token_ids)


def is_mark(character: str) -> bool:
    """Whether a character belongs to the one before it."""
    return character == JOINER or unicodedata.category(character).startswith("M")
