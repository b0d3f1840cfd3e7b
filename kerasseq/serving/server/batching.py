"""Requests that arrive together become one run of the graph."""

import collections
import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable

import numpy as np

from kerasseq.serving.server.documents import Arrays
from kerasseq.serving.server.refusals import UNAVAILABLE, Refusal


@dataclasses.dataclass
class Job:
    """A request that waits."""

    signature: str
    inputs: Arrays
    answer: concurrent.futures.Future[Arrays] = dataclasses.field(default_factory=concurrent.futures.Future)

    @property
    def rows(self) -> int | None:
        """How many sources there are, if each input has one of each."""
        shapes = {values.shape for values in self.inputs.values()}
        shape = shapes.pop() if len(shapes) == 1 else ()
        return shape[0] if len(shape) == 1 else None


class Batcher:
    """Runs requests one after another in a thread; those that wait together for a signature run together.

    A request never waits for others to come: the first one runs alone, and those that arrive meanwhile run next.

    Args:
        run: function of a signature and its inputs, arrays by name, that returns the outputs.
        max_rows: int, the most sources of a run. A request with more runs alone.
        max_waiting: int, the most requests that wait.
    """

    def __init__(self, run: Callable[[str, Arrays], Arrays], max_rows: int, max_waiting: int):
        self._run, self._max_rows, self._max_waiting = run, max_rows, max_waiting
        self._jobs: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, signature: str, inputs: Arrays) -> concurrent.futures.Future[Arrays]:
        """The outputs to come.

        Raises:
            Refusal: if too many requests wait, or the batcher is closed.
        """
        job = Job(signature, inputs)
        with self._changed:
            if self._closed:
                raise Refusal(UNAVAILABLE, "The version is being unloaded.")
            if len(self._jobs) >= self._max_waiting:
                raise Refusal(UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full.")
            self._jobs.append(job)
            self._changed.notify()
        return job.answer

    def close(self) -> None:
        """Ends when all requests have been answered."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        while jobs := self._next():
            if len(jobs) == 1 or not self._answer_together(jobs):
                for job in jobs:
                    self._answer_alone(job)

    def _next(self) -> list[Job]:
        """The first request, with those that can run with it; empty at the end."""
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            if not self._jobs:
                return []
            first = self._jobs.popleft()
            chosen, rows, others = [first], first.rows, collections.deque[Job]()
            for job in self._jobs:
                more = job.rows if job.signature == first.signature else None
                if rows is not None and more is not None and rows + more <= self._max_rows:
                    chosen.append(job)
                    rows += more
                else:
                    others.append(job)
            self._jobs = others
            return chosen

    def _answer_together(self, jobs: list[Job]) -> bool:
        """Whether one run has answered all. It has not if it fails, or if an output has no row for each source."""
        inputs = {name: np.concatenate([job.inputs[name] for job in jobs]) for name in jobs[0].inputs}
        try:
            outputs = self._run(jobs[0].signature, inputs)
        except Exception:
            return False
        ends = np.cumsum([job.rows for job in jobs])
        if any(not values.ndim or len(values) != ends[-1] for values in outputs.values()):
            return False
        parts = {name: np.split(values, ends[:-1]) for name, values in outputs.items()}
        for index, job in enumerate(jobs):
            job.answer.set_result({name: values[index] for name, values in parts.items()})
        return True

    def _answer_alone(self, job: Job) -> None:
        try:
            job.answer.set_result(self._run(job.signature, job.inputs))
        except Exception as error:
            job.answer.set_exception(error)
