"""Traced graphs, shared by threads."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


class Graphs:
    """The graphs of a generator by key.

    Threads that ask for a graph at the same time wait until one of them has traced it.
    """

    def __init__(self) -> None:
        self._graphs: dict[tuple, Any] = {}  # that which was used longest ago first
        self._lock = threading.RLock()

    def get(
        self, key: tuple, function: Callable[..., dict[str, tf.Tensor]], signature: Sequence[tf.TensorSpec], kept: int
    ) -> Any:
        """Returns `function` as a graph, traced once for each of the `kept` keys used last."""
        with self._lock:
            graph = self._graphs.pop(key, None)
            if graph is None:
                graph = tf.function(function, autograph=False).get_concrete_function(*signature)
            self._graphs[key] = graph
            if len(self._graphs) > kept:
                self._graphs.pop(next(iter(self._graphs)))
        return graph
