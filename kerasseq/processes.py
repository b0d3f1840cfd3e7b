"""Forked processes, in which TensorFlow hangs."""

import os

_process: int | None = None  # the first that this library has run TensorFlow in


def check_process() -> None:
    """Raises a `RuntimeError` in a process that was forked from one that has started TensorFlow."""
    global _process
    process = os.getpid()
    _process = process if _process is None else _process
    if process != _process:
        raise RuntimeError(
            f"TensorFlow was started in process {_process}; process {process} was forked from it and would hang. Load "
            "the TextGenerator in each worker process, after the fork and not before; or start workers by "
            "multiprocessing.get_context('spawn'), or gunicorn without --preload."
        )
