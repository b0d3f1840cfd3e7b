import gzip

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
        ("\ufeffa\tb\n\ufeffc\td\n", [("a", "b"), ("\ufeffc", "d")]),  # only at the start of the file
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
        ("a\tb\n\tb\n", "line 2: expected text on both sides of the tab. Received: an empty source"),
        ("a\tb\nc\t \n", "line 2: .*an empty target"),
        ("a\tb\nc\t\tcredit\n", "line 2: .*an empty target"),
        ("\t\n", "line 1: .*an empty source"),
        (b"a\tb\ncaf\xe9\tcoffee\n", "line 2: expected UTF-8 text. Received: byte 0xe9 at position 3 .*Save the file"),
        ("a\tb\n".encode("utf-16"), "line 1: expected UTF-8 text. Received: byte 0xff at position 0"),
        ("a\tb\rc\td\r", "line 1: expected lines that end in .*a carriage return inside"),
        ("", "at least one line of source, tab, target. Received: a file of 0 bytes"),
        ("\n \n", "Received: a file of 3 bytes without any"),
        ("word " * 100, "Received: 'word .{52}\\.\\.\\.', which has no tab"),
    ],
)
def test_refused_with_file_and_line(write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=f"(?s){path}.*{message}"):
        read_pairs(path)


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
