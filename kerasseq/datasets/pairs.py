"""Reads sentence pairs from tab-separated files."""

import gzip
import os
import pathlib
import zlib
from collections.abc import Iterator

from kerasseq.datasets.splits import TextPairs

GZIP_MAGIC = b"\x1f\x8b"


def read_pairs(path: str | os.PathLike[str]) -> TextPairs:
    r"""Reads source and target sentences from a tab-separated file.

    One pair per line: source, tab, target. Blank lines and further columns (credits, scores) are ignored. The file has
    no header line, and quotation marks have no special meaning. Lines end in `\n` or `\r\n`. Spaces around a sentence
    are removed. The text is UTF-8, with or without a byte order mark, and may be compressed with gzip.

    Args:
        path: str or path-like. Compression is detected from the content, not from the name.

    Returns:
        list of `(source, target)` string tuples in the order of the file, at least one. Pass it to `split_by_source`
        for train, validation and test splits.

    Raises:
        ValueError: with file and line number, if a line has no tab, has an empty source or target, or is not UTF-8; if
            the file has no pairs, or is damaged gzip.
        OSError: if the file cannot be opened.

    Example:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.tsv"
    >>> _ = path.write_text("one\teins\n\ntwo\tzwei\n", encoding="utf-8")
    >>> read_pairs(path)
    [('one', 'eins'), ('two', 'zwei')]
    """
    path = pathlib.Path(path)
    pairs = []
    for number, raw_line in enumerate(_raw_lines(path), start=1):
        try:
            line = raw_line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: expected UTF-8 text. Received: byte 0x{raw_line[error.start]:02x} at position "
                f"{error.start} of the line ({error.reason}). Save the file as UTF-8, for example with "
                "`iconv -f LATIN1 -t UTF-8` if it is Latin-1."
            ) from None
        line = line.rstrip("\r\n")
        if not line.strip(" "):
            continue
        if "\r" in line:
            raise ValueError(
                f"{path}, line {number}: expected lines that end in \\n or \\r\\n. Received: a carriage return inside "
                f"the line {_shorten(line)}. Convert the line endings, for example with `tr '\\r' '\\n'`."
            )
        source, tab, rest = line.partition("\t")
        if not tab:
            raise ValueError(
                f"{path}, line {number}: expected source and target with a tab between them. Received: {_shorten(line)}"
                ", which has no tab. Separate the columns by tabs, not by spaces or commas."
            )
        pair = (source.strip(), rest.split("\t")[0].strip())
        if not all(pair):
            side = "target" if pair[0] else "source"
            raise ValueError(
                f"{path}, line {number}: expected text on both sides of the tab. Received: an empty {side} in "
                f"{_shorten(line)}. Complete the line or remove it."
            )
        pairs.append(pair)
    if not pairs:
        raise ValueError(
            f"{path}: expected at least one line of source, tab, target. Received: a file of "
            f"{path.stat().st_size} bytes without any. Check that this is the right file, and that it is complete."
        )
    return pairs


def _raw_lines(path: pathlib.Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if not compressed:
            yield from file
            return
        try:
            with gzip.open(file) as lines:
                yield from lines
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path}: expected a complete gzip file. Received: a damaged one ({error}). Copy or compress it again."
            ) from error


def _shorten(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:57]}...")
