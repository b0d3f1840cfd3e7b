"""Requests that wait run together, and each gets its own answer."""

import threading

import numpy as np
import pytest

from kerasseq.serving.server.batching import Batcher
from kerasseq.serving.server.refusals import Refusal

SECONDS = 20


class Graph:
    """A graph that returns capitals, notes its runs, and waits with the first one until it may go on."""

    def __init__(self):
        self.runs, self.started, self.may_go_on = [], threading.Event(), threading.Event()

    def __call__(self, signature, inputs):
        self.started.set()
        assert self.may_go_on.wait(SECONDS)
        (texts,) = inputs.values()
        self.runs.append((signature, texts.tolist()))
        if b"bad" in texts:
            raise ValueError("bad")
        outputs = {"text": np.array([text.upper() for text in texts.ravel()], object).reshape(texts.shape)}
        return {**outputs, "size": np.array(len(texts))} if signature == "scalar" else outputs


@pytest.fixture
def graph():
    return Graph()


@pytest.fixture
def submit(graph):
    """A function that submits texts to a batcher whose first run waits."""
    batcher = Batcher(graph, max_rows=4, max_waiting=6)
    first = batcher.submit("greedy", {"text": np.array([b"first"], object)})
    assert graph.started.wait(SECONDS)
    yield lambda texts, signature="greedy": batcher.submit(signature, {"text": np.array(texts, object)})
    graph.may_go_on.set()
    assert first.result(SECONDS)["text"].tolist() == [b"FIRST"]
    batcher.close()


def texts(answer):
    return answer.result(SECONDS)["text"].tolist()


def test_what_waits_runs_together(graph, submit):
    answers = [submit([b"a", b"b"]), submit([b"n"], "nbest"), submit([b"c"]), submit([b"d", b"e"]), submit([b"f"])]
    graph.may_go_on.set()
    assert [texts(answer) for answer in answers] == [[b"A", b"B"], [b"N"], [b"C"], [b"D", b"E"], [b"F"]]
    assert graph.runs == [
        ("greedy", [b"first"]), ("greedy", [b"a", b"b", b"c", b"f"]), ("nbest", [b"n"]), ("greedy", [b"d", b"e"]),
    ]  # fmt: skip


def test_a_request_larger_than_a_batch_runs_alone(graph, submit):
    large, small = submit([b"a", b"b", b"c", b"d", b"e"]), submit([b"f"])
    graph.may_go_on.set()
    assert (texts(large), texts(small)) == ([b"A", b"B", b"C", b"D", b"E"], [b"F"])
    assert [len(run) for _, run in graph.runs] == [1, 5, 1]


def test_a_failure_is_that_of_its_request(graph, submit):
    good, bad, other = submit([b"a"]), submit([b"bad"]), submit([b"c"])
    graph.may_go_on.set()
    assert (texts(good), texts(other)) == ([b"A"], [b"C"])
    with pytest.raises(ValueError, match="bad"):
        bad.result(SECONDS)


def test_outputs_that_cannot_be_divided_come_from_runs_of_their_own(graph, submit):
    answers = [submit([b"a", b"b"], "scalar"), submit([b"c"], "scalar")]
    graph.may_go_on.set()
    assert [answer.result(SECONDS)["size"] for answer in answers] == [2, 1]


def test_nested_inputs_run_alone(graph, submit):
    answers = [submit([[b"a"], [b"b"]]), submit([b"c"])]
    graph.may_go_on.set()
    assert [texts(answer) for answer in answers] == [[[b"A"], [b"B"]], [b"C"]]


def test_the_queue_is_bounded(submit):
    for _ in range(6):
        submit([b"a"])
    with pytest.raises(Refusal, match="queue to which this task was submitted is full") as refused:
        submit([b"a"])
    assert refused.value.http_code == 503


def test_what_waits_is_answered_after_the_end():
    graph = Graph()
    batcher = Batcher(graph, max_rows=4, max_waiting=6)
    answers = [batcher.submit("greedy", {"text": np.array([text], object)}) for text in (b"a", b"b")]
    batcher.close()
    graph.may_go_on.set()
    assert [texts(answer) for answer in answers] == [[b"A"], [b"B"]]
    with pytest.raises(Refusal, match="unloaded"):
        batcher.submit("greedy", {"text": np.array([b"c"], object)})
