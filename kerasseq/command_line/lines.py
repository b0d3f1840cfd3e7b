"""Lines of text that commands read."""

import contextlib
import io
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import IO


def input_lines(stack: contextlib.ExitStack, path: str | pathlib.Path | None) -> Iterator[str]:
    r"""Opens a file or standard input. Yields its lines, UTF-8, without their ends `\n` or `\r\n`."""
    if path is None:
        raw: IO[bytes] = getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode("utf-8"))
    else:
        raw = stack.enter_context(open(pathlib.Path(path).expanduser(), "rb"))
    return decoded_lines(raw, path or "standard input")


def decoded_lines(raw: Iterable[bytes], name: str | pathlib.Path) -> Iterator[str]:
    """Lines of bytes as texts; `name` is that of their file."""
    for number, line in enumerate(raw, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            yield text.removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name}, line {number}: expected UTF-8 text. Received: byte "
                f"0x{line[error.start]:02x}. Convert it, for example with iconv."
            ) from None


def lines_of_file(path: pathlib.Path) -> list[str]:
    """All lines of a file, as `input_lines`."""
    with contextlib.ExitStack() as stack:
        return list(input_lines(stack, path))
