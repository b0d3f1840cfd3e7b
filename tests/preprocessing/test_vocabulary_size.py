"""The default size of subword vocabularies, and the warnings about sizes that do not suit the texts."""

import random

import numpy as np
import pytest

from kerasseq.preprocessing import SubwordTokenizer, TextPreprocessor
from kerasseq.preprocessing.vocabulary_size import default_vocabulary_size, warn_about_subwords

NUMBERS = [str(number) for number in random.Random(1).sample(range(100_000), 3_000)]


@pytest.mark.parametrize(
    ("texts", "size"),
    [
        (["a b"] * 100, 260 + 4 + 198 // 50),  # a, b, a space, the mark of beginnings; 198 of 200 words recur.
        (["12", "34"], 260 + 5),  # None recurs.
        (NUMBERS, 260 + 11),
        (["ab"] * 400_000, 8_000),
        (["世界"] * 50, 260 + 3 + 98 // 50),  # Each character of Han is a word.
        (["cafe\u0301"], 260 + 7),  # é may be composed.
        (["é", "e\u0301"], 260 + 4),  # é, e and the accent.
    ],
)
def test_default_sizes_by_hand(texts, size):
    assert default_vocabulary_size(texts) == size


def test_the_default_can_be_trained():
    """It has room for the characters that SentencePiece requires, also those that NFKC makes of others."""
    random_texts = ["".join(map(chr, np.random.default_rng(row).integers(0x4E00, 0x5200, 30))) for row in range(50)]
    for texts in (random_texts, ["\ufdfa ½ ﬁ Å"], ["a"], NUMBERS, ["a \ud800"]):
        tokenizer = SubwordTokenizer.from_texts(texts)
        assert tokenizer.vocabulary_size <= default_vocabulary_size(texts)
        assert 1 not in tokenizer.tokenize(["中 a 5 x"]).flat_values


def test_each_side_has_its_own_default(caplog):
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    pairs = [(number, " ".join(names[int(digit)] for digit in number)) for number in NUMBERS]
    preprocessor = TextPreprocessor.from_pairs(pairs)
    digits = preprocessor.encode_source(["12345"])["encoder_token_ids"]
    assert preprocessor.source_vocabulary_size == 271 and digits.shape[1] >= 6  # A token for each digit, and END.
    assert preprocessor.encode_target(["one five nine"])[1].shape[1] == 4  # A token for each word.
    assert not caplog.records


# === Warnings ===


def test_vocabularies_that_swallow_numbers(caplog):
    TextPreprocessor.from_pairs([(number, "a word") for number in NUMBERS], vocabulary_size=8_000)
    (record,) = caplog.records
    assert record.name == "kerasseq.preprocessing.vocabulary_size" and record.levelname == "WARNING"
    message = record.getMessage()
    assert "subwords are numbers of several digits, such as" in message
    assert "pass tokens='characters', or vocabulary_size=None, which is 271 here." in message


@pytest.mark.parametrize(
    ("pieces", "counts", "size", "warning"),
    [
        (["12", "34", "a"], [9, 9, 90], 9, "2 of 3 subwords are numbers of several digits, such as '12'; half of"),
        (["12", "34", "a"], [10, 10, 90], 9, None),  # Often enough.
        (["12", "3", "4"], [1, 9, 9], 9, None),  # A third of them.
        (["12", "34", "a"], [9, 9, 90], 8, None),  # Not larger than the default.
        (["a", "b", "c"], [1, 2, 90], 9, "2 of 3 subwords occur only once or twice"),
        (["a", "b", "c"], [3, 2, 90], 9, None),
        (["a", "b", "c"], [0, 0, 90], 9, None),  # Parts of other subwords, which no text needs.
    ],
)
def test_warnings_by_hand(pieces, counts, size, warning, caplog):
    warn_about_subwords(pieces, np.array(counts), default=8, size=size)
    assert [record.getMessage()[: len(warning or "")] for record in caplog.records] == ([warning] if warning else [])
