"""Rows of tables: tab- and comma-separated files, JSON lines and Parquet."""

import csv
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kerasseq.datasets.text_files import numbered_lines

Row = Sequence[Any] | Mapping[str, Any]

LONGEST_FIELD = 2**31 - 1  # characters
# Names of columns by which a first line is known to be a header.
HEADERS = set(
    "source target src tgt trg input output text summary sentence translation question answer document original "
    "compressed label labels id index english french german spanish chinese en fr de es zh ja ru it pt".split()
)
# A field as spreadsheets and pandas write it, with a quotation mark inside.
QUOTED = re.compile(r'(?:^|\t)"(?:[^"\t]|"")*""(?:[^"\t]|"")*"(?:$|\t)')


def delimited(delimiter: str) -> Callable[[pathlib.Path, bool | None, str], Iterator[tuple[int, Row]]]:
    """A reader of lines with this character between cells."""

    def read(path, quotes, encoding):
        if quotes or (quotes is None and delimiter == ","):
            return quoted_rows(path, delimiter, encoding)
        return plain_rows(path, delimiter, encoding, refuse_quoted=quotes is None)

    return read


def plain_rows(path: pathlib.Path, delimiter: str, encoding: str, refuse_quoted: bool) -> Iterator[tuple[int, Row]]:
    for number, line in numbered_lines(path, encoding):
        line = line.rstrip("\r\n")
        if not line.strip(" "):
            continue
        if "\r" in line:
            raise ValueError(
                f"{path}, line {number}: expected lines that end in \\n or \\r\\n. Received: a carriage return inside "
                f"the line {shortened(line)}. Convert the line endings, for example with `tr '\\r' '\\n'`."
            )
        if refuse_quoted and QUOTED.search(line):
            raise ValueError(
                f"{path}, line {number}: expected text without quotes around it, or a choice. Received: "
                f"{shortened(line)}, with doubled quotation marks as spreadsheets and pandas write them. Pass "
                "quotes=True to read them as such, or quotes=False to keep all marks."
            )
        yield number, line.split(delimiter)


def quoted_rows(path: pathlib.Path, delimiter: str, encoding: str) -> Iterator[tuple[int, Row]]:
    lines = (line for _, line in numbered_lines(path, encoding))
    # The limit is that of the process: it is raised, and not lowered again, because other threads may read as well.
    csv.field_size_limit(max(LONGEST_FIELD, csv.field_size_limit()))
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {number}: expected fields in double quotes, with quotation marks doubled inside. "
                f"Received: {error}. Pass quotes=False if quotation marks are part of the text."
            ) from None
        if any(cell.strip() for cell in row):
            yield number, row


def json_rows(path: pathlib.Path, quotes: bool | None, encoding: str) -> Iterator[tuple[int, Row]]:
    for number, line in numbered_lines(path, encoding):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: expected a JSON object on each line. Received: {shortened(line.strip())} "
                f"({error.msg}). A file that is one JSON list can be read by json.load."
            ) from None
        if not isinstance(row, (dict, list)):
            raise ValueError(f"{path}, line {number}: expected a JSON object or list. Received: {row!r}.")
        if isinstance(row, list) and any(isinstance(cell, (dict, list)) for cell in row):
            raise ValueError(
                f"{path}, line {number}: expected a pair on each line. Received: a JSON list of {len(row)}. A file "
                "that is one JSON list can be read by json.load."
            )
        yield number, row


def parquet_rows(path: pathlib.Path, quotes: bool | None, encoding: str) -> Iterator[tuple[int, Row]]:
    try:
        import pyarrow.parquet  # Deferred: only Parquet files need it.
    except ImportError:
        raise ImportError("Parquet files need pyarrow, which is not installed. Run: pip install pyarrow") from None
    number = 0
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield number, row


KINDS = {"tsv": delimited("\t"), "csv": delimited(","), "jsonl": json_rows, "parquet": parquet_rows}
SUFFIXES = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet",
}  # fmt: skip


def kind_of(path: pathlib.Path) -> str:
    """The kind of a file by its name: `"tsv"` where it says nothing."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".xz", ".bz2")]
    return SUFFIXES.get(suffixes[-1] if suffixes else "", "tsv")


def is_header(row: Row) -> bool:
    """Whether a first row has names of columns: two usual ones, or one behind the empty name of an index."""
    cells = [str(cell).strip().casefold() for cell in row]
    return len(cells) > 1 and cells[0] in HEADERS | {""} and cells[1] in HEADERS


def shortened(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:57]}...")
