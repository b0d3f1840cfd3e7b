import numpy as np
import pytest

import kerasseq
from kerasseq import evaluation


def test_scores_are_those_of_the_outputs(generator, number_pairs):
    # Some references are wrong, so that the model is not perfect.
    pairs = [(source, "acht" if index % 5 == 0 else target) for index, (source, target) in enumerate(number_pairs)]
    sources, targets = zip(*pairs, strict=True)
    scores = generator.evaluate_text(pairs, ["bleu", "chrf", "rouge", "word_error_rate", "exact_match"])
    outputs = generator.generate(sources)
    assert scores["bleu"]["score"] == evaluation.bleu(outputs, targets)["score"]
    assert scores["chrf"]["score"] == evaluation.chrf(outputs, targets)["score"]
    assert scores["rouge"] == evaluation.rouge(outputs, targets, resamples=1_000)
    assert scores["word_error_rate"]["cer"] == evaluation.word_error_rate(outputs, targets)["cer"]
    assert scores["exact_match"]["score"] == evaluation.exact_match(outputs, targets)["score"] < 100
    for metric, name in {"bleu": "score", "chrf": "score", "rouge": "rougeL", "word_error_rate": "wer"}.items():
        low, high = scores[metric]["intervals"][name]
        assert low < scores[metric][name] < high


def test_decomposed_accents_of_targets_are_named(generator):
    with pytest.warns(UserWarning, match="Some targets are not in the normal form NFC"):
        generator.evaluate_text([("one", ["fünf", "fu\u0308nf"])], "exact_match", sampler="greedy", resamples=0)


def test_sampler_length_and_references(generator, number_pairs):
    sources, targets = zip(*number_pairs, strict=True)
    pairs = [(source, [target, "no"]) for source, target in number_pairs]
    scores = generator.evaluate_text(pairs, "exact_match", sampler="greedy", max_length=3, batch_size=5, resamples=0)
    outputs = generator.generate(sources, sampler="greedy", max_length=3)
    expected = 100 * np.mean([output in (target, "no") for output, target in zip(outputs, targets, strict=True)])
    assert scores == {"exact_match": {"score": round(float(expected), 2)}}


@pytest.mark.parametrize(
    ("pairs", "metrics", "message"),
    [
        ([], ["bleu"], r"pairs must be a list of \(source, target\), at least one. Received: none"),
        (None, ["bleu"], "at least one. Received: none"),
        ([("one", "eins"), ("two",)], ["bleu"], r"Received at index 1: \('two',\)"),
        (["to", "no"], ["bleu"], "Received at index 0: 'to'"),
        ([("one", "eins")], [], "metrics must be .* among 'bleu'"),
        ([("one", "eins")], ["ter"], r"metrics must be .* among .* Received: \['ter'\]"),
        ([("one", "eins")], None, r"metrics must be .* among .* Received: None"),
        ([("one", "eins")], [["bleu"]], r"metrics must be .* among .* Received: \[\['bleu'\]\]"),
        ([("one", None)], ["bleu"], "references must be strings. Received: None"),
        ([("one", ["eins"])], ["word_error_rate"], "references must be strings, one each. Received: .'eins'."),
        ([("one", "")], ["word_error_rate"], "Every reference must have a word. Received at index 0"),
    ],
)
def test_errors_before_anything_is_generated(generator, pairs, metrics, message, monkeypatch):
    monkeypatch.delattr(kerasseq.TextGenerator, "generate")
    with pytest.raises(ValueError, match=message):
        generator.evaluate_text(pairs, metrics)
    with pytest.raises(ValueError, match="resamples must be 0"):
        generator.evaluate_text([("one", "eins")], resamples=1)
