"""Length penalties and scorers: searches by hand, and numbers worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from kerasseq import search
from kerasseq.search import BeamSampler

END = 3

PENALTIES = {
    "gnmt-2.5": {"length_penalty": 2.5},
    "length-0.3": {"normalization": "length", "length_penalty": 0.3},
    "length-1": {"normalization": "length", "length_penalty": 1},
    "coverage-0.2": {"coverage": 0.2},
    "length-1-coverage-1": {"normalization": "length", "length_penalty": 1, "coverage": 1.0},
}


SLOW = ("length-1", "coverage-0.2")  # Each is a part of another one.


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PENALTIES])
def options(request):
    """Options of `make_sampler`."""
    return PENALTIES[request.param]


def test_wide_beams_find_what_brute_force_finds(trees, check, make_sampler, options):
    some = trees.random(8, 4, seed=4)
    token_ids, scores = some.search(make_sampler(BeamSampler, options, beam_width=108), 4)
    for row in range(8):
        check(token_ids[row], scores[row], some.by_hand(row, 4, **options).brute_force())


def test_narrow_beams_find_what_a_search_by_hand_finds(trees, check, make_sampler, options):
    """Also where fewer hypotheses than beams are requested."""
    some = trees.random(24, 6, seed=3)
    sampler = make_sampler(BeamSampler, options, beam_width=3)
    token_ids, scores = some.search(sampler, 6)
    best_ids, best_scores = some.search(sampler, 6, num_hypotheses=1)
    for row in range(24):
        expected = some.by_hand(row, 6, **options).beam_search(3)
        check(token_ids[row], scores[row], expected)
        check(best_ids[row], best_scores[row], expected)


def test_stopping_early_changes_nothing(trees, check, make_sampler, options):
    """Row by row, because a batch goes on until all of its rows are decided."""
    some = trees.random(4, 6, seed=6)
    some.tables[:, :, END] += 1.5
    sampler = make_sampler(BeamSampler, options, beam_width=3)
    for row in range(4):
        token_ids, scores = some.search(sampler, 6, rows=[row], num_hypotheses=(1, 3)[row % 2])
        check(token_ids[0], scores[0], some.by_hand(row, 6, **options).beam_search(3))
    if "coverage" not in options:
        assert some.steps.numpy() < 4 * 6  # Some searches stopped early.


@pytest.mark.parametrize(
    "name", ["length-0.3", "length-1-coverage-1", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_stops_early(trees, check, make_sampler, name):
    options = PENALTIES[name]
    some = trees.random(6, 3, seed=7)
    some.attention = np.maximum(some.attention, 0.3)
    some.tables[:, 1:] = np.log([0.01, 0.01, 0.01, 0.97])  # Nearly certain to end at the second token.
    token_ids, scores = some.search(make_sampler(BeamSampler, options, beam_width=2), 40)
    assert 2 <= some.steps.numpy() < 40
    for row in range(6):
        check(token_ids[row], scores[row], some.by_hand(row, 40, **options).beam_search(2))


def test_stops_sooner_where_fewer_hypotheses_are_requested(trees):
    some = trees.random(1, 5, seed=3)
    some.tables[:, 1:] = np.log([0.1, 0.1, 0.1, 0.7])
    steps = []
    for count in (1, 5):
        some.steps.assign(0)
        some.search(BeamSampler(5), 30, num_hypotheses=count)
        steps.append(int(some.steps.numpy()))
    assert steps[0] < steps[1] < 30


def test_n_best_is_ordered(trees, make_sampler, options):
    token_ids, scores = trees.random(20, 5, seed=9).search(make_sampler(BeamSampler, options, beam_width=6), 5)
    for row_ids, row_scores in zip(token_ids, scores, strict=True):
        finished = (row_ids == END).any(axis=1)
        assert len({tuple(ids) for ids in row_ids}) == 6
        assert not np.any(~finished[:-1] & finished[1:])  # Those without END come last.
        assert np.all(np.diff(row_scores[finished]) <= 0) and np.all(np.diff(row_scores[~finished]) <= 0)


def test_rows_do_not_depend_on_each_other(trees, make_sampler):
    some = trees.random(6, 5, seed=11)
    sampler = make_sampler(BeamSampler, beam_width=3, normalization="length", coverage=0.4)
    together = some.search(sampler, 5)
    for rows in ([3, 0, 5, 4, 2, 1], [0], [1, 1], [4]):
        token_ids, scores = some.search(sampler, 5, rows=rows)
        assert token_ids.tolist() == together[0][rows].tolist()
        np.testing.assert_allclose(scores, together[1][rows], rtol=1e-5, atol=1e-5)


# === By hand ===


def test_penalties_are_those_of_the_papers():
    # Wu et al. 2016, equation 14: (5 + |Y|) ** alpha / (5 + 1) ** alpha.
    assert float(BeamSampler(2, 0.6).penalty(7)) == pytest.approx(12**0.6 / 6**0.6)
    assert float(BeamSampler(2, 0.6, "length").penalty(7)) == pytest.approx(7**0.6)
    for normalization in ("gnmt", "length"):
        assert float(BeamSampler(2, 0, normalization).penalty(7)) == 1.0
        assert float(BeamSampler(2, 1.7, normalization).penalty(1)) == 1.0


def test_coverage_of_an_example(trees):
    """END at once, P = 0.6, covers half of the source; 0 END, P = 0.4, covers it all: log 0.6 + log 0.5 < log 0.4."""
    tables = np.full((1, 21, 4), -30.0)
    tables[0, 0] = np.log([0.4, 1e-12, 1e-12, 0.6])
    tables[0, 1:, END] = 0.0
    attention = np.zeros((1, 21, 3), "float32")
    attention[0, 0] = [1.0, 0.5, 7.0]
    attention[0, 1] = [0.3, 0.9, 0.0]  # Sums are clipped at 1: more attention is no better.
    some = trees(tables, attention, np.array([[True, True, False]]))
    token_ids, scores = some.search(BeamSampler(2, 0), 4)
    assert token_ids[0].tolist() == [[END, 0, 0, 0], [0, END, 0, 0]]
    np.testing.assert_allclose(scores[0], np.log([0.6, 0.4]), rtol=1e-5)
    token_ids, scores = some.search(BeamSampler(2, 0, scorers=[search.Coverage(1.0)]), 4)
    assert token_ids[0].tolist() == [[0, END, 0, 0], [END, 0, 0, 0]]
    np.testing.assert_allclose(scores[0], np.log([0.4, 0.6 * 0.5]), rtol=1e-5)
    # Half of the penalty is the square root of the coverage.
    _, scores = some.search(BeamSampler(2, 0, scorers=[search.Coverage(0.5)]), 4)
    np.testing.assert_allclose(scores[0], np.log([0.6 * 0.5**0.5, 0.4]), rtol=1e-5)


def test_a_position_without_attention_counts_as_a_millionth(trees):
    tables = np.full((1, 21, 4), -30.0)
    tables[..., END] = 0.0
    some = trees(tables, np.zeros((1, 21, 5), "float32"), np.array([[True, True, True, False, False]]))
    _, scores = some.search(BeamSampler(1, scorers=[search.Coverage(0.5)]), 4)
    np.testing.assert_allclose(scores, [[0.5 * 3 * np.log(1e-6)]], rtol=1e-5)


def test_coverage_of_outputs_that_reach_their_limits_at_different_steps(trees, check, make_sampler):
    options = {"coverage": 0.5, "max_length_ratio": 1.0}
    some = trees.random(12, 5, seed=14)
    some.tables[:, :, END] -= 9.0  # Few hypotheses end.
    token_ids, scores = some.search(make_sampler(BeamSampler, options, beam_width=3), 5)
    for row in range(12):
        check(token_ids[row], scores[row], some.by_hand(row, 5, **options).beam_search(3))


def test_attention_at_masked_positions_is_ignored(trees):
    """Even NaN."""
    some = trees.random(8, 5, seed=12)
    clean = some.search(BeamSampler(3, scorers=[search.Coverage(0.5)]), 5)
    some.attention = np.where(some.source_mask[:, None], some.attention, np.float32("nan"))
    dirty = some.search(BeamSampler(3, scorers=[search.Coverage(0.5)]), 5)
    assert clean[0].tolist() == dirty[0].tolist() and clean[1].tolist() == dirty[1].tolist()


def test_attention_of_half_precision(trees, check):
    some = trees.random(6, 4, seed=13)
    some.attention = tf.constant(some.attention, tf.float16)
    token_ids, scores = some.search(BeamSampler(3, scorers=[search.Coverage(0.5)]), 4)
    some.attention = some.attention.numpy()
    for row in range(6):
        check(token_ids[row], scores[row], some.by_hand(row, 4, coverage=0.5).beam_search(3))


@pytest.mark.parametrize(
    ("remove", "message"),
    [("source_mask", "Coverage needs the source_mask"), ("attention", "Coverage needs `attention`")],
)
def test_coverage_needs_attention_and_a_source_mask(trees, remove, message):
    some = trees.random(2, 3, seed=4)
    setattr(some, remove, None)
    with pytest.raises(ValueError, match=message):
        some.search(BeamSampler(2, scorers=[search.Coverage(0.1)]), 3)


@pytest.mark.parametrize("scorers", [search.Coverage(0.1), [0.1], [search.NoRepeatNGram(2)], None])
def test_bad_scorers(scorers):
    with pytest.raises(ValueError, match=r"scorers must be a list of scorers .* \[Coverage\(0.02\)\]. Received"):
        BeamSampler(scorers=scorers)
