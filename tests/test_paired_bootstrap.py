"""The p-value of two systems, where it is known."""

import numpy as np
import pytest
import sacrebleu
from sacrebleu.significance import PairedTest

from kerasseq.evaluation import exact_match, paired_bootstrap, token_f1

REFERENCES = [
    f"{count} men walk {way} the road to town" for count in ("two", "three", "four") for way in ("up", "down")
]
WRONG = ["a dog runs over a field of grass"] * len(REFERENCES)
METRICS = ["bleu", "chrf", "exact_match", "token_f1"]


def test_equal_and_opposite_systems():
    same = paired_bootstrap(REFERENCES, REFERENCES, REFERENCES, METRICS)
    assert list(same) == METRICS
    assert all(result["p_value"] == 1.0 and result["difference"] == 0.0 for result in same.values())
    one = paired_bootstrap(REFERENCES, WRONG, REFERENCES, METRICS)
    other = paired_bootstrap(WRONG, REFERENCES, REFERENCES, METRICS)
    for name in METRICS:
        assert one[name]["p_value"] == other[name]["p_value"] < 0.01
        assert one[name]["score"] == other[name]["baseline"] == (1.0 if name == "token_f1" else 100.0)
        assert one[name]["difference"] == -other[name]["difference"] > 0


def test_agrees_with_sacrebleu():
    outputs = [WRONG[0], *REFERENCES[1:]]
    test = PairedTest([("a", outputs), ("b", REFERENCES)], {"BLEU": sacrebleu.BLEU()}, [REFERENCES], "bs", 500)
    expected = test()[1]["BLEU"]
    found = paired_bootstrap(REFERENCES, outputs, REFERENCES, "bleu", resamples=500)["bleu"]
    assert found["p_value"] == round(expected[1].p_value, 4)
    assert (found["baseline"], found["score"]) == (round(expected[0].score, 2), round(expected[1].score, 2))


def test_means_of_texts_in_another_way():
    """How often each text is drawn is multinomial."""
    outputs = ["men walk home", "four men", *REFERENCES[2:]]
    found = paired_bootstrap(REFERENCES, outputs, REFERENCES, "token_f1", resamples=20_000)["token_f1"]
    differences = [1 - token_f1([text], [other])["score"] for text, other in zip(outputs, REFERENCES, strict=True)]
    counts = np.random.default_rng(1).multinomial(6, np.full(6, 1 / 6), size=100_000)
    exceeding = counts @ differences / 6 - 2 * np.mean(differences)  # The mean of the draws is that of the texts.
    assert 0.03 < np.mean(exceeding > 1e-6) - 0.01 < found["p_value"] < np.mean(exceeding > -1e-6) + 0.01 < 0.2
    assert found["score"] == 1.0 and found["baseline"] == token_f1(outputs, REFERENCES)["score"]
    matches = paired_bootstrap(outputs, WRONG, REFERENCES, "exact_match")["exact_match"]
    assert matches["score"] == exact_match(outputs, REFERENCES)["score"] == pytest.approx(100 * 4 / 6, abs=0.01)


def test_several_references():
    entries = [[text, "another text"] for text in REFERENCES[:-1]] + [["a third one"]]
    found = paired_bootstrap(REFERENCES, WRONG, entries, ["bleu", "exact_match"])
    assert found["exact_match"]["score"] == pytest.approx(100 * 5 / 6, abs=0.01)
    assert found["bleu"]["score"] == round(sacrebleu.corpus_bleu(
        REFERENCES, [[entry[0] for entry in entries], [*["another text"] * 5, None]]
    ).score, 2)  # fmt: skip


def test_errors():
    with pytest.raises(ValueError, match="can be tested. Received: 'cider'"):
        paired_bootstrap(REFERENCES, WRONG, REFERENCES, "cider")
    with pytest.raises(ValueError, match="at least 40. Received: resamples=10"):
        paired_bootstrap(REFERENCES, WRONG, REFERENCES, resamples=10)
    with pytest.raises(ValueError, match="same length"):
        paired_bootstrap(REFERENCES, WRONG[1:], REFERENCES)
