"""The CTC loss against the sum over all readings, and what it leaves alone."""

import doctest
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasseq.layers import CTCLoss, ctc_loss
from kerasseq.losses import MaskedCrossentropy
from kerasseq.models import SpeechSeq2Seq

VOCABULARY = 6


def by_brute_force(scores, target):
    """-log of the sum of the probabilities of all paths that give the target without repeats and then blanks (id 0)."""
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    total = 0.0
    for path in itertools.product(range(VOCABULARY), repeat=len(scores)):
        read = [token for token, _ in itertools.groupby(path) if token]
        if read == list(target):
            total += np.exp(sum(log_probabilities[position, token] for position, token in enumerate(path)))
    return -np.log(total)


def test_all_readings():
    """Two sounds of 5 and 4 positions; the second says the same token twice, which needs a blank between."""
    layer = CTCLoss(VOCABULARY, weight=0.3)
    random = np.random.default_rng(1)
    memory = random.normal(size=(2, 5, 3)).astype("float32")
    mask = np.array([[True] * 5, [True] * 4 + [False]])
    decoder_token_ids = np.array([[2, 4, 5, 4], [2, 5, 5, 0]], dtype="int32")
    outputs = random.normal(size=(2, 4, VOCABULARY)).astype("float32")
    np.testing.assert_array_equal(layer(outputs, memory, mask, decoder_token_ids), outputs)
    scores = ops.convert_to_numpy(layer.scores(memory))
    expected = by_brute_force(scores[0], [4, 5, 4]) + by_brute_force(scores[1, :4], [5, 5])
    # Five tokens and two ENDs.
    assert float(layer.losses[0]) == pytest.approx(0.3 * expected / 7, rel=1e-5)


def test_what_has_no_reading_counts_nothing():
    """Three times the same token needs five positions."""
    layer = CTCLoss(VOCABULARY)
    memory, outputs = keras.random.normal((2, 4, 3)), ops.zeros((2, 4, VOCABULARY))
    mask = ops.ones((2, 4), dtype="bool")
    layer(outputs, memory, mask, ops.array([[2, 5, 5, 5], [2, 4, 0, 0]]))
    both = layer.losses[-1]
    layer(outputs[1:], memory[1:], mask[1:], ops.array([[2, 4, 0, 0]]))
    alone = layer.losses[-1]
    assert float(both) == pytest.approx(float(alone), rel=1e-5) and np.isfinite(float(both))


def test_what_has_no_reading_has_no_gradient():
    layer = CTCLoss(VOCABULARY)
    memory = tf.random.stateless_normal((1, 4, 3), (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(memory)
        layer(ops.zeros((1, 4, VOCABULARY)), memory, ops.ones((1, 4), dtype="bool"), ops.array([[2, 5, 5, 5]]))
        loss = layer.losses[-1]
    for gradient in tape.gradient(loss, [memory, *layer.trainable_weights]):
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


def test_empty_targets():
    layer = CTCLoss(VOCABULARY)
    layer(ops.zeros((1, 1, VOCABULARY)), ops.zeros((1, 3, 2)), ops.ones((1, 3), dtype="bool"), ops.array([[2]]))
    assert np.isfinite(float(layer.losses[0]))


def test_weight_0_does_nothing():
    layer = CTCLoss(VOCABULARY, weight=0)
    layer(ops.zeros((1, 2, VOCABULARY)), ops.zeros((1, 3, 2)), ops.ones((1, 3), dtype="bool"), ops.array([[2, 4]]))
    assert layer.losses == []


@pytest.fixture(scope="module")
def model():
    return SpeechSeq2Seq(VOCABULARY, num_bins=8, units=6, num_layers=1, embedding_dim=4, filters=2, ctc_loss=0.5)


def test_in_a_model(model, tmp_path):
    """It is part of the loss that `fit` lowers, and of a saved model; the logits are those without it."""
    frames = keras.random.normal((4, 30, 8))
    inputs = {
        "encoder_frames": frames,
        "encoder_mask": ops.ones((4, 30), dtype="bool"),
        "decoder_token_ids": ops.array([[2, 4, 5]] * 4, dtype="int32"),
    }
    labels = ops.array([[4, 5, 3]] * 4, dtype="int32")
    loss = MaskedCrossentropy()
    model.compile(keras.optimizers.Adam(0.01), loss)
    logits = model(inputs)
    (added,) = model.losses
    assert float(added) > 0
    total = model.evaluate(inputs, labels, verbose=0, batch_size=4)
    assert total == pytest.approx(float(loss(labels, logits)) + float(added), rel=1e-4)
    history = model.fit(inputs, labels, epochs=20, verbose=0, batch_size=4).history["loss"]
    assert history[-1] < history[0] - float(added) / 3
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(inputs), model(inputs), atol=1e-5)
    assert len(loaded.losses) == 1


def test_examples():
    result = doctest.testmod(ctc_loss)
    assert result.attempted and not result.failed
