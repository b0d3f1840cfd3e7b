import bz2
import csv
import gzip
import json
import lzma
import sys

import pytest

from kerasseq.datasets import pairs as pairs_module
from kerasseq.datasets import read_pairs


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


@pytest.mark.parametrize(
    "content, expected",
    [
        ("Hi?\tÇa va ?\n漢字\tкод\n", [("Hi?", "Ça va ?"), ("漢字", "код")]),
        ("a\tb\nc\td", [("a", "b"), ("c", "d")]),  # no line feed at the end
        ("a\tb\r\nc\td\r\n", [("a", "b"), ("c", "d")]),
        ("\n\na\tb\n   \n\r\nc\td\n\n", [("a", "b"), ("c", "d")]),  # blank lines
        ("a\tb\tcredit\tmore\nc\td\n", [("a", "b"), ("c", "d")]),  # further columns
        (" a b \t c\u00a0\n", [("a b", "c")]),
        ('"a\t"b"\n', [('"a', '"b"')]),  # quotation marks are text
        ("\ufeffa\tb\n\ufeffc\td\n", [("a", "b"), ("c", "d")]),  # two files that were joined
        (
            '"He left\tIl est parti\nHe said "no"\t« non »\n',
            [('"He left', "Il est parti"), ('He said "no"', "« non »")],
        ),
        ("a\u2028b\tc\u0085d\x0ce\n", [("a\u2028b", "c\u0085d\x0ce")]),  # not line ends
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_accepted(write, content, expected, compressed):
    content = content.encode("utf-8")
    path = write(gzip.compress(content) if compressed else content, "data.tsv.gz" if compressed else "data.tsv")
    assert read_pairs(path) == expected


def test_compression_is_detected_from_the_content(write):
    assert read_pairs(write(gzip.compress(b"a\tb\n"), "data.tsv")) == [("a", "b")]
    assert read_pairs(str(write(b"a\tb\n", "data.tsv.gz"))) == [("a", "b")]


@pytest.mark.parametrize(
    "content, message",
    [
        ("a\tb\n\nonly one side\n", "line 3: expected source and target .*Received: 'only one side', which has no tab"),
        ("a,b\n", "line 1: .*'a,b', which has no tab"),
        ("a\tb\n\tb\n", "line 2: expected text on both sides. Received: an empty source beside 'b'"),
        ("a\tb\nc\t \n", "line 2: .*an empty target"),
        ("a\tb\tcredit\nc\t\tcredit\n", "line 2: .*an empty target"),
        ("\t\n", "line 1: .*an empty source"),
        (
            b"a\tb\ncaf\xe9\tcoffee\n",
            "line 2: expected UTF-8 text. Received: byte 0xe9 at position 3 .*encoding='cp1252'",
        ),
        ("a\tb\n".encode("utf-16") + b"a", "expected UTF-16 text. Received: byte 0x61"),
        ("a\tb\rc\td\r", "line 1: expected lines that end in .*a carriage return inside"),
        ("", "at least one pair of source and target. Received: a file of 0 bytes"),
        ("\n \n", "Received: a file of 3 bytes without any"),
        ("word " * 100, "Received: 'word .{52}\\.\\.\\.', which has no tab"),
    ],
)
def test_refused_with_file_and_line(write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=f"(?s){path}.*{message}"):
        read_pairs(path)


OPEN = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("suffix", OPEN)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_compressions_and_encodings(write, suffix, encoding):
    path = write(OPEN[suffix]("é\tb\n漢\td\n".encode(encoding)), f"data.tsv.{suffix}")
    assert read_pairs(path) == [("é", "b"), ("漢", "d")]


def test_encodings_by_name(write):
    path = write("é\tœuf\n".encode("cp1252"))
    assert read_pairs(path, encoding="cp1252") == [("é", "œuf")]
    assert read_pairs(write("é\tb\n".encode("utf-16-le")), encoding="utf-16-le") == [("é", "b")]
    for encoding in ("utf-7000", None):
        with pytest.raises(ValueError, match="encoding must be one that Python knows.*Received: encoding="):
            read_pairs(path, encoding=encoding)


# === Tables as spreadsheets and pandas write them ===

ROWS = [('He said "no".', "Il a dit « non »."), ("two\nlines", "deux\nlignes"), ("a,b\tc", "d"), ("plain", "simple")]


def written(path, delimiter, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


@pytest.mark.parametrize(("name", "delimiter", "quotes"), [("data.csv", ",", None), ("data.tsv", "\t", True)])
def test_quoted_fields(tmp_path, name, delimiter, quotes):
    path = written(tmp_path / name, delimiter, [("source", "target"), *ROWS])
    assert read_pairs(path, columns=("source", "target"), quotes=quotes) == ROWS
    assert read_pairs(path, columns=["target", "source"], quotes=quotes) == [pair[::-1] for pair in ROWS]
    assert read_pairs(path, columns=(0, 1), quotes=quotes) == [("source", "target"), *ROWS]
    with pytest.raises(
        ValueError, match=r"line 1: expected a pair. Received: \['source', 'target'\], which looks like"
    ):
        read_pairs(path, quotes=quotes)
    with pytest.raises(
        ValueError, match=r"columns \('en', 'target'\). Received: \['source', 'target'\], without \['en'\]"
    ):
        read_pairs(path, columns=("en", "target"), quotes=quotes)


def test_quotes_of_tab_separated_files_are_a_choice(tmp_path):
    path = written(tmp_path / "data.tsv", "\t", ROWS[:1])
    with pytest.raises(ValueError, match="line 1: expected text without quotes.*quotes=True.*or quotes=False"):
        read_pairs(path)
    assert read_pairs(path, quotes=True) == ROWS[:1]
    assert read_pairs(path, quotes=False) == [('"He said ""no""."', ROWS[0][1])]


@pytest.mark.parametrize("content", ['a,"b\nc,d\n', 'a,"b"c\n'])
def test_damaged_quotes(write, content):
    with pytest.raises(ValueError, match="line 1: expected fields in double quotes.*Pass quotes=False"):
        read_pairs(write(content, "data.csv"))


@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_counts_the_lines(tmp_path, start):
    rows = [(str(index), f"word {index}", f"Wort {index}") for index in range(start, 5)]
    path = written(tmp_path / "data.csv", ",", rows)
    with pytest.raises(ValueError, match=r"numbers that count the lines.*columns=\(1, 2\)"):
        read_pairs(path)
    assert read_pairs(path, columns=(1, 2)) == [row[1:] for row in rows]
    with_header = written(tmp_path / "named.csv", ",", [("", "source", "target"), *rows])
    with pytest.raises(ValueError, match=r"Received: \['', 'source', 'target'\], which looks like names of columns"):
        read_pairs(with_header)
    assert read_pairs(with_header, columns=("source", "target")) == [row[1:] for row in rows]
    numbers = written(tmp_path / "numbers.csv", ",", [row[:2] for row in rows])
    assert read_pairs(numbers) == [row[:2] for row in rows]


@pytest.mark.parametrize(
    ("name", "separator", "word"), [("data.csv", ",", "comma"), ("data.tsv", "\t", "tab"), ("plain.csv", ",", "comma")]
)
def test_separators_within_a_text(write, name, separator, word):
    """A line with more cells than the first one has an unquoted separator; columns of every line are credits."""
    rows = [["hello", "bonjour"], ["Hello", " world", "Bonjour le monde"]]
    path = write("\n".join(map(separator.join, rows)), name)
    with pytest.raises(
        ValueError,
        match=f"line 2: expected 2 columns.*Received: 3, .*Quote texts that contain a {word} and pass quotes=True",
    ):
        read_pairs(path)
    assert read_pairs(path, columns=(0, 1)) == [("hello", "bonjour"), ("Hello", "world")]
    credits = write("\n".join(separator.join([*row[:2], "Tatoeba"]) for row in rows), name)
    assert read_pairs(credits) == [("hello", "bonjour"), ("Hello", "world")]
    trailing = write(f"hello{separator}bonjour\nHello{separator}world{separator} {separator}", name)
    assert read_pairs(trailing) == [("hello", "bonjour"), ("Hello", "world")]


def test_blanks_before_quotes_and_long_fields(write):
    long = "word, " * 50_000 + "end"
    path = write(f'hello, "bonjour, monde"\nyes,"{long}"\n', "data.csv")
    assert read_pairs(path) == [("hello", "bonjour, monde"), ("yes", long)]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PK\3\4rest", "a ZIP archive or a spreadsheet. Unpack it"), (b"\x28\xb5\x2f\xfd...", "Zstandard.*zstd -d")],
)
def test_files_that_are_not_read(write, content, message):
    with pytest.raises(ValueError, match=message):
        read_pairs(write(content, "data.csv"))


# === JSON and Parquet ===


@pytest.mark.parametrize(
    ("lines", "columns"),
    [
        ([{"en": "one", "de": "eins"}, {"en": "two\n2", "de": "zwei"}], None),
        ([{"id": 1, "target": "eins", "source": "one"}, {"source": "two\n2", "target": "zwei"}], None),
        ([["one", "eins", 5], ["two\n2", "zwei"]], None),
        ([{"en": "one", "de": "eins"}, {"de": "zwei", "en": "two\n2"}], None),
        ([{"id": 1, "a": "one", "b": "eins"}, {"id": 2, "a": "two\n2", "b": "zwei"}], ("a", "b")),
        ([{"t": {"en": "one", "de": "eins"}}, {"t": {"en": "two\n2", "de": "zwei"}}], ("t.en", "t.de")),
    ],
)
def test_json_lines(write, lines, columns):
    content = "\n\n".join(map(json.dumps, lines))
    for path in (write(content, "data.jsonl"), write(gzip.compress(content.encode()), "data.json.gz")):
        assert read_pairs(path, columns=columns) == [("one", "eins"), ("two\n2", "zwei")]
    assert read_pairs(write(content, "data"), kind="jsonl", columns=columns) == [("one", "eins"), ("two\n2", "zwei")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": "b", "c": "d"}\n{"a": ', "line 2: expected a JSON object on each line. Received: '{\"a\":'"),
        (
            '{"a": "b", "c": "d", "e": "f"}',
            r"line 1: expected a column 'source'. Received: an object with \['a', 'c', 'e'\]",
        ),
        ('{"a": "b", "c": 5}', "line 1: expected a string in the column 'c'. Received: 5 .int."),
        ("5", "line 1: expected a JSON object or list. Received: 5"),
        ('[{"a": "b"}, {"a": "c"}]', "line 1: expected a pair on each line. Received: a JSON list of 2.*json.load"),
        ('{"a": "b", "c": null}', "line 1: expected text on both sides. Received: an empty target beside 'b'"),
    ],
)
def test_bad_json_lines(write, content, message):
    with pytest.raises(ValueError, match=message):
        read_pairs(write(content, "data.jsonl"))


def test_missing_values_are_empty(write):
    path = write('{"a": "b", "c": null}\n{"a": "d", "c": "e"}', "data.jsonl")
    assert read_pairs(path, empty="drop") == [("d", "e")]


def test_parquet(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist([{"id": 1, "t": {"en": "one", "de": "eins"}}])
    parquet.write_table(table, tmp_path / "data.parquet")
    assert read_pairs(tmp_path / "data.parquet", columns=("t.en", "t.de")) == [("one", "eins")]


def test_parquet_without_pyarrow(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        read_pairs(write("", "data.parquet"))


# === Two files ===


def test_parallel_files(write, caplog):
    source = write("one\n\n two\r\nthree", "train.en")
    target = write(lzma.compress(b"eins\n \nzwei\ndrei\n"), "train.de.xz")
    assert read_pairs(source, target) == [("one", "eins"), ("two", "zwei"), ("three", "drei")]
    with pytest.raises(ValueError, match="train.en and .*short.* same number of lines. Received: 4 and 1"):
        read_pairs(source, write("eins", "short"))
    gap = write("eins\nzwei\n\ndrei", "gap")
    with pytest.raises(
        ValueError, match="line 2: expected text on both sides. Received: an empty source beside 'zwei'"
    ):
        read_pairs(source, gap)
    assert read_pairs(source, gap, empty="drop") == [("one", "eins"), ("three", "drei")]
    assert "2 of 4 pairs" in caplog.text and "have an empty side: dropped" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "ab"}, "columns must be the names.*Received: columns='ab'"),
        ({"columns": (0, "b")}, r"Received: columns=\(0, 'b'\)"),
        ({"columns": (-1, 0)}, r"Received: columns=\(-1, 0\)"),
        ({"columns": (0, 1, 2)}, "columns must be the names"),
        (
            {"columns": (0, 3)},
            "line 1: expected source and target with a tab.* column 3. Received: 'a b', with 2 columns",
        ),
        ({"kind": "xlsx"}, "kind must be one of 'tsv', 'csv', 'jsonl', 'parquet'. Received: kind='xlsx'"),
        ({"empty": "keep"}, "empty must be one of 'error', 'drop'"),
    ],
)
def test_bad_options(write, options, message):
    with pytest.raises(ValueError, match=message):
        read_pairs(write("a\tb\n"), **options)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-9],  # cut short
        lambda content: content[:-8] + b"\0" * 8,  # wrong checksum
        lambda content: content[:10] + b"\xff" * 20,  # not a deflate stream
    ],
)
def test_damaged_compression(write, damage):
    path = write(damage(gzip.compress(b"a\tb\n" * 10)))
    with pytest.raises(ValueError, match=f"{path}: expected a complete gzip file. Received: a damaged one"):
        read_pairs(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.tsv"):
        read_pairs(tmp_path / "missing.tsv")


def test_example(run_examples):
    run_examples(pairs_module)
