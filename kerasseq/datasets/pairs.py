"""Sentence pairs from a file of one's own."""

import gzip
import pathlib
import zlib

GZIP_MAGIC = b"\x1f\x8b"


def read_pairs(path):
    r"""Read source and target sentences from a file with tab-separated columns.

    One pair a line: source, tab, target. Further columns (credits, scores) are ignored, and so are blank lines. There
    is no header line, and quotation marks mean nothing special. Lines end in `\n` or `\r\n`; spaces around a sentence
    are removed. The text is UTF-8, with or without a byte order mark, and may be compressed with gzip.

    Args:
        path: str or path-like, the file. Compression is recognised by the content, not by the name.

    Returns:
        A list of `(source, target)` string tuples in the order of the file, at least one. `split_by_source` makes
        train, validation and test of it.

    Raises:
        ValueError: if a line has no tab, an empty side, or is not UTF-8, with file and line number; if the file holds
            no pair at all, or is compressed and cut short.
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
                f"the line {_shorten(line)}. Convert the line ends, for example with `tr '\\r' '\\n'`."
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
            f"{path.stat().st_size} bytes without any. Check that this is the right file, completely written."
        )
    return pairs


def _raw_lines(path):
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


def _shorten(line):
    return repr(line if len(line) <= 60 else f"{line[:57]}...")
