"""Requests that nobody should send: each row gets an answer, and the one that it gets alone.

Through the client, the test double of the REST server and TensorFlow's C++ loader.
"""

import collections
import json
import math
import os
import pathlib
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import pytest

from kerasseq.exported import versions
from kerasseq.serving import Client

DOUBLE = pathlib.Path(__file__).parent / "rest_double.py"
RELEASES = pathlib.Path(__file__).resolve().parents[2] / "saved_models"
TOLERANCE = 1e-3

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
HUGE = [b"a" * 100_000, b"one two " * 12_500, b"\xff" * 100_000, "\U0001f600".encode() * 25_000, b"No. " * 25_000]

texts = st.one_of(
    st.sampled_from(CORPUS),
    st.binary(max_size=80),
    st.text(max_size=60).map(lambda text: text.encode("utf-8")),
    st.text(st.characters(categories=["Mn", "Cc", "Cf", "Zs", "So", "Lo"]), max_size=40).map(str.encode),
    st.lists(st.sampled_from(["one", "two", "How are you?", " ", "\0", "\U0001f600"]), max_size=12).map(
        lambda words: " ".join(words).encode()
    ),
)
requests = st.lists(texts, min_size=1, max_size=4)


@pytest.fixture(scope="module")
def serve():
    """Starts the double for a version's folder: (client, process)."""
    running = []

    def start(folder):
        command = [sys.executable, str(DOUBLE), "--port", "0", "--model", f"model={folder}"]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("PYTHONPATH", None)
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        port = json.loads(process.stdout.readline())["port"]
        client = Client(f"http://127.0.0.1:{port}", "model", deadline=300.0, retries=0)
        running.append((client, process))
        return client, process

    yield start
    for client, process in running:
        client.close()
        process.terminate()
        process.wait()
        process.stdout.close()


def check(client, sources, counts):
    """Every row has an answer, that which it gets alone."""
    together = client.nbest(sources)
    assert len(together) == len(sources)
    for source, answer in zip(sources, together, strict=True):
        (alone,) = client.nbest([source])
        counts["rows"] += 1
        scores = [score for _, score in alone]
        # A source in parts has a score for each, so rounding adds up with their number.
        tolerance = TOLERANCE * max(1, len(source) // 20)
        assert [score for _, score in answer] == pytest.approx(scores, abs=tolerance), source
        if len(scores) > 1 and scores[0] - scores[1] <= tolerance:
            counts["near ties"] += 1
        else:
            assert answer[0][0] == alone[0][0], source


@pytest.fixture(scope="module")
def small(serve, generator, tmp_path_factory):
    return serve(generator.export(tmp_path_factory.mktemp("nasty") / "model"))


def test_corpus(small):
    client, process = small
    counts = collections.Counter()
    for start in range(0, len(CORPUS), 6):
        check(client, CORPUS[start : start + 6], counts)
    assert counts["rows"] == len(CORPUS) and counts["near ties"] < len(CORPUS) // 2
    assert process.poll() is None


@pytest.mark.parametrize("source", HUGE, ids=lambda source: source[:4].hex())
def test_huge(small, source):
    client, process = small
    answers = client.answers([source, b"one two"])
    assert answers[1].text == client.generate(b"one two")
    assert -math.inf < answers[0].score < 0
    assert process.poll() is None


def nasty(client, process, examples):
    """Runs that many random requests; returns what was counted."""
    counts = collections.Counter()

    @hypothesis.settings(max_examples=examples, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(requests)
    def run(sources):
        check(client, sources, counts)
        counts["requests"] += 1

    run()
    assert process.poll() is None
    return counts


def test_300_random_requests(small):
    counts = nasty(*small, examples=300)
    assert counts["requests"] >= 300 and counts["near ties"] < counts["rows"] // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["translation_en_fr", "summarization_en"])
def test_random_requests_of_released_models(serve, name, capsys):
    client, process = serve(RELEASES / name / str(max(versions(RELEASES / name))))
    for start in range(0, len(CORPUS), 6):
        check(client, CORPUS[start : start + 6], collections.Counter())
    counts = nasty(client, process, examples=5_000)
    with capsys.disabled():
        print(f"\n{name}: {dict(counts)}")
    assert counts["near ties"] < counts["rows"] // 10
