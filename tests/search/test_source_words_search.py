"""Searches under `source_words_only`, against searches by hand over all sequences of whole words."""

import itertools

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.generation import with_source_words
from kerasseq.preprocessing.word_pieces import word_pieces
from kerasseq.samplers import BeamSampler, GreedySampler, RandomSampler, SourceWords

START, END = 2, 3
VOCABULARY = ["<pad>", "<unk>", "<s>", "</s>", "▁a", "b", "▁c"]
WORDS = word_pieces([piece.encode() for piece in VOCABULARY])
# Sources as tuples of words: "ab c", "a c", "c", "ab a", "a ab", "abb c".
SOURCES = [[(4, 5), (6,)], [(4,), (6,)], [(6,)], [(4, 5), (4,)], [(4,), (4, 5)], [(4, 5, 5), (6,)]]
SOURCE_IDS = np.array([(sum(words, ()) + (END,) + (0,) * 5)[:5] for words in SOURCES], "int32")

RULES = {
    "none": {},
    "min_length": {"min_length": 3},
    "max_length_ratio": {"max_length_ratio": 0.7},
    "bigrams": {"no_repeat_ngram_size": 2},
    "suppressed": {"suppressed_ids": [6]},
    "dead ends": {"min_length": 4, "no_repeat_ngram_size": 1},
    "all": {"max_length_ratio": 1.0, "no_repeat_ngram_size": 3, "suppressed_ids": [6]},
}


@pytest.fixture(scope="module")
def some(trees):
    """A tree for each source, whose likeliest tokens are mostly others than those of the source."""
    some = trees.random(len(SOURCES), 4, seed=1, vocabulary=len(VOCABULARY))
    some.source_mask = SOURCE_IDS > 0
    return some


def search(some, sampler, max_length, rows=None, source_ids=SOURCE_IDS):
    rows = tf.range(len(SOURCES)) if rows is None else tf.constant(rows)
    repeated = tf.repeat(rows, sampler.rows_per_sequence)
    states = {"row": repeated, "node": tf.zeros_like(repeated), "position": tf.zeros_like(repeated)}
    words = SourceWords(tf.gather(source_ids, repeated), WORDS, suppressed_ids=sampler.suppressed_ids)
    step, states = with_source_words(some.step, states, words)
    mask = tf.gather(some.source_mask, rows)
    outputs = sampler(step, states, tf.shape(rows)[0], START, END, max_length, source_mask=mask)
    return outputs["token_ids"].numpy(), outputs["scores"].numpy()


def by_hand(some, row, max_length, no_repeat_ngram_size=None, **rules):
    """The search by hand, and one rule more: an output begins as a sequence of words does that ends in time.

    A word that has begun is finished, though that may repeat an n-gram. END comes, however early, where nothing else
    may.
    """
    searched = some.by_hand(row, max_length, **rules)
    beginnings = set()
    for count in range(max_length):
        for words in itertools.product(SOURCES[row], repeat=count):
            output = (*sum(words, ()), END)
            if len(output) <= searched.longest:
                beginnings |= {output[:length] for length in range(1, len(output) + 1)}
    allows, size = searched.allows, no_repeat_ngram_size

    def repeats(ids):
        return size is not None and ids[-size:] in [ids[start : start + size] for start in range(len(ids) - size)]

    def allows_words(prefix, token):
        possible = [ids for other in range(len(VOCABULARY)) if (ids := (*prefix, other)) in beginnings]
        fresh = [ids for ids in possible if not repeats(ids)]
        allowed = [ids for ids in fresh or possible if allows(prefix, ids[-1])]
        return (*prefix, token) in (allowed or [ids for ids in possible if ids[-1] == END])

    searched.allows = allows_words
    return searched


@pytest.mark.parametrize("name", RULES)
def test_wide_beams_find_what_brute_force_finds(some, check, name):
    token_ids, scores = search(some, BeamSampler(60, **RULES[name]), 4)
    for row in range(len(SOURCES)):
        expected = by_hand(some, row, 4, **RULES[name]).brute_force()
        assert len(expected) <= 60
        check(token_ids[row], scores[row], expected)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("beams", [1, 3])
def test_narrow_beams_find_what_a_search_by_hand_finds(some, check, name, beams):
    token_ids, scores = search(some, BeamSampler(beams, **RULES[name]), 5)
    for row in range(len(SOURCES)):
        check(token_ids[row], scores[row], by_hand(some, row, 5, **RULES[name]).beam_search(beams))


@pytest.mark.parametrize("name", RULES)
def test_greedy(some, name):
    token_ids, scores = search(some, GreedySampler(**RULES[name]), 5)
    for row in range(len(SOURCES)):
        ids, score = by_hand(some, row, 5, **RULES[name]).greedy()
        assert token_ids[row, 0].tolist() == [*ids, *[0] * (5 - len(ids))]
        assert scores[row, 0] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("name", RULES)
def test_random_sampling_keeps_to_the_words(some, name):
    rows = list(range(len(SOURCES))) * 6
    sampler = RandomSampler(keras_hub.samplers.RandomSampler(seed=3, temperature=2.0), **RULES[name])
    token_ids, scores = search(some, sampler, 5, rows)
    for row, ids, score in zip(rows, token_ids[:, 0].tolist(), scores[:, 0], strict=True):
        searched = by_hand(some, row, 5, **RULES[name])
        ids = ids[: ids.index(0) if 0 in ids else None]
        assert all(searched.allows(tuple(ids[:position]), token) for position, token in enumerate(ids))
        assert END in ids or len(ids) == searched.longest or not searched.continuations(tuple(ids))
        # As the model has it, before temperature and rules.
        assert score == pytest.approx(searched.log_probability(ids), abs=1e-4)
    assert len({tuple(ids) for ids in token_ids[:, 0].tolist()}) > 3


def test_a_suppressed_token_leaves_no_part_of_a_word(some):
    token_ids, _ = search(some, GreedySampler(suppressed_ids=[5], min_length=2), 5)
    for row, words in enumerate(SOURCES):
        output = tuple(token for token in token_ids[row, 0].tolist() if token)
        whole = [sum(order, ()) for count in range(5) for order in itertools.product(words, repeat=count)]
        assert output in whole or (output[-1] == END and output[:-1] in whole)


def test_a_length_that_no_words_fill(some):
    """With END, "ab" has three tokens and "ab ab" has five: three are better than nothing."""
    source_ids = np.array([[4, 5, END, 0, 0]], "int32")
    for sampler in (GreedySampler(min_length=4), BeamSampler(2, min_length=4)):
        token_ids, scores = search(some, sampler, 4, rows=[0], source_ids=source_ids)
        assert token_ids[0, 0].tolist() == [4, 5, END, 0] and scores[0, 0] > -1e8
