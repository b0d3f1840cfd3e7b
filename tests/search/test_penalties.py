import itertools

import numpy as np
import pytest
import tensorflow as tf

from kerasseq.samplers import BeamSampler

END = 3

LENGTHS = [
    {"normalization": normalization, "length_penalty": exponent}
    for normalization, exponent in itertools.product(["gnmt", "length"], [0, 0.3, 1, 2.5])
]
COVERAGES = [{"coverage_penalty": 0.2}, {"coverage_penalty": 1.0}, {"coverage_penalty": 20}]
PENALTIES = [*LENGTHS, *COVERAGES, {**LENGTHS[-2], **COVERAGES[0]}, {**LENGTHS[0], **COVERAGES[1]}]


def named(options):
    return "-".join(map(str, options.values()))


@pytest.mark.parametrize("options", PENALTIES, ids=named)
@pytest.mark.parametrize(("vocabulary", "max_length", "beams"), [(4, 4, 108), (5, 3, 80)])
def test_wide_beams_find_what_brute_force_finds(trees, check, options, vocabulary, max_length, beams):
    some = trees.random(8, max_length, seed=vocabulary, vocabulary=vocabulary)
    token_ids, scores = some.search(BeamSampler(beams, **options), max_length)
    for row in range(8):
        check(token_ids[row], scores[row], some.by_hand(row, max_length, **options).brute_force())


@pytest.mark.parametrize("options", PENALTIES, ids=named)
@pytest.mark.parametrize("beams", [1, 2, 4])
def test_narrow_beams_find_what_a_search_by_hand_finds(trees, check, options, beams):
    """Also where fewer hypotheses than beams are wanted."""
    some = trees.random(24, 6, seed=beams)
    token_ids, scores = some.search(BeamSampler(beams, **options), 6)
    best_ids, best_scores = some.search(BeamSampler(beams, **options), 6, hypotheses=1)
    for row in range(24):
        expected = some.by_hand(row, 6, **options).beam_search(beams)
        check(token_ids[row], scores[row], expected)
        check(best_ids[row], best_scores[row], expected)


@pytest.mark.parametrize("options", PENALTIES, ids=named)
def test_stopping_early_changes_nothing(trees, check, options):
    """Row by row, for a batch goes on until all of its rows are decided."""
    some = trees.random(12, 6, seed=6)
    some.tables[:, :, END] += 1.5
    for row in range(12):
        wanted = (1, 3)[row % 2]
        token_ids, scores = some.search(BeamSampler(3, **options), 6, rows=[row], hypotheses=wanted)
        check(token_ids[0], scores[0], some.by_hand(row, 6, **options).beam_search(3))
    if "coverage_penalty" not in options:
        assert some.steps.numpy() < 12 * 6  # Somewhere it did stop early.


@pytest.mark.parametrize("options", [*LENGTHS[:3], *LENGTHS[4:7], *COVERAGES[:2], PENALTIES[-2]], ids=named)
def test_stops_early(trees, check, options):
    some = trees.random(6, 3, seed=7)
    some.attention = np.maximum(some.attention, 0.3)
    some.tables[:, 1:] = np.log([0.01, 0.01, 0.01, 0.97])  # Nearly certain to end at the second token.
    token_ids, scores = some.search(BeamSampler(2, **options), 40)
    assert 2 <= some.steps.numpy() < 40
    for row in range(6):
        check(token_ids[row], scores[row], some.by_hand(row, 40, **options).beam_search(2))


def test_stops_sooner_where_fewer_hypotheses_are_wanted(trees):
    some = trees.random(1, 5, seed=3)
    some.tables[:, 1:] = np.log([0.1, 0.1, 0.1, 0.7])
    steps = []
    for wanted in (1, 5):
        some.steps.assign(0)
        some.search(BeamSampler(5), 30, hypotheses=wanted)
        steps.append(int(some.steps.numpy()))
    assert steps[0] < steps[1] < 30


@pytest.mark.parametrize("options", PENALTIES, ids=named)
def test_n_best_is_ordered(trees, options):
    token_ids, scores = trees.random(20, 5, seed=9).search(BeamSampler(6, **options), 5)
    for row_ids, row_scores in zip(token_ids, scores, strict=True):
        finished = (row_ids == END).any(axis=1)
        assert len({tuple(ids) for ids in row_ids}) == 6
        assert not np.any(~finished[:-1] & finished[1:])  # Those without END stand behind.
        assert np.all(np.diff(row_scores[finished]) <= 0) and np.all(np.diff(row_scores[~finished]) <= 0)


@pytest.mark.parametrize("options", [{"normalization": "length"}, {"coverage_penalty": 0.4}], ids=named)
def test_rows_do_not_matter_to_each_other(trees, options):
    some = trees.random(6, 5, seed=11)
    together = some.search(BeamSampler(3, **options), 5)
    for rows in ([3, 0, 5, 4, 2, 1], [0], [1, 1], [4]):
        token_ids, scores = some.search(BeamSampler(3, **options), 5, rows=rows)
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
    attention[0, 1] = [0.3, 0.9, 0.0]  # Sums are cut at 1: attending more often is no better.
    some = trees(tables, attention, np.array([[True, True, False]]))
    token_ids, scores = some.search(BeamSampler(2, 0), 4)
    assert token_ids[0].tolist() == [[END, 0, 0, 0], [0, END, 0, 0]]
    np.testing.assert_allclose(scores[0], np.log([0.6, 0.4]), rtol=1e-5)
    token_ids, scores = some.search(BeamSampler(2, 0, coverage_penalty=1.0), 4)
    assert token_ids[0].tolist() == [[0, END, 0, 0], [END, 0, 0, 0]]
    np.testing.assert_allclose(scores[0], np.log([0.4, 0.6 * 0.5]), rtol=1e-5)
    # Half of the penalty is the square root of the coverage.
    _, scores = some.search(BeamSampler(2, 0, coverage_penalty=0.5), 4)
    np.testing.assert_allclose(scores[0], np.log([0.6 * 0.5**0.5, 0.4]), rtol=1e-5)


def test_a_position_without_attention_counts_as_a_millionth(trees):
    tables = np.full((1, 21, 4), -30.0)
    tables[..., END] = 0.0
    some = trees(tables, np.zeros((1, 21, 5), "float32"), np.array([[True, True, True, False, False]]))
    _, scores = some.search(BeamSampler(1, coverage_penalty=0.5), 4)
    np.testing.assert_allclose(scores, [[0.5 * 3 * np.log(1e-6)]], rtol=1e-5)


def test_coverage_of_outputs_that_reach_their_limits_at_different_steps(trees, check):
    options = {"coverage_penalty": 0.5, "max_length_ratio": 1.0}
    some = trees.random(12, 5, seed=14)
    some.tables[:, :, END] -= 9.0  # Hardly any ends.
    token_ids, scores = some.search(BeamSampler(3, **options), 5)
    for row in range(12):
        check(token_ids[row], scores[row], some.by_hand(row, 5, **options).beam_search(3))


def test_padded_attention_does_not_matter(trees):
    """Whatever stands at masked positions, also what is not a number."""
    some = trees.random(8, 5, seed=12)
    clean = some.search(BeamSampler(3, coverage_penalty=0.5), 5)
    some.attention = np.where(some.source_mask[:, None], some.attention, np.float32("nan"))
    dirty = some.search(BeamSampler(3, coverage_penalty=0.5), 5)
    assert clean[0].tolist() == dirty[0].tolist() and clean[1].tolist() == dirty[1].tolist()


def test_attention_of_half_precision(trees, check):
    some = trees.random(6, 4, seed=13)
    some.attention = tf.constant(some.attention, tf.float16)
    token_ids, scores = some.search(BeamSampler(3, coverage_penalty=0.5), 4)
    some.attention = some.attention.numpy()
    for row in range(6):
        check(token_ids[row], scores[row], some.by_hand(row, 4, coverage_penalty=0.5).beam_search(3))
