"""Reads pairs of texts from files."""

import itertools
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerasseq.arguments import check_choice
from kerasseq.datasets.splits import TextPairs
from kerasseq.datasets.tables import KINDS, Row, is_header, kind_of, shortened
from kerasseq.datasets.text_files import encoding_name, numbered_lines

logger = logging.getLogger(__name__)

SEPARATORS = {"tsv": "tab", "csv": "comma"}


def read_pairs(
    path: str | os.PathLike[str],
    target_path: str | os.PathLike[str] | None = None,
    *,
    columns: Sequence[str | int] | None = None,
    kind: str | None = None,
    quotes: bool | None = None,
    encoding: str = "utf-8",
    empty: str = "error",
) -> TextPairs:
    r"""Reads source and target texts from one file, or from two with a text on each line.

    Files may be compressed with gzip, xz or bzip2. Blank lines are ignored, white space around a text is removed, and
    byte order marks are no part of it. Lines of tables end in `\n` or `\r\n`.

    - A tab-separated file (`"tsv"`) has source, tab, target on each line, and perhaps further columns, such as credits.
      Quotation marks have no special meaning; a file whose fields are quoted as spreadsheets and pandas do is refused
      until `quotes` says what they are.
    - A comma-separated file (`"csv"`) has quoted fields, which may contain line breaks. Blanks before a quotation mark
      do not count.
    - A file of JSON lines (`"jsonl"`) has an object or a list on each line.
    - A `"parquet"` file needs the package pyarrow.
    - Two parallel files: `read_pairs("train.en", "train.de")`, of the same number of lines.

    Other sources need no reader: `list(zip(frame["en"], frame["de"]))` for pandas, and for the Hugging Face datasets
    `[(row["translation"]["en"], row["translation"]["de"]) for row in dataset]`, as for any iterable of dicts.

    Args:
        path: str or path-like, the file of the pairs, or of the sources.
        target_path: str or path-like, the file of the targets.
        columns: names of the columns of sources and targets, or their positions from 0. With names, the first line of a
            table is its header; in JSON and Parquet `"translation.en"` is within another. Default: the first two.
        kind: `"tsv"`, `"csv"`, `"jsonl"` or `"parquet"`. Default: by the file's name, else `"tsv"`.
        quotes: bool, whether the fields of a `"tsv"` or `"csv"` file are quoted.
        encoding: str, name of the encoding. UTF-16 with a byte order mark is recognized.
        empty: `"drop"` leaves pairs with an empty side out, and logs their number. Default: an `"error"`.

    Returns:
        list of `(source, target)` string tuples in the order of the file, at least one. Pass it to `split_by_source`
        for train, validation and test splits.

    Raises:
        ValueError: with file and line number, if a line has no two columns, an empty side, or is no text in the
            encoding; if the first line looks like a header, or the first column counts the lines, and `columns` is not
            given; if parallel files differ in length; if the file has no pairs, or is damaged.
        OSError: if the file cannot be opened.

    Example:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.tsv"
    >>> _ = path.write_text("one\teins\n\ntwo\tzwei\n", encoding="utf-8")
    >>> read_pairs(path)
    [('one', 'eins'), ('two', 'zwei')]
    """
    check_pair_options(columns, kind, encoding, empty)
    target = None if target_path is None else pathlib.Path(target_path)
    return list(iterate_pairs(pathlib.Path(path), target, columns, kind, quotes, encoding, empty))


def check_pair_options(columns: Sequence[str | int] | None, kind: str | None, encoding: str, empty: str) -> None:
    """Raises a `ValueError` for arguments of `read_pairs` that no file fits."""
    check_choice("empty", empty, ("error", "drop"))
    check_columns(columns)
    encoding_name(encoding)
    if kind is not None:
        check_choice("kind", kind, KINDS)


def iterate_pairs(
    path: pathlib.Path,
    target_path: pathlib.Path | None,
    columns: Sequence[str | int] | None,
    kind: str | None,
    quotes: bool | None,
    encoding: str,
    empty: str,
) -> Iterator[tuple[str, str]]:
    """The pairs of a file, or of two, one after the other. The arguments are those of `read_pairs`."""
    if target_path is not None:
        found = parallel_lines(path, target_path, encoding)
    else:
        found = pairs_of_rows(path, kind_of(path) if kind is None else kind, check_columns(columns), quotes, encoding)
    number_of_pairs, dropped = 0, 0
    for number, source, target in found:
        pair = (source.strip(), target.strip())
        if all(pair):
            number_of_pairs += 1
            yield pair
        elif empty == "drop":
            dropped += 1
        else:
            side = "target" if pair[0] else "source"
            raise ValueError(
                f"{path}, line {number}: expected text on both sides. Received: an empty {side} beside "
                f"{shortened(''.join(pair))}. Complete the line or remove it, or pass empty='drop' for all such lines."
            )
    if dropped:
        logger.warning("%d of %d pairs of %s have an empty side: dropped.", dropped, dropped + number_of_pairs, path)
    if not number_of_pairs:
        raise ValueError(
            f"{path}: expected at least one pair of source and target. Received: a file of {path.stat().st_size} bytes "
            "without any. Check that this is the right file, and that it is complete."
        )


def check_columns(columns: Sequence[str | int] | None) -> tuple[Any, Any] | None:
    if columns is None:
        return None
    names = list(columns) if isinstance(columns, (list, tuple)) else []
    kinds = {type(name) for name in names}
    if len(names) != 2 or kinds not in ({str}, {int}) or (kinds == {int} and min(names) < 0):
        raise ValueError(
            "columns must be the names of the columns of sources and targets, or their positions from 0, such as "
            f"('en', 'de') or (0, 1). Received: columns={columns!r}."
        )
    return names[0], names[1]


def parallel_lines(path: pathlib.Path, target_path: pathlib.Path, encoding: str) -> Iterator[tuple[int, str, str]]:
    """The pairs of lines that are not both blank, with their numbers."""
    sides = [numbered_lines(side, encoding) for side in (path, target_path)]
    number = 0
    for source, target in itertools.zip_longest(*sides):
        if source is None or target is None:
            counts = [number + (side is not None) for side in (source, target)]
            counts = [count + sum(1 for _ in rest) for count, rest in zip(counts, sides, strict=True)]
            raise ValueError(
                f"{path} and {target_path} must have the same number of lines. Received: {counts[0]:,} and "
                f"{counts[1]:,}. A line break within a text, or a line that one file lacks, shifts all that follow."
            )
        number += 1
        if source[1].strip() or target[1].strip():
            yield number, source[1], target[1]


def pairs_of_rows(
    path: pathlib.Path, kind: str, columns: tuple[Any, Any] | None, quotes: bool | None, encoding: str
) -> Iterator[tuple[int, str, str]]:
    """The source and the target of each row of a table, with the number of its line."""
    numbered = KINDS[kind](path, quotes, encoding)
    is_table = kind in SEPARATORS
    if is_table and columns is not None and isinstance(columns[0], str):
        columns = positions(path, columns, next(numbered, (1, []))[1])
    sources: list[str] = []  # of the first rows
    width = 0  # of the first row
    for number, row in numbered:
        width = width or len(row)
        if is_table and columns is None and any(str(cell).strip() for cell in list(row)[width:]):
            separator = SEPARATORS[kind]
            raise ValueError(
                f"{path}, line {number}: expected {width} columns, as in the first row. Received: {len(row)}, "
                f"{shortened(' | '.join(row))}. Quote texts that contain a {separator} and pass quotes=True, or "
                "pass columns=(0, 1) to ignore further columns."
            )
        if is_table and columns is None and not sources and is_header(row):
            raise ValueError(
                f"{path}, line {number}: expected a pair. Received: {list(row)!r}, which looks like names of columns. "
                f"Pass those of sources and targets, such as columns={tuple(list(row)[:2])!r}; or "
                "columns=(0, 1) if the line is a pair."
            )
        if columns is None and isinstance(row, Mapping):
            columns = default_columns(row)  # of the first row: keys of later ones may be in another order
        source, target = (text(path, number, row, column, kind) for column in columns or (0, 1))
        if len(sources) < 3:
            sources.append(source.strip())
        if is_table and columns is None and sources in (["0", "1", "2"], ["1", "2", "3"]) and len(row) > 2:
            raise ValueError(
                f"{path}: expected sources in the first column. Received: numbers that count the lines. Pass the "
                "columns of sources and targets: columns=(1, 2); or columns=(0, 1) if the numbers are sources."
            )
        yield number, source, target


def default_columns(row: Mapping[str, Any]) -> tuple[str, str]:
    """The two keys of an object, or `"source"` and `"target"` if it has more."""
    names = tuple(row) if len(row) == 2 else ("source", "target")
    return names[0], names[1]


def positions(path: pathlib.Path, columns: tuple[str, str], header: Row) -> tuple[int, int]:
    """The positions of columns in a header."""
    names = [str(name).strip() for name in header]
    if missing := [name for name in columns if name not in names]:
        raise ValueError(
            f"{path}: expected a first line with the columns {columns!r}. Received: {names!r}, without {missing!r}."
        )
    return names.index(columns[0]), names.index(columns[1])


def text(path: pathlib.Path, number: int, row: Row, column: str | int, kind: str) -> str:
    """The text in a column of a row."""
    value: Any = row
    for part in [column] if isinstance(column, int) or column in row else column.split("."):
        try:
            value = value[part]
        except (IndexError, KeyError, TypeError):
            if isinstance(row, Mapping):
                raise ValueError(
                    f"{path}, line {number}: expected a column {column!r}. Received: an object with {sorted(row)!r}. "
                    "Pass its columns of sources and targets: columns=(..., ...)."
                ) from None
            separator = SEPARATORS.get(kind, "comma")
            shown = shortened(" ".join(map(str, row)))
            advice = f"Separate columns by {separator}s, or pass columns."
            if len(row) == 1:
                advice = f"Separate columns by {separator}s" + (", not by semicolons." if ";" in row[0] else ".")
            problem = f"which has no {separator}" if len(row) == 1 else f"with {len(row)} columns"
            raise ValueError(
                f"{path}, line {number}: expected source and target with a {separator} between them, one of them in "
                f"column {column!r}. Received: {shown}, {problem}. {advice}"
            ) from None
    if value is None:  # null in JSON and Parquet
        return ""
    if not isinstance(value, str):
        raise ValueError(
            f"{path}, line {number}: expected a string in the column {column!r}. Received: {value!r} "
            f"({type(value).__name__})."
        )
    return value
