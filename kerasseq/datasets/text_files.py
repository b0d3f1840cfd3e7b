"""Lines of text files, whatever their compression and encoding."""

import bz2
import codecs
import gzip
import lzma
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

# By how a file begins: the name of a compression, and the function that opens such files.
COMPRESSIONS: dict[bytes, tuple[str, Callable[..., Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
    b"BZh": ("bzip2", bz2.open),
}
NOT_READ = {
    b"PK\3\4": "a ZIP archive or a spreadsheet. Unpack it, or save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "a file compressed with Zstandard. Decompress it with zstd -d",
}
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def raw_lines(path: pathlib.Path) -> Iterator[bytes]:
    r"""The lines of a file, with their ends `\n`. Compression is detected from the content, not from the name."""
    with open(path, "rb") as file:
        start = file.read(6)
    for magic, kind in NOT_READ.items():
        if start.startswith(magic):
            raise ValueError(f"{path}: expected text, or a file of gzip, xz or bzip2. Received: {kind}.")
    name, opened = next((kind for magic, kind in COMPRESSIONS.items() if start.startswith(magic)), ("plain", open))
    file_of_lines: IO[bytes]
    with opened(path, "rb") as file_of_lines:
        try:
            yield from file_of_lines
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            raise ValueError(
                f"{path}: expected a complete {name} file. Received: a damaged one ({error}). Copy or compress it "
                "again."
            ) from error


def numbered_lines(path: pathlib.Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    r"""The number and the text of each line of a file, with its end, `\n` or `\r\n`.

    Byte order marks at the start of lines are removed: files that begin with one may have been joined.

    Raises:
        ValueError: with file and line number, for bytes that are no text in this encoding, and for unknown encodings.
    """
    encoding = encoding_name(encoding)
    raw = raw_lines(path)
    for number, line in enumerate(raw, start=1):
        if number == 1 and (line.startswith(UTF_16_MARKS) or encoding.startswith(("utf-16", "utf-32"))):
            # A line feed is several bytes.
            encoding = "utf-16" if line.startswith(UTF_16_MARKS) else encoding
            text = decoded(line + b"".join(raw), encoding, str(path)).removesuffix("\n")
            yield from enumerate((f"{line}\n" for line in text.split("\n")), start=1)
            return
        yield number, decoded(line, encoding, f"{path}, line {number}").removeprefix("\ufeff")


def encoding_name(encoding: str) -> str:
    """Python's name of an encoding; raises a `ValueError` for unknown ones."""
    try:
        return codecs.lookup(encoding).name
    except (LookupError, TypeError):
        raise ValueError(
            "encoding must be one that Python knows, such as 'utf-8', 'cp1252' or 'gb18030'. Received: "
            f"encoding={encoding!r}."
        ) from None


def decoded(line: bytes, encoding: str, place: str) -> str:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{place}: expected {encoding.upper()} text. Received: byte 0x{line[error.start]:02x} at position "
            f"{error.start} of the line ({error.reason}). Pass the file's own encoding, such as encoding='cp1252' or "
            "'latin-1', or save it as UTF-8."
        ) from None
