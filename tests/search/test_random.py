import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import search

START, END = 2, 3
VOCABULARY = 7


@pytest.fixture(scope="module")
def tables():
    return np.log(np.random.default_rng(4).dirichlet(np.ones(VOCABULARY), size=(20, VOCABULARY)))


def step(token_ids, state):
    return {"logits": tf.gather(state, token_ids, axis=1, batch_dims=1), "state": state}


def sample(sampler, tables, max_length=8):
    request = search.Request(batch_size=len(tables), max_length=max_length, start_id=START, end_id=END)
    outputs = search.get(sampler)(step, tf.constant(tables, tf.float32), request)
    return {name: np.asarray(value) for name, value in outputs.items()}


MAKERS = {
    "random": lambda seed: keras_hub.samplers.RandomSampler(seed=seed, temperature=0.7),
    "top_k": lambda seed: keras_hub.samplers.TopKSampler(k=3, seed=seed),
    "top_p": lambda seed: keras_hub.samplers.TopPSampler(p=0.8, seed=seed),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (keras_hub.samplers.RandomSampler(temperature=0.0), "temperature must be above 0.*'greedy'.*temperature=0.0"),
        (keras_hub.samplers.TopKSampler(k=3, temperature=-1.0), "temperature must be above 0"),
        (keras_hub.samplers.TopKSampler(k=0), "k must be at least 1. Received: a TopKSampler with k=0"),
        (keras_hub.samplers.TopPSampler(p=1.5), "p must be above 0 and at most 1"),
    ],
)
def test_settings_out_of_range(sampler, message):
    with pytest.raises(ValueError, match=message):
        search.get(sampler)


def test_same_seed_same_output(make, tables):
    first, again, other = (sample(make(seed), tables) for seed in (1, 1, 2))
    assert np.array_equal(first["token_ids"], again["token_ids"])
    assert np.array_equal(first["scores"], again["scores"])
    assert not np.array_equal(first["token_ids"], other["token_ids"])


def test_score_is_the_log_probability_under_the_model(make, tables):
    outputs = sample(make(3), tables)
    for table, ids, score in zip(tables, outputs["token_ids"][:, 0], outputs["scores"][:, 0], strict=True):
        expected, previous = 0.0, START
        for token in ids:
            expected += table[previous, token]
            previous = token
            if token == END:
                break
        assert score == pytest.approx(expected, abs=1e-4)
        ended = np.flatnonzero(ids == END)
        assert not ended.size or not ids[ended[0] + 1 :].any()


def test_top_k_draws_from_the_k_likeliest(tables):
    outputs = sample(keras_hub.samplers.TopKSampler(k=2, seed=5), tables)
    first = outputs["token_ids"][:, 0, 0]
    likeliest = np.argsort(-tables[:, START], axis=1)[:, :2]
    assert all(token in allowed for token, allowed in zip(first, likeliest, strict=True))
    assert (first == likeliest[:, 0]).any() and (first == likeliest[:, 1]).any()


def test_top_1_is_greedy(tables):
    drawn = sample(keras_hub.samplers.TopKSampler(k=1, seed=1), tables)
    greedy = sample("greedy", tables)
    assert np.array_equal(drawn["token_ids"], greedy["token_ids"])
    np.testing.assert_allclose(drawn["scores"], greedy["scores"], atol=1e-5)


def test_frequencies_are_the_probabilities():
    probabilities = np.array([0.05, 0.1, 0.15, 0.3, 0.4])
    tables = np.tile(np.log(probabilities), (4_000, 5, 1))
    drawn = sample(keras_hub.samplers.RandomSampler(seed=1), tables, max_length=1)["token_ids"].ravel()
    # Four standard deviations of a share of 0.5 among 4,000 draws.
    np.testing.assert_allclose(np.bincount(drawn, minlength=5) / 4_000, probabilities, atol=4 * 0.5 / 4_000**0.5)


def test_keras_hub_objects_are_wrapped():
    sampler = keras_hub.samplers.TopPSampler(p=0.5)
    wrapped = search.get(sampler)
    assert isinstance(wrapped, search.RandomSampler) and wrapped.sampler is sampler
    assert search.get(wrapped) is wrapped


def test_serialization():
    wrapped = search.get(keras_hub.samplers.TopKSampler(k=4, seed=9, temperature=0.5))
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(wrapped))
    assert isinstance(loaded, search.RandomSampler) and isinstance(loaded.sampler, keras_hub.samplers.TopKSampler)
    assert (loaded.sampler.k, loaded.sampler.seed, loaded.sampler.temperature) == (4, 9, 0.5)


@pytest.mark.parametrize(
    "refused", [keras_hub.samplers.BeamSampler(), keras_hub.samplers.ContrastiveSampler(), "top_k"]
)
def test_samplers_of_several_sequences_are_refused(refused):
    with pytest.raises(ValueError, match="draws one token a row.*use kerasseq.search.BeamSampler"):
        search.RandomSampler(refused)


def test_keras_hub_beam_sampler_is_refused_by_get():
    with pytest.raises(ValueError, match="Received: .*For beam search use kerasseq.search.BeamSampler"):
        search.get(keras_hub.samplers.BeamSampler())
