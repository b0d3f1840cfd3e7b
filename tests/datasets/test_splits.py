import pytest

from kerasseq.datasets import split_by_source
from kerasseq.datasets import splits as splits_module

# Computed with other tools: `printf WORD | sha256sum`, and the digest modulo 100 with `bc`.
BUCKETS = {"Go.": 84, "Hi.": 1, "Cheers!": 6, "m": 2, "6": 3, "r": 9, "漢字": 95}


def test_known_buckets():
    train, validation, test = split_by_source([(word, word.upper()) for word in BUCKETS])
    assert test == [(word, word.upper()) for word, bucket in BUCKETS.items() if bucket < 5]
    assert validation == [(word, word.upper()) for word, bucket in BUCKETS.items() if 5 <= bucket < 10]
    assert train == [(word, word.upper()) for word, bucket in BUCKETS.items() if bucket >= 10]


def test_every_source_is_in_one_split_in_the_given_order():
    pairs = [(f"source {index % 700}", index) for index in range(2_100)]
    splits = split_by_source(pairs)
    sources = [{source for source, _ in split} for split in splits]
    assert all(sources) and sum(map(len, sources)) == 700
    assert sorted(splits[0] + splits[1] + splits[2]) == sorted(pairs)
    assert all(split == sorted(split, key=lambda pair: pair[1]) for split in splits)


def test_a_split_does_not_depend_on_other_pairs():
    pairs = [(f"source {index}", index) for index in range(2_000)]
    whole = split_by_source(pairs)
    part = split_by_source(reversed(pairs[::3]))
    for split_of_whole, split_of_part in zip(whole, part, strict=True):
        assert split_of_part and set(split_of_part) <= set(split_of_whole)


def test_shares_are_about_90_5_5():
    train, validation, test = split_by_source((f"{index} öäü 漢字", "") for index in range(20_000))
    assert len(train) + len(validation) + len(test) == 20_000
    # Five standard deviations of a binomial distribution with 20,000 draws and p = 0.05: 154.
    assert abs(len(validation) - 1_000) < 154 and abs(len(test) - 1_000) < 154


def test_no_pairs():
    assert split_by_source([]) == ([], [], [])


def test_source_that_is_not_a_string():
    with pytest.raises(TypeError, match="must be a string. Received: bytes as the source of pair 1"):
        split_by_source([("a", "b"), (b"a", "b")])


def test_example(run_examples):
    run_examples(splits_module)
