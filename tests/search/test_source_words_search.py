"""Searches under `SourceWords`, against searches by hand over all sequences of whole words."""

import itertools

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.preprocessing.word_pieces import word_pieces
from kerasseq.search import BeamSampler, GreedySampler, RandomSampler

END = 3
VOCABULARY = ["<pad>", "<unk>", "<s>", "</s>", "▁a", "b", "▁c"]
WORDS = word_pieces([piece.encode() for piece in VOCABULARY])
# Sources as tuples of words: "ab c", "a c", "c", "ab a", "a ab", "abb c".
SOURCES = [[(4, 5), (6,)], [(4,), (6,)], [(6,)], [(4, 5), (4,)], [(4,), (4, 5)], [(4, 5, 5), (6,)]]
SOURCE_IDS = np.array([(sum(words, ()) + (END,) + (0,) * 5)[:5] for words in SOURCES], "int32")

# Options of `make_sampler` beside `source_words`.
OPTIONS = {
    "none": {},
    "min_length": {"min_length": 3},
    "max_length_ratio": {"max_length_ratio": 0.7},
    "bigrams": {"ngram_size": 2},
    "suppressed": {"suppressed_ids": [6]},
    "dead ends": {"min_length": 4, "ngram_size": 1},
    "all": {"max_length_ratio": 1.0, "ngram_size": 3, "suppressed_ids": [6]},
}
SLOW = ("min_length", "max_length_ratio", "suppressed")  # Each is a part of another one.
EACH = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in OPTIONS]


@pytest.fixture(scope="module")
def some(trees):
    """A tree for each source, whose likeliest tokens are mostly others than those of the source."""
    some = trees.random(len(SOURCES), 4, seed=1, vocabulary=len(VOCABULARY))
    some.source_mask = SOURCE_IDS > 0
    return some


@pytest.fixture
def search(some, make_sampler):
    """`search(sampler class, max_length, rows, source_ids, **options)`: ids and scores under `SourceWords`."""

    def search(sampler, max_length, rows=None, source_ids=SOURCE_IDS, **options):
        sampler = make_sampler(sampler, source_words=True, **options)
        rows = range(len(SOURCES)) if rows is None else rows
        source_ids = tf.gather(source_ids, rows)
        return some.search(sampler, max_length, rows, source_token_ids=source_ids, word_pieces=WORDS)

    return search


def by_hand(some, row, max_length, ngram_size=None, **options):
    """The search by hand, where an output also begins like a sequence of words that ends within the limit.

    A word that has begun is completed, even if that repeats an n-gram. END follows, however early, where no other token
    is allowed.
    """
    searched = some.by_hand(row, max_length, **options)
    beginnings = set()
    for count in range(max_length):
        for words in itertools.product(SOURCES[row], repeat=count):
            output = (*sum(words, ()), END)
            if len(output) <= searched.longest:
                beginnings |= {output[:length] for length in range(1, len(output) + 1)}
    allows, size = searched.allows, ngram_size

    def repeats(ids):
        return size is not None and ids[-size:] in [ids[start : start + size] for start in range(len(ids) - size)]

    def allows_words(prefix, token):
        possible = [ids for other in range(len(VOCABULARY)) if (ids := (*prefix, other)) in beginnings]
        fresh = [ids for ids in possible if not repeats(ids)]
        allowed = [ids for ids in fresh or possible if allows(prefix, ids[-1])]
        return (*prefix, token) in (allowed or [ids for ids in possible if ids[-1] == END])

    searched.allows = allows_words
    return searched


@pytest.mark.parametrize("name", EACH)
def test_wide_beams_find_what_brute_force_finds(some, search, check, name):
    token_ids, scores = search(BeamSampler, 4, beam_width=60, **OPTIONS[name])
    for row in range(len(SOURCES)):
        expected = by_hand(some, row, 4, **OPTIONS[name]).brute_force()
        assert len(expected) <= 60
        check(token_ids[row], scores[row], expected)


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("beams", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_narrow_beams_find_what_a_search_by_hand_finds(some, search, check, name, beams):
    token_ids, scores = search(BeamSampler, 5, beam_width=beams, **OPTIONS[name])
    for row in range(len(SOURCES)):
        check(token_ids[row], scores[row], by_hand(some, row, 5, **OPTIONS[name]).beam_search(beams))


@pytest.mark.parametrize("name", EACH)
def test_greedy(some, search, name):
    token_ids, scores = search(GreedySampler, 5, **OPTIONS[name])
    for row in range(len(SOURCES)):
        ids, score = by_hand(some, row, 5, **OPTIONS[name]).greedy()
        assert token_ids[row, 0].tolist() == [*ids, *[0] * (5 - len(ids))]
        assert scores[row, 0] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("name", EACH)
def test_random_sampling_draws_words(some, search, name):
    def draw(constraints):
        return RandomSampler(keras_hub.samplers.RandomSampler(seed=3, temperature=2.0), constraints)

    rows = list(range(len(SOURCES))) * 6
    token_ids, scores = search(draw, 5, rows, **OPTIONS[name])
    for row, ids, score in zip(rows, token_ids[:, 0].tolist(), scores[:, 0], strict=True):
        searched = by_hand(some, row, 5, **OPTIONS[name])
        ids = ids[: ids.index(0) if 0 in ids else None]
        assert all(searched.allows(tuple(ids[:position]), token) for position, token in enumerate(ids))
        assert END in ids or len(ids) == searched.longest or not searched.continuations(tuple(ids))
        # Under the model, before temperature and constraints.
        assert score == pytest.approx(searched.log_probability(ids), abs=1e-4)
    assert len({tuple(ids) for ids in token_ids[:, 0].tolist()}) > 3


def test_a_suppressed_token_leaves_no_part_of_a_word(search):
    token_ids, _ = search(GreedySampler, 5, suppressed_ids=[5], min_length=2)
    for row, words in enumerate(SOURCES):
        output = tuple(token for token in token_ids[row, 0].tolist() if token)
        whole = [sum(order, ()) for count in range(5) for order in itertools.product(words, repeat=count)]
        assert output in whole or (output[-1] == END and output[:-1] in whole)


# === Worked out by hand ===


@pytest.fixture(params=[GreedySampler, lambda **arguments: BeamSampler(2, **arguments)], ids=["greedy", "beam"])
def best(request, search):
    """`best(source, max_length, **options)`: the best hypothesis for a source of token ids, and its score."""

    def best(source, max_length, **options):
        source_ids = np.array([[*source, END]], "int32")
        token_ids, scores = search(request.param, max_length, rows=[0], source_ids=source_ids, **options)
        return token_ids[0, 0].tolist(), scores[0, 0]

    return best


def test_end_is_the_last_resort(best):
    """With END, "ab" has three tokens and "ab ab" has five: three are better than none."""
    token_ids, score = best([4, 5], 4, min_length=4)
    assert token_ids == [4, 5, END, 0] and score > -1e8
    # Suppressed, END is no resort.
    assert END not in best([4, 5], 4, min_length=4, suppressed_ids=[END])[0]


def test_a_word_that_has_begun_is_completed_although_it_repeats_an_n_gram(best):
    """No unigram twice: "abb" repeats "b", and may not begin anew."""
    assert best([4, 5, 5], 9, min_length=4, ngram_size=1)[0] == [4, 5, 5, END, 0, 0, 0, 0, 0]


def test_a_prefix_overrides_the_words_of_the_source(some, make_sampler):
    """ "c" is no word of the source "ab"; a word of the source or END follows."""
    for sampler in (GreedySampler, BeamSampler):
        sampler = make_sampler(sampler, source_words=True, suppressed_ids=[6], min_length=3)
        token_ids, _ = some.search(
            sampler,
            5,
            [0],
            source_token_ids=tf.constant([[4, 5, END]]),
            word_pieces=WORDS,
            prefix_ids=tf.constant([[6]]),
        )
        assert token_ids[0, 0].tolist() == [6, 4, 5, END, 0]
