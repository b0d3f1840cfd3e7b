"""English as people type it, for training and for tests: with slips, in capitals, without punctuation."""

import random
import re

SHARES = {"slip": 0.08, "careless": 0.03, "capitals": 0.03, "foreign": 0.02}  # of the training pairs, added to them
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
LONG_WORD = re.compile(r"[A-Za-z]{4,}")
CLOSING = re.compile(r"\s*[.!?]+$")


def slip(text, choose):
    """A text with one slip of the fingers behind the first letter of a word of four letters or more, if it has one.

    Two letters change places, one is left out, comes twice, or is that of the key beside it, each as likely. (Letters
    that are the same may change places too: some texts stay as they are.)

    Args:
        text: str.
        choose: `random.Random`.
    """
    words = list(LONG_WORD.finditer(text))
    if not words:
        return text
    word = choose.choice(words)
    place = choose.randrange(word.start() + 1, word.end() - 1)
    here, following = text[place], text[place + 1]
    typed = choose.choice([following + here, following, here + here + following, beside(here, choose) + following])
    return text[:place] + typed + text[place + 2 :]


def beside(letter, choose):
    """The letter of a key beside that of a letter, in lower case."""
    (row,) = [row for row in KEYBOARD if letter.lower() in row]
    place = row.index(letter.lower())
    return choose.choice(row[max(0, place - 1) : place] + row[place + 1 : place + 2])


def careless(pair):
    """Both sides in small letters and without punctuation at the end."""
    return tuple(CLOSING.sub("", side).lower() for side in pair)


def capitals(pair):
    return tuple(side.upper() for side in pair)


def everyday(pairs, foreign_sentences, seed):
    """Pairs to add to clean ones, in the shares above.

    Args:
        pairs: list of (English, French).
        foreign_sentences: list of str, in languages that are not English: they stay as they are, for whoever reads
            them understands those better than an invention.
        seed: int.
    """
    choose = random.Random(seed)

    def some(sequence, kind):
        return choose.sample(sequence, int(SHARES[kind] * len(pairs)))

    return [
        *((slip(source, choose), target) for source, target in some(pairs, "slip")),
        *map(careless, some(pairs, "careless")),
        *map(capitals, some(pairs, "capitals")),
        *((text, text) for text in some(foreign_sentences, "foreign")),
    ]
