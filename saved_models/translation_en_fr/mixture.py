"""The training texts of the English-French model, from all corpora: cleaned, without what is tested, mixed."""

import pathlib
import random
import sys

import data
import kinds
from cleaning import clean, is_aligned

import kerasseq

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "recipes"))
import everyday  # noqa: E402
import first_words  # noqa: E402

# Of the pairs of the corpora, added to them; those of Tatoeba are changed as `everyday.LAST_SHARES` says.
SHARES = {"slip": 0.04, "careless": 0.02, "capitals": 0.01, "title": 0.01, "joined": 0.08}
CORPORA = ("europarl", "python_docs", "canada_laws")
TATOEBA_COPIES = 2
FIRST_WORDS_COPIES = 40


# === Texts ===


def read_flores(split):
    """Pairs of FLORES-200: "dev" for choices, "devtest" for the scores that are reported."""
    return list(zip(*(data.flores(split, language) for language in ("eng_Latn", "fra_Latn")), strict=True))


# === Other spellings ===


def title(pair):
    return tuple(side.title() for side in pair)


def joined(first, second):
    """Two pairs as one text."""
    return tuple(f"{one} {other}" for one, other in zip(first, second, strict=True))


# === All of it ===


def training_pairs(seed=1):
    """All pairs of a training, in random order, without sentences that are tested or chosen by.

    Args:
        seed: int.

    Returns:
        list of (English, French), and a dict of the numbers of pairs by origin.
    """
    choose = random.Random(seed)
    tatoeba, *foreign = (kerasseq.datasets.load_anki(language)[0] for language in ("fra", "deu", "spa"))
    sentences = list(dict.fromkeys(target for pairs in [tatoeba, *foreign] for _, target in pairs))
    tatoeba = data.without_overlap(list(dict.fromkeys(pair for pair in map(clean, tatoeba) if is_aligned(pair))))
    corpora = {name: data.without_overlap(data.load_corpus(name)) for name in CORPORA}
    others = [pair for pairs in corpora.values() for pair in pairs]

    def some(kind):
        return choose.sample(others, int(SHARES[kind] * len(others)))

    added = {
        "slip": [(everyday.slip(english, choose), french) for english, french in some("slip")],
        "careless": [everyday.careless(pair) for pair in some("careless")],
        "capitals": [everyday.capitals(pair) for pair in some("capitals")],
        "title": [title(pair) for pair in some("title")],
        "joined": [joined(pair, choose.choice(others)) for pair in some("joined")],
        "protected": kinds.protected(others, seed) + kinds.protected(tatoeba, seed + 1),
        "everyday": everyday.everyday(tatoeba, sentences, seed, everyday.LAST_SHARES),
        "first words": first_words.pairs("en", "fr") * FIRST_WORDS_COPIES,
    }
    pairs = tatoeba * TATOEBA_COPIES + others + [pair for some_pairs in added.values() for pair in some_pairs]
    choose.shuffle(pairs)
    parts = {"tatoeba": tatoeba, **corpora, **added, "all": pairs}
    return pairs, {name: len(part) for name, part in parts.items()}
