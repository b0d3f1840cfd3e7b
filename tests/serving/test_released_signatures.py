"""Every signature of every released model, in TensorFlow's C++ loader and a process without kerasseq, as in process."""

import base64
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import kerasseq
from kerasseq.exported import versions

RELEASES = pathlib.Path(__file__).resolve().parents[2] / "saved_models"
C_API = pathlib.Path(__file__).parent / "c_api.py"
SIGNATURES = {"serving_default": None, "greedy": "greedy", "nbest": None, "attention": None}
TOLERANCE = 1e-3
SHORT = [
    b"The train leaves at seven o'clock.",
    b"Los Angeles, March 2 Police said on Tuesday that a 27-year-old man was arrested after a robbery.",
    b"",
    "\u0645\u0631\u062d\u0628\u0627 \U0001f44d\U0001f3fd 7:30".encode(),
    b"\xff\xfe a\0b \xc3",
]
LONG = [b"The old man never talks to us. " * 20 + b"Mr. Smith paid $3.5 million! " * 10, b"Thank you."]


def greedy_with_rules(generator):
    return kerasseq.samplers.GreedySampler(**generator.sampler.rules())


@pytest.fixture(scope="module", params=["translation_en_fr", "summarization_en"])
def released(request):
    """The generator, and a function from a signature and a kind of request to the answer of the fresh process."""
    version = RELEASES / request.param / str(max(versions(RELEASES / request.param)))
    requests = [
        {"signature": signature, "inputs": {"text": [base64.b64encode(text).decode() for text in texts]}}
        for signature in SIGNATURES
        for texts in (SHORT, LONG)
    ]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, str(C_API), str(version)]
    run = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3_000:]
    served = json.loads(run.stdout)
    assert "kerasseq" not in served["imported"] and set(served["signatures"]) >= set(SIGNATURES)

    def answer(signature, kind):
        found = served["answers"][2 * list(SIGNATURES).index(signature) + (kind == "long")]
        texts = [[decoded(text) for text in np.ravel(row)] for row in found["text"]["values"]]
        return found, texts, np.array(found["score"]["values"]).reshape(len(texts), -1)

    return kerasseq.TextGenerator.load(version), answer


def decoded(text):
    return base64.b64decode(text).decode("utf-8")


def near_tie(scores):
    return any(first - second <= TOLERANCE for first, second in zip(scores, scores[1:], strict=False))


@pytest.mark.parametrize("signature", SIGNATURES)
def test_short_sources(released, signature):
    generator, answer = released
    found, texts, scores = answer(signature, "short")
    sampler = greedy_with_rules(generator) if signature == "greedy" else None
    for row, generation in enumerate(generator.generate(SHORT, sampler, details=True)):
        expected = generation.alternatives if signature == "nbest" else generation.alternatives[:1]
        found_count = len(expected)
        np.testing.assert_allclose(scores[row][:found_count], [score for _, score in expected], atol=TOLERANCE)
        assert (scores[row][found_count:] < -1e8).all()  # A search may find fewer hypotheses than it could.
        if not near_tie([score for _, score in generation.alternatives]):
            assert texts[row][:found_count] == [text for text, _ in expected]
        if signature == "attention":
            tokens = [
                [decoded(token) for token in found[side]["values"][row]] for side in ("target_tokens", "source_tokens")
            ]
            targets, sources = generation.attention.shape
            assert tokens[0][:targets] == generation.target_tokens and not any(tokens[0][targets:])
            assert tokens[1][:sources] == generation.source_tokens and not any(tokens[1][sources:])
            weights = np.array(found["attention"]["values"][row])
            np.testing.assert_allclose(weights[:targets, :sources], generation.attention, atol=TOLERANCE)
            assert found["ignored_tokens"]["values"][row] == generation.ignored_tokens == 0


@pytest.mark.parametrize("signature", SIGNATURES)
def test_long_sources(released, signature):
    """The texts of `generate`, in parts; where the signature has no parts, with the number of what was not read."""
    generator, answer = released
    found, texts, _ = answer(signature, "long")
    if signature == "attention":
        generations = generator.generate(LONG, details=True)
        assert [row[0] for row in texts] == [generation.text for generation in generations]
        length = int(generator.preprocessor.tokenize(LONG, "source").row_lengths()[0])
        assert found["ignored_tokens"]["values"] == [length - generator.preprocessor.max_source_length, 0]
        return
    sampler = greedy_with_rules(generator) if signature == "greedy" else None
    expected = generator.generate(LONG, sampler)
    assert [row[0] for row in texts] == expected
    assert len(expected[0]) > 3 * len(expected[1])
