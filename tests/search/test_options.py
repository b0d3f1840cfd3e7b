"""Random combinations of options against searches by hand; graphs; configuration."""

import json

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasseq import search
from kerasseq.preprocessing.word_pieces import word_pieces
from kerasseq.search import BeamSampler, GreedySampler, RandomSampler

END = 3

# Options of `make_sampler`.
CONSTRAINTS = {
    "min_length": st.integers(1, 5),
    "min_length_ratio": st.sampled_from([0.0, 0.25, 0.6]),
    "max_length_ratio": st.sampled_from([None, 0.6, 1.0, 1.3]),
    "ngram_size": st.sampled_from([None, 1, 2, 3]),
    "suppressed_ids": st.sampled_from([(), (1,), (0, 2), (END,), (0, 99)]),
}
SCORES = {
    "length_penalty": st.sampled_from([0, 0.4, 1.0, 2.0]),
    "normalization": st.sampled_from(["gnmt", "length"]),
    "coverage": st.sampled_from([0.0, 0.2, 1.0]),
}
PREFIXES = st.lists(st.lists(st.sampled_from([0, 1, 2, END]), min_size=3, max_size=3), min_size=4, max_size=4)

# === All options at once ===


@settings(deadline=None, derandomize=True, max_examples=15)
@given(
    constraints=st.fixed_dictionaries(CONSTRAINTS),
    scores=st.fixed_dictionaries(SCORES),
    prefixes=PREFIXES,
    batch=st.sampled_from([1, 1, 4]),  # The search of a single sequence stops as early as it can.
    beams=st.integers(1, 5),
    vocabulary=st.sampled_from([4, 5]),
    max_length=st.integers(1, 6),
    seed=st.integers(0, 1_000_000),
    data=st.data(),
)
def test_beams_agree_with_a_search_by_hand(
    trees, check, make_sampler, constraints, scores, prefixes, batch, beams, vocabulary, max_length, seed, data
):
    some = trees.random(batch, max_length, seed, vocabulary)
    options = {**constraints, **scores}
    sampler = make_sampler(BeamSampler, options, beam_width=beams)
    count = data.draw(st.integers(1, beams))
    prefix_ids = tf.constant(prefixes[:batch])
    token_ids, values = some.search(sampler, max_length, prefix_ids=prefix_ids, num_hypotheses=count)
    assert token_ids.shape == (batch, count, max_length)
    for row in range(batch):
        by_hand = some.by_hand(row, max_length, prefix_ids=prefixes[row], **options)
        check(token_ids[row], values[row], by_hand.beam_search(beams))


@settings(deadline=None, derandomize=True, max_examples=10)
@given(
    options=st.fixed_dictionaries(CONSTRAINTS),
    prefixes=PREFIXES,
    max_length=st.integers(1, 6),
    seed=st.integers(0, 1_000_000),
)
def test_greedy_agrees_with_a_loop_by_hand(trees, make_sampler, options, prefixes, max_length, seed):
    some = trees.random(4, max_length, seed)
    token_ids, scores = some.search(make_sampler(GreedySampler, options), max_length, prefix_ids=tf.constant(prefixes))
    for row in range(4):
        ids, score = some.by_hand(row, max_length, prefix_ids=prefixes[row], **options).greedy()
        assert token_ids[row, 0].tolist() == [*ids, *[0] * (max_length - len(ids))]
        assert scores[row, 0] == pytest.approx(score, abs=1e-4)


def test_large_vocabularies(trees, check, make_sampler):
    """The likeliest of many tokens are searched for in blocks."""
    options = {"min_length": 2, "ngram_size": 2, "coverage": 0.3}
    some = trees.random(4, 1, seed=5, vocabulary=700)
    some.tables[:, :, END] += 6.0
    likeliest = np.argsort(-some.tables[:, 0], axis=1)[:, :3]
    options["suppressed_ids"] = [*sorted({*likeliest.ravel().tolist()} - {END}), 699]
    prefixes = [[0, 0], [650, 0], [0, 0], [650, 699]]
    sampler = make_sampler(BeamSampler, options, beam_width=3)
    token_ids, scores = some.search(sampler, 3, prefix_ids=tf.constant(prefixes))
    for row in range(4):
        by_hand = some.by_hand(row, 3, prefix_ids=prefixes[row], **options)
        check(token_ids[row], scores[row], by_hand.beam_search(3))


# === Graphs ===

ALL = [
    search.LengthLimits(min_length=2, min_length_ratio=0.3, max_length_ratio=1.4),
    search.NoRepeatNGram(2),
    search.SuppressTokens([1]),
    search.SourceWords(),
]
SAMPLERS = {
    "greedy": lambda: GreedySampler(ALL),
    "random": lambda: RandomSampler(keras_hub.samplers.TopKSampler(k=2, seed=1), ALL),
    "beam": lambda: BeamSampler(3, 0.7, "length", ALL, [search.Coverage(0.3)]),
}
# Token 2 is the word "a", token 0 of the trees is padding in a source.
WORDS = word_pieces([piece.encode() for piece in ("▁pad", "▁unk", "▁a", "</s>")])
SOURCE_IDS = np.array([[2, END, 0, 0, 0], [2, 2, END, 0, 0], [2, 2, 2, END, 0]] * 2, "int32")


@pytest.fixture
def some(trees):
    some = trees.random(6, 5, seed=1)
    some.source_mask = SOURCE_IDS > 0
    return some


@pytest.mark.parametrize("name", SAMPLERS)
def test_works_in_a_graph_with_any_batch_size(some, name):
    sampler = SAMPLERS[name]()
    signature = [tf.TensorSpec([None], tf.int32)] + [tf.TensorSpec([None, None], tf.int32)] * 2

    @tf.function(input_signature=signature)
    def in_graph(rows, source_ids, prefix_ids):
        request = {"source_mask": source_ids > 0, "source_token_ids": source_ids, "word_pieces": WORDS}
        return some.sample(sampler, rows, 5, prefix_ids=prefix_ids, **request)

    prefixes = np.array([[2, 1], [0, 0], [1, 0], [0, 0], [0, 0], [0, 0]], "int32")
    if name != "random":
        request = {"source_token_ids": SOURCE_IDS, "word_pieces": WORDS, "prefix_ids": prefixes}
        token_ids, scores = some.search(sampler, 5, **request)
    for rows in ([0, 1, 2, 3, 4, 5], [5, 2], []):
        rows = np.array(rows, "int32")
        outputs = in_graph(rows, SOURCE_IDS[rows], prefixes[rows])
        assert outputs["token_ids"].shape == (len(rows), sampler.rows_per_sequence, 5)
        assert outputs["scores"].shape == (len(rows), sampler.rows_per_sequence)
        if name != "random":
            assert outputs["token_ids"].numpy().tolist() == token_ids[rows].tolist()
            np.testing.assert_allclose(outputs["scores"], scores[rows], rtol=1e-4, atol=1e-4)
    # The same graph serves prefixes of another width.
    outputs = in_graph(np.array([2], "int32"), SOURCE_IDS[2:3], np.array([[2, 2, 2, 0]], "int32"))
    assert outputs["token_ids"][0, 0, :3].numpy().tolist() == [2, 2, 2]


# === Configuration ===


@pytest.mark.parametrize("name", SAMPLERS)
def test_serialization_of_all_options(some, name):
    sampler = SAMPLERS[name]()
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(sampler)))
    loaded = keras.saving.deserialize_keras_object(serialized)
    assert type(loaded) is type(sampler)
    assert [(type(one), one.get_config()) for one in loaded.constraints] == [
        (type(one), one.get_config()) for one in ALL
    ]
    if name == "beam":
        assert (loaded.beam_width, loaded.length_penalty, loaded.normalization) == (3, 0.7, "length")
        assert [scorer.get_config() for scorer in loaded.scorers] == [{"weight": 0.3}]
    if name == "random":
        assert loaded.sampler.k == 2
    request = {"source_token_ids": SOURCE_IDS, "word_pieces": WORDS}
    (token_ids, scores), (loaded_ids, loaded_scores) = (some.search(one, 5, **request) for one in (sampler, loaded))
    assert token_ids.tolist() == loaded_ids.tolist() and scores.tolist() == loaded_scores.tolist()


def test_empty_lists_are_left_out_of_a_configuration():
    assert GreedySampler().get_config() == {}
    options = {"beam_width": 5, "length_penalty": 1.0, "normalization": "gnmt", "stop": "exact"}
    assert BeamSampler().get_config() == options


def test_constraints_that_cannot_apply_change_nothing(some):
    """No n-gram of nine within five tokens, and no token 99."""
    constraints = [search.NoRepeatNGram(9), search.SuppressTokens([99])]
    for sampler, constrained in (
        (GreedySampler(), GreedySampler(constraints)),
        (BeamSampler(3), BeamSampler(3, constraints=constraints)),
    ):
        (token_ids, scores), (other_ids, other_scores) = some.search(sampler, 5), some.search(constrained, 5)
        assert token_ids.tolist() == other_ids.tolist() and scores.tolist() == other_scores.tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search.LengthLimits(0), "min_length must be a positive integer. Received: min_length=0"),
        (lambda: search.LengthLimits(2.0), "min_length must be a positive integer. Received: min_length=2.0"),
        (
            lambda: search.LengthLimits(min_length_ratio=-1),
            "min_length_ratio must be a number of at least 0. Received: min_length_ratio=-1",
        ),
        (
            lambda: search.LengthLimits(min_length_ratio="1"),
            "min_length_ratio must be a number of at least 0. Received: min_length_ratio='1'",
        ),
        (
            lambda: search.LengthLimits(max_length_ratio=0),
            "max_length_ratio must be above 0. Received: max_length_ratio=0",
        ),
        (
            lambda: search.LengthLimits(max_length_ratio=float("nan")),
            "max_length_ratio must be .* Received: max_length_ratio=nan",
        ),
        (
            lambda: search.LengthLimits(max_length_ratio=-1),
            "max_length_ratio must be .* Received: max_length_ratio=-1",
        ),
        (
            lambda: search.LengthLimits(min_length_ratio=2, max_length_ratio=1.5),
            "min_length_ratio must be at most max_length_ratio. Received: min_length_ratio=2, max_length_ratio=1.5",
        ),
        (lambda: search.NoRepeatNGram(0), "size must be a positive integer. Received: size=0"),
        (lambda: search.NoRepeatNGram(True), "size must be a positive integer. Received: size=True"),
        (
            lambda: search.SuppressTokens([4, -1]),
            r"token_ids must be a list of token ids, 0 or more. Received: .*\[4, -1\]",
        ),
        (lambda: search.SuppressTokens([1.5]), r"token_ids must be a list of token ids.* Received: .*\[1.5\]"),
        (lambda: search.SuppressTokens([True]), r"token_ids must be a list of token ids.* Received: .*\[True\]"),
        (lambda: search.SuppressTokens("12"), "token_ids must be a list of token ids.* Received: .*'12'"),
        (lambda: search.SuppressTokens(None), "token_ids must be a list of token ids.* Received: .*None"),
    ],
)
def test_bad_constraint_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), None, "1", True])
def test_bad_weights(value):
    for make, name in (
        (lambda: BeamSampler(length_penalty=value), "length_penalty"),
        (lambda: search.Coverage(value), "weight"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be a number of at least 0. Received: {name}={value!r}"):
            make()


@pytest.mark.parametrize("value", ["wu", None, "GNMT"])
def test_bad_normalization(value):
    message = f"normalization must be one of 'gnmt', 'length'. Received: normalization={value!r}"
    with pytest.raises(ValueError, match=message):
        BeamSampler(normalization=value)


@pytest.mark.parametrize("ratio", ["min_length_ratio", "max_length_ratio"])
@pytest.mark.parametrize("sampler", [GreedySampler, BeamSampler])
def test_relative_lengths_need_a_source_mask(trees, make_sampler, sampler, ratio):
    some = trees(trees.random(2, 3, seed=4).tables)
    with pytest.raises(ValueError, match="min_length_ratio and max_length_ratio need .* source_mask"):
        some.search(make_sampler(sampler, {ratio: 0.5}), 3)
