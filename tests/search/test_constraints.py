"""Every constraint against searches by hand, and by numbers worked out by hand."""

import fractions
import math

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import search
from kerasseq.search import BeamSampler, GreedySampler, RandomSampler

END = 3
PREFIXES = [[1, 2, 1], [0, 0, 0], [2, 0, 0], [1, 1, 0], [2, 2, 2], [END, 0, 0]]

# Options of `make_sampler`, and prefixes.
OPTIONS = {
    "min_length": {"min_length": 3},
    "min_length_ratio": {"min_length_ratio": 0.7},
    "max_length_ratio": {"max_length_ratio": 0.8},
    "ratios": {"min_length_ratio": 0.5, "max_length_ratio": 1.0},
    "unigrams": {"ngram_size": 1},
    "bigrams": {"ngram_size": 2},
    "trigrams": {"ngram_size": 3},
    "suppressed": {"suppressed_ids": [1]},
    "suppressed_end": {"suppressed_ids": [0, END]},
    "prefix": {"prefix_ids": PREFIXES},
    "prefix_and_ngrams": {"prefix_ids": PREFIXES, "ngram_size": 2},
    "lengths_and_ngrams": {"min_length": 3, "max_length_ratio": 0.9, "ngram_size": 2, "suppressed_ids": [2]},
    "all": {
        "prefix_ids": PREFIXES,
        "min_length": 2,
        "min_length_ratio": 0.4,
        "max_length_ratio": 1.1,
        "ngram_size": 2,
        "suppressed_ids": [1],
    },
}


# Each of their options is in another one, too.
SLOW = ("ratios", "unigrams", "trigrams", "suppressed_end", "prefix_and_ngrams", "lengths_and_ngrams")


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in OPTIONS])
def options(request):
    """Options of a sampler, and a list of prefixes, or `None`."""
    options = dict(OPTIONS[request.param])
    return options, options.pop("prefix_ids", None)


@pytest.fixture
def searched(options, make_sampler):
    """`searched(some, sampler class, max_length, **arguments)`: ids and scores, and the rows by hand."""
    options, prefixes = options

    def searched(some, sampler, max_length, **arguments):
        batch = len(some.tables)
        prefix_ids = None if prefixes is None else np.resize(prefixes, (batch, 3)).astype("int32")
        sampler = make_sampler(sampler, options, **arguments)
        token_ids, scores = some.search(sampler, max_length, prefix_ids=prefix_ids)
        by_hand = [
            some.by_hand(row, max_length, **options, prefix_ids=() if prefix_ids is None else prefix_ids[row])
            for row in range(batch)
        ]
        return token_ids, scores, by_hand

    return searched


# === Against searches by hand ===


def test_wide_beams_find_what_brute_force_finds(trees, check, searched):
    some = trees.random(6, 4, seed=1)
    token_ids, scores, by_hand = searched(some, BeamSampler, 4, beam_width=108)
    counts = []
    for row in range(6):
        expected = by_hand[row].brute_force()
        check(token_ids[row], scores[row], expected)
        counts.append(len(expected))
    # Without a constraint, 1 + 3 + 9 + 27 sequences of up to 4 tokens end and 81 do not.
    assert min(counts) < 121


def test_narrow_beams_find_what_a_search_by_hand_finds(trees, check, searched):
    some = trees.random(18, 6, seed=2)
    token_ids, scores, by_hand = searched(some, BeamSampler, 6, beam_width=3)
    for row in range(18):
        check(token_ids[row], scores[row], by_hand[row].beam_search(3))


def test_greedy_and_beam_1(trees, searched):
    """Both take the most probable allowed token; where no token is allowed, a beam has no hypothesis at all."""
    some = trees.random(24, 6, seed=3)
    token_ids, scores, by_hand = searched(some, GreedySampler, 6)
    beam_ids, beam_scores, _ = searched(some, BeamSampler, 6, beam_width=1, length_penalty=0)
    ended = 0
    for row in range(24):
        ids, score = by_hand[row].greedy()
        assert token_ids[row, 0].tolist() == [*ids, *[0] * (6 - len(ids))]
        assert scores[row, 0] == pytest.approx(score, abs=1e-4)
        if END in ids or len(ids) == by_hand[row].longest:
            assert beam_ids[row].tolist() == token_ids[row].tolist()
            assert beam_scores[row, 0] == pytest.approx(score, abs=1e-4)
            ended += 1
        else:
            assert not beam_ids[row].any() and beam_scores[row, 0] <= -1e9
    assert ended >= 12


def test_random_sampling_draws_allowed_tokens(trees, searched):
    def draw(constraints):
        return RandomSampler(keras_hub.samplers.TopPSampler(p=0.9, seed=7, temperature=1.5), constraints)

    some = trees.random(24, 6, seed=4)
    token_ids, scores, by_hand = searched(some, draw, 6)
    for row in range(24):
        allowed, ids = by_hand[row], ()
        for token in token_ids[row, 0].tolist():
            if END in ids or len(ids) == allowed.longest or not allowed.continuations(ids):
                break
            assert allowed.allows(ids, token)
            ids = (*ids, token)
        assert not token_ids[row, 0, len(ids) :].any()
        # Under the model, before temperature, truncation and constraints.
        assert scores[row, 0] == pytest.approx(allowed.log_probability(ids), abs=1e-4)


def test_rows_do_not_depend_on_each_other(trees, make_sampler):
    options = dict(OPTIONS["all"])
    prefix_ids = np.array(options.pop("prefix_ids"), "int32")
    some = trees.random(6, 5, seed=5)
    sampler = make_sampler(BeamSampler, options, beam_width=3)
    together = some.search(sampler, 5, prefix_ids=prefix_ids)
    for rows in ([3, 0, 5, 4, 2, 1], [0], [1, 1], [4]):
        token_ids, scores = some.search(sampler, 5, rows=rows, prefix_ids=prefix_ids[rows])
        assert token_ids.tolist() == together[0][rows].tolist()
        np.testing.assert_allclose(scores, together[1][rows], rtol=1e-5, atol=1e-5)


# === Lengths ===


def test_lengths_relative_to_the_source_are_exact():
    """No product such as 0.1 * 30 or 0.65 * 180 is rounded to the wrong side."""
    lengths = np.arange(1, 201)
    request = search.Request(batch_size=200, max_length=1000, source_mask=tf.sequence_mask(lengths, 200))
    for hundredths in range(5, 305, 5):
        ratio = hundredths / 100
        _, constants = search.LengthLimits(min_length_ratio=ratio).start(request)
        longest = search.LengthLimits(max_length_ratio=ratio).longest(request)
        exact = [fractions.Fraction(hundredths, 100) * int(length) for length in lengths]
        assert np.ravel(constants["shortest"]).tolist() == [max(math.ceil(product), 1) for product in exact]
        assert np.ravel(longest).tolist() == [math.floor(product) for product in exact]


@pytest.mark.parametrize("sampler", [GreedySampler, BeamSampler])
def test_the_longest_output_takes_precedence_over_the_shortest(trees, make_sampler, sampler):
    some = trees.random(8, 4, seed=5)
    lengths = some.source_mask.sum(axis=1)
    token_ids, _ = some.search(make_sampler(sampler, min_length=9, max_length_ratio=0.6), 4)
    longest = np.maximum(np.floor(0.6 * lengths), 1).astype(int)
    for ids, limit in zip(token_ids[:, 0], longest, strict=True):
        # END may be the last token.
        assert END not in ids[: limit - 1] and not ids[limit:].any()


@pytest.mark.parametrize("ratio", [1e9, 1e30])
def test_very_large_ratios_do_not_overflow(trees, make_sampler, ratio):
    some = trees.random(4, 5, seed=6)
    plain = some.search(GreedySampler(), 5)
    limited = some.search(make_sampler(GreedySampler, max_length_ratio=ratio), 5)
    assert limited[0].tolist() == plain[0].tolist()
    token_ids, _ = some.search(make_sampler(GreedySampler, min_length_ratio=ratio), 5)
    assert not (token_ids[:, 0, :4] == END).any()


# === Prefixes ===


@pytest.mark.parametrize("sampler", [GreedySampler, BeamSampler])
def test_a_prefix_overrides_other_constraints(trees, make_sampler, sampler):
    some = trees.random(3, 5, seed=8)
    prefixes = [[1, 1, 1, 1], [END, 0, 0, 0], [2, 1, END, 0]]
    sampler = make_sampler(sampler, min_length=5, ngram_size=1, suppressed_ids=[1, END])
    token_ids, scores = some.search(sampler, 5, prefix_ids=tf.constant(prefixes))
    assert token_ids[0, 0, :4].tolist() == [1, 1, 1, 1] and token_ids[0, 0, 4] in (0, 2)
    assert token_ids[1:, 0].tolist() == [[END, 0, 0, 0, 0], [2, 1, END, 0, 0]]
    by_hand = some.by_hand(2, 5)
    expected = by_hand.log_probability([2, 1, END]) / ((5 + 3) / 6 if isinstance(sampler, BeamSampler) else 1)
    assert scores[2, 0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("sampler", [GreedySampler, BeamSampler])
def test_a_prefix_is_cut_at_the_longest_output_but_not_by_a_ratio(trees, make_sampler, sampler):
    some = trees.random(4, 4, seed=9)
    prefixes = tf.constant([[1, 2, 1, 2, 1, 1, 1]] * 4)
    assert some.search(sampler(), 3, prefix_ids=prefixes)[0][:, 0].tolist() == [[1, 2, 1]] * 4
    some.source_mask = tf.sequence_mask([2, 2, 4, 5], 5)
    prefixes = tf.constant([[1, 2, 1], [1, 0, 0], [0, 0, 0], [1, 2, 0]])
    best = some.search(make_sampler(sampler, max_length_ratio=0.5), 6, prefix_ids=prefixes)[0][:, 0]
    assert best[0, :3].tolist() == [1, 2, 1] and best[3, :2].tolist() == [1, 2]
    # The prefix and one more token, or half of the source.
    for row, longest in zip(best, [4, 2, 2, 3], strict=True):
        assert not row[longest:].any()


def test_a_prefix_of_no_columns_is_no_prefix(trees):
    some = trees.random(4, 4, seed=10)
    for sampler in (GreedySampler(), BeamSampler(3)):
        without = some.search(sampler, 4)
        for prefixes in (tf.zeros([4, 0], tf.int32), tf.zeros([4, 2], tf.int32)):
            token_ids, scores = some.search(sampler, 4, prefix_ids=prefixes)
            assert token_ids.tolist() == without[0].tolist() and scores.tolist() == without[1].tolist()


def test_prefix_needs_ids(trees):
    with pytest.raises(ValueError, match="Prefix needs the prefix_ids of the request"):
        trees.random(2, 2, seed=1).search(GreedySampler([search.Prefix()]), 3)


# === No token is allowed ===


CONTRADICTIONS = {
    "everything_suppressed": ({"suppressed_ids": [0, 1, 2, END]}, 0),
    "too_few_tokens": ({"suppressed_ids": [END], "ngram_size": 1}, 3),
    "too_long": ({"min_length": 6, "ngram_size": 1}, 3),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_search_ends_where_no_token_is_allowed(trees, check, make_sampler, name):
    some = trees.random(5, 6, seed=12)
    options, length = CONTRADICTIONS[name]

    def draw(constraints):
        return RandomSampler(keras_hub.samplers.RandomSampler(seed=1), constraints)

    for sampler in (GreedySampler, draw):
        token_ids, scores = some.search(make_sampler(sampler, options), 8)
        for row in range(5):
            ids = token_ids[row, 0, :length].tolist()
            assert not token_ids[row, 0, length:].any() and END not in ids
            assert scores[row, 0] == pytest.approx(some.by_hand(row, 8).log_probability(ids), abs=1e-4)
    for exponent in (0, 1):
        token_ids, scores = some.search(make_sampler(BeamSampler, options, beam_width=3, length_penalty=exponent), 8)
        for row in range(5):
            check(token_ids[row], scores[row], [])


@pytest.mark.parametrize("sampler", [GreedySampler, BeamSampler])
def test_a_prefix_outside_of_the_vocabulary_leaves_no_token(trees, sampler):
    some = trees.random(2, 4, seed=13)
    token_ids, scores = some.search(sampler(), 4, prefix_ids=tf.constant([[99], [1]]))
    assert not token_ids[0].any() and (token_ids[1, :, 0] == 1).all()
    assert not np.isnan(scores).any()


# === Lists of constraints ===


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (search.NoRepeatNGram(3), r"constraints must be a list .* such as \[NoRepeatNGram\(3\)\]. Received"),
        ([3], r"constraints must be a list .* Received: constraints=\[3\]"),
        ([search.Coverage(0.1)], "constraints must be a list"),
        ([search.SuppressTokens([1]), search.SuppressTokens([2])], "at most one of each kind. Received: Suppress"),
    ],
)
def test_bad_constraints(constraints, message):
    with pytest.raises(ValueError, match=message):
        GreedySampler(constraints)
