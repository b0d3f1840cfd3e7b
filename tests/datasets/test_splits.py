import itertools
import logging
import unicodedata

import pytest

from kerasseq.datasets import drop_near_duplicates, split_by_source
from kerasseq.datasets import splits as splits_module

# Computed with other tools: `printf WORD | sha256sum`, and the digest modulo 100 with `bc`.
BUCKETS = {"Go.": 84, "Hi.": 1, "Cheers!": 6, "m": 2, "6": 3, "r": 9, "漢字": 95}


def test_known_buckets():
    train, validation, test = split_by_source([(word, word.upper()) for word in BUCKETS])
    assert test == [(word, word.upper()) for word, bucket in BUCKETS.items() if bucket < 5]
    assert validation == [(word, word.upper()) for word, bucket in BUCKETS.items() if 5 <= bucket < 10]
    assert train == [(word, word.upper()) for word, bucket in BUCKETS.items() if bucket >= 10]


def test_lone_surrogates():
    assert sum(split_by_source([("a \ud800", "b")]), []) == [("a \ud800", "b")]


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


def decomposed(text):
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize("change", [decomposed, str.upper, "\ufeff{}".format, " {}\t".format, str.title])
def test_other_forms_of_a_source_are_in_its_split(change):
    sources = [f"café numéro {index} à la carte" for index in range(2_000)]
    pairs = [(text, source) for source in sources for text in (source, change(source))]
    splits = split_by_source(pairs)
    found = [{source for _, source in split} for split in splits]
    assert all(found) and not any(one & other for one, other in itertools.combinations(found, 2))
    apart = [{source for _, source in split} for split in split_by_source(pairs, key=None)]
    assert any(one & other for one, other in itertools.combinations(apart, 2))


def test_the_first_form_decides():
    """Its bucket is that of the form itself, so sources without other forms stay where they were: "Hi." has 1."""
    for pairs in ([("hi.", 1), ("Hi.", 2)], [("Hi.", 2), ("hi.", 1)]):
        assert split_by_source(pairs) == ([], [], pairs)


def test_keys_of_ones_own():
    train, validation, test = split_by_source([("Hi. 1", 0), ("Hi.", 1), ("Go. 7", 2)], key=lambda text: text[:3])
    assert (train, validation, test) == ([("Go. 7", 2)], [], [("Hi. 1", 0), ("Hi.", 1)])


def test_near_duplicates(caplog):
    train, held_out = (
        [("Cheers", 1), ("well, hi", 2), ("Go!", 3), ("...", 4), ("Hi there", 5)],
        [("Hi.", 6), ("...", 7)],
    )
    assert drop_near_duplicates(train, held_out) == train
    held_out += [("Well: hi!", 8), ("cheers...", 9)]
    assert drop_near_duplicates(train, held_out) == [train[2], train[3], train[4]]
    sources = [f"{mark}{word}{mark}" for word in (f"word {index}" for index in range(400)) for mark in ("", "!")]
    with caplog.at_level(logging.WARNING):
        train, validation, test = split_by_source([(source, "") for source in sources])
    known = {source.strip("!") for source, _ in train}
    counts = [sum(source.strip("!") in known for source, _ in split) for split in (validation, test)]
    assert min(counts) > 5
    (record,) = caplog.records
    for count, split, name in zip(counts, (validation, test), ("validation", "test"), strict=True):
        assert f"{count} of {len(split)} {name} sources, such as '" in record.getMessage()
    caplog.clear()
    train = drop_near_duplicates(train, [*validation, *test])
    assert not {source.strip("!") for source, _ in train} & {source.strip("!") for source, _ in [*validation, *test]}


def test_no_pairs():
    assert split_by_source([]) == ([], [], [])


def test_source_that_is_not_a_string():
    with pytest.raises(TypeError, match="must be a string. Received: bytes as the source of pair 1"):
        split_by_source([("a", "b"), (b"a", "b")])


def test_example(run_examples):
    run_examples(splits_module)
