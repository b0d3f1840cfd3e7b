"""Scores of given targets: against the search, and against the model by hand."""

import math

import numpy as np
import pytest

import kerasseq
from kerasseq import TextGenerator
from kerasseq.search import BeamSampler

SOURCES = ["one two three", "four", "four three two one", "two"]


def test_scores_are_those_of_the_search(generator):
    generations = generator.generate(SOURCES, BeamSampler(3, length_penalty=0.0), details=True)
    pairs = [(source, generation.text) for source, generation in zip(SOURCES, generations, strict=True)]
    scores = generator.score(pairs)
    np.testing.assert_allclose(scores, [generation.score for generation in generations], atol=1e-4)
    assert max(scores) < 0 and len({round(score, 3) for score in scores}) > 2


def test_batches_and_tokens(generator, preprocessor, trained_model):
    """In the order of the pairs, whatever the batches; by hand from the logits of the model."""
    pairs = [("one two", "zwei eins"), ("three", ""), ("four four one", "eins vier vier vier"), ("two", "drei")]
    scores, tokens = generator.score(pairs), generator.score(pairs, batch_size=3, per_token=True)
    for pair, score, values in zip(pairs, scores, tokens, strict=True):
        decoder_token_ids, labels = preprocessor.encode_target([pair[1]])
        inputs = {**preprocessor.encode_source([pair[0]]), "decoder_token_ids": decoder_token_ids}
        logits = np.float64(trained_model(inputs))[0]
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        expected = log_probabilities[np.arange(labels.shape[1]), np.asarray(labels)[0]]
        np.testing.assert_allclose(values, expected, atol=1e-4)
        assert values.dtype == "float32" and score == pytest.approx(expected.sum(), abs=1e-4)
    assert generator.score([pairs[1]]) == pytest.approx([scores[1]], abs=1e-4)


def test_lone_surrogates_are_replaced(generator):
    assert generator.score([("one \ud800", "zwei \ud800")]) == generator.score([("one \ufffd", "zwei \ufffd")])


def test_scores_of_an_ensemble(preprocessor):
    """The log of the mean of the members' probabilities, token by token."""
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    members = [build(*sizes, 4, 4) for build in (kerasseq.models.GRUSeq2Seq, kerasseq.models.LSTMSeq2Seq)]
    ensemble = kerasseq.models.Ensemble(members)
    pairs = [("one two", "zwei eins"), ("two", "drei")]
    of_members = [TextGenerator(model, preprocessor).score(pairs, per_token=True) for model in members]
    for values, *own in zip(
        TextGenerator(ensemble, preprocessor).score(pairs, per_token=True), *of_members, strict=True
    ):
        np.testing.assert_allclose(np.exp(values), np.mean(np.exp(own), axis=0), atol=1e-5)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "at least one. Received: none"),
        ([("one", "eins"), ("two", ["zwei"])], r"targets must be strings, one for each source. Received: \['zwei'\]"),
        ([("one", "eins"), (5, "zwei")], "Received at index 1: 5"),
        ([("one", "eins"), ("two", "zwei " * 90)], r"at most max_target_length=\d+ tokens.*at index 1: \d+ tokens"),
    ],
)
def test_errors(pairs, message, generator):
    with pytest.raises(ValueError, match=message):
        generator.score(pairs)
    assert math.isfinite(generator.score([("one", "eins")])[0])
