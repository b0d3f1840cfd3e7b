"""An exported model in TensorFlow's C++ loader, in a process without kerasseq, against the generator."""

import base64
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

pytestmark = pytest.mark.exports

C_API = pathlib.Path(__file__).resolve().parents[1] / "serving" / "c_api.py"

REQUESTS = {
    "plain": [b"one two three", b"four", b"four three two one"],
    "odd": [
        b"",
        b" \t\n",
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
    requests = [
        {"signature": signature, "inputs": {"text": [base64.b64encode(text).decode() for text in texts]}}
        for signature in SIGNATURES
        for texts in REQUESTS.values()
    ]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, str(C_API), str(exported)]
    run = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3_000:]
    return json.loads(run.stdout)


def test_the_process_does_not_import_kerasseq(served):
    assert "kerasseq" not in served["imported"] and "tensorflow_text" not in served["imported"]
    assert set(SIGNATURES) <= set(served["signatures"])


def answer_of(served, signature, kind):
    return served["answers"][list(SIGNATURES).index(signature) * len(REQUESTS) + list(REQUESTS).index(kind)]


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("kind", REQUESTS)
def test_served_as_in_process(generator, served, signature, kind):
    answer = answer_of(served, signature, kind)
    assert set(answer) == {"text", "score", *(DETAILS if signature == "attention" else ())}
    assert (answer["text"]["dtype"], answer["score"]["dtype"]) == ("string", "float32")
    texts, scores = np.array(answer["text"]["values"], object), np.array(answer["score"]["values"])
    assert texts.shape == scores.shape == ((len(REQUESTS[kind]), 3) if signature == "nbest" else (len(REQUESTS[kind]),))
    if kind == "long" and signature != "attention":  # In parts, of which there are no details in process.
        assert_parts_are_joined(generator, REQUESTS[kind], SIGNATURES[signature], texts, scores)
        return
    for row, generation in enumerate(generator.generate(REQUESTS[kind], SIGNATURES[signature], details=True)):
        expected = generation.alternatives if signature == "nbest" else generation.alternatives[:1]
        np.testing.assert_allclose(np.ravel(scores[row]), [score for _, score in expected], atol=1e-3)
        for rank, (text, encoded) in enumerate(zip([text for text, _ in expected], np.ravel(texts[row]), strict=True)):
            if not near_tie(generation, rank):
                assert base64.b64decode(encoded).decode("utf-8") == text


def near_tie(generation, rank):
    """Whether the hypothesis of a rank could be exchanged with one beside it by rounding."""
    scores = [score for _, score in generation.alternatives]
    return any(abs(scores[rank] - scores[other]) <= 1e-3 for other in (rank - 1, rank + 1) if 0 <= other < len(scores))


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
        expected = [sum(generation.alternatives[rank][1] for generation in own) for rank in ranks]
        np.testing.assert_allclose(np.ravel(scores[row]), expected, atol=1e-3 * len(own))
        if not any(near_tie(generation, rank) for generation in own for rank in ranks):
            joined = [" ".join(generation.alternatives[rank][0] for generation in own) for rank in ranks]
            assert [base64.b64decode(text).decode() for text in np.ravel(texts[row])] == joined


@pytest.mark.parametrize("kind", REQUESTS)
def test_served_attention(generator, served, kind):
    """Tokens and weights of each row are those of `generate`, followed by empty or zero padding."""
    answer = answer_of(served, "attention", kind)
    texts = [base64.b64decode(text).decode("utf-8") for text in answer["text"]["values"]]
    weights = np.array(answer["attention"]["values"])
    compared = 0
    for row, generation in enumerate(generator.generate(REQUESTS[kind], details=True)):
        if texts[row] != generation.text:
            continue  # A near tie, as the test above knows.
        compared += 1
        for side in ("source_tokens", "target_tokens"):
            tokens = [base64.b64decode(token).decode("utf-8") for token in answer[side]["values"][row]]
            expected = getattr(generation, side)
            assert tokens[: len(expected)] == expected and not any(tokens[len(expected) :])
        targets, sources = generation.attention.shape
        np.testing.assert_allclose(weights[row, :targets, :sources], generation.attention, atol=1e-4)
        assert not weights[row, :, sources:].any()
    assert compared
