"""How many subwords suit a data set: the default size of vocabularies, and warnings about those that do not suit."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from kerasseq.preprocessing.vocabulary import NUM_BYTE_TOKENS, NUM_SPECIAL_TOKENS

logger = logging.getLogger(__name__)

DEFAULT_VOCABULARY_SIZE = 8_000
WORDS_PER_SUBWORD = 50

# When to warn. At 8,000 ids, at most a hundredth of the subwords of Multi30k and Anki are numbers of several digits,
# and a third occur twice or less. Of those of 20,000 integers nearly all are such numbers, and half occur at most 4
# times.
MOST = 0.5
FEW = 10
DIGITS = re.compile(r"\d\d")

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
    words, characters = words_and_characters(texts)
    required = len(characters) + 1  # and the mark of word beginnings
    return min(NUM_SPECIAL_TOKENS + NUM_BYTE_TOKENS + required + affordable_subwords(words), DEFAULT_VOCABULARY_SIZE)


def suits_characters(texts: Sequence[str]) -> bool:
    """Whether characters suit texts better than subwords, as for numbers, dates and lists of names.

    That is, most distinct words are numbers of several digits, or so few words recur that the default vocabulary would
    have fewer subwords than characters.

    Args:
        texts: list of str.

    Example:

    >>> suits_characters([str(number) for number in range(1_000)])
    True
    >>> suits_characters(["the cat sat on the mat", "the dog sat on the cat"] * 1_000)
    False
    """
    words, characters = words_and_characters(texts)
    numbers = sum(DIGITS.search(word) is not None for word in words)
    return numbers > MOST * len(words) or affordable_subwords(words) < len(characters)


def words_and_characters(texts: Sequence[str]) -> tuple[Counter[str], set[str]]:
    """How often each word occurs, and the characters, as written and as SentencePiece may normalize them."""
    words: Counter[str] = Counter()
    characters: set[str] = set()  # SentencePiece requires an id for each.
    for text in texts:
        words.update(WORD.findall(text))
        characters.update(text, unicodedata.normalize("NFKC", text))
    return words, characters


def affordable_subwords(words: Counter[str]) -> int:
    """The number of subwords that words are enough for, see `default_vocabulary_size`."""
    return (words.total() - len(words)) // WORDS_PER_SUBWORD


def warn_about_subwords(pieces: Sequence[str], counts: np.ndarray, default: int, size: int) -> None:
    """Warns about a vocabulary that is larger than the default and too large for the texts it was trained on.

    That is, most of its subwords are numbers of several digits that are rare, or most of them occur once or twice.

    Args:
        pieces: list of str, the subwords, without special tokens and bytes.
        counts: int array `(pieces,)`, how often each occurs in the texts.
        default: int, `default_vocabulary_size` of the texts.
        size: int, the number of ids of the vocabulary.
    """
    if size <= default:
        return
    numbers = np.array([DIGITS.search(piece) is not None for piece in pieces])
    instead = f"pass tokens='characters', or vocabulary_size=None, which is {default} here."
    if numbers.mean() > MOST and np.median(counts[numbers]) < FEW:
        example = pieces[int(np.argmax(np.where(numbers, [len(piece) for piece in pieces], 0)))]
        logger.warning(
            "%d of %d subwords are numbers of several digits, such as %r; half of these occur fewer than %d times. "
            "They are hardly trained: %s",
            numbers.sum(), len(pieces), example, FEW, instead,
        )  # fmt: skip
    elif np.mean((counts == 1) | (counts == 2)) > MOST:
        logger.warning(
            "%d of %d subwords occur only once or twice in the texts. If these are numbers, names or the like, %s",
            ((counts == 1) | (counts == 2)).sum(), len(pieces), instead,
        )  # fmt: skip
