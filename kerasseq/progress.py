"""What long work prints. It never ends the work, whatever the terminal, log or notebook."""

import sys
from collections.abc import Iterable
from typing import Any


def say(text: str) -> None:
    """Prints a text to standard output."""
    print(text, file=Stream("stdout"))


def progress_bar(description: str, unit: str, total: int | None = None, of: Iterable[Any] | None = None) -> Any:
    """A bar of tqdm on standard error, over an iterable if there is one. It appears if the work takes long."""
    import tqdm  # Deferred: only long work shows progress.

    return tqdm.tqdm(
        of, desc=description, unit=unit, unit_scale=unit == "B", total=total, delay=2, file=Stream("stderr")
    )


class Stream:
    """Standard output or error as it is at each call.

    Characters that it cannot encode are escaped. Text is lost where it is absent or closed, or its disk is full.
    """

    def __init__(self, name: str):
        self.name = name

    @property
    def encoding(self) -> str:
        return getattr(getattr(sys, self.name), "encoding", None) or "utf-8"

    def write(self, text: str) -> None:
        try:
            try:
                getattr(sys, self.name).write(text)
            except UnicodeEncodeError:
                shown = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
                getattr(sys, self.name).write(shown)
        except (AttributeError, OSError, ValueError):  # None; a full disk or a closed pipe; a closed stream.
            pass

    def flush(self) -> None:
        try:
            getattr(sys, self.name).flush()
        except (AttributeError, OSError, ValueError):
            pass

    def isatty(self) -> bool:
        try:
            return getattr(sys, self.name).isatty()
        except (AttributeError, ValueError):
            return False

    def fileno(self) -> int:
        return getattr(sys, self.name).fileno()
