import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.samplers import BeamSampler, GreedySampler

VOCABULARY, START, END = 4, 2, 3


def random_trees(batch, depth, seed, vocabulary=VOCABULARY, concentration=0.6):
    """Log-probabilities `(batch, nodes, vocabulary)`: the next token depends on the whole prefix, a node of a tree."""
    nodes = (vocabulary ** (depth + 1) - 1) // (vocabulary - 1)
    random = np.random.default_rng(seed)
    return np.log(random.dirichlet(np.full(vocabulary, concentration), size=(batch, nodes)) + 1e-4)


class Tree:
    """A decoder whose states say at which node of its row's tree it stands; counts its steps."""

    def __init__(self, tables):
        self.tables = tf.constant(tables, tf.float32)
        self.vocabulary = self.tables.shape[-1]
        self.steps = tf.Variable(0)

    def step(self, token_ids, states):
        self.steps.assign_add(1)
        child = states["node"] * self.vocabulary + token_ids[:, 0] + 1
        node = tf.where(states["position"] == 0, 0, child)  # START leads to the root.
        # Beyond the tree's depth all goes on from the last node.
        node = tf.minimum(node, self.tables.shape[1] - 1)
        logits = tf.gather(states["table"], node, axis=1, batch_dims=1)
        return logits, {"table": states["table"], "node": node, "position": states["position"] + 1}

    def search(self, sampler, max_length, start=START, end=END):
        batch = len(self.tables)
        states = {"table": self.tables, "node": tf.zeros([batch], tf.int32), "position": tf.zeros([batch], tf.int32)}
        states = {name: tf.repeat(state, sampler.rows_per_sequence, 0) for name, state in states.items()}
        outputs = sampler(self.step, states, batch, start, end, max_length)
        return np.asarray(outputs["token_ids"]), np.asarray(outputs["scores"])


def log_probabilities(table, prefix):
    node = 0
    for token in prefix:
        node = min(node * table.shape[-1] + token + 1, len(table) - 1)
    row = table[node]
    return row - np.log(np.exp(row).sum())


def penalty(length, exponent):
    return ((5 + length) / 6) ** exponent


def all_hypotheses(table, max_length, exponent):
    """Every sequence: the finished ones by score, then the ones cut at `max_length` by score."""
    finished, cut = [], []
    others = [token for token in range(table.shape[-1]) if token != END]
    for length in range(1, max_length + 1):
        for prefix in itertools.product(others, repeat=length - 1):
            score = sum(log_probabilities(table, prefix[:position])[token] for position, token in enumerate(prefix))
            following = log_probabilities(table, prefix)
            finished.append(((*prefix, END), (score + following[END]) / penalty(length, exponent)))
            if length == max_length:
                cut += [((*prefix, token), (score + following[token]) / penalty(length, exponent)) for token in others]
    return [*sorted(finished, key=lambda pair: -pair[1]), *sorted(cut, key=lambda pair: -pair[1])]


def beam_search_without_early_stopping(table, beams, max_length, exponent, end=END):
    alive, finished = [((), 0.0)], []
    for length in range(1, max_length + 1):
        candidates = [
            ((*prefix, token), score + added)
            for prefix, score in alive
            for token, added in enumerate(log_probabilities(table, prefix))
        ]
        candidates = sorted(candidates, key=lambda pair: -pair[1])[: 2 * beams]
        in_beam = candidates[:beams]
        finished += [(ids, score / penalty(length, exponent)) for ids, score in in_beam if ids[-1] == end]
        finished = sorted(finished, key=lambda pair: -pair[1])[:beams]
        alive = [(ids, score) for ids, score in candidates if ids[-1] != end][:beams]
    return [*finished, *((ids, score / penalty(max_length, exponent)) for ids, score in alive)][:beams]


def check(token_ids, scores, expected, max_length):
    assert [np.trim_zeros(np.array(ids) + 1, "b").tolist() for ids, _ in expected]  # Something is expected.
    padded = [[*ids, *[0] * (max_length - len(ids))] for ids, _ in expected]
    assert token_ids.tolist() == padded
    np.testing.assert_allclose(scores, [score for _, score in expected], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("exponent", [0, 0.6, 1, 2])
@pytest.mark.parametrize(("vocabulary", "max_length", "beams"), [(4, 4, 108), (5, 3, 80), (4, 1, 4)])
def test_wide_beams_find_what_brute_force_finds(exponent, vocabulary, max_length, beams):
    tables = random_trees(10, max_length, seed=vocabulary, vocabulary=vocabulary)
    token_ids, scores = Tree(tables).search(BeamSampler(beams, exponent), max_length)
    for table, row_ids, row_scores in zip(tables, token_ids, scores, strict=True):
        check(row_ids, row_scores, all_hypotheses(table, max_length, exponent)[:beams], max_length)


@pytest.mark.parametrize("exponent", [0, 0.6, 1, 2])
@pytest.mark.parametrize("beams", [1, 2, 3, 5])
def test_narrow_beams_and_early_stopping(exponent, beams):
    """Stopping early gives what never stopping gives."""
    max_length = 5
    tables = random_trees(30, max_length, seed=beams)
    token_ids, scores = Tree(tables).search(BeamSampler(beams, exponent), max_length)
    for table, row_ids, row_scores in zip(tables, token_ids, scores, strict=True):
        expected = beam_search_without_early_stopping(table, beams, max_length, exponent)
        check(row_ids, row_scores, expected, max_length)


@pytest.mark.parametrize("exponent", [0, 1])
def test_stops_early(exponent):
    tables = random_trees(5, 3, seed=1)
    tables[:, 1:] = np.log([0.01, 0.01, 0.01, 0.97])  # Nearly certain to end at the second token.
    tree = Tree(tables)
    token_ids, scores = tree.search(BeamSampler(2, exponent), max_length=30)
    assert 2 <= tree.steps.numpy() <= 8
    for table, row_ids, row_scores in zip(tables, token_ids, scores, strict=True):
        check(row_ids, row_scores, beam_search_without_early_stopping(table, 2, 30, exponent), 30)


def test_n_best_is_ordered_and_distinct():
    tables = random_trees(20, 5, seed=3)
    token_ids, scores = Tree(tables).search(BeamSampler(6, 1.0), max_length=5)
    for row_ids, row_scores in zip(token_ids, scores, strict=True):
        finished = (row_ids == END).any(axis=1)
        assert len({tuple(ids) for ids in row_ids}) == 6
        assert not np.any(~finished[:-1] & finished[1:])  # Those without END stand behind.
        assert np.all(np.diff(row_scores[finished]) <= 0) and np.all(np.diff(row_scores[~finished]) <= 0)


# === Finished hypotheses ===


def test_a_finished_hypothesis_is_frozen():
    """P(END) = 0.6 at once. A search that charges finished hypotheses for more tokens prefers the other, at 0.4."""
    tables = np.log(np.full((1, 21, 4), 1e-9))
    tables[0, 0] = np.log([0.4, 1e-9, 1e-9, 0.6])
    tables[0, 1:] = np.log([1e-9, 1e-9, 1e-9, 1.0])
    for beams in (1, 2, 5):
        token_ids, scores = Tree(tables).search(BeamSampler(beams, 0), max_length=6)
        assert token_ids[0, 0].tolist() == [END, 0, 0, 0, 0, 0]
        np.testing.assert_allclose(np.exp(scores[0, 0]), 0.6, rtol=1e-5)
        if beams > 1:
            assert token_ids[0, 1].tolist() == [0, END, 0, 0, 0, 0]
            np.testing.assert_allclose(np.exp(scores[0, 1]), 0.4, rtol=1e-5)
    # (log 0.4) / (7 / 6) is less than log 0.6 still, but (log 0.4) / (7 / 6) ** 4 is more.
    assert Tree(tables).search(BeamSampler(2, 1), max_length=6)[0][0, 0, 0] == END
    assert Tree(tables).search(BeamSampler(2, 4), max_length=6)[0][0, 0, 0] == 0


def test_beam_1_is_greedy():
    tables = random_trees(60, 5, seed=8)
    greedy_ids, greedy_scores = Tree(tables).search(GreedySampler(), max_length=5)
    beam_ids, beam_scores = Tree(tables).search(BeamSampler(1, 0), max_length=5)
    assert beam_ids.tolist() == greedy_ids.tolist()
    np.testing.assert_allclose(beam_scores, greedy_scores, rtol=1e-5)


def test_sequences_that_never_end_are_returned():
    tables = random_trees(3, 4, seed=4)
    tables[..., END] = -40.0
    tables[0, 0, END] = 0.0  # The first row can end at once.
    token_ids, scores = Tree(tables).search(BeamSampler(3, 1.0), max_length=4)
    for table, row_ids, row_scores in zip(tables, token_ids, scores, strict=True):
        check(row_ids, row_scores, beam_search_without_early_stopping(table, 3, 4, 1.0), 4)


def test_partial_hypotheses_stand_in_behind_the_finished_ones():
    tables = np.log(np.full((1, 5, 4), 1e-12))
    tables[0, 0] = np.log([0.5, 0.3, 0.1, 0.1])
    token_ids, scores = Tree(tables).search(BeamSampler(4, 0), max_length=1)
    assert token_ids[0, :, 0].tolist() == [END, 0, 1, 2]
    np.testing.assert_allclose(np.exp(scores[0]), [0.1, 0.5, 0.3, 0.1], rtol=1e-5)


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_fewer_sequences_than_beams(exponent):
    """Two tokens and 13 steps make 13 finished sequences and one cut; what is left over is empty, and last."""
    end, max_length, beams = 1, 13, 16
    table = np.log(np.random.default_rng(5).dirichlet([1, 1], size=(1, 2 ** (max_length + 1) - 1)))
    token_ids, scores = Tree(table).search(BeamSampler(beams, exponent), max_length, start=0, end=end)
    finished, cut = [], []
    score = 0.0
    for length in range(1, max_length + 1):
        stay, stop = log_probabilities(table[0], [0] * (length - 1))
        finished.append(([0] * (length - 1) + [1], (score + stop) / penalty(length, exponent)))
        score += stay
    cut = [([0] * max_length, score / penalty(max_length, exponent))]
    expected = [*sorted(finished, key=lambda pair: -pair[1]), *cut]
    check(token_ids[0, :14], scores[0, :14], expected, max_length)
    assert not token_ids[0, 14:].any() and (scores[0, 14:] <= -1e8).all()


# === Batches and graphs ===


def test_batch_composition_does_not_matter():
    tables = random_trees(7, 5, seed=6)
    together = Tree(tables).search(BeamSampler(3, 1.0), max_length=5)
    for row in range(7):
        ids, scores = Tree(tables[row : row + 1]).search(BeamSampler(3, 1.0), max_length=5)
        assert np.array_equal(ids[0], together[0][row])
        np.testing.assert_allclose(scores[0], together[1][row], atol=1e-5)


def test_works_in_a_graph_with_any_batch_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 5, 4])])
    def search(tables):
        def step(token_ids, states):
            return tf.gather(states, token_ids[:, 0], axis=1, batch_dims=1), states

        sampler = BeamSampler(3, 1.0)
        return sampler(step, tf.repeat(tables, 3, 0), tf.shape(tables)[0], START, END, 6)

    tables = random_trees(4, 1, seed=2)
    together = search(tf.constant(tables, tf.float32))
    for row in range(4):
        alone = search(tf.constant(tables[row : row + 1], tf.float32))
        assert np.array_equal(alone["token_ids"][0], together["token_ids"][row])
    assert search(tf.zeros([0, 5, 4]))["token_ids"].shape == (0, 3, 6)


def test_penalty_is_that_of_the_paper():
    # Wu et al. 2016, equation 14: (5 + |Y|) ** alpha / (5 + 1) ** alpha.
    assert float(BeamSampler(2, 0.6).penalty(7)) == pytest.approx(12**0.6 / 6**0.6)
    assert float(BeamSampler(2, 0).penalty(7)) == 1.0


def test_serialisation():
    sampler = BeamSampler(beam_width=7, length_penalty=0.3)
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(sampler))
    assert isinstance(loaded, BeamSampler) and loaded.get_config() == {"beam_width": 7, "length_penalty": 0.3}
    assert isinstance(
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(GreedySampler())), GreedySampler
    )


@pytest.mark.parametrize("beam_width", [0, -1, 2.0, None])
def test_bad_beam_width(beam_width):
    with pytest.raises(ValueError, match="beam_width must be a positive integer. Received: beam_width="):
        BeamSampler(beam_width=beam_width)


@pytest.mark.parametrize("length_penalty", [-0.1, float("nan")])
def test_bad_length_penalty(length_penalty):
    with pytest.raises(ValueError, match="length_penalty must be 0 or more. Received: length_penalty="):
        BeamSampler(length_penalty=length_penalty)
