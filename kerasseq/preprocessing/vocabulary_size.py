"""How many subwords suit a data set: the default size of vocabularies, and warnings about those that do not suit."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from kerasseq.preprocessing.vocabulary import NUM_BYTE_TOKENS, NUM_SPECIAL_TOKENS

logger = logging.getLogger(__name__)

LARGEST = 8_000
WORDS_PER_SUBWORD = 50

# Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, Kana, Han. Each character counts as a word.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


def default_vocabulary_size(texts: Sequence[str]) -> int:
    """Derives the size of a subword vocabulary from the texts that it is trained on.

    Room for special tokens, bytes and characters, and a subword for each 50 words that recur (running words minus
    distinct words); at most 8,000 ids. Where few words recur, as in lists of numbers or names, subwords would stand for
    single texts: there the tokens are close to characters.

    Args:
        texts: list of str.

    Returns:
        int, at least 262.
    """
    words: Counter[str] = Counter()
    characters: set[str] = set()
    for text in texts:
        words.update(WORD.findall(text))
        characters.update(text)
    recurring = words.total() - len(words)
    # SentencePiece requires an id for each character, after its normalization, and for the mark of word beginnings.
    required = len(set(unicodedata.normalize("NFKC", "".join(characters)))) + 1
    return min(NUM_SPECIAL_TOKENS + NUM_BYTE_TOKENS + required + recurring // WORDS_PER_SUBWORD, LARGEST)


def warn_about_subwords(pieces: Sequence[str], counts: np.ndarray, default: int) -> None:
    pass
