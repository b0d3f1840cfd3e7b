"""Finds where words and numbers begin and end in the subwords of a vocabulary.

The constraint in `kerasseq/search/source_words.py` reads it, and keeps words and numbers whole.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence

import numpy as np

from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS, WORD_START

# Marks within numbers such as 2.7, 7:30, 14-6 and 1⁄2: points, colons, slashes, dashes, and their wide forms.
POINT = "[.,:·٫：．，/⁄∕／‐‑‒–—−－-]"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def word_pieces(pieces: Sequence[bytes], protected: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Describes the subwords of a vocabulary: where words and numbers begin and end.

    Args:
        pieces: list of bytes, the subword of each id.
        protected: the protected tokens among them, which are words, whatever their characters.

    Returns:
        dict of arrays `(vocabulary,)`:

        - `folded`, int32: the first id whose subword differs at most in case;
        - `spaced`, bool like all the following: whether the subword begins with a space;
        - `starts_word`, `ends_word`: whether its first and last characters belong to words: letters and their combining
          marks, digits, underscores. Bytes of multi-byte characters count as such;
        - `starts_digit`: whether its first character is a digit;
        - `point`: whether it is a single mark that may occur within numbers, see `POINT`;
        - `starts_point`, `ends_point`: whether it begins with such a mark and a digit, and whether it ends in such a
          mark.
    """
    strings = [piece.decode("utf-8", "replace") for piece in pieces]
    first: dict[str, int] = {}
    folded = [first.setdefault(string.lower(), index) for index, string in enumerate(strings)]
    texts = [decoded_byte(string) for string in strings]
    # A space alone begins the word that follows.
    bare = ["_" if text in protected else text.removeprefix(WORD_START) or "_" for text in texts]
    special = np.arange(len(texts)) < NUM_SPECIAL_TOKENS

    def which(pattern):
        return np.array([re.search(pattern, text) is not None for text in bare]) & ~special

    return {
        "folded": np.array(folded, dtype="int32"),
        "spaced": np.array([text.startswith(WORD_START) for text in texts]) & ~special,
        "starts_word": np.array([is_word_character(text[:1]) for text in bare]) & ~special,
        "ends_word": np.array([is_word_character(text[-1:]) for text in bare]) & ~special,
        "starts_digit": which(r"\A\d"),
        "point": which(rf"\A{POINT}\Z"),
        "starts_point": which(rf"\A{POINT}\d"),
        "ends_point": which(rf"{POINT}\Z"),
    }


def decoded_byte(piece: str) -> str:
    """Returns the character of a byte piece such as `<0x28>` ("_" for bytes above 0x7F); other pieces unchanged."""
    if not BYTE.fullmatch(piece):
        return piece
    value = int(piece[1:-1], 16)
    return chr(value) if value < 0x80 else "_"


def is_word_character(character: str) -> bool:
    """Whether a character may be part of a word: a letter, a combining mark, a digit or an underscore."""
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")
