"""Adam in one operation is the Adam of its paper, and that of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.losses import MaskedCrossentropy
from kerasseq.models import AttentionSeq2Seq
from kerasseq.optimizers import Adam


def adam(weights, gradients, rates, beta_1, beta_2, epsilon):
    """Algorithm 1 of Kingma and Ba (2015), in the order that Section 2 calls more efficient."""
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        mean = beta_1 * mean + (1 - beta_1) * gradient
        square = beta_2 * square + (1 - beta_2) * gradient**2
        rate = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        weights = weights - rate * mean / (np.sqrt(square) + epsilon)
    return weights


def test_equations():
    random = np.random.default_rng(1)
    weights, gradients = random.normal(size=(2, 3)), random.normal(size=(5, 2, 3))
    gradients[3] = 0
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.1, 0.01])  # The third step is its last 0.1.
    optimizer = Adam(schedule, beta_1=0.8, beta_2=0.95, epsilon=1e-3)
    variable = keras.Variable(weights.astype("float32"))
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient, "float32")], [variable])
    expected = adam(weights, gradients, [0.1, 0.1, 0.1, 0.01, 0.01], 0.8, 0.95, 1e-3)
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


SIZES = {"source_vocabulary_size": 9, "target_vocabulary_size": 8, "embedding_dim": 3, "units": 4}
INPUTS = {
    "encoder_token_ids": np.array([[5, 6, 7, 8], [4, 5, 0, 0]]), "decoder_token_ids": np.array([[1, 5, 6], [1, 7, 0]])
}  # fmt: skip
TARGETS = np.array([[5, 6, 2], [7, 2, 0]])


def fitted(optimizer):
    keras.utils.set_random_seed(1)
    model = AttentionSeq2Seq(**SIZES)
    model.compile(optimizer, MaskedCrossentropy())
    model.fit(INPUTS, TARGETS, batch_size=1, epochs=5, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize(
    "options",
    [{}, {"clipnorm": 0.1}, {"global_clipnorm": 0.1, "weight_decay": 0.1}, {"use_ema": True, "ema_momentum": 0.5},
     {"gradient_accumulation_steps": 2}],
    ids=lambda options: "-".join(options) or "plain",
)  # fmt: skip
def test_as_keras(options):
    """Sparse gradients of embeddings included; the state can be read by either optimizer."""
    options |= {"epsilon": 1e-3}  # Rounding in gradients of about 0 does not become a step.
    ours, theirs = Adam(0.05, **options), keras.optimizers.Adam(0.05, **options)
    for own, other in zip(fitted(ours).get_weights(), fitted(theirs).get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)
    assert [variable.shape for variable in ours.variables] == [variable.shape for variable in theirs.variables]
    for own, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(own.numpy(), other.numpy(), atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_in_graphs(compiled):
    """With and without XLA, steps are those that NumPy takes."""
    optimizer, variable = Adam(0.1), keras.Variable([1.0, -2.0])
    optimizer.build([variable])

    @tf.function(jit_compile=compiled)
    def step(gradient):
        optimizer.apply([gradient], [variable])

    gradients = np.array([[0.5, 1.0], [-0.2, 3.0], [0.1, 0.0]])
    for gradient in gradients:
        step(tf.constant(gradient, "float32"))
    expected = adam(np.array([1.0, -2.0]), gradients, [0.1] * 3, 0.9, 0.999, 1e-7)
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


def test_loss_scaling():
    """In float16 the variables stay float32; the scale of the loss cancels out."""
    scaled = keras.optimizers.LossScaleOptimizer(Adam(0.05), initial_scale=1024.0)
    for own, other in zip(fitted(scaled).get_weights(), fitted(Adam(0.05)).get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_one_operation():
    """Each variable is updated by one operation."""
    model = fitted(Adam())

    @tf.function
    def step():
        model.optimizer.apply([tf.ones_like(variable) for variable in model.trainable_variables])

    operations = [operation.type for operation in step.get_concrete_function().graph.get_operations()]
    assert operations.count("ResourceApplyAdam") == len(model.trainable_variables)


def test_saving(tmp_path):
    """A saved training goes on as the one that was not interrupted."""
    model = fitted(Adam(0.05, beta_1=0.8))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is Adam and loaded.optimizer.beta_1 == 0.8
    for either in (model, loaded):
        either.fit(INPUTS, TARGETS, batch_size=1, epochs=2, shuffle=False, verbose=0)
    for own, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)
