import keras
import numpy as np
import pytest
from helpers import ids_of, randomized, softmax

from kerasseq import Seq2Seq, TextGenerator
from kerasseq.decoders import RecurrentDecoder
from kerasseq.encoders import RecurrentEncoder
from kerasseq.losses import MaskedCrossentropy
from kerasseq.models import AttentionSeq2Seq, Ensemble, GRUSeq2Seq, LSTMSeq2Seq
from kerasseq.search import GreedySampler
from kerasseq.seq2seq import weights_by_name

SIZES = {"source_vocabulary_size": 9, "target_vocabulary_size": 8, "embedding_dim": 3, "units": 4}
BATCH = {
    "encoder_token_ids": np.array([[5, 4, 8, 3], [6, 3, 0, 0]], dtype="int32"),
    "decoder_token_ids": np.array([[2, 7, 4], [2, 5, 0]], dtype="int32"),
}
MEMBERS = {
    "luong": lambda **sizes: AttentionSeq2Seq(**sizes),
    "location": lambda **sizes: AttentionSeq2Seq(**sizes, cell="gru", attention="location", num_layers=2),
    "heads": lambda **sizes: AttentionSeq2Seq(**sizes, attention="multi_head", num_heads=2, placement="input_feeding"),
    "lstm": lambda **sizes: LSTMSeq2Seq(**sizes, tie_embeddings=True),
}


def member(name, seed, **sizes):
    model = MEMBERS[name](**(sizes or SIZES))
    return randomized(model, seed)


@pytest.mark.parametrize("names", [["luong", "location", "heads"], ["lstm", "location"]])
def test_the_mean_of_the_members_probabilities(names):
    members = [member(name, seed) for seed, name in enumerate(names)]
    log_probabilities = Ensemble(members)(BATCH)
    expected = np.mean([softmax(model(BATCH)) for model in members], axis=0)
    np.testing.assert_allclose(np.exp(log_probabilities), expected, atol=1e-6)


def test_members_keep_their_weights_and_learn_together():
    members = [member("luong", 1), member("lstm", 2)]
    ensemble = Ensemble(members)
    assert {id(weight) for weight in ensemble.weights} == {id(w) for model in members for w in model.weights}
    before = [model.get_weights() for model in members]
    ensemble.compile("sgd", MaskedCrossentropy(), run_eagerly=True)
    ensemble.train_on_batch(BATCH, np.array([[7, 4, 3], [5, 3, 0]], "int32"))
    for model, weights in zip(members, before, strict=True):
        assert any(not np.array_equal(new, old) for new, old in zip(model.get_weights(), weights, strict=True))


def test_an_ensemble_of_an_ensemble():
    members = [member("luong", seed) for seed in range(3)]
    nested = Ensemble([Ensemble(members[:2]), members[2]])
    first, second, third = (softmax(model(BATCH)) for model in members)
    np.testing.assert_allclose(np.exp(nested(BATCH)), ((first + second) / 2 + third) / 2, atol=1e-6)


def test_attention_is_the_mean_of_the_members(preprocessor):
    sizes = {
        "source_vocabulary_size": preprocessor.source_vocabulary_size,
        "target_vocabulary_size": preprocessor.target_vocabulary_size,
        "embedding_dim": 6,
        "units": 8,
        "bidirectional": False,
    }
    members = [member("luong", seed, **sizes) for seed in (1, 2)]
    generator = TextGenerator(Ensemble(members), preprocessor, sampler=GreedySampler(), max_length=6)
    generation = generator.generate("one two", details=True)
    ids = ids_of(generation, generator)
    # Teacher forcing on the ensemble's own output.
    inputs = {**preprocessor.encode_source(["one two"]), "decoder_token_ids": np.array([[2, *ids[:-1]]], "int32")}
    expected = [model.decoder_outputs(inputs)["attention"][0] for model in members]
    np.testing.assert_allclose(generation.attention, np.mean(expected, axis=0), atol=1e-5)


def test_members_with_memories_of_two_lengths_have_no_mean_attention():
    pyramid = Seq2Seq(
        RecurrentEncoder(9, 3, 4, num_layers=2, pyramidal=True), RecurrentDecoder(8, 3, 4, attention="luong")
    )
    ensemble = Ensemble([pyramid, member("luong", 1)])
    assert set(ensemble.decoder_outputs(BATCH)) == {"logits"} and not ensemble.decoder.has_attention
    twice = Ensemble([pyramid, Ensemble([member("luong", 2), member("luong", 3)])])
    assert set(twice.decoder_outputs(BATCH)) == {"logits"}


def test_members_without_attention_leave_none():
    ensemble = Ensemble([member("luong", 1), member("lstm", 2)])
    assert set(ensemble.decoder_outputs(BATCH)) == {"logits"} and not ensemble.decoder.has_attention


def test_saving(tmp_path):
    """An ensemble of an ensemble, whose members have names of their own."""
    first = Seq2Seq(RecurrentEncoder(9, 3, 4, name="reader"), RecurrentDecoder(8, 3, 4, name="writer"))
    ensemble = Ensemble([first, Ensemble([member("lstm", 1), member("lstm", 2)])])
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_array_equal(loaded(BATCH), ensemble(BATCH))
    assert list(weights_by_name(loaded)) == list(weights_by_name(ensemble))


def test_errors():
    one, other = member("luong", 1), GRUSeq2Seq(**{**SIZES, "target_vocabulary_size": 7})
    with pytest.raises(ValueError, match="An ensemble needs at least two models. Received: 1."):
        Ensemble([one])
    with pytest.raises(ValueError, match="takes a list of models. Received: <Seq2Seq"):
        Ensemble(one)
    for shared in (one, Seq2Seq(one.encoder, RecurrentDecoder(8, 3, 4, attention="luong"))):
        with pytest.raises(ValueError, match="must not share weights.*Seq2Seq.from_config.* and set_weights"):
            Ensemble([one, shared])
    copied = Seq2Seq.from_config(one.get_config())
    copied.set_weights(one.get_weights())
    np.testing.assert_allclose(softmax(Ensemble([one, copied])(BATCH)), softmax(one(BATCH)), atol=1e-6)
    with pytest.raises(ValueError, match="of a TextGenerator pass its `model`. Received at index 1: a str"):
        Ensemble([one, "model.keras"])
    with pytest.raises(ValueError, match="'target vocabulary': 8.* at index 0, .*'target vocabulary': 7.* at index 1"):
        Ensemble([one, other])
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="must be kerasseq.Seq2Seq models.*Received at index 1: a Sequential"):
        Ensemble([one, plain])
