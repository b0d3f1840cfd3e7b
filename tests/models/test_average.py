import numpy as np
import pytest
from helpers import randomized

from kerasseq.models import AttentionSeq2Seq, GRUSeq2Seq, average_weights

SIZES = {"source_vocabulary_size": 9, "target_vocabulary_size": 8, "embedding_dim": 3, "units": 4}
BATCH = {
    "encoder_token_ids": np.array([[5, 4, 8, 3], [6, 3, 0, 0]], dtype="int32"),
    "decoder_token_ids": np.array([[2, 7, 4], [2, 5, 0]], dtype="int32"),
}


def test_weights_are_means_of_an_iterable():
    models = [randomized(AttentionSeq2Seq(**SIZES, dropout=0.2), seed) for seed in (1, 2, 3)]
    models[0].vocabulary_digest = "abc"
    average = average_weights(iter(models), name="mean")
    for mean, *weights in zip(average.trainable_weights, *(model.trainable_weights for model in models), strict=True):
        np.testing.assert_allclose(mean, np.mean([weight.numpy() for weight in weights], axis=0), atol=1e-6)
    assert average.vocabulary_digest == "abc" and average.name == "mean"
    assert not {id(weight) for weight in average.weights} & {id(weight) for model in models for weight in model.weights}


def test_the_average_of_one_model_is_that_model():
    model = randomized(GRUSeq2Seq(**SIZES, num_layers=2, bidirectional=True), 1)
    np.testing.assert_array_equal(average_weights([model])(BATCH), model(BATCH))


def test_different_models_are_refused():
    model = AttentionSeq2Seq(**SIZES)
    with pytest.raises(ValueError, match="at least one"):
        average_weights([])
    with pytest.raises(ValueError, match="at index 1: a str"):
        average_weights([model, "model"])
    with pytest.raises(ValueError, match="other shapes of weights at index 1"):
        average_weights([model, AttentionSeq2Seq(**{**SIZES, "units": 6})])
    other = AttentionSeq2Seq(**SIZES)
    model.vocabulary_digest, other.vocabulary_digest = "abc", "abd"
    with pytest.raises(ValueError, match="another vocabulary at index 1"):
        average_weights([model, other])
