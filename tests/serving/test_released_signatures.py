"""Every signature of every released model, in TensorFlow's C++ loader without kerasseq, compared with the generator."""

import functools
import pathlib

import numpy as np
import pytest
from helpers import ask_served

import kerasseq
from kerasseq.export.versions import versions

pytestmark = pytest.mark.exports

RELEASES = pathlib.Path(__file__).resolve().parents[2] / "saved_models"
SIGNATURES = ["serving_default", "greedy", "nbest", "attention"]
TOLERANCE = 1e-3
SHORT = [
    b"The train leaves at seven o'clock.",
    b"Los Angeles, March 2 Police said on Tuesday that a 27-year-old man was arrested after a robbery.",
    b"",
    "\u0645\u0631\u062d\u0628\u0627 \U0001f44d\U0001f3fd 7:30".encode(),
    b"\xff\xfe a\0b \xc3",
]
LONG = [b"The old man never talks to us. " * 20 + b"Mr. Smith paid $3.5 million! " * 10, b"Thank you."]


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("translation_en_de", "translation_en_es")]


@pytest.fixture(scope="module", params=["translation_en_fr", "summarization_en", *OTHERS])
def released(request):
    """(generator, answer, expected): two functions that return the outputs of a served signature and of `generate`."""
    version = RELEASES / request.param / str(max(versions(RELEASES / request.param)))
    cases = [(signature, sources) for signature in SIGNATURES for sources in (SHORT, LONG)]
    answers = ask_served(version, cases)
    generator = kerasseq.TextGenerator.load(version)

    def answer(signature, sources):
        outputs = answers[cases.index((signature, sources))]
        texts = [np.ravel(row).tolist() for row in outputs["text"]]
        return outputs, texts, outputs["score"].reshape(len(texts), -1)

    @functools.cache
    def expected(is_greedy, is_long, details):
        constraints = generator.sampler.constraints
        sampler = kerasseq.search.GreedySampler(constraints=constraints) if is_greedy else None
        return generator.generate(LONG if is_long else SHORT, sampler, details=details)

    return generator, answer, expected


def has_ties(scores):
    return any(first - second <= TOLERANCE for first, second in zip(scores, scores[1:], strict=False))


@pytest.mark.parametrize("signature", SIGNATURES)
def test_short_sources(request, released, signature):
    _, answer, expected = released
    outputs, texts, scores = answer(signature, SHORT)
    invents = "translation_en_fr-" in request.node.name  # Exported when blank sources still had outputs.
    for row, generation in enumerate(expected(signature == "greedy", is_long=False, details=True)):
        if invents and not SHORT[row]:
            continue
        hypotheses = generation.alternatives if signature == "nbest" else generation.alternatives[:1]
        found = len(hypotheses)
        np.testing.assert_allclose(scores[row][:found], [score for _, score in hypotheses], atol=TOLERANCE)
        assert (scores[row][found:] < -1e8).all()  # A search may find fewer hypotheses than its width.
        if not has_ties([score for _, score in generation.alternatives]):
            assert texts[row][:found] == [text for text, _ in hypotheses]
        if signature == "attention":
            targets, sources = generation.attention.shape
            for side, length in {"target_tokens": targets, "source_tokens": sources}.items():
                tokens = outputs[side][row].tolist()
                assert tokens[:length] == getattr(generation, side) and not any(tokens[length:])
            weights = outputs["attention"][row]
            np.testing.assert_allclose(weights[:targets, :sources], generation.attention, atol=TOLERANCE)
            assert outputs["ignored_tokens"][row] == generation.ignored_tokens == 0


@pytest.mark.parametrize("signature", SIGNATURES)
def test_long_sources(released, signature):
    """All signatures split long sources, except `attention`, which reports how many tokens it ignores."""
    generator, answer, expected = released
    outputs, texts, _ = answer(signature, LONG)
    best = [row[0] for row in texts]
    if signature == "attention":
        assert best == [generation.text for generation in expected(False, is_long=True, details=True)]
        length = int(generator.preprocessor.tokenize(LONG, "source").row_lengths()[0])
        assert outputs["ignored_tokens"].tolist() == [length - generator.preprocessor.max_source_length, 0]
    else:
        assert len(best[0]) > 3 * len(best[1])
        if signature != "greedy":  # The search differs, the split is the same.
            assert best == expected(False, is_long=True, details=False)
