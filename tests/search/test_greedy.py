import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import search
from kerasseq.search.top_k import best_tokens, top_k

START, END = 2, 3


def markov(tables):
    """A step over a table `(previous, next)` of log-probabilities for each sequence, its state, and a count of calls.

    The state carries the table of each row and the number of its steps.
    """
    tables = tf.constant(tables, tf.float32)
    calls = tf.Variable(0)

    def step(token_ids, state):
        calls.assign_add(1)
        rows = tf.gather(state["table"], token_ids, axis=1, batch_dims=1)  # (batch, vocabulary)
        return {"logits": rows, "state": {"table": state["table"], "position": state["position"] + 1}}

    return step, {"table": tables, "position": tf.zeros([len(tables)], tf.int32)}, calls


def greedy(step, state, batch_size, max_length):
    request = search.Request(batch_size=batch_size, max_length=max_length, start_id=START, end_id=END)
    return search.GreedySampler()(step, state, request)


def random_tables(batch, vocabulary, seed):
    return np.log(np.random.default_rng(seed).dirichlet(np.full(vocabulary, 0.5), size=(batch, vocabulary)))


def by_hand(table, max_length):
    token, ids, score = START, [], 0.0
    while len(ids) < max_length and token != END:
        following = int(np.argmax(table[token]))
        score += table[token, following]
        token = following
        ids.append(token)
    return ids + [0] * (max_length - len(ids)), score


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("max_length", [1, 4, 9])
def test_agrees_with_a_loop_by_hand(seed, max_length):
    tables = random_tables(6, 7, seed)
    step, state, calls = markov(tables)
    outputs = greedy(step, state, 6, max_length)
    expected = [by_hand(table, max_length) for table in tables]
    assert outputs["token_ids"].dtype == "int32" and outputs["token_ids"].shape == (6, 1, max_length)
    assert np.asarray(outputs["token_ids"])[:, 0].tolist() == [ids for ids, _ in expected]
    np.testing.assert_allclose(outputs["scores"][:, 0], [score for _, score in expected], rtol=1e-5)
    longest = max(len(np.trim_zeros(ids, "b")) for ids, _ in expected)
    # A step is taken only while a sequence has not ended.
    assert calls.numpy() == longest


def chain(*path, vocabulary=6, probability=0.8):
    """A table that follows a path from START."""
    table = np.full((vocabulary, vocabulary), (1 - probability) / (vocabulary - 1))
    for previous, following in zip((START, *path), path, strict=False):
        table[previous, following] = probability
    return np.log(table)


def test_stops_when_all_have_ended_and_freezes_those_that_have():
    tables = [chain(END), chain(4, 5, END), chain(5, END)]
    step, state, calls = markov(tables)
    outputs = greedy(step, state, 3, 50)
    assert calls.numpy() == 3
    assert np.asarray(outputs["token_ids"])[:, 0, :4].tolist() == [[END, 0, 0, 0], [4, 5, END, 0], [5, END, 0, 0]]
    assert not np.asarray(outputs["token_ids"])[:, 0, 4:].any()
    np.testing.assert_allclose(outputs["scores"][:, 0], np.log([0.8, 0.8**3, 0.8**2]), rtol=1e-5)


def test_a_sequence_without_end_is_cut_at_max_length():
    step, state, calls = markov([chain(4, 5, 4)])
    outputs = greedy(step, state, 1, 5)
    assert np.asarray(outputs["token_ids"]).tolist() == [[[4, 5, 4, 5, 4]]]
    np.testing.assert_allclose(outputs["scores"], [[5 * np.log(0.8)]], rtol=1e-5)
    assert calls.numpy() == 5


def test_scores_are_normalized():
    """Logits that are shifted by a constant are the same distribution."""
    results = []
    for shift in (0.0, 7.0):
        step, state, _ = markov(random_tables(3, 5, 1) + shift)
        results.append(np.asarray(greedy(step, state, 3, 6)["scores"]))
    np.testing.assert_allclose(*results, atol=1e-5)


def test_works_in_a_graph_with_any_batch_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 5, 5])])
    def sample(tables):
        def step(token_ids, state):
            return {"logits": tf.gather(state, token_ids, axis=1, batch_dims=1), "state": state}

        return greedy(step, tables, tf.shape(tables)[0], 6)

    for batch in (0, 1, 4):
        tables = random_tables(batch, 5, 2)
        ids = sample(tf.constant(tables, tf.float32))["token_ids"].numpy()
        assert ids.shape == (batch, 1, 6)
        assert ids[:, 0].tolist() == [by_hand(table, 6)[0] for table in tables]


@pytest.mark.parametrize("size", [5, 64, 1_000, 8_000, 8_001, 8_191])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_best_tokens_of_large_vocabularies(size, count):
    logits = np.random.default_rng(size).normal(size=(7, size)).astype("float32") * 3
    logits[0, -1] = 50.0  # The last token, where a vocabulary does not divide evenly.
    logits[1] -= 1_000.0
    log_probabilities, token_ids = best_tokens(tf.constant(logits), count)
    expected = np.argsort(-logits, axis=1)[:, :count]
    assert token_ids.dtype == tf.int32 and np.asarray(token_ids).tolist() == expected.tolist()
    normalized = logits - np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
    normalized -= logits.max(axis=1, keepdims=True)
    np.testing.assert_allclose(log_probabilities, np.take_along_axis(normalized, expected, axis=1), atol=1e-3)


def test_returns_one_hypothesis():
    step, state, _ = markov([chain(END)])
    request = search.Request(batch_size=1, max_length=3)
    with pytest.raises(ValueError, match="GreedySampler returns at most 1 .* num_hypotheses=2.*BeamSampler"):
        search.GreedySampler()(step, state, request, num_hypotheses=2)


# === By name ===


def test_get():
    assert isinstance(search.get("greedy"), search.GreedySampler)
    assert isinstance(search.get("beam"), search.BeamSampler)
    sampler = search.BeamSampler(beam_width=2)
    assert search.get(sampler) is sampler


@pytest.mark.parametrize("bad", ["gready", None, 3, search.BeamSampler, ["greedy"]])
def test_get_of_something_else(bad):
    with pytest.raises(ValueError, match="sampler must be one of 'greedy', 'beam', .*Received: sampler="):
        search.get(bad)


@pytest.mark.parametrize("size, count", [(5, 1), (6_000, 1), (640, 10), (6_000, 10), (6_001, 10), (7_919, 10)])
def test_top_k_by_blocks_agrees_with_sorting(size, count):
    values = np.random.default_rng(size).normal(size=(7, size)).astype("float32")
    values[3, : size // 2] = -1e9
    best, indices = top_k(keras.ops.convert_to_tensor(values), count)
    expected = np.argsort(-values, axis=-1, kind="stable")[:, :count]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(best, np.take_along_axis(values, expected, axis=-1))
