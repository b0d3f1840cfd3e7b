"""Writes files in one step: who reads one finds the old content or the new one, never a part."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a path beside another one, with the same suffixes; what the body writes there replaces the other file.

    Args:
        path: path of a file in a folder that exists.

    Example:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "scores.txt"
    >>> with replacing(path) as unfinished:
    ...     _ = unfinished.write_text("37.2")
    >>> path.read_text(), [path.name for path in path.parent.iterdir()]
    ('37.2', ['scores.txt'])
    """
    path = pathlib.Path(path)
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a file in one step, UTF-8, with the line ends of the text."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="")
