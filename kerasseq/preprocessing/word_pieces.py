"""Where words and numbers begin and end, told from the subwords of a vocabulary."""

import re
import unicodedata

import numpy as np

from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS

WORD_START = "\u2581"  # SentencePiece's mark
# Within numbers such as 2.7, 7:30, 14-6 and 1⁄2: points, colons, slashes, dashes, wide forms among them.
POINT = "[.,:·٫：．，/⁄∕／‐‑‒–—−－-]"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def word_pieces(pieces):
    """Describes the subwords of a vocabulary: where words and numbers begin and end.

    Args:
        pieces: list of bytes, a subword an id.

    Returns:
        dict of arrays `(vocabulary,)`:

        - `folded`, int32: the first id whose subword is the same but for letter case;
        - `spaced`, bool as all that follow: whether a space stands before it;
        - `starts_word`, `ends_word`: whether its first and last character are those of a word: letters with their
          marks, digits, underscore. A byte of a character counts as such;
        - `starts_digit`: whether its first character is a digit;
        - `point`: whether it is one mark that may stand within numbers, see `POINT`;
        - `starts_point`, `ends_point`: whether it begins with such a mark and a digit, and whether it ends in one.
    """
    pieces = [piece.decode("utf-8", "replace") for piece in pieces]
    first = {}
    folded = [first.setdefault(piece.lower(), index) for index, piece in enumerate(pieces)]
    texts = [shown_byte(piece) for piece in pieces]
    # The mark of a space alone is the beginning of the word behind it.
    bare = [text.removeprefix(WORD_START) or "_" for text in texts]
    special = np.arange(len(texts)) < NUM_SPECIAL_TOKENS

    def which(pattern):
        return np.array([re.search(pattern, text) is not None for text in bare]) & ~special

    return {
        "folded": np.array(folded, dtype="int32"),
        "spaced": np.array([text.startswith(WORD_START) for text in texts]) & ~special,
        "starts_word": np.array([of_word(text[:1]) for text in bare]) & ~special,
        "ends_word": np.array([of_word(text[-1:]) for text in bare]) & ~special,
        "starts_digit": which(r"\A\d"),
        "point": which(rf"\A{POINT}\Z"),
        "starts_point": which(rf"\A{POINT}\d"),
        "ends_point": which(rf"{POINT}\Z"),
    }


def shown_byte(piece):
    """The character of a byte such as `<0x28>`; for a byte that is only part of one, a letter; other pieces as is."""
    if not BYTE.fullmatch(piece):
        return piece
    value = int(piece[1:-1], 16)
    return chr(value) if value < 0x80 else "_"


def of_word(character):
    """Whether a character is part of a word: a letter, a mark of one, a digit or the underscore."""
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")
