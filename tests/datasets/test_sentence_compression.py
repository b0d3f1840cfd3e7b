import re
from collections import Counter

import pytest

from kerasseq.datasets import load_sentence_compression, sentence_compression

FILE = "sentence_compression/comp-data.eval.tsv"


@pytest.fixture
def publish_table(publish, monkeypatch):
    """A function that puts rows in place of the data set: two test pairs, one validation pair, three training pairs."""
    monkeypatch.setattr(sentence_compression, "SPLITS", {"test": 2, "validation": 1, "train": 3})

    def publish_table(rows, header="original\tcompressed", pin=True):
        path, digest = publish(FILE, "\n".join([header, *rows]))  # No line feed at the end, as in the real file.
        if pin:
            monkeypatch.setattr(sentence_compression, "SHA256", digest)
        return path

    return publish_table


def rows(first, last):
    return [f"Sentence {number}, at length.\tSentence {number}." for number in range(first, last + 1)]


def test_order_of_splits(publish_table):
    publish_table(rows(1, 6))
    train, validation, test = load_sentence_compression()
    assert test == [("Sentence 1, at length.", "Sentence 1."), ("Sentence 2, at length.", "Sentence 2.")]
    assert validation == [("Sentence 3, at length.", "Sentence 3.")]
    assert train == [(f"Sentence {number}, at length.", f"Sentence {number}.") for number in (4, 5, 6)]


def test_quotation_marks_and_unicode_line_separators_are_text(publish_table):
    publish_table(['"No", he said.\t"No".', "A\u2028b \x0c c.\tA\u0085c.", *rows(3, 6), ""])
    assert load_sentence_compression()[2] == [('"No", he said.', '"No".'), ("A\u2028b \x0c c.", "A\u0085c.")]


@pytest.mark.parametrize(
    "table, message",
    [
        ((rows(1, 5),), "{path}: expected 6 pairs below the column names. Received: 5."),
        ((rows(1, 7),), "{path}: expected 6 pairs below the column names. Received: 7."),
        (
            (rows(1, 6), "compressed\toriginal"),
            r"column names \('original', 'compressed'\).* Received: \('compressed', 'original'\)\.",
        ),
        ((rows(1, 6), "Sentence 0.\tS 0."), r"column names .* Received: \('Sentence 0\.', 'S 0\.'\)\."),
        (([*rows(1, 2), "Sentence 3.", *rows(4, 6)],), "{path}, line 4: expected .* which has no tab"),
        (([*rows(1, 2), "Sentence 3.\t", *rows(4, 6)],), "{path}, line 4: expected .* an empty target"),
    ],
)
def test_unexpected_format(publish_table, table, message):
    path = publish_table(*table)
    with pytest.raises(ValueError, match=message.format(path=path)):
        load_sentence_compression()


def test_damaged_file(publish_table):
    publish_table(rows(1, 6))
    path = publish_table([*rows(1, 5), "Sentence 6, at length.\tAnother one."], pin=False)
    with pytest.raises(ValueError, match=f"{path} in the offline mirror is damaged.* Expected sha256"):
        load_sentence_compression()


# === Real data ===


@pytest.fixture(scope="module")
def splits(require_mirror):
    require_mirror(FILE)
    return load_sentence_compression()


def words(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


def is_deletion(source, target):
    remaining = iter(source)
    return all(word in remaining for word in target)  # `in` consumes the iterator up to the word.


def test_real_file(splits, run_examples):
    train, validation, test = splits
    assert [len(split) for split in splits] == [8_000, 1_000, 1_000]
    pairs = [pair for split in splits for pair in split]
    assert all(len(pair) == 2 and all(text and text == text.strip() for text in pair) for pair in pairs)
    assert test[0] == (
        "Five people have been taken to hospital with minor injuries following a crash on the A17 near Sleaford this "
        "morning.",
        "Five people have been taken to hospital with minor injuries following a crash on the A17 near Sleaford.",
    )
    assert validation[0][1] == "The Gilmer City Council plans to consider canceling its council election."
    assert train[0][1] == "The Delhi Metro will be conducting an customer satisfaction survey."
    assert train[-1][1] == "We saw their two and raised to three."
    run_examples(sentence_compression, load_sentence_compression=lambda: splits)


def test_documented_facts(splits):
    train, validation, test = splits
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
