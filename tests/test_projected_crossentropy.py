import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq.losses import MaskedCrossentropy, RDropCrossentropy
from kerasseq.metrics import Perplexity, TokenAccuracy
from kerasseq.projected_crossentropy import projected_crossentropy
from kerasseq.projection import Projection

BATCH, TARGET, DIM, VOCABULARY = 3, 4, 6, 7
RANDOM = np.random.default_rng(0)
TARGETS = np.array([[1, 6, 2, 3], [0, 0, 0, 0], [4, 5, 0, 1]], dtype="int32")  # padding between tokens as well
REAL = TARGETS != 0
FEATURES = RANDOM.normal(size=(BATCH, TARGET, DIM))
KERNEL = RANDOM.normal(size=(DIM, VOCABULARY))
BIAS = RANDOM.normal(size=(VOCABULARY,))
WEIGHTS = RANDOM.uniform(0.5, 2, size=(BATCH, TARGET)) * np.array([[1, 0, 1, 1], [1, 1, 1, 1], [-1, 1, 1, 1]])


def by_definition(label_smoothing, weights, with_bias):
    """The weighted sum of `-sum_k q(k) log p(k)` in float64, and TensorFlow's gradients of it."""
    parts = [tf.constant(FEATURES), tf.constant(KERNEL), tf.constant(BIAS * with_bias)]
    with tf.GradientTape() as tape:
        tape.watch(parts)
        log_probabilities = tf.nn.log_softmax(tf.matmul(parts[0], parts[1]) + parts[2])
        q = (1 - label_smoothing) * tf.one_hot(TARGETS, VOCABULARY, dtype="float64") + label_smoothing / VOCABULARY
        total = -tf.reduce_sum(tf.reduce_sum(q * log_probabilities, axis=-1) * weights * REAL)
    return total, tape.gradient(total, parts), log_probabilities.numpy()


@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 100])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [np.ones((BATCH, TARGET)), WEIGHTS])
@pytest.mark.parametrize("in_graph", [False, True])
def test_value_and_gradients(rows_at_once, transposed, label_smoothing, weights, in_graph):
    """Those of the definition, by blocks that divide the seven real tokens or do not, with any factor behind."""
    expected, gradients, log_probabilities = by_definition(label_smoothing, weights, with_bias=not transposed)
    kernel = tf.constant(KERNEL.T if transposed else KERNEL, "float32")
    bias = None if transposed else tf.constant(BIAS, "float32")

    def run(features):
        with tf.GradientTape() as tape:
            parts = [features, kernel, *([] if bias is None else [bias])]
            tape.watch(parts)
            total, results = projected_crossentropy(
                Projection(None, features, kernel, bias, transposed), tf.constant(TARGETS),
                tf.constant(weights, "float32"), label_smoothing, VOCABULARY * rows_at_once + 1,
            )  # fmt: skip
            loss = -3.0 * total
        return total, tape.gradient(loss, parts), results.log_probabilities, results.top_ids

    if in_graph:  # with sizes that are unknown to it
        run = tf.function(run, input_signature=[tf.TensorSpec([None, None, DIM])])
    total, found, of_targets, top_ids = run(tf.constant(FEATURES, "float32"))
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    for own, gradient in zip(found, gradients, strict=False):
        gradient = tf.transpose(gradient) if transposed and gradient.shape == KERNEL.shape else gradient
        np.testing.assert_allclose(own, -3.0 * gradient, rtol=0, atol=1e-5)
    at_target = np.take_along_axis(log_probabilities, TARGETS[:, :, None], axis=-1)[:, :, 0]
    np.testing.assert_allclose(of_targets, np.where(REAL, at_target, 0), atol=1e-5)
    np.testing.assert_array_equal(top_ids, np.where(REAL, log_probabilities.argmax(axis=-1), 0))


def test_large_logits():
    """Only differences are exponentiated: the probabilities are 1 and e^-100."""
    projection = Projection(None, tf.constant([[[1.0], [1.0]]]), tf.constant([[1000.0, 1100.0]]), None, False)
    total, _ = projected_crossentropy(projection, tf.constant([[1, 0]]), tf.ones((1, 2)), 0.0)
    assert float(total) == 0
    projection.kernel = projection.kernel[:, ::-1]
    total, _ = projected_crossentropy(projection, tf.constant([[1, 0]]), tf.ones((1, 2)), 0.0)
    assert float(total) == 100


def test_all_padding():
    features, kernel = tf.constant(FEATURES, "float32"), tf.constant(KERNEL, "float32")
    with tf.GradientTape() as tape:
        tape.watch([features, kernel])
        projection = Projection(None, features, kernel, None, False)
        total, _ = projected_crossentropy(projection, tf.zeros_like(TARGETS), tf.ones((BATCH, TARGET)), 0.1)
    assert float(total) == 0
    assert all(np.all(gradient == 0) for gradient in tape.gradient(total, [features, kernel]))


# === In `fit` ===

SIZES = {"source_vocabulary_size": 9, "target_vocabulary_size": 11}
MODELS = {
    "dense": lambda: kerasseq.models.AttentionSeq2Seq(**SIZES, cell="gru", units=8, embedding_dim=6),
    "tied": lambda: kerasseq.models.GRUSeq2Seq(**SIZES, units=8, embedding_dim=6, tie_embeddings=True),
    "transformer": lambda: kerasseq.models.TransformerSeq2Seq(**SIZES, units=8, num_layers=1, num_heads=2),
    "copying": lambda: kerasseq.models.PointerGeneratorSeq2Seq(11, cell="gru", units=8, embedding_dim=6),
    "ensemble": lambda: kerasseq.models.Ensemble([MODELS["dense"](), MODELS["tied"]()]),
    "auxiliary loss": lambda: kerasseq.Seq2Seq(
        kerasseq.encoders.RecurrentEncoder(9, 6, 8, cell="gru"),
        kerasseq.decoders.RecurrentDecoder(11, 6, 8, cell="gru", attention="luong"),
        losses=[kerasseq.layers.CoverageLoss(1.0)],
    ),
}
LABELS = np.array([[3, 10, 5, 2], [4, 2, 0, 0], [9, 8, 2, 0], [7, 2, 0, 0], [6, 2, 0, 0]])
INPUTS = {
    "encoder_token_ids": np.array([[3, 8, 2, 0], [4, 5, 6, 2], [7, 2, 0, 0], [8, 8, 8, 2], [3, 2, 0, 0]]),
    "decoder_token_ids": np.array([[1, 3, 10, 5], [1, 4, 2, 0], [1, 9, 8, 2], [1, 7, 2, 0], [1, 6, 2, 0]]),
}


class MeanLogit(keras.metrics.Mean):
    """A metric that reads all logits."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(keras.ops.mean(keras.ops.square(y_pred)))


def train(name, loss_in_blocks, loss=None, sample_weight=None, weighted=False, metrics=True):
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    model.loss_in_blocks = loss_in_blocks
    own = [TokenAccuracy(), Perplexity()] if metrics is True else metrics
    model.compile(
        keras.optimizers.SGD(0.5), loss or MaskedCrossentropy(label_smoothing=0.1),
        **{"weighted_metrics" if weighted else "metrics": own},
    )  # fmt: skip
    history = model.fit(INPUTS, LABELS, sample_weight=sample_weight, batch_size=3, epochs=2, shuffle=False, verbose=0)
    return history.history, model


def assert_same(first, second, atol=1e-5):
    assert set(first[0]) == set(second[0])
    for name, values in first[0].items():
        np.testing.assert_allclose(values, second[0][name], rtol=1e-5, atol=atol, err_msg=name)
    for own, other in zip(first[1].get_weights(), second[1].get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=atol)


@pytest.fixture
def no_logits(monkeypatch):
    """Makes a loss or metric of kerasseq that reads logits fail."""

    def fail(*arguments):
        raise AssertionError("The logits are read.")

    def forbid():
        for owner, name in ((MaskedCrossentropy, "call"), (TokenAccuracy, "values"), (Perplexity, "values")):
            monkeypatch.setattr(owner, name, fail)

    return forbid


@pytest.mark.parametrize("name", ["dense", "tied", "transformer", "auxiliary loss"])
def test_fit(name, no_logits, monkeypatch):
    """Losses, metrics and weights are those of the logits, which neither the loss nor the metrics read."""
    by_logits = train(name, False)
    monkeypatch.setattr("kerasseq.projected_crossentropy.LOGITS_AT_ONCE", 4 * 11)
    no_logits()
    assert_same(train(name, True), by_logits)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(5,), (5, 4)])
def test_fit_with_weights(shape, weighted, no_logits):
    """Metrics count tokens of weight 0 unless they are weighted metrics."""
    sample_weight = np.random.default_rng(1).uniform(size=shape)
    sample_weight[1] = 0
    by_logits = train("dense", False, sample_weight=sample_weight, weighted=weighted)
    no_logits()
    assert_same(train("dense", True, sample_weight=sample_weight, weighted=weighted), by_logits)


@pytest.mark.parametrize("name", ["dense", "tied"])
def test_mixed_precision(name, no_logits):
    """Gradients up to their rounding to bfloat16. The loss is exact."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        by_logits = train(name, False)
        no_logits()
        in_blocks = train(name, True)
        assert_same(in_blocks, by_logits, atol=2**-8)
        assert in_blocks[0]["loss"][0] == pytest.approx(by_logits[0]["loss"][0], rel=1e-6)
    finally:
        keras.config.set_dtype_policy("float32")


class Sevens(TokenAccuracy):
    """A metric of logits alone, derived from one that also reads the results of a loss."""

    def values(self, y_true, y_pred):
        return 7.0 * keras.ops.ones_like(y_pred[..., 0])


def test_derived_metrics_read_logits():
    history, _ = train("dense", True, metrics=[Sevens()])
    assert history["token_accuracy"] == [7.0, 7.0]


@pytest.mark.parametrize("name", ["copying", "ensemble"])
def test_models_without_a_projection(name):
    assert_same(train(name, True), train(name, False))


@pytest.mark.parametrize("loss", [RDropCrossentropy(1.0), lambda y_true, y_pred: keras.ops.mean(y_pred**2)])
def test_other_losses_read_the_logits(loss):
    assert_same(train("dense", True, loss), train("dense", False, loss))


def test_other_metrics_read_the_logits():
    by_logits, in_blocks = (train("dense", blocks, metrics=[MeanLogit("mean")]) for blocks in (False, True))
    assert_same(in_blocks, by_logits)
    assert in_blocks[0]["mean"][0] > 0.01


def test_outputs_are_logits():
    """After training in blocks as before it: `predict`, `evaluate` and a loop of one's own."""
    _, model = train("dense", True)
    logits = model.predict(INPUTS, verbose=0)
    assert logits.shape == (5, 4, 11)
    loss = MaskedCrossentropy(label_smoothing=0.1)(LABELS, logits)
    np.testing.assert_allclose(model.evaluate(INPUTS, LABELS, verbose=0)[0], loss, rtol=1e-5)
    with tf.GradientTape() as tape:
        logits = model({name: tf.constant(ids) for name, ids in INPUTS.items()}, training=True)
        loss = MaskedCrossentropy()(LABELS, logits)
    assert np.abs(tape.gradient(loss, logits)).max() > 0.01


@pytest.mark.parametrize("label", [-1, 11, 13])
def test_ids_out_of_range(label):
    _, model = train("dense", True)
    labels = np.where(LABELS == 10, label, LABELS)
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.fit(INPUTS, labels, verbose=0)


def test_another_head(no_logits):
    """Logits of a layer in the place of the dense one are not taken for a projection."""
    _, model = train("dense", True)
    model.decoder.logits.activation = keras.activations.tanh
    model.compile(keras.optimizers.SGD(0.5), MaskedCrossentropy())
    no_logits()
    with pytest.raises(AssertionError, match="The logits are read"):
        model.fit(INPUTS, LABELS, verbose=0)
