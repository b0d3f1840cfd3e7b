import numpy as np
import pytest

from kerasseq.search import BeamSampler, GreedySampler

END = 3


def random_tables(batch, depth, seed, vocabulary=4, concentration=0.6):
    """Log-probabilities of next tokens, sharper than those of `trees.random`."""
    nodes = (vocabulary ** (depth + 1) - 1) // (vocabulary - 1)
    random = np.random.default_rng(seed)
    return np.log(random.dirichlet(np.full(vocabulary, concentration), size=(batch, nodes)) + 1e-4)


@pytest.mark.parametrize("exponent", [0, 0.6])
@pytest.mark.parametrize(("vocabulary", "max_length", "beams"), [(4, 4, 108), (5, 3, 80), (4, 1, 4)])
def test_wide_beams_find_what_brute_force_finds(trees, check, exponent, vocabulary, max_length, beams):
    some = trees(random_tables(10, max_length, seed=vocabulary, vocabulary=vocabulary))
    token_ids, scores = some.search(BeamSampler(beams, exponent), max_length)
    for row in range(10):
        check(token_ids[row], scores[row], some.by_hand(row, max_length, length_penalty=exponent).brute_force())


@pytest.mark.parametrize(("beams", "exponent"), [(1, 1), (2, 0), (2, 0.6), (3, 1), (3, 2), (5, 0.6)])
def test_narrow_beams_and_early_stopping(trees, check, exponent, beams):
    """Stopping early gives what never stopping gives."""
    max_length = 5
    some = trees(random_tables(30, max_length, seed=beams))
    token_ids, scores = some.search(BeamSampler(beams, exponent), max_length)
    for row in range(30):
        by_hand = some.by_hand(row, max_length, length_penalty=exponent)
        check(token_ids[row], scores[row], by_hand.beam_search(beams))


@pytest.mark.parametrize("num_hypotheses", [1, 2])
@pytest.mark.parametrize(("beams", "exponent"), [(2, 0.6), (3, 1), (5, 2)])
@pytest.mark.parametrize("rule", ["best_length", "first"])
def test_cheaper_rules(trees, check, rule, beams, exponent, num_hypotheses):
    """The rules as they are defined, in plain Python."""
    max_length = 6
    some = trees(random_tables(60, max_length, seed=beams))
    token_ids, scores = some.search(BeamSampler(beams, exponent, stop=rule), max_length, num_hypotheses=num_hypotheses)
    for row in range(60):
        by_hand = some.by_hand(row, max_length, length_penalty=exponent)
        was_first = []

        def stop(candidates, alive, finished, by_hand=by_hand, was_first=was_first):
            was_first.append(candidates[0][0][-1] == END)
            if len(finished) < num_hypotheses:
                return False
            if rule == "first":
                return any(was_first)
            prefix, log_probability = alive[0]
            return by_hand.score((*prefix, END), log_probability) <= by_hand.ranked(finished, [])[num_hypotheses - 1][1]

        check(token_ids[row], scores[row], by_hand.beam_search(beams, stop))


def test_cheaper_rules_stop_before_a_better_hypothesis(trees):
    """Outputs either end at once, or, less probably, go on with token 1 and hardly end: their mean grows."""
    tables = np.zeros((1, 5, 4))
    tables[0, 0] = np.log([0.055, 0.32, 0.055, 0.57])
    tables[0, 1:] = np.log([0.005, 0.79, 0.005, 0.2])
    some, best, steps = trees(tables), {}, {}
    for rule in ("exact", "best_length", "first"):
        some.steps.assign(0)
        token_ids, scores = some.search(BeamSampler(3, 1.0, "length", stop=rule), max_length=30, num_hypotheses=1)
        best[rule], steps[rule] = scores[0, 0], int(some.steps)
    assert best["first"] == best["best_length"] == pytest.approx(np.log(0.57), abs=1e-5)
    assert best["exact"] > -0.4
    assert steps["first"] <= steps["best_length"] < 4 < steps["exact"]


@pytest.mark.parametrize("exponent", [0, 1])
def test_stops_early(trees, check, exponent):
    tables = random_tables(5, 3, seed=1)
    tables[:, 1:] = np.log([0.01, 0.01, 0.01, 0.97])  # Nearly certain to end at the second token.
    some = trees(tables)
    token_ids, scores = some.search(BeamSampler(2, exponent), max_length=30)
    assert 2 <= some.steps.numpy() <= 8
    for row in range(5):
        check(token_ids[row], scores[row], some.by_hand(row, 30, length_penalty=exponent).beam_search(2))


def test_n_best_is_ordered_and_distinct(trees):
    token_ids, scores = trees(random_tables(20, 5, seed=3)).search(BeamSampler(6, 1.0), max_length=5)
    for row_ids, row_scores in zip(token_ids, scores, strict=True):
        finished = (row_ids == END).any(axis=1)
        assert len({tuple(ids) for ids in row_ids}) == 6
        assert not np.any(~finished[:-1] & finished[1:])  # Those without END stand behind.
        assert np.all(np.diff(row_scores[finished]) <= 0) and np.all(np.diff(row_scores[~finished]) <= 0)


# === Finished hypotheses ===


def test_a_finished_hypothesis_is_frozen(trees):
    """P(END) = 0.6 at once. A search that charges finished hypotheses for more tokens prefers the other, at 0.4."""
    tables = np.log(np.full((1, 21, 4), 1e-9))
    tables[0, 0] = np.log([0.4, 1e-9, 1e-9, 0.6])
    tables[0, 1:] = np.log([1e-9, 1e-9, 1e-9, 1.0])
    for beams in (1, 2, 5):
        token_ids, scores = trees(tables).search(BeamSampler(beams, 0), max_length=6)
        assert token_ids[0, 0].tolist() == [END, 0, 0, 0, 0, 0]
        np.testing.assert_allclose(np.exp(scores[0, 0]), 0.6, rtol=1e-5)
        if beams > 1:
            assert token_ids[0, 1].tolist() == [0, END, 0, 0, 0, 0]
            np.testing.assert_allclose(np.exp(scores[0, 1]), 0.4, rtol=1e-5)
    # (log 0.4) / (7 / 6) is less than log 0.6 still, but (log 0.4) / (7 / 6) ** 4 is more.
    assert trees(tables).search(BeamSampler(2, 1), max_length=6)[0][0, 0, 0] == END
    assert trees(tables).search(BeamSampler(2, 4), max_length=6)[0][0, 0, 0] == 0


def test_beam_1_is_greedy(trees):
    tables = random_tables(60, 5, seed=8)
    greedy_ids, greedy_scores = trees(tables).search(GreedySampler(), max_length=5)
    beam_ids, beam_scores = trees(tables).search(BeamSampler(1, 0), max_length=5)
    assert beam_ids.tolist() == greedy_ids.tolist()
    np.testing.assert_allclose(beam_scores, greedy_scores, rtol=1e-5)


def test_sequences_that_never_end_are_returned(trees, check):
    tables = random_tables(3, 4, seed=4)
    tables[..., END] = -40.0
    tables[0, 0, END] = 0.0  # The first row can end at once.
    some = trees(tables)
    token_ids, scores = some.search(BeamSampler(3, 1.0), max_length=4)
    for row in range(3):
        check(token_ids[row], scores[row], some.by_hand(row, 4).beam_search(3))


def test_partial_hypotheses_stand_in_behind_the_finished_ones(trees):
    tables = np.log(np.full((1, 5, 4), 1e-12))
    tables[0, 0] = np.log([0.5, 0.3, 0.1, 0.1])
    token_ids, scores = trees(tables).search(BeamSampler(4, 0), max_length=1)
    assert token_ids[0, :, 0].tolist() == [END, 0, 1, 2]
    np.testing.assert_allclose(np.exp(scores[0]), [0.1, 0.5, 0.3, 0.1], rtol=1e-5)


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_fewer_sequences_than_beams(trees, check, exponent):
    """Two tokens and 13 steps make 13 finished sequences and one cut; what is left over is empty, and last."""
    end, max_length, beams = 1, 13, 16
    some = trees(random_tables(1, max_length, seed=5, vocabulary=2))
    token_ids, scores = some.search(BeamSampler(beams, exponent), max_length, start_id=0, end_id=end)
    expected = some.by_hand(0, max_length, end=end, length_penalty=exponent).brute_force()
    assert len(expected) == 14
    check(token_ids[0], scores[0], expected)


def test_more_hypotheses_than_beams(trees):
    with pytest.raises(ValueError, match="BeamSampler returns at most 2 hypotheses .* Received: num_hypotheses=3"):
        trees(random_tables(1, 2, seed=1)).search(BeamSampler(2), max_length=2, num_hypotheses=3)


@pytest.mark.parametrize("beam_width", [0, -1, 2.0, None])
def test_bad_beam_width(beam_width):
    with pytest.raises(ValueError, match="beam_width must be a positive integer. Received: beam_width="):
        BeamSampler(beam_width=beam_width)
