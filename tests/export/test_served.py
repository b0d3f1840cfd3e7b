"""An exported model in TensorFlow's C++ loader, in a process without kerasseq, against the generator."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from helpers import ask_served

pytestmark = pytest.mark.exports

REQUESTS = {
    "plain": [b"one two three", b"four", b"four three two one"],
    "odd": [
        b"",
        b" \t",
        "👍🏽 two".encode(),
        b"\xff\xfe one \xc3",
        "مرحبا".encode(),
        b"a\0b",
        "一二三".encode(),
    ],
    "long": [b"one two " * 5_000, b"three"],
    "single": [b"two"],
}
SIGNATURES = {"serving_default": None, "greedy": "greedy", "nbest": None, "attention": None}  # and their samplers
DETAILS = ("source_tokens", "target_tokens", "attention", "ignored_tokens")


@pytest.fixture(scope="module")
def served(exported):
    """Answers of a fresh process that runs TensorFlow's C++ loader and none of our code."""
    requests = list(itertools.product(SIGNATURES, REQUESTS))
    answers = ask_served(exported, [(signature, REQUESTS[kind]) for signature, kind in requests])
    return dict(zip(requests, answers, strict=True))


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("kind", REQUESTS)
def test_served_as_in_process(generator, served, signature, kind):
    answer = served[signature, kind]
    assert set(answer) == {"text", "score", *(DETAILS if signature == "attention" else ())}
    texts, scores = answer["text"], answer["score"]
    assert (texts.dtype, scores.dtype) == (object, "float32")
    assert texts.shape == scores.shape == ((len(REQUESTS[kind]), 3) if signature == "nbest" else (len(REQUESTS[kind]),))
    if kind == "long" and signature != "attention":  # In parts, of which there are no details in process.
        assert_parts_are_joined(generator, REQUESTS[kind], SIGNATURES[signature], texts, scores)
        return
    for row, generation in enumerate(generator.generate(REQUESTS[kind], SIGNATURES[signature], details=True)):
        expected = generation.alternatives if signature == "nbest" else generation.alternatives[:1]
        answered_scores = np.ravel(scores[row])
        np.testing.assert_allclose(answered_scores[: len(expected)], [score for _, score in expected], atol=1e-3)
        assert (answered_scores[len(expected) :] < -1e8).all()  # Other tokens of the same text are one hypothesis.
        for rank, ((text, _), answered) in enumerate(zip(expected, np.ravel(texts[row]), strict=False)):
            assert answered == text or near_tie(generation, rank)


def near_tie(generation, rank):
    """Whether the hypothesis of a rank could be exchanged with one beside it by rounding."""
    scores = [score for _, score in generation.alternatives]
    others = [other for other in (rank - 1, rank + 1) if 0 <= other < len(scores)]
    return rank < len(scores) and any(abs(scores[rank] - scores[other]) <= 1e-3 for other in others)


def assert_parts_are_joined(generator, sources, sampler, texts, scores):
    """The answers are those of `generate`, and the score is the sum of the scores of the parts."""
    encoder_inputs, owners = generator.preprocessor.encode_parts(tf.constant(sources))
    ids = encoder_inputs["encoder_token_ids"].numpy().tolist()
    ids = tf.ragged.constant([[token_id for token_id in row if token_id > 3] for row in ids], tf.int32)
    parts = generator.preprocessor.tokenizers[0].detokenize(ids)
    generations = generator.generate(parts.numpy().tolist(), sampler, details=True)
    for row in range(len(sources)):
        own = [generation for generation, owner in zip(generations, owners.numpy(), strict=True) if owner == row]
        ranks = range(np.size(texts[row]))
        # The best hypothesis of a part fills its missing ranks.
        hypotheses = [[*generation.alternatives, *generation.alternatives[:1] * len(ranks)] for generation in own]
        expected = [sum(own_hypotheses[rank][1] for own_hypotheses in hypotheses) for rank in ranks]
        np.testing.assert_allclose(np.ravel(scores[row]), expected, atol=1e-3 * len(own))
        if not any(near_tie(generation, rank) for generation in own for rank in ranks):
            joined = [" ".join(own_hypotheses[rank][0] for own_hypotheses in hypotheses) for rank in ranks]
            assert np.ravel(texts[row]).tolist() == joined


@pytest.mark.parametrize("kind", REQUESTS)
def test_served_attention(generator, served, kind):
    """Tokens and weights of each row are those of `generate`, followed by empty or zero padding."""
    answer = served["attention", kind]
    texts, weights = answer["text"], answer["attention"]
    compared = 0
    for row, generation in enumerate(generator.generate(REQUESTS[kind], details=True)):
        if texts[row] != generation.text:
            continue  # A near tie, as the test above knows.
        compared += 1
        for side in ("source_tokens", "target_tokens"):
            tokens = answer[side][row].tolist()
            expected = getattr(generation, side)
            assert tokens[: len(expected)] == expected and not any(tokens[len(expected) :])
        targets, sources = generation.attention.shape
        np.testing.assert_allclose(weights[row, :targets, :sources], generation.attention, atol=1e-4)
        assert not weights[row, :, sources:].any()
    assert compared
