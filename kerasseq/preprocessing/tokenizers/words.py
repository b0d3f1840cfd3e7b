"""Words."""

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.tokenizers.token_list import TokenList, normalized
from kerasseq.preprocessing.vocabulary import WORD_START
from kerasseq.preprocessing.word_pieces import word_pieces
from kerasseq.types import Tensor

# What `str.split` of Python splits at. (RE2's \s is that of ASCII.)
WHITE_SPACE = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"


class WordTokenizer(TokenList):
    """The words of a list, split at white space: words of small languages, phonemes, commands.

    Texts are normalized to NFC and split as `str.split()` does; punctuation is a part of its word. Outputs are joined
    by single spaces. Words that are not in the list have id 1, and are left out of outputs.

    Args:
        tokens: list of str, the words in the order of their ids, from 4 on.

    Raises:
        ValueError: if there are no words, one is empty, has white space or is the name of a special token, one is
            there twice, or they are a set.

    Example:

    >>> import kerasseq
    >>> tokenizer = kerasseq.preprocessing.WordTokenizer(["AA0", "AE1", "T"])
    >>> tokenizer.tokenize(["T AE1 T", "  AA0 X"]).to_list()
    [[6, 5, 6], [4, 1]]
    >>> tokenizer.detokenize(tokenizer.tokenize(["T AE1 T", "  AA0 X"])).numpy().tolist()
    [b'T AE1 T', b'AA0']
    """

    suffix = "words"
    separator = " "
    unit = "word without white space"

    @classmethod
    def split(cls, texts: Tensor) -> tf.RaggedTensor:
        return tf.strings.split(tf.strings.regex_replace(normalized(texts), WHITE_SPACE, " "))

    @classmethod
    def _checked(cls, tokens):
        if isinstance(tokens, str):
            raise ValueError(f"tokens must be a list of words. Received: one str, {tokens[:40]!r}. Pass text.split().")
        return super()._checked(tokens)

    def word_pieces(self) -> dict[str, np.ndarray]:
        return word_pieces([WORD_START.encode() + word for word in self._strings.numpy()])
