"""Normalization of texts in SentencePiece models: the choice of a rule by what it would change."""

import contextlib
import itertools
import logging
import os
import pathlib
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

NORMALIZATIONS = ("nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "nfc", "identity")
MAX_SHARE_CHANGED = 0.01  # of texts, by "nmt_nfkc"
TEXTS_COMPARED = 50_000
# White space, control characters, byte order marks, zero-width spaces and marks of direction.
INVISIBLE = re.compile(r"[\s\u0000-\u001f\u007f-\u009f\ufeff\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
CONTEXT = 10  # characters before a difference in an example
END_OF_DECOMPOSED = 0x30000  # No later code point has a decomposition.
HANGUL = re.compile("[\uac00-\ud7a3\u1100-\u11ff]")


def choose_normalization(texts: Sequence[str]) -> str:
    """Returns `"nmt_nfkc"`, or `"nfc"` if `"nmt_nfkc"` changes the spelling of more than 1 % of the texts.

    It does so in Chinese (full-width punctuation), Persian (zero-width non-joiners), and Thai (sara am). White space,
    invisible marks and the composition of accents do not count. A warning gives the share of texts that `"nmt_nfkc"`
    changes, and three examples.

    Args:
        texts: list of str; of more than 50,000, some at equal distances are compared.
    """
    import sentencepiece  # Deferred: importing kerasseq stays cheap.

    normalizer = sentencepiece.SentencePieceNormalizer(
        rule_name="nmt_nfkc", escape_whitespaces=False, add_dummy_prefix=False, remove_extra_whitespaces=True
    )
    compared = texts[:: -(-len(texts) // TEXTS_COMPARED)]
    normalized = ((text, normalizer.Normalize(text)) for text in compared if not text.isascii())
    changes = [(text, after) for text, after in normalized if visible_text(text) != visible_text(after)]
    chosen = "nfc" if len(changes) > MAX_SHARE_CHANGED * len(compared) else "nmt_nfkc"
    if changes:
        spellings = dict.fromkeys(differing(*change) for change in changes)  # Each once.
        examples = ", ".join(f"{before} to {after}" for before, after in itertools.islice(spellings, 3))
        logger.warning(
            "normalization=%s the spelling of %.3g %% of the texts (%s). Pass normalization='nfc' to keep the "
            "spelling, or 'nmt_nfkc' to change it; either silences this warning.",
            "'nfc' is used: 'nmt_nfkc' would change" if chosen == "nfc" else "'nmt_nfkc' changes",
            100 * len(changes) / len(compared), examples,
        )  # fmt: skip
    return chosen


@contextlib.contextmanager
def trainer_options(normalization: str, texts: Sequence[str]) -> Iterator[dict[str, str]]:
    """The options of SentencePiece's trainer for one of `NORMALIZATIONS`."""
    if normalization != "nfc":
        yield {"normalization_rule_name": normalization}
        return
    with tempfile.TemporaryDirectory() as folder:  # SentencePiece reads custom rules from a file.
        file = pathlib.Path(folder) / "nfc.tsv"
        file.write_text(nfc_rules(texts), encoding="utf-8")
        yield {"normalization_rule_tsv": str(file)}


def without_path(model: bytes) -> bytes:
    """A SentencePiece model with the rules of `"nfc"`, without the path of the file that they were read from."""
    from sentencepiece import sentencepiece_model_pb2  # Deferred: importing kerasseq stays cheap.

    proto = sentencepiece_model_pb2.ModelProto.FromString(model)  # type: ignore[attr-defined]
    proto.normalizer_spec.name = "nfc"
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    return proto.SerializeToString(deterministic=True)


def visible_text(text: str) -> str:
    """What readers see of a text, with accents composed."""
    return INVISIBLE.sub("", unicodedata.normalize("NFC", text))


def differing(before: str, after: str) -> tuple[str, str]:
    """The first words in which two texts visibly differ, as literals of at most 20 characters."""
    words = list(itertools.zip_longest(before.split(), after.split(), fillvalue=""))
    old, new = next(((old, new) for old, new in words if visible_text(old) != visible_text(new)), (before, after))
    start = max(0, len(os.path.commonprefix([old, new])) - CONTEXT)
    return repr(old[start : start + 2 * CONTEXT]), repr(new[start : start + 2 * CONTEXT])


def nfc_rules(texts: Sequence[str]) -> str:
    """Rules for SentencePiece: Unicode's canonical composition (NFC), and white space as blanks.

    Letters are composed with up to three marks in any order; marks that compose with nothing keep their order.
    Controls, byte order marks, zero-width spaces and marks of direction are removed; SentencePiece's own mark of spaces
    becomes a blank. Rules of Korean are included where the texts have Hangul, because they are many.

    Source: The Unicode Standard, section 3.11 (normalization forms).

    Returns:
        str, a line for each rule: code points of a sequence, a tab, and those of its replacement, in hexadecimal.
    """
    characters = [chr(code) for code in range(1, END_OF_DECOMPOSED)]
    rules: dict[str, str] = {}
    with_hangul = any(HANGUL.search(text) for text in texts)
    for character in characters:
        if unicodedata.decomposition(character)[:1] not in ("", "<") or (with_hangul and HANGUL.match(character)):
            composed = unicodedata.normalize("NFC", character)
            rules |= {sequence: composed for sequence in (character, *equivalents(character)) if sequence != composed}
    for character in filter(INVISIBLE.fullmatch, characters):
        rules[character] = " " if character.isspace() else ""
    rules["\u2581"] = rules.pop(" ")
    return "".join(f"{hexadecimal(source)}\t{hexadecimal(target)}\n" for source, target in sorted(rules.items()))


def equivalents(character: str) -> Iterator[str]:
    """Sequences of code points whose composition is a character: its parts in any order, composed in part."""
    base, *marks = list(unicodedata.normalize("NFD", character))
    if not 0 < len(marks) <= 3:
        return
    for order in itertools.permutations(marks) if unicodedata.combining(marks[0]) else [tuple(marks)]:
        for count in range(len(order)):
            sequence = unicodedata.normalize("NFC", base + "".join(order[:count])) + "".join(order[count:])
            if sequence != character and unicodedata.normalize("NFC", sequence) == character:
                yield sequence


def hexadecimal(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)
