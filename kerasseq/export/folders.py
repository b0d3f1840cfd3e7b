"""Temporary folders beside the versions of a model, safe against crashes and other exports."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator

TEMPORARY = ".export-"  # With a leading dot: model servers and `versions` look at numbers only.
LOCK_FILE = "lock"


@contextlib.contextmanager
def temporary_folder(model_folder: str) -> Iterator[str]:
    """A temporary folder in a model's folder; removes those that killed exports have left."""
    with contextlib.ExitStack() as stack:
        with locked_folder(model_folder):  # No other export sees a folder without its lock.
            for name in os.listdir(model_folder):
                if name.startswith(TEMPORARY):
                    remove_unless_locked(os.path.join(model_folder, name))
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=model_folder))
            lock = stack.enter_context(open(os.path.join(temporary, LOCK_FILE), "w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield temporary


@contextlib.contextmanager
def locked_folder(folder: str) -> Iterator[None]:
    """Holds the lock of a folder, which the system releases when a process dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_unless_locked(folder: str) -> None:
    """Removes a temporary folder whose export has died."""
    try:
        with open(os.path.join(folder, LOCK_FILE), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    except OSError:  # It is alive, or has just ended.
        pass
