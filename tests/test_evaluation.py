import doctest
import sys

import pytest
import sacrebleu

from kerasseq.evaluation import bleu, chrf

PREDICTIONS = ["the cat sat on a mat", "there is a dog in the garden", "hello"]
REFERENCES = [
    ["the cat sat on the mat", "a cat was sitting on the mat", "the cat is on a mat"],
    ["a dog is in the garden"],
    ["hello there", "hello"],
]


def duplicated():
    """sacreBLEU's streams, short rows filled up with their first reference, which adds nothing to compare with."""
    most = max(map(len, REFERENCES))
    return [list(stream) for stream in zip(*(row + row[:1] * (most - len(row)) for row in REFERENCES), strict=True)]


def test_one_reference():
    firsts = [row[0] for row in REFERENCES]
    assert bleu(PREDICTIONS, firsts)["score"] == round(sacrebleu.corpus_bleu(PREDICTIONS, [firsts]).score, 2)
    assert chrf(PREDICTIONS, firsts)["score"] == round(sacrebleu.corpus_chrf(PREDICTIONS, [firsts]).score, 2)
    assert bleu(PREDICTIONS, firsts) == bleu(iter(PREDICTIONS), [[first] for first in firsts])


def test_references_of_different_number():
    assert bleu(PREDICTIONS, REFERENCES)["score"] == round(sacrebleu.corpus_bleu(PREDICTIONS, duplicated()).score, 2)
    assert chrf(PREDICTIONS, REFERENCES)["score"] == round(sacrebleu.corpus_chrf(PREDICTIONS, duplicated()).score, 2)
    assert bleu(PREDICTIONS, REFERENCES)["score"] > bleu(PREDICTIONS, [row[:1] for row in REFERENCES])["score"]


def test_strings_and_lists_may_be_mixed():
    mixed = [REFERENCES[0], REFERENCES[1][0], tuple(REFERENCES[2])]
    assert bleu(PREDICTIONS, mixed) == bleu(PREDICTIONS, REFERENCES)


def test_hand_computed_bleu():
    # N-grams of the prediction found in the reference: 6 of 7, 4 of 6, 3 of 5, 2 of 4. No brevity penalty.
    expected = 100 * (6 / 7 * 4 / 6 * 3 / 5 * 2 / 4) ** 0.25
    assert bleu(["the small cat sat on the mat"], ["the cat sat on the mat"])["score"] == round(expected, 2)


def test_perfect_and_hopeless():
    for score in (bleu, chrf):
        assert score(["one two three four"], ["one two three four"])["score"] == 100.0
        assert score(["one two three four"], ["zzzz"])["score"] == 0.0


def test_tokenizer_for_chinese():
    predictions, references = ["我们今天去公园玩"], ["我们今天去公园散步"]
    expected = sacrebleu.corpus_bleu(predictions, [references], tokenize="zh")
    assert bleu(predictions, references, tokenize="zh")["score"] == round(expected.score, 2) > 0
    assert bleu(predictions, references)["score"] == 0


def test_signatures_name_settings_and_version():
    signature = bleu(PREDICTIONS, REFERENCES)["signature"]
    assert "tok:13a" in signature and "nrefs:var" in signature and f"version:{sacrebleu.__version__}" in signature
    assert "nc:6" in chrf(PREDICTIONS, REFERENCES)["signature"]


@pytest.mark.parametrize("score", [bleu, chrf])
@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "at least 1. Received: 0 predictions, 0 references"),
        (["a"], [], "Received: 1 predictions, 0 references"),
        (["a", "b"], [["a", "b"]], "Received: 2 predictions, 1 references"),
        (["a", "b"], ["a", []], "Received: none at index 1"),
        ("one", "one", "Received: a single string"),
        (["one"], "o", "Received: a single string"),
    ],
)
def test_errors(score, predictions, references, message):
    with pytest.raises(ValueError, match=message):
        score(predictions, references)


def test_examples():
    result = doctest.testmod(sys.modules["kerasseq.evaluation"])
    assert result.attempted and not result.failed
