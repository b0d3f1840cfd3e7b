import doctest

import pytest

from kerasseq.datasets import split_by_source, splits

# Worked out by other tools: `printf WORD | sha256sum`, and the digest modulo 100 by `bc`.
BUCKETS = {"Go.": 84, "Hi.": 1, "Cheers!": 6, "m": 2, "6": 3, "r": 9, "漢字": 95}


def test_known_buckets():
    train, validation, test = split_by_source([(word, word.upper()) for word in BUCKETS])
    assert test == [(word, word.upper()) for word, bucket in BUCKETS.items() if bucket < 5]
    assert validation == [(word, word.upper()) for word, bucket in BUCKETS.items() if 5 <= bucket < 10]
    assert train == [(word, word.upper()) for word, bucket in BUCKETS.items() if bucket >= 10]


def test_no_source_is_on_two_sides_and_nothing_is_lost():
    pairs = [(f"source {index % 700}", f"target {index}") for index in range(2_100)]
    sides = split_by_source(pairs)
    sources = [{source for source, _ in side} for side in sides]
    assert all(sources)
    assert sum(map(len, sources)) == 700
    assert sorted(sides[0] + sides[1] + sides[2]) == sorted(pairs)


def test_order_is_kept():
    pairs = [(f"source {index}", index) for index in range(2_000)]
    for side in split_by_source(pairs):
        assert len(side) > 1
        assert [index for _, index in side] == sorted(index for _, index in side)


def test_a_side_does_not_depend_on_the_other_pairs():
    pairs = [(f"source {index}", index) for index in range(2_000)]
    whole = split_by_source(pairs)
    part = split_by_source(reversed(pairs[::3]))
    for side_of_whole, side_of_part in zip(whole, part, strict=True):
        assert side_of_part
        assert set(side_of_part) <= set(side_of_whole)


def test_shares_are_about_90_5_5():
    train, validation, test = split_by_source((f"{index} öäü 漢字", "") for index in range(20_000))
    assert len(train) + len(validation) + len(test) == 20_000
    # Five standard deviations of a binomial with 20,000 draws of 5 %: 154.
    assert abs(len(validation) - 1_000) < 154
    assert abs(len(test) - 1_000) < 154


def test_no_pairs_make_three_empty_sides():
    assert split_by_source([]) == ([], [], [])


def test_source_that_is_not_a_string():
    with pytest.raises(TypeError, match="must be a string. Received: bytes as the source of pair 1"):
        split_by_source([("a", "b"), (b"a", "b")])


def test_example():
    result = doctest.testmod(splits)
    assert result.attempted and not result.failed
