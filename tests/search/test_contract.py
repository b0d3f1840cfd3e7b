"""The contract of constraints and scorers, and of those that users define."""

import itertools
import json
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasseq import search
from kerasseq.preprocessing.word_pieces import word_pieces
from kerasseq.search import BeamSampler, GreedySampler
from kerasseq.search.base import Constrained
from kerasseq.search.request import Hypotheses

END, VOCABULARY, ROWS, MAX_LENGTH = 3, 6, 5, 6
WORDS = word_pieces([piece.encode() for piece in ("<pad>", "<unk>", "▁a", "</s>", "▁b", "c")])


@keras.saving.register_keras_serializable(package="test")
class NoDoubles(search.Constraint):
    """No token follows itself."""

    def start(self, request):
        return {"last": ops.full((request.batch_size,), -1, dtype="int32")}, {}

    def follow(self, token_ids, state, constants):
        return {"last": token_ids}

    def mask(self, hypotheses, state, constants):
        return ops.arange(hypotheses.vocabulary_size, dtype="int32") != state["last"][:, None]


@keras.saving.register_keras_serializable(package="test")
class FirstPosition(search.Scorer):
    """Minus `weight` for all attention to the first position of the source."""

    needs_attention = True

    def __init__(self, weight):
        self.weight = weight

    def start(self, request):
        return {"total": ops.zeros((request.batch_size,))}, {}

    def follow(self, outputs, state, constants):
        return {"total": state["total"] + outputs["attention"][:, 0]}

    def score(self, state, constants):
        return -self.weight * state["total"]

    def get_config(self):
        return {"weight": self.weight}


CONSTRAINTS = {
    "min_length": search.LengthLimits(min_length=3),
    "ratios": search.LengthLimits(min_length_ratio=0.4, max_length_ratio=0.8),
    "bigrams": search.NoRepeatNGram(2),
    "suppressed": search.SuppressTokens([1, 4]),
    "words": search.SourceWords(),
    "prefix": search.Prefix(),
    "toy": NoDoubles(),
}
SCORERS = {"coverage": search.Coverage(0.3), "toy": FirstPosition(0.5)}
SCORERS_OF_TOKENS = {"ctc": search.CTCPrefix(0.4)}
CTC = np.log(np.random.default_rng(1).dirichlet(np.ones(VOCABULARY), size=(1, 6))).astype("float32")


def test_every_constraint_and_scorer_is_tested():
    public = [getattr(search, name) for name in search.__all__]
    for kind, objects in ((search.Constraint, CONSTRAINTS), (search.Scorer, {**SCORERS, **SCORERS_OF_TOKENS})):
        kinds = {cls for cls in public if isinstance(cls, type) and issubclass(cls, kind) and cls is not kind}
        assert kinds <= {type(entry) for entry in objects.values()}


@pytest.fixture(params=CONSTRAINTS)
def constraint(request):
    return CONSTRAINTS[request.param]


@pytest.fixture(params=SCORERS)
def scorer(request):
    return SCORERS[request.param]


def make_request(rows=ROWS):
    """`rows` hypotheses of one source, "a bc b", and a prefix."""
    source_ids = tf.tile([[2, 4, 5, 4, END, 0]], [rows, 1])
    return search.Request(
        batch_size=rows,
        max_length=MAX_LENGTH,
        source_mask=source_ids > 0,
        source_token_ids=source_ids,
        word_pieces=WORDS,
        prefix_ids=tf.tile([[4, 5, 0]], [rows, 1]),
        ctc_log_probabilities=tf.tile(CTC, [rows, 1, 1]),
    )


# Rows whose histories differ, and repeat n-grams.
TOKENS = np.array([[4, 5, 2, 4, 5], [2, 2, 2, 2, 2], [4, 5, 4, 4, 5], [1, 2, 1, 2, 1], [2, 4, 5, 2, 4]], "int32")
ORDER = np.array([2, 2, 0, 4, 1], "int32")


def masks(constraint, tokens):
    """The allowed tokens before each token of the rows, and after the last: bool `(rows, vocabulary)` each."""
    constrained, (state,) = Constrained.start([constraint], make_request(len(tokens)))
    (constants,) = constrained.constants
    results = []
    for index in range(tokens.shape[1] + 1):
        hypotheses = Hypotheses(padded(tokens[:, :index]), index, constrained.longest, END, VOCABULARY)
        mask = constraint.mask(hypotheses, state, constants)
        allowed = constraint.override(mask, mask, hypotheses, constants)
        for result in (mask, allowed):
            if result is not None:
                assert result.dtype == "bool"
                np.broadcast_to(result, (len(tokens), VOCABULARY))
        results.append(np.broadcast_to(True if allowed is None else allowed, (len(tokens), VOCABULARY)))
        if index < tokens.shape[1]:
            before = keras.tree.flatten(state)
            state = constraint.follow(tf.constant(tokens[:, index]), state, constants)
            after = keras.tree.flatten(state)
            assert [(one.shape, one.dtype) for one in before] == [(one.shape, one.dtype) for one in after]
    return results


def padded(tokens):
    return tf.constant(np.pad(tokens, ((0, 0), (0, MAX_LENGTH - tokens.shape[1]))))


def reordered(nest, order):
    return keras.tree.map_structure(lambda tensor: ops.take(tensor, order, axis=0), nest)


# === Constraints ===


def test_masks_are_bool_and_broadcast_and_some_token_is_masked(constraint):
    assert not np.all(masks(constraint, TOKENS))


@pytest.mark.parametrize("at", [1, 3])
def test_states_survive_reordering(constraint, at):
    """As beams are reordered between two steps; the constants of one source are the same for all its rows."""
    expected = masks(constraint, TOKENS[ORDER])
    constrained, states = Constrained.start([constraint], make_request())
    for index in range(at):
        states = constrained.follow(tf.constant(TOKENS[:, index]), states)
    states = reordered(states, ORDER)
    for index in range(at, TOKENS.shape[1]):
        logits = tf.zeros((ROWS, VOCABULARY))
        masked = constrained.mask(logits, padded(TOKENS[ORDER][:, :index]), index, states)
        np.testing.assert_array_equal(masked == 0, expected[index])
        states = constrained.follow(tf.constant(TOKENS[ORDER][:, index]), states)


def test_constraints_work_in_a_graph(constraint):
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def second_mask(tokens):
        constrained, states = Constrained.start([constraint], make_request(tf.shape(tokens)[0]))
        states = constrained.follow(tokens[:, 0], states)
        token_ids = tf.pad(tokens[:, :1], [[0, 0], [0, MAX_LENGTH - 1]])
        return constrained.mask(tf.zeros((tf.shape(tokens)[0], VOCABULARY)), token_ids, 1, states)

    for rows in (ROWS, 2):
        expected = masks(constraint, TOKENS[:rows])[1]
        np.testing.assert_array_equal(second_mask(TOKENS[:rows]) == 0, expected)


@pytest.mark.parametrize("objects", [CONSTRAINTS, SCORERS, SCORERS_OF_TOKENS])
def test_configurations(objects):
    for one in objects.values():
        loaded = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(one))))
        assert type(loaded) is type(one) and vars(loaded) == vars(one)


def test_the_order_of_a_list_makes_no_difference(trees):
    some = trees.random(4, 3, seed=1, vocabulary=VOCABULARY)
    some.source_mask = np.ones((4, 5), bool)
    request = {
        "source_token_ids": tf.tile([[2, 4, 5, 4, END]], [4, 1]),
        "word_pieces": WORDS,
        "prefix_ids": tf.constant([[0, 0], [4, 0], [0, 0], [1, 2]]),
    }
    constraints = [CONSTRAINTS[name] for name in ("ratios", "bigrams", "suppressed", "words", "toy")]
    orders = random.Random(1).sample(list(itertools.permutations(constraints)), 2)
    for make in (GreedySampler, lambda order: BeamSampler(3, constraints=order)):
        first, *others = (some.search(make(list(order)), 5, **request) for order in [constraints, *orders])
        for token_ids, scores in others:
            assert token_ids.tolist() == first[0].tolist() and scores.tolist() == first[1].tolist()


# === Scorers ===


def test_scores_survive_reordering_and_graphs(scorer):
    attention = np.random.default_rng(1).dirichlet(np.ones(6), size=(4, ROWS)).astype("float32")

    def score(attention, order=None):
        """The scores after all steps; with `order`, the state is reordered after two of them."""
        state, constants = scorer.start(make_request())
        for index in range(len(attention)):
            if order is not None and index == 2:
                state = reordered(state, order)
            state = scorer.follow({"attention": attention[index]}, state, constants)
        return scorer.score(state, constants)

    scores = score(attention, ORDER)
    assert scores.dtype == "float32" and scores.shape == (ROWS,)
    # The bound on future scores that ends a search: no score is above 0.
    assert np.all(scores <= 0) and np.unique(scores).size > 1
    same_rows = np.concatenate([attention[:2, ORDER], attention[2:]])
    np.testing.assert_allclose(scores, score(same_rows), rtol=1e-6)
    np.testing.assert_allclose(tf.function(score)(tf.constant(same_rows)), scores, rtol=1e-6)


@pytest.mark.parametrize("scorer", SCORERS_OF_TOKENS.values(), ids=SCORERS_OF_TOKENS)
def test_scores_of_tokens_survive_reordering_and_graphs(scorer):
    every = tf.tile([range(VOCABULARY)], [ROWS, 1])

    def rescored(tokens, order=None):
        """What is added to tokens after three steps; with `order`, the state is reordered after two of them."""
        state, constants = scorer.start(make_request())
        for index in range(3):
            if order is not None and index == 2:
                state = reordered(state, order)
            state = scorer.extend(tokens[:, index], state, constants)
        return scorer.rescore(tf.fill([ROWS, VOCABULARY], -1.0), every, state, constants)

    same_rows = tf.constant(np.concatenate([TOKENS[ORDER, :2], TOKENS[:, 2:3]], axis=1))
    added = rescored(tf.constant(TOKENS), ORDER)
    assert added.dtype == "float32" and np.all(added <= 1e-6) and np.unique(added).size > ROWS
    np.testing.assert_allclose(added, rescored(same_rows), rtol=1e-6)
    np.testing.assert_allclose(tf.function(rescored)(same_rows), added, rtol=1e-5)


# === Constraints and scorers of users ===


@pytest.fixture
def by_hand(trees):
    """Trees, and a function of a row and a weight: its search by hand under `NoDoubles` and `FirstPosition`."""
    some = trees.random(12, 5, seed=3)

    def by_hand(row, weight=0.0):
        searched = some.by_hand(row, 5)
        allows, score = searched.allows, searched.score
        searched.allows = lambda prefix, token: allows(prefix, token) and token not in prefix[-1:]

        def with_attention(ids, log_probability):
            attended = sum(float(some.attention[row, searched.node(ids[:step]), 0]) for step in range(len(ids)))
            return score(ids, log_probability) - weight * attended

        searched.score = with_attention
        return searched

    return some, by_hand


def test_a_new_constraint_in_greedy_search(by_hand):
    some, by_hand = by_hand
    token_ids, scores = some.search(GreedySampler([NoDoubles()]), 5)
    unconstrained, _ = some.search(GreedySampler(), 5)
    for row in range(12):
        ids, score = by_hand(row).greedy()
        assert token_ids[row, 0].tolist() == [*ids, *[0] * (5 - len(ids))]
        assert scores[row, 0] == pytest.approx(score, abs=1e-4)
    assert not np.array_equal(token_ids, unconstrained)


@pytest.mark.parametrize("beams", [3, 60])
@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_a_new_constraint_and_a_new_scorer_in_beam_search(by_hand, check, beams, weight):
    some, by_hand = by_hand
    sampler = BeamSampler(beams, constraints=[NoDoubles()], scorers=[FirstPosition(weight)])
    token_ids, scores = some.search(sampler, 5, num_hypotheses=3)
    for row in range(12):
        check(token_ids[row], scores[row], by_hand(row, weight).beam_search(beams))


def test_a_new_limit_leaves_room_for_a_prefix(trees):
    class AtMostTwo(search.Constraint):
        def longest(self, request):
            return ops.full((request.batch_size, 1), 2, dtype="int32")

    some = trees.random(2, 4, seed=5)
    token_ids, _ = some.search(GreedySampler([AtMostTwo()]), 5, prefix_ids=tf.constant([[1, 1, 1], [0, 0, 0]]))
    assert token_ids[0, 0, :3].tolist() == [1, 1, 1] and token_ids[0, 0, 4] == 0
    assert not token_ids[1, 0, 2:].any()


class WithoutConfiguration(search.NoRepeatNGram):
    """Its own argument would be lost in files, and in the key of compiled graphs."""

    def __init__(self, size, token):
        super().__init__(size)
        self.token = token


def test_a_constructor_needs_a_configuration_of_its_own():
    with pytest.raises(ValueError, match="WithoutConfiguration has a constructor of its own, so it must define get_c"):
        GreedySampler(constraints=[WithoutConfiguration(3, 70)])
