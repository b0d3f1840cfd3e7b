import bz2
import csv
import gzip
import json
import lzma

import pytest

from kerasseq.datasets import PairFiles, pair_files, read_pairs

PAIRS = [("one", "eins"), ('two "2"', "zwei, 2"), ("漢字", "код"), ("four", "vier")]


def write_tsv(path):
    path.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS), "utf-8")
    return {}


def write_csv(path):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "en", "de"), *((7, *pair) for pair in PAIRS)])
    return {"columns": ("en", "de")}


def write_jsonl(path):
    lines = [json.dumps({"translation": {"en": source, "de": target}}) for source, target in PAIRS]
    path.write_text("\n".join(lines), "utf-8")
    return {"columns": ("translation.en", "translation.de")}


def write_parquet(path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet files need pyarrow")
    pyarrow = pytest.importorskip("pyarrow")
    sources, targets = map(list, zip(*PAIRS, strict=True))
    parquet.write_table(pyarrow.table({"source": sources, "target": targets}), path)
    return {}


KINDS = {"data.tsv": write_tsv, "data.csv": write_csv, "data.jsonl": write_jsonl, "data.parquet": write_parquet}
COMPRESSIONS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_kinds_and_compressions(tmp_path, name, suffix):
    path = tmp_path / name
    arguments = KINDS[name](path)
    if suffix and name == "data.parquet":
        pytest.skip("Parquet compresses within the file")
    packed = tmp_path / f"{name}{suffix}"
    packed.write_bytes(COMPRESSIONS[suffix](path.read_bytes()))
    assert list(PairFiles(packed, **arguments)) == PAIRS == read_pairs(packed, **arguments)


def test_patterns_and_lists(tmp_path):
    for name in ("b.tsv", "a.tsv", "folder/c.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\ttarget\n")

    def sources(files):
        return [source for source, _ in PairFiles(files)]

    assert sources(str(tmp_path / "*.tsv")) == ["a.tsv", "b.tsv"]
    assert sources(tmp_path / "**" / "*.tsv") == ["a.tsv", "b.tsv", "folder/c.tsv"]
    assert sources([tmp_path / "folder/?.tsv", tmp_path / "b.tsv"]) == ["folder/c.tsv", "b.tsv"]


def test_a_name_that_is_no_pattern(tmp_path):
    (tmp_path / "data[1].tsv").write_text("a\tb\n")
    assert list(PairFiles(tmp_path / "data[1].tsv")) == [("a", "b")]


def test_iterations_are_independent_and_lazy(tmp_path):
    path = tmp_path / "data.tsv"
    path.write_text("a\tb\nc\td\nonly one side\n")
    files = PairFiles(path)
    first, second = iter(files), iter(files)
    assert [next(first), next(second), next(first), next(second)] == [("a", "b"), ("a", "b"), ("c", "d"), ("c", "d")]
    with pytest.raises(ValueError, match="line 3: expected source and target"):
        next(first)


def test_parallel_files(tmp_path):
    for name, text in (("1.en", "a\n\nb\n"), ("2.en", "c"), ("1.de", "A\n\nB\n"), ("2.de", "C\nD\n\n")):
        (tmp_path / name).write_text(text)
    files = PairFiles(tmp_path / "?.en", tmp_path / "?.de")
    iterator = iter(files)
    assert [next(iterator) for _ in range(3)] == [("a", "A"), ("b", "B"), ("c", "C")]
    with pytest.raises(ValueError, match="2.en and .*2.de must have the same number of lines. Received: 1 and 3"):
        next(iterator)
    with pytest.raises(ValueError, match="files and target_files must be as many.*Received: 2 and 1"):
        PairFiles(tmp_path / "?.en", tmp_path / "1.de")


def test_empty_sides(tmp_path, caplog):
    (tmp_path / "data.tsv").write_text("a\tb\n\tc\n")
    with pytest.raises(ValueError, match="line 2: .*an empty source"):
        list(PairFiles(tmp_path / "data.tsv"))
    assert list(PairFiles(tmp_path / "data.tsv", empty="drop")) == [("a", "b")]
    assert "1 of 2 pairs of" in caplog.text


@pytest.mark.parametrize(
    ("files", "arguments", "error", "message"),
    [
        ("none-*.tsv", {}, ValueError, "match at least one file. Received: .*none-"),
        ("none.tsv", {}, FileNotFoundError, "Expected a file of pairs, or a pattern"),
        (".", {}, ValueError, "files must be files. Received: the folder"),
        ("data.tsv", {"empty": "skip"}, ValueError, "empty must be one of 'error', 'drop'"),
        ("data.tsv", {"kind": "xml"}, ValueError, "kind must be one of 'tsv'"),
        ("data.tsv", {"columns": "ab"}, ValueError, "columns must be the names"),
        ("data.tsv", {"encoding": "utf-7000"}, ValueError, "encoding must be one that Python knows"),
    ],
)
def test_refused_at_once(tmp_path, files, arguments, error, message):
    (tmp_path / "data.tsv").write_text("a\tb\n")
    with pytest.raises(error, match=message):
        PairFiles(tmp_path / files, **arguments)


@pytest.mark.parametrize("files", [[], 5, None])
def test_no_paths(files):
    with pytest.raises(ValueError, match="files must be a path, a pattern"):
        PairFiles(files)


def test_example(run_examples):
    run_examples(pair_files)
