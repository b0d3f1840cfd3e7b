import doctest
import hashlib
import os
import pathlib
import re
from collections import Counter

import pytest

from kerasseq.datasets import load_sentence_compression, sentence_compression

FILE = "sentence_compression/comp-data.eval.tsv"


def needs_mirror():
    folder = os.environ.get("KERASSEQ_DATA_DIR")
    if not folder:
        pytest.skip("KERASSEQ_DATA_DIR is not set")
    if not (pathlib.Path(folder).expanduser() / FILE).is_file():
        pytest.skip(f"the folder in KERASSEQ_DATA_DIR has no {FILE}")


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put a hand-made file in place of the data set: two pairs for the test, one for validation, three to train on."""
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sentence_compression, "SPLITS", {"test": 2, "validation": 1, "train": 3})
    path = tmp_path / FILE
    path.parent.mkdir()

    def publish(text):
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(sentence_compression, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
        return path

    return publish


def lines(first, last):
    return [f"Sentence {number}, at length.\tSentence {number}." for number in range(first, last + 1)]


def table(rows, header="original\tcompressed"):
    return "\n".join([header, *rows])  # Like the real file: no line feed after the last line.


def test_test_comes_first_then_validation_then_training(publish):
    publish(table(lines(1, 6)))
    train, validation, test = load_sentence_compression()
    assert test == [("Sentence 1, at length.", "Sentence 1."), ("Sentence 2, at length.", "Sentence 2.")]
    assert validation == [("Sentence 3, at length.", "Sentence 3.")]
    assert train == [(f"Sentence {number}, at length.", f"Sentence {number}.") for number in (4, 5, 6)]


def test_quotation_marks_are_text_and_only_line_feeds_end_lines(publish):
    publish(table(['"No", he said.\t"No".', "A\u2028b \x0c c.\tA\u0085c."] + lines(3, 6)) + "\n")
    assert load_sentence_compression()[2] == [('"No", he said.', '"No".'), ("A\u2028b \x0c c.", "A\u0085c.")]


@pytest.mark.parametrize("last", [5, 7])
def test_wrong_number_of_pairs(publish, last):
    path = publish(table(lines(1, last)))
    with pytest.raises(ValueError, match=f"{path}: expected 6 pairs below the column names. Received: {last}."):
        load_sentence_compression()


@pytest.mark.parametrize("header", ["compressed\toriginal", "Sentence 0, at length.\tSentence 0."])
def test_wrong_header(publish, header):
    publish(table(lines(1, 6), header))
    received = re.escape(str(tuple(header.split("\t"))))
    with pytest.raises(ValueError, match=rf"column names \('original', 'compressed'\).* Received: {received}\."):
        load_sentence_compression()


@pytest.mark.parametrize("row, problem", [("Sentence 3.", "which has no tab"), ("Sentence 3.\t", "an empty target")])
def test_missing_column(publish, row, problem):
    path = publish(table([*lines(1, 2), row, *lines(4, 6)]))
    with pytest.raises(ValueError, match=f"{path}, line 4: expected .* Received: .*{problem}"):
        load_sentence_compression()


def test_tampered_file(publish):
    path = publish(table(lines(1, 6)))
    path.write_text(table([*lines(1, 5), "Sentence 6, at length.\tAnother one."]), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{path} in the offline mirror is damaged.* Expected sha256"):
        load_sentence_compression()


def words(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


def is_deletion(source, target):
    remaining = iter(source)
    return all(word in remaining for word in target)  # `in` consumes the iterator up to the word it finds.


def test_real_file():
    needs_mirror()
    train, validation, test = sides = load_sentence_compression()
    assert [len(side) for side in sides] == [8_000, 1_000, 1_000]
    pairs = [pair for side in sides for pair in side]
    assert all(len(pair) == 2 and all(text and text == text.strip() for text in pair) for pair in pairs)
    assert test[0] == (
        "Five people have been taken to hospital with minor injuries following a crash on the A17 near Sleaford this "
        "morning.",
        "Five people have been taken to hospital with minor injuries following a crash on the A17 near Sleaford.",
    )
    assert validation[0][1] == "The Gilmer City Council plans to consider canceling its council election."
    assert train[0][1] == "The Delhi Metro will be conducting an customer satisfaction survey."
    assert train[-1][1] == "We saw their two and raised to three."


def test_documented_facts():
    needs_mirror()
    train, validation, test = load_sentence_compression()
    pairs = test + validation + train
    assert len({source for source, _ in pairs}) == 10_000
    targets = Counter(target for _, target in train)
    assert sum(targets[target] for target in {target for _, target in test}) == 5
    assert sum(targets[target] for target in {target for _, target in validation}) == 4
    assert all(target.endswith(".") for _, target in pairs)
    deletions = sum(is_deletion(words(source), words(target)[:-1]) for source, target in pairs)
    assert round(deletions / len(pairs), 3) == 0.995
    assert [sorted(len(text.split()) for text in texts)[5_000] for texts in zip(*pairs, strict=True)] == [23, 9]
    assert sum("\ufffd" in source + target for source, target in pairs) == 2


def test_example():
    needs_mirror()
    result = doctest.testmod(sentence_compression)
    assert result.attempted and not result.failed
