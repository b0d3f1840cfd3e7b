"""English as people type it, for training and for tests: slips, capitals, names, numbers, what is no English at all."""

import functools
import random
import re

# Of the training pairs, added to them: in all epochs but the last ones, and in these.
SHARES = {"slip": 0.08, "careless": 0.03, "capitals": 0.03, "foreign": 0.02}
LAST_SHARES = {
    "slip": 0.08, "careless": 0.03, "capitals": 0.05, "foreign": 0.06, "name": 0.12, "number": 0.08, "joined": 0.06,
    "odd": 0.01,
}  # fmt: skip
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
LONG_WORD = re.compile(r"[^\W\d_]{4,}")
CLOSING = re.compile(r"\s*[.!?]+$")
NAME = re.compile(r"\b[A-Z][a-z]{2,}\b")
NUMBER = re.compile(r"\d+")
LOCALES = ["en_US", "fr_FR", "de_DE", "es_ES", "it_IT"]  # of names
ELIDED = re.compile(r"\b(de|que|le|la|se|ne|je|me|te|ce|jusque|lorsque|puisque) $", re.IGNORECASE)
SYLLABLES = [first + rest for first in "bdfgklmnprstv" for rest in ("a", "e", "i", "o", "u", "ou", "an", "el")]
# By language: how two statements are joined without changing the order of words, and the words that may then begin the
# second in small letters; by default all.
JOINTS = {
    "fr": {", and ": ", et ", ", but ": ", mais ", " because ": " parce que ", ", so ": ", donc "},
    "de": {", and ": " und ", ", but ": ", aber ", " because ": ", denn "},
    "es": {", and ": " y ", ", but ": ", pero ", " because ": " porque ", ", so ": ", así que "},
}
BEGINNINGS = {"de": re.compile(r"(Ich|Er|Sie|Wir|Du|Ihr|Es|Der|Die|Das|Mein|Meine|Sein|Seine|Ihre|Unser|Unsere)\b")}
EMOJI = "😀😂🙂😍😢😡👍👎❤🎉🔥☕🌍🐱🚗"


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
    """The letter of a key beside that of a letter, in lower case; a letter without a key, such as "é", as it is."""
    row = next((row for row in KEYBOARD if letter.lower() in row), None)
    if row is None:
        return letter
    place = row.index(letter.lower())
    return choose.choice(row[max(0, place - 1) : place] + row[place + 1 : place + 2])


def careless(pair):
    """Both sides in small letters and without punctuation at the end."""
    return tuple(CLOSING.sub("", side).lower() for side in pair)


def capitals(pair):
    return tuple(side.upper() for side in pair)


def invented_name(choose):
    return "".join(choose.choices(SYLLABLES, k=choose.randint(2, 3))).capitalize()


@functools.cache
def real_names():
    """First names and places of one word each, in order."""
    import faker  # Deferred: what a test has no use for, it need not install.

    found = set()
    for locale in LOCALES:
        source = faker.Faker(locale)
        source.seed_instance(1)
        found.update(source.first_name() for _ in range(4_000))
        if locale != "it_IT":  # Its cities are in a set, whose order differs between processes.
            found.update(source.city() for _ in range(4_000))
    return sorted(name for name in found if name.isalpha() and name[1:].islower())


def renamed(pair, choose):
    """A pair whose first name that both sides have is another one, or nothing if there is none."""
    for name in NAME.findall(pair[0]):
        if re.search(rf"\b{name}\b", pair[1]):
            other = invented_name(choose) if choose.random() < 0.25 else choose.choice(real_names())
            if other[0] not in "BCDFGJKLMNPQRSTVWXZ" and ELIDED.search(pair[1][: pair[1].index(name)]):
                other = invented_name(choose)
            return tuple(re.sub(rf"\b{name}\b", other, side) for side in pair)
    return None


@functools.cache
def number_words(language="fr"):
    """The words for 2 to 99, the longest first: a list of (English, other language)."""
    import num2words  # As above.

    words = [(num2words.num2words(number), num2words.num2words(number, lang=language)) for number in range(2, 100)]
    return sorted(words, key=lambda pair: -len(pair[1]))


def reworded(pair, choose, language="fr"):
    """A pair whose number in words is another one, or nothing if it has none that is the same on both sides."""
    for english, other in number_words(language):
        if english in pair[0] and other in pair[1]:
            patterns = [rf"(?<![\w-]){word}(?![\w-])" for word in (english, other)]
            if all(len(re.findall(pattern, side)) == 1 for pattern, side in zip(patterns, pair, strict=True)):
                others = choose.choice(number_words(language))
                return tuple(map(re.sub, patterns, others, pair))
    return None


def renumbered(pair, choose, language="fr"):
    """A pair whose numbers are others, of as many digits, or nothing if they are not the same on both sides."""
    numbers = NUMBER.findall(pair[0])
    if not numbers:
        return reworded(pair, choose, language)
    if sorted(numbers) != sorted(NUMBER.findall(pair[1])):
        return None
    others = {}
    for number in numbers:
        first = choose.choice("123456789") if number[0] != "0" else "0"
        others[number] = first + "".join(choose.choices("0123456789", k=len(number) - 1))
    return tuple(NUMBER.sub(lambda match: others[match[0]], side) for side in pair)


def joined(first, second, choose, language="fr"):
    """Two pairs of statements as one sentence, or nothing if the second does not begin with a pronoun or an article."""
    beginning = re.match(r"(I|He|She|We|They|You|The|It|My|His|Her|Our) ", second[0])
    if not (beginning and all(side.endswith(".") for side in (*first, *second))):
        return None
    source, target = choose.choice(list(JOINTS[language].items()))
    english, other = second
    if language in BEGINNINGS and not BEGINNINGS[language].match(other):
        return None
    english = english if beginning[1] == "I" else english[0].lower() + english[1:]
    if target == " parce que " and re.match(r"[aeiouyéêh]", other, re.IGNORECASE):
        target = " parce qu'"
    if target == " y " and re.match(r"h?i", other, re.IGNORECASE):
        target = " e "
    return first[0][:-1] + source + english, first[1][:-1] + target + other[0].lower() + other[1:]


def several_joined(pair, pairs, choose, language="fr"):
    """Two or three pairs of statements as one, or nothing, as `joined`."""
    two = joined(pair, choose.choice(pairs), choose, language)
    if two and choose.random() < 0.3:
        return joined(two, choose.choice(pairs), choose, language) or two
    return two


def odd(choose):
    """An address, emoji, or punctuation: what is not translated."""
    name = invented_name(choose).lower()
    return choose.choice([
        f"https://www.{name}.com", f"www.{name}.org/{invented_name(choose).lower()}", f"{name}@{name[::-1]}.com",
        "".join(choose.choices(EMOJI, k=choose.randint(1, 3))), choose.choice(".?!-*") * choose.randint(1, 4),
        "".join(choose.choices("0123456789-/. ", k=choose.randint(4, 12))).strip() or "0",
    ])  # fmt: skip


def those_that_can(change, kind, pairs, share, choose):
    """Changed pairs, as many as the share says, drawn until they are enough, with repetition where few can be changed.

    Args:
        change: callable from a pair to another one, or to nothing if it cannot be changed.
        kind: str, what the change is called in errors.
        pairs: list of (English, other language).
        share: float, of the pairs.
        choose: `random.Random`.
    """
    count, changed, drawn = int(share * len(pairs)), [], 0
    while len(changed) < count:
        if pair := change(choose.choice(pairs)):
            changed.append(pair)
        drawn += 1
        if not changed and drawn >= 10 * len(pairs):
            raise ValueError(f"Some of the pairs must be such that {kind!r} can change them. Received: none.")
    return changed


def everyday(pairs, foreign_sentences, seed, shares=SHARES, language="fr", from_english=True):
    """Pairs to add to clean ones.

    Args:
        pairs: list of (English, other language).
        foreign_sentences: list of str, in languages that are not that of the sources: they stay as they are, for
            whoever reads them understands those better than an invention.
        seed: int.
        shares: dict, from a kind to its share; kinds that are not there are not added.
        language: str, the other language: "fr", "de" or "es".
        from_english: bool, whether English is typed, and so has the slips; otherwise the other language.

    Returns:
        list of (English, other language).
    """
    choose = random.Random(seed)

    def some(sequence, kind):
        return choose.sample(sequence, int(shares.get(kind, 0) * len(pairs)))

    def slipped(pair):
        return (slip(pair[0], choose), pair[1]) if from_english else (pair[0], slip(pair[1], choose))

    def changed(change, kind):
        return those_that_can(change, kind, pairs, shares.get(kind, 0), choose)

    return [
        *map(slipped, some(pairs, "slip")),
        *map(careless, some(pairs, "careless")),
        *map(capitals, some(pairs, "capitals")),
        *((text, text) for text in some(foreign_sentences, "foreign")),
        *changed(lambda pair: renamed(pair, choose), "name"),
        *changed(lambda pair: renumbered(pair, choose, language), "number"),
        *changed(lambda pair: several_joined(pair, pairs, choose, language), "joined"),
        *((text, text) for text in (odd(choose) for _ in range(int(shares.get("odd", 0) * len(pairs))))),
    ]
