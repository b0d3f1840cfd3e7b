import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.losses import MaskedCrossentropy
from kerasseq.metrics import Perplexity, TokenAccuracy

VOCABULARY = 5


def batch(size, length, seed):
    """Ids, padded on the right, and logits."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(1, VOCABULARY, size=(size, length), dtype="int32")
    targets[np.arange(length) >= generator.integers(1, length + 1, size=(size, 1))] = 0
    return targets, generator.normal(scale=2, size=(size, length, VOCABULARY)).astype("float32")


BATCHES = [batch(4, 6, 1), batch(1, 2, 2), batch(2, 9, 3)]


def correct(targets, logits):
    return (logits.argmax(axis=-1) == targets).astype("float64")


def negative_log_likelihood(targets, logits):
    logits = np.float64(logits)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_probabilities, targets[:, :, None], axis=-1)[:, :, 0]


METRICS = {
    "token_accuracy": (TokenAccuracy, correct, lambda x: x),
    "perplexity": (Perplexity, negative_log_likelihood, np.exp),
}


@pytest.fixture(params=METRICS)
def metric_and_reference(request):
    metric, values, finish = METRICS[request.param]

    def reference(batches, weights=None):
        """Over the concatenation of all real tokens."""
        weights = weights or [np.ones_like(targets) for targets, _ in batches]
        tokens = np.concatenate([values(*each)[each[0] != 0] for each in batches])
        weights = np.concatenate([w[each[0] != 0] for w, each in zip(weights, batches, strict=True)])
        return finish((tokens * weights).sum() / weights.sum())

    return metric(), reference


def test_averages_over_tokens(metric_and_reference):
    metric, reference = metric_and_reference
    metric.update_state(*BATCHES[1])
    metric.reset_state()
    for targets, logits in BATCHES:
        metric.update_state(targets, logits)
    result, expected = float(metric.result()), reference(BATCHES)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    of_batches = np.mean([reference([each]) for each in BATCHES])
    assert abs(of_batches - expected) > 1e-2  # differs from the mean over batches


@pytest.mark.parametrize("per_token", [False, True])
def test_sample_weight(metric_and_reference, per_token):
    metric, reference = metric_and_reference
    generator = np.random.default_rng(5)
    weights = []
    for targets, logits in BATCHES:
        weight = generator.uniform(size=targets.shape if per_token else targets.shape[:1])
        metric.update_state(targets, logits, sample_weight=weight)
        weights.append(np.broadcast_to(weight if per_token else weight[:, None], targets.shape))
    np.testing.assert_allclose(metric.result(), reference(BATCHES, weights), rtol=1e-5)


def test_small_weights(metric_and_reference):
    """Weights that sum to less than 1."""
    metric, reference = metric_and_reference
    weights = [np.full(targets.shape, 1e-3) for targets, _ in BATCHES]
    for (targets, logits), weight in zip(BATCHES, weights, strict=True):
        metric.update_state(targets, logits, sample_weight=weight)
    np.testing.assert_allclose(metric.result(), reference(BATCHES, weights), rtol=1e-5)


def test_by_hand():
    targets = np.array([[1, 2, 0], [3, 0, 0]])
    logits = np.log([[[1, 2, 1], [2, 1, 1], [9, 1, 1]], [[1, 1, 2], [9, 1, 1], [1, 9, 1]]])
    logits = np.concatenate([logits, np.log(4 * np.ones((2, 3, 1)))], axis=-1)  # p(3) = 4/8 if the others sum to 4
    accuracy, perplexity = TokenAccuracy(), Perplexity()
    accuracy.update_state(targets, logits)
    perplexity.update_state(targets, logits)
    np.testing.assert_allclose(accuracy.result(), 1 / 3, rtol=1e-6)  # only 3 has the highest logit
    np.testing.assert_allclose(perplexity.result(), (4 * 8 * 2) ** (1 / 3), rtol=1e-6)  # p = 2/8, 1/8, 4/8


def test_padding_only(metric_and_reference):
    metric, _ = metric_and_reference
    metric.update_state(np.zeros((2, 3), "int32"), np.ones((2, 3, VOCABULARY)))
    assert float(metric.result()) == (1 if isinstance(metric, Perplexity) else 0)


def test_half_precision_logits(metric_and_reference):
    metric, reference = metric_and_reference
    targets, logits = BATCHES[0]
    metric.update_state(targets, tf.constant(logits, "float16"))
    np.testing.assert_allclose(metric.result(), reference([(targets, logits.astype("float16"))]), rtol=1e-5)


def test_in_evaluate():
    """With compile and evaluate, a smaller last batch, and a loss."""
    targets, logits = batch(5, 4, 7)
    model = keras.Sequential([keras.Input((4, VOCABULARY)), keras.layers.Activation("linear")])
    model.compile(loss=MaskedCrossentropy(), metrics=[TokenAccuracy(), Perplexity()])
    result = model.evaluate(logits, targets, batch_size=2, verbose=0, return_dict=True)
    real = targets != 0
    np.testing.assert_allclose(result["token_accuracy"], correct(targets, logits)[real].mean(), rtol=1e-5)
    nll = negative_log_likelihood(targets, logits)[real].mean()
    np.testing.assert_allclose(result["perplexity"], np.exp(nll), rtol=1e-5)


def test_config(metric_and_reference):
    metric, _ = metric_and_reference
    metric = type(metric)(name="validation")
    config = keras.metrics.serialize(metric)
    assert config["registered_name"] == f"kerasseq>{type(metric).__name__}"
    again = keras.metrics.deserialize(config)
    assert (type(again), again.name, again.dtype) == (type(metric), "validation", "float32")
