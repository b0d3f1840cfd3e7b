import json

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasseq.samplers import BeamSampler, GreedySampler, RandomSampler

START, END = 2, 3

RULES = {
    "min_length": st.integers(1, 5),
    "min_length_ratio": st.sampled_from([0.0, 0.25, 0.6]),
    "max_length_ratio": st.sampled_from([None, 0.6, 1.0, 1.3]),
    "no_repeat_ngram_size": st.sampled_from([None, 1, 2, 3]),
    "suppressed_ids": st.sampled_from([(), (1,), (0, 2), (END,), (0, 99)]),
}
PENALTIES = {
    "length_penalty": st.sampled_from([0, 0.4, 1.0, 2.0]),
    "normalization": st.sampled_from(["gnmt", "length"]),
    "coverage_penalty": st.sampled_from([0.0, 0.2, 1.0]),
}
PREFIXES = st.lists(st.lists(st.sampled_from([0, 1, 2, END]), min_size=3, max_size=3), min_size=4, max_size=4)


def draw(**options):
    return RandomSampler(keras_hub.samplers.TopKSampler(k=2, seed=1), **options)


# === All options at once ===


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    rules=st.fixed_dictionaries(RULES),
    penalties=st.fixed_dictionaries(PENALTIES),
    prefixes=PREFIXES,
    batch=st.sampled_from([1, 1, 4]),  # Alone, a sequence is searched no longer than it needs.
    beams=st.integers(1, 5),
    vocabulary=st.sampled_from([4, 5]),
    max_length=st.integers(1, 6),
    seed=st.integers(0, 1_000_000),
    data=st.data(),
)
def test_beams_agree_with_a_search_by_hand(
    trees, check, rules, penalties, prefixes, batch, beams, vocabulary, max_length, seed, data
):
    some = trees.random(batch, max_length, seed, vocabulary)
    sampler = BeamSampler(beams, **rules, **penalties)
    wanted = data.draw(st.integers(1, beams))
    token_ids, scores = some.search(sampler, max_length, prefix_ids=tf.constant(prefixes[:batch]), hypotheses=wanted)
    assert token_ids.shape == (batch, wanted, max_length)
    for row in range(batch):
        by_hand = some.by_hand(row, max_length, prefix_ids=prefixes[row], **rules, **penalties)
        check(token_ids[row], scores[row], by_hand.beam_search(beams))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    rules=st.fixed_dictionaries(RULES),
    prefixes=PREFIXES,
    max_length=st.integers(1, 6),
    seed=st.integers(0, 1_000_000),
)
def test_greedy_agrees_with_a_loop_by_hand(trees, rules, prefixes, max_length, seed):
    some = trees.random(4, max_length, seed)
    token_ids, scores = some.search(GreedySampler(**rules), max_length, prefix_ids=tf.constant(prefixes))
    for row in range(4):
        ids, score = some.by_hand(row, max_length, prefix_ids=prefixes[row], **rules).greedy()
        assert token_ids[row, 0].tolist() == [*ids, *[0] * (max_length - len(ids))]
        assert scores[row, 0] == pytest.approx(score, abs=1e-4)


def test_large_vocabularies(trees, check):
    """Where the likeliest tokens are searched for in blocks."""
    options = {"min_length": 2, "no_repeat_ngram_size": 2, "coverage_penalty": 0.3}
    some = trees.random(4, 1, seed=5, vocabulary=700)
    some.tables[:, :, END] += 6.0
    likeliest = np.argsort(-some.tables[:, 0], axis=1)[:, :3]
    options["suppressed_ids"] = [*sorted({*likeliest.ravel().tolist()} - {END}), 699]
    prefixes = [[0, 0], [650, 0], [0, 0], [650, 699]]
    token_ids, scores = some.search(BeamSampler(3, **options), 3, prefix_ids=tf.constant(prefixes))
    for row in range(4):
        by_hand = some.by_hand(row, 3, prefix_ids=prefixes[row], **options)
        check(token_ids[row], scores[row], by_hand.beam_search(3))


# === Graphs ===

ALL_RULES = {
    "min_length": 2,
    "min_length_ratio": 0.3,
    "max_length_ratio": 1.4,
    "no_repeat_ngram_size": 2,
    "suppressed_ids": [1],
    "source_words_only": True,
}
SAMPLERS = {
    "greedy": lambda: GreedySampler(**ALL_RULES),
    "random": lambda: draw(**ALL_RULES),
    "beam": lambda: BeamSampler(3, 0.7, "length", 0.3, **ALL_RULES),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_works_in_a_graph_with_any_batch_size(trees, name):
    some = trees.random(6, 5, seed=1)
    sampler = SAMPLERS[name]()

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None], tf.bool),
            tf.TensorSpec([None, None], tf.int32),
        ]
    )
    def search(rows, source_mask, prefix_ids):
        return some.sample(sampler, rows, START, END, 5, source_mask=source_mask, prefix_ids=prefix_ids)

    prefixes = np.array([[2, 1], [0, 0], [1, 0], [0, 0], [4, 0], [0, 0]], "int32") % 4
    for rows in ([0, 1, 2, 3, 4, 5], [5, 2], [1], []):
        rows = np.array(rows, "int32")
        outputs = search(rows, some.source_mask[rows], prefixes[rows])
        assert outputs["token_ids"].shape == (len(rows), sampler.rows_per_sequence, 5)
        assert outputs["scores"].shape == (len(rows), sampler.rows_per_sequence)
        if name != "random":
            token_ids, scores = some.search(SAMPLERS[name](), 5, rows=rows, prefix_ids=prefixes[rows])
            assert outputs["token_ids"].numpy().tolist() == token_ids.tolist()
            np.testing.assert_allclose(outputs["scores"], scores, rtol=1e-4, atol=1e-4)
    # Prefixes of another width are the same graph's.
    outputs = search(np.array([2], "int32"), some.source_mask[2:3], np.array([[2, 2, 2, 0]], "int32"))
    assert outputs["token_ids"][0, 0, :3].numpy().tolist() == [2, 2, 2]


# === Configuration ===


@pytest.mark.parametrize("name", SAMPLERS)
def test_serialisation_of_all_options(trees, name):
    sampler = SAMPLERS[name]()
    serialised = json.loads(json.dumps(keras.saving.serialize_keras_object(sampler)))
    loaded = keras.saving.deserialize_keras_object(serialised)
    assert type(loaded) is type(sampler)
    expected = dict(ALL_RULES)
    if name == "beam":
        expected |= {"beam_width": 3, "length_penalty": 0.7, "normalization": "length", "coverage_penalty": 0.3}
    config = loaded.get_config()
    if name == "random":
        assert config.pop("sampler")["config"]["k"] == loaded.sampler.k == 2
    assert config == expected
    some = trees.random(6, 5, seed=2)
    (token_ids, scores), (loaded_ids, loaded_scores) = some.search(sampler, 5), some.search(loaded, 5)
    assert token_ids.tolist() == loaded_ids.tolist() and scores.tolist() == loaded_scores.tolist()


def test_defaults_are_written_out():
    assert GreedySampler().get_config() == {
        "min_length": 1,
        "min_length_ratio": 0.0,
        "max_length_ratio": None,
        "no_repeat_ngram_size": None,
        "suppressed_ids": [],
        "source_words_only": False,
    }
    defaults = {"beam_width": 5, "length_penalty": 1.0, "normalization": "gnmt", "coverage_penalty": 0.0}
    assert BeamSampler().get_config() == {**defaults, **GreedySampler().get_config()}
    # What older versions have saved.
    loaded = BeamSampler.from_config({"beam_width": 7, "length_penalty": 0.3})
    assert loaded.get_config() == {**BeamSampler().get_config(), "beam_width": 7, "length_penalty": 0.3}


def test_rules_that_cannot_apply_change_nothing(trees):
    """No n-gram of nine within five tokens, and no token 99."""
    some = trees.random(6, 5, seed=3)
    for sampler, explicit in (
        (GreedySampler(), GreedySampler(no_repeat_ngram_size=9, suppressed_ids=[99])),
        (BeamSampler(3), BeamSampler(3, no_repeat_ngram_size=9, suppressed_ids=[99])),
    ):
        (token_ids, scores), (explicit_ids, explicit_scores) = some.search(sampler, 5), some.search(explicit, 5)
        assert token_ids.tolist() == explicit_ids.tolist() and scores.tolist() == explicit_scores.tolist()


@pytest.mark.parametrize("sampler", [GreedySampler, BeamSampler, draw])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_length": 0}, "min_length must be a positive integer. Received: min_length=0"),
        ({"min_length": 2.0}, "min_length must be a positive integer. Received: min_length=2.0"),
        ({"min_length_ratio": -1}, "min_length_ratio must be a number of at least 0. Received: min_length_ratio=-1"),
        ({"min_length_ratio": "1"}, "min_length_ratio must be a number of at least 0. Received: min_length_ratio='1'"),
        ({"max_length_ratio": 0}, "max_length_ratio must be above 0. Received: max_length_ratio=0"),
        ({"max_length_ratio": float("nan")}, "max_length_ratio must be .* Received: max_length_ratio=nan"),
        ({"max_length_ratio": -1}, "max_length_ratio must be .* Received: max_length_ratio=-1"),
        (
            {"min_length_ratio": 2, "max_length_ratio": 1.5},
            "min_length_ratio must be at most max_length_ratio. Received: min_length_ratio=2, max_length_ratio=1.5",
        ),
        ({"no_repeat_ngram_size": 0}, "no_repeat_ngram_size must be a positive integer. Received: .*=0"),
        ({"no_repeat_ngram_size": True}, "no_repeat_ngram_size must be a positive integer. Received: .*=True"),
        ({"suppressed_ids": [4, -1]}, r"suppressed_ids must be a list of token ids, 0 or more. Received: .*\[4, -1\]"),
        ({"suppressed_ids": [1.5]}, r"suppressed_ids must be a list of token ids, 0 or more. Received: .*\[1.5\]"),
        ({"suppressed_ids": [True]}, r"suppressed_ids must be a list of token ids, 0 or more. Received: .*\[True\]"),
        ({"suppressed_ids": "12"}, "suppressed_ids must be a list of token ids, 0 or more. Received: .*'12'"),
        ({"suppressed_ids": None}, "suppressed_ids must be a list of token ids, 0 or more. Received: .*None"),
    ],
)
def test_bad_rules(sampler, options, message):
    with pytest.raises(ValueError, match=message):
        sampler(**options)


@pytest.mark.parametrize("name", ["length_penalty", "coverage_penalty"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), None, "1", True])
def test_bad_penalties(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a number of at least 0. Received: {name}={value!r}"):
        BeamSampler(**{name: value})


@pytest.mark.parametrize("value", ["wu", None, "GNMT"])
def test_bad_normalization(value):
    message = f"normalization must be one of 'gnmt', 'length'. Received: normalization={value!r}"
    with pytest.raises(ValueError, match=message):
        BeamSampler(normalization=value)


@pytest.mark.parametrize("ratio", ["min_length_ratio", "max_length_ratio"])
@pytest.mark.parametrize("sampler", [GreedySampler, BeamSampler, draw])
def test_relative_lengths_need_a_source_mask(trees, sampler, ratio):
    some = trees(trees.random(2, 3, seed=4).tables)
    with pytest.raises(ValueError, match="min_length_ratio and max_length_ratio need .* source_mask"):
        some.search(sampler(**{ratio: 0.5}), 3)


def test_coverage_needs_a_source_mask(trees):
    some = trees.random(2, 3, seed=4)
    some.source_mask = None
    with pytest.raises(ValueError, match="coverage_penalty needs .* source_mask"):
        some.search(BeamSampler(coverage_penalty=0.1), 3)
