"""Exported models behind TensorFlow Serving's REST API: answers as in process, whatever the requests."""

import collections
import concurrent.futures
import math
import pathlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import requests

from kerasseq.serving import Client, RequestRefused, VersionStatus

pytestmark = pytest.mark.exports

RELEASES = pathlib.Path(__file__).resolve().parents[2] / "saved_models"
SOURCES = ["one two three", "four", "four three", "two two one"]
TOLERANCE = 1e-3  # of scores: another build of TensorFlow may order closer ones differently

BYTES = [
    b"", b" ", b"\t\r\n \x0b\x0c", b"\0", b"\0" * 1_000, bytes(range(32)), b"\x7f\x80\xff", b"\xff\xfe a \xc3",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xef\xbb\xbfbyte order",
]  # fmt: skip
TEXTS = [
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fd",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u202eabc\u202c \u200f",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f a" + "\u0301" * 500,
    "\u4e00\u4e8c\u4e09\u3002\u3053\u3093\u306b\u3061\u306f\uff01",
    "\u3000\u2003\u00a0\u2028\u2029\ufeff\u00ad",
    "\ufffd\ufffe\uffff\U0010ffff",
    "\u2581\u2581 <s> </s> <unk> <pad>",
    "(" * 300,
    "\\u0000 %s %n {} ${x} '; DROP TABLE",
    "a.b.c.d. E. F! G? " * 40,
    "x" * 5_000,
]
PLANES = [" ".join(chr((plane << 16) + offset) for offset in (0x41, 0x1234, 0xABCD)) for plane in range(17)]
CORPUS = [*BYTES, *(text.encode() for text in TEXTS + PLANES)]
HUGE = [b"a" * 40_000, b"one two " * 5_000, b"\xff" * 40_000, "\U0001f600".encode() * 10_000, b"No. " * 10_000]

sources = st.one_of(
    st.sampled_from(CORPUS),
    st.binary(max_size=80),
    st.text(max_size=60).map(str.encode),
    st.text(st.characters(categories=["Mn", "Cc", "Cf", "Zs", "So", "Lo"]), max_size=40).map(str.encode),
    st.lists(st.sampled_from(["one", "two", "How are you?", " ", "\0", "\U0001f600"]), max_size=12).map(
        lambda words: " ".join(words).encode()
    ),
)


@pytest.fixture(scope="module")
def client(numbers_server):
    with Client(numbers_server.url, "numbers", deadline=300.0) as client:
        yield client
    assert numbers_server.process.poll() is None  # No request has crashed the server.


# === As in process ===


@pytest.fixture(scope="module")
def expected(generator):
    """The generator's own results for `SOURCES`, by signature."""
    return {
        "serving_default": generator.generate(SOURCES, details=True),
        "greedy": generator.generate(SOURCES, "greedy", details=True),
    }


def same_text(text, generation):
    """Whether a text is the expected one, or one with the same score."""
    return text in [text for text, score in generation.alternatives if generation.score - score < TOLERANCE]


@pytest.mark.parametrize("signature", ["serving_default", "greedy"])
def test_answers(client, expected, signature):
    answers = client.answers(SOURCES, signature)
    for answer, generation in zip(answers, expected[signature], strict=True):
        assert same_text(answer.text, generation)
        assert answer.score == pytest.approx(generation.score, abs=TOLERANCE)
    assert client.generate(SOURCES, signature) == [answer.text for answer in answers]
    assert client.generate([source.encode() for source in SOURCES], signature) == [answer.text for answer in answers]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        texts = pool.map(lambda source: client.generate(source, signature), SOURCES * 2)
    assert all(same_text(text, generation) for text, generation in zip(texts, expected[signature] * 2, strict=True))


def test_nbest(client, expected):
    for hypotheses, generation in zip(client.nbest(SOURCES), expected["serving_default"], strict=True):
        scores = [score for _, score in generation.alternatives]
        assert [score for _, score in hypotheses] == pytest.approx(scores, abs=TOLERANCE)
        assert {text for text, _ in hypotheses} == {text for text, _ in generation.alternatives}


def test_attention(client, expected):
    compared = 0
    for answer, generation in zip(client.attention(SOURCES), expected["serving_default"], strict=True):
        if answer.text == generation.text:
            compared += 1
            assert answer.score == pytest.approx(generation.score, abs=TOLERANCE)
            assert (answer.source_tokens, answer.target_tokens) == (generation.source_tokens, generation.target_tokens)
            np.testing.assert_allclose(answer.attention, generation.attention, atol=TOLERANCE)
            assert answer.attention_heads is None and answer.generation_probability is None
            assert answer.ignored_tokens == generation.ignored_tokens
    assert compared


def test_every_signature_in_rows_and_columns(numbers_server):
    """Outputs are batch first, and columns hold the same values as rows."""
    url = f"{numbers_server.url}/v1/models/numbers"
    signatures = requests.get(f"{url}/metadata").json()["metadata"]["signature_def"]["signature_def"]
    for name in ("serving_default", "greedy", "nbest", "attention"):
        outputs, request = set(signatures[name]["outputs"]), {"signature_name": name}
        rows = requests.post(f"{url}:predict", json={**request, "instances": SOURCES}).json()["predictions"]
        columns = requests.post(f"{url}:predict", json={**request, "inputs": {"text": SOURCES}}).json()["outputs"]
        assert [set(row) for row in rows] == [outputs] * len(SOURCES) and set(columns) == outputs
        assert [{key: columns[key][row] for key in columns} for row in range(len(SOURCES))] == rows


def test_odd_and_long_sources(client, generator):
    odd = ["", " \t\n", "👍🏽 two", "a\0b", b"\xff\xfe one \xc3", "\ud83d one", "مرحبا", "one two. three four. " * 20]
    as_bytes = [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in odd]
    assert client.generate(odd, "greedy") == generator.generate(as_bytes, "greedy")


def test_status(numbers_server, client):
    assert client.status() == [VersionStatus(1, "AVAILABLE", "")]
    with Client(numbers_server.url, "nobody") as other, pytest.raises(RequestRefused, match="versions of model nobody"):
        other.status()


# === Nasty requests: each source gets the answer that it gets alone ===


def check(client, batch, alone):
    """Compares the answers for a batch with those for each of its sources, kept in `alone`. Counts close scores."""
    close = 0
    for source, answer in zip(batch, client.nbest(batch), strict=True):
        if source not in alone:
            alone[source] = client.nbest(source)
        scores = [score for _, score in alone[source]]
        # The score of a long source is a sum over its parts.
        tolerance = TOLERANCE * max(1, len(source) // 20)
        assert [score for _, score in answer] == pytest.approx(scores, abs=tolerance), source
        if len(scores) > 1 and scores[0] - scores[1] <= tolerance:
            close += 1
        else:
            assert answer[0][0] == alone[source][0][0], source
    return close


def check_random_requests(client, examples, alone):
    """Sends so many random requests. Returns the numbers of sources and of those with close scores."""
    counts = collections.Counter()

    @hypothesis.settings(max_examples=examples, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(st.lists(sources, min_size=1, max_size=4))
    def run(batch):
        counts["close"] += check(client, batch, alone)
        counts["sources"] += len(batch)

    run()
    return counts


def test_random_requests(client):
    alone = {}
    close = sum(check(client, CORPUS[start : start + 8], alone) for start in range(0, len(CORPUS), 8))
    assert close < len(CORPUS) // 2
    counts = check_random_requests(client, 100, alone)
    assert counts["sources"] >= 100 and counts["close"] < counts["sources"] // 2


@pytest.mark.parametrize("source", HUGE, ids=lambda source: source[:4].hex())
def test_huge_sources(client, source):
    answers = client.answers([source, b"one two"])
    assert answers[1].text == client.generate(b"one two")
    assert -math.inf < answers[0].score < 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["translation_en_fr", "summarization_en"])
def test_random_requests_of_released_models(start_server, name, capsys):
    server, alone = start_server(RELEASES / name), {}
    with Client(server.url, name, deadline=300.0) as client:
        for start in range(0, len(CORPUS), 6):
            check(client, CORPUS[start : start + 6], alone)
        counts = check_random_requests(client, 5_000, alone)
    with capsys.disabled():
        print(f"\n{name}: {dict(counts)}")
    assert server.process.poll() is None and counts["close"] < counts["sources"] // 10
