import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.losses import MaskedCrossentropy, RDropCrossentropy
from kerasseq.preprocessing import TextPreprocessor

BATCH, TARGET, VOCABULARY = 3, 4, 5

TARGETS = np.array([[1, 4, 2, 3], [2, 3, 0, 0], [4, 0, 0, 0]], dtype="int32")
LOGITS = np.random.default_rng(0).normal(scale=2, size=(BATCH, TARGET, VOCABULARY))
REAL = TARGETS != 0
PAIRS = [("one two", "eins zwei"), ("three", "drei"), ("two", "zwei")]


def token_losses(targets, logits, label_smoothing=0.0):
    """`-sum_k q(k) log p(k)` with explicit q."""
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    one_hot = np.eye(logits.shape[-1])[targets]
    smoothed = (1 - label_smoothing) * one_hot + label_smoothing / logits.shape[-1]
    return -(smoothed * np.log(probabilities)).sum(axis=-1)


def test_by_hand():
    # p = 3/6, 1/6, 2/6: losses log 6 and log 3 for the two real tokens.
    logits = np.log([[[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]])
    loss = MaskedCrossentropy()(np.array([[1, 2, 0]]), logits)
    np.testing.assert_allclose(loss, (np.log(6) + np.log(3)) / 2, rtol=1e-6)
    # Label smoothing of 0.3 gives each of the three tokens 0.1: 0.7 log 6 + 0.1 (log 2 + log 6 + log 3).
    loss = MaskedCrossentropy(label_smoothing=0.3)(np.array([[1, 0, 0]]), logits)
    np.testing.assert_allclose(loss, 0.7 * np.log(6) + 0.1 * np.log(36), rtol=1e-6)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.9])
def test_one_hot_formula(label_smoothing):
    expected = token_losses(TARGETS, LOGITS, label_smoothing)
    loss = MaskedCrossentropy(label_smoothing=label_smoothing)
    np.testing.assert_allclose(loss(TARGETS, LOGITS), expected[REAL].mean(), rtol=1e-5)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_equals_keras_without_padding(label_smoothing):
    targets = np.where(REAL, TARGETS, 1)
    reference = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    expected = reference(np.eye(VOCABULARY, dtype="float32")[targets], LOGITS.astype("float32"))
    loss = MaskedCrossentropy(label_smoothing=label_smoothing)(targets, LOGITS)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_gradient(label_smoothing):
    """(p - q) / number of real tokens, and exactly zero at padding."""
    logits = tf.constant(LOGITS, "float32")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = MaskedCrossentropy(label_smoothing=label_smoothing)(TARGETS, logits)
    gradient = tape.gradient(loss, logits).numpy()
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)
    smoothed = (1 - label_smoothing) * np.eye(VOCABULARY)[TARGETS] + label_smoothing / VOCABULARY
    np.testing.assert_allclose(gradient[REAL], (probabilities - smoothed)[REAL] / REAL.sum(), atol=1e-6)
    assert (gradient[~REAL] == 0).all()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_padding_changes_nothing(label_smoothing):
    loss = MaskedCrossentropy(label_smoothing=label_smoothing)
    targets = np.pad(TARGETS, ((0, 2), (0, 3)))
    logits = np.pad(LOGITS, ((0, 2), (0, 3), (0, 0)), constant_values=7.0)
    logits[..., 1] = np.where(targets == 0, 50.0, logits[..., 1])
    np.testing.assert_allclose(loss(targets, logits), loss(TARGETS, LOGITS), rtol=1e-6)


def test_all_padding():
    assert float(MaskedCrossentropy(label_smoothing=0.1)(np.zeros((2, 3), "int32"), LOGITS[:2, :3])) == 0


@pytest.mark.parametrize("shape", [(BATCH,), (BATCH, 1), (BATCH, TARGET)])
def test_sample_weight(shape):
    weight = np.random.default_rng(1).uniform(size=shape)
    per_token = np.broadcast_to(weight if len(shape) == 2 else weight[:, None], REAL.shape)
    expected = (token_losses(TARGETS, LOGITS) * per_token)[REAL].sum() / REAL.sum()
    np.testing.assert_allclose(MaskedCrossentropy()(TARGETS, LOGITS, sample_weight=weight), expected, rtol=1e-5)


def test_divisor_stays_the_number_of_real_tokens():
    loss = MaskedCrossentropy()
    plain = float(loss(TARGETS, LOGITS))
    np.testing.assert_allclose(loss(TARGETS, LOGITS, sample_weight=np.full(BATCH, 2.0)), 2 * plain, rtol=1e-6)
    alone = token_losses(TARGETS, LOGITS)[0].sum()
    np.testing.assert_allclose(loss(TARGETS, LOGITS, sample_weight=[1, 0, 0]), alone / REAL.sum(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
def test_dtypes_of_targets(dtype):
    expected = MaskedCrossentropy(label_smoothing=0.1)(TARGETS, LOGITS)
    assert float(MaskedCrossentropy(label_smoothing=0.1)(TARGETS.astype(dtype), LOGITS)) == float(expected)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_half_precision_logits(label_smoothing):
    """Computed in float32: the sum over 60,000 logits exceeds the range of float16."""
    logits = np.zeros((1, 1, 60_000), "float16")
    logits[0, 0, :4] = [60_000, 59_968, 10, 0]
    loss = MaskedCrossentropy(label_smoothing=label_smoothing)(np.array([[1]]), tf.constant(logits))
    assert loss.dtype == tf.float32
    shifted = np.float64(logits[0, 0]) - 60_000
    log_probabilities = shifted - np.log(np.exp(shifted).sum())
    expected = -(1 - label_smoothing) * log_probabilities[1] - label_smoothing * log_probabilities.mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "rounding"), [("float16", 2**-10), ("bfloat16", 2**-7)])
@pytest.mark.parametrize("loss", [MaskedCrossentropy(0.1), RDropCrossentropy(5.0, 0.1)])
def test_gradients_of_half_precision_logits(loss, dtype, rounding):
    """They have the dtype of the logits, and equal those of float32 logits up to rounding."""
    targets = np.repeat(TARGETS[:2], 2, axis=0)
    logits = tf.constant(np.random.default_rng(4).normal(scale=2, size=(4, TARGET, VOCABULARY)), dtype)

    def gradient(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(targets, logits)
        return tape.gradient(value, logits)

    found, expected = gradient(logits), gradient(tf.cast(logits, "float32"))
    assert found.dtype == dtype
    largest = np.max(np.abs(expected))
    assert largest > 0.01
    np.testing.assert_allclose(tf.cast(found, "float32"), expected, rtol=0, atol=rounding * largest)


def test_in_fit():
    """One SGD step on the logits themselves subtracts the gradient of the weighted loss."""
    weight = np.array([1.0, 0.5, 2.0], "float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(TARGET * VOCABULARY, use_bias=False)])
    model.add(keras.layers.Reshape((TARGET, VOCABULARY)))
    model.layers[0].kernel.assign(LOGITS[:1].reshape(1, -1))
    model.compile(keras.optimizers.SGD(1.0), MaskedCrossentropy())
    history = model.fit(np.ones((BATCH, 1)), TARGETS, sample_weight=weight, batch_size=BATCH, verbose=0)
    logits = np.repeat(LOGITS[:1], BATCH, axis=0)
    weighted = token_losses(TARGETS, logits) * weight[:, None] * REAL
    np.testing.assert_allclose(history.history["loss"], [weighted.sum() / REAL.sum()], rtol=1e-5)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    factor = (weight[:, None] * REAL / REAL.sum())[:, :, None]
    gradient = ((probabilities - np.eye(VOCABULARY)[TARGETS]) * factor).sum(axis=0)
    moved = model.layers[0].kernel.numpy().reshape(TARGET, VOCABULARY)
    np.testing.assert_allclose(moved, LOGITS[0] - gradient, atol=1e-5)


@pytest.mark.parametrize(
    ("targets", "logits", "weight"),
    [
        ((2, 1), (2, 3, 5), None),
        ((2, 3, 1), (2, 3, 5), None),
        ((1, 3), (2, 3, 5), None),
        ((2, 3), (2, 15), None),
        ((2, 3), (2, 3, 5), (2, 3, 1)),
        ((2, 3), (2, 3, 5), (3,)),
    ],
)
@pytest.mark.parametrize("loss", [MaskedCrossentropy(), RDropCrossentropy()])
def test_incompatible_shapes(loss, targets, logits, weight):
    """Some of them would broadcast to a wrong loss."""
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(ValueError, match=r"y_true must be token ids \(batch, target\).*Received shapes: "):
        loss(np.ones(targets, "int32"), np.zeros(logits, "float32"), weight)


@pytest.mark.parametrize("label", [-1, VOCABULARY, VOCABULARY + 2])
def test_ids_out_of_range(label):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"is not in \[0, 5\)"):
        MaskedCrossentropy()(np.array([[1, label]]), LOGITS[:1, :2])


def test_config():
    loss = MaskedCrossentropy(label_smoothing=0.2, name="smoothed")
    config = keras.losses.serialize(loss)
    assert config["registered_name"] == "kerasseq>MaskedCrossentropy"
    again = keras.losses.deserialize(config)
    assert (again.label_smoothing, again.name) == (0.2, "smoothed")
    assert float(again(TARGETS, LOGITS)) == float(loss(TARGETS, LOGITS))


@pytest.mark.parametrize("label_smoothing", [-0.1, 1.0, 1, float("nan")])
def test_bad_label_smoothing(label_smoothing):
    message = rf"label_smoothing must be in \[0, 1\). Received: label_smoothing={label_smoothing!r}."
    with pytest.raises(ValueError, match=message):
        MaskedCrossentropy(label_smoothing=label_smoothing)


# === R-Drop ===


def divergence(first, second):
    """The mean of KL(P || Q) and KL(Q || P) of each token, by their definition."""
    p, q = (np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True) for logits in (first, second))
    return ((p * np.log(p / q)).sum(axis=-1) + (q * np.log(q / p)).sum(axis=-1)) / 2


@pytest.mark.parametrize("sample_weight", [None, np.repeat([1.0, 0.5, 2.0], 2)])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_r_drop_equation(label_smoothing, sample_weight):
    """Half of Wu et al. 2021, equation 3, divided by the number of tokens of one copy."""
    targets, real = np.repeat(TARGETS, 2, axis=0), np.repeat(REAL, 2, axis=0)
    logits = np.random.default_rng(2).normal(scale=2, size=(2 * BATCH, TARGET, VOCABULARY))
    weights = np.ones(2 * BATCH) if sample_weight is None else sample_weight
    of_tokens = (token_losses(targets, logits, label_smoothing) * real * weights[:, None]).sum(axis=1)
    distances = (divergence(logits[::2], logits[1::2]) * REAL * weights[::2, None]).sum(axis=1)
    paper = of_tokens[::2] + of_tokens[1::2] + 3.0 * distances
    loss = RDropCrossentropy(weight=3.0, label_smoothing=label_smoothing)
    np.testing.assert_allclose(loss(targets, logits, sample_weight), paper.sum() / 2 / REAL.sum(), rtol=1e-5)


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 1), slice(0, 3)])
def test_r_drop_without_copies_is_the_crossentropy(rows):
    plain = MaskedCrossentropy(label_smoothing=0.1)(TARGETS[rows], LOGITS[rows])
    np.testing.assert_allclose(RDropCrossentropy(5.0, 0.1)(TARGETS[rows], LOGITS[rows]), plain, rtol=1e-6)


@pytest.mark.parametrize("rows", [5, 1])
def test_gradient_of_divergences(rows):
    """The custom gradient equals automatic differentiation, with dynamic sizes. An odd row has none."""
    random = np.random.default_rng(3)
    targets = np.repeat(TARGETS, 2, axis=0)[:rows]
    logits = tf.constant(random.normal(scale=2, size=(rows, TARGET, VOCABULARY)), "float32")
    weights = tf.constant(random.uniform(size=(rows, TARGET)), "float32")

    def by_definition(logits):
        p, q = tf.nn.softmax(logits[: rows - 1 : 2]), tf.nn.softmax(logits[1::2])
        divergences = tf.reduce_sum((p - q) * (tf.math.log(p) - tf.math.log(q)), axis=-1) / 2
        real = tf.cast(targets != 0, "float32")
        return 2.0 * tf.reduce_sum(divergences * (weights * real)[: rows - 1 : 2]) / tf.reduce_sum(real)

    def without_crossentropy(logits):
        return RDropCrossentropy(2.0)(targets, logits, weights) - MaskedCrossentropy()(targets, logits, weights)

    def gradient(loss):
        @tf.function(input_signature=[tf.TensorSpec([None, None, VOCABULARY], tf.float32)])
        def run(logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = loss(logits)
            return tape.gradient(value, logits)

        return run(logits)

    expected = gradient(by_definition)
    np.testing.assert_allclose(gradient(without_crossentropy), expected, atol=1e-6)
    assert np.any(expected) == (rows > 1)


def test_r_drop_gradient_brings_copies_together():
    targets = np.repeat(TARGETS[:1], 2, axis=0)
    logits = tf.Variable(LOGITS[:2], dtype="float32")
    optimizer = keras.optimizers.SGD(1.0)
    before = divergence(*logits.numpy()).mean()
    for _ in range(20):
        with tf.GradientTape() as tape:
            loss = RDropCrossentropy(weight=5.0)(targets, logits) - MaskedCrossentropy()(targets, logits)
        optimizer.apply([tape.gradient(loss, logits)], [logits])
    assert divergence(*logits.numpy()).mean() < before / 10


def test_r_drop_over_copies():
    """On data with copies: without dropout there is no divergence, with dropout training reduces it."""
    preprocessor = TextPreprocessor.from_pairs(PAIRS, vocabulary_size=280)
    data = preprocessor.dataset(PAIRS, batch_size=2, copies=2)
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name) for name in ("encoder_token_ids", "decoder_token_ids")
    }
    source, target = (keras.layers.Embedding(280, 8)(ids) for ids in inputs.values())
    hidden = target + keras.ops.mean(source, axis=1, keepdims=True)
    logits = keras.layers.Dense(preprocessor.target_vocabulary_size)(keras.layers.Dropout(0.5)(hidden))
    model = keras.Model(inputs, logits)
    model.compile("adam", RDropCrossentropy(100.0), run_eagerly=True)
    with_copies = model.evaluate(data, verbose=0)
    model.compile("adam", MaskedCrossentropy(), run_eagerly=True)
    alone = model.evaluate(preprocessor.dataset(PAIRS, batch_size=2), verbose=0)
    assert with_copies == pytest.approx(alone, rel=1e-5)
    start, divergences = model.get_weights(), {}
    (batch, labels), *_ = data
    for weight in (0.0, 20.0):
        model.set_weights(start)
        model.compile(keras.optimizers.Adam(0.1), RDropCrossentropy(weight), run_eagerly=True)
        model.fit(data.cache().repeat(8), shuffle=False, verbose=0)
        samples = [model(batch, training=True).numpy() for _ in range(10)]
        divergences[weight] = np.mean([divergence(each[::2], each[1::2])[labels[::2] > 0] for each in samples])
    assert 1e-4 < divergences[20.0] < divergences[0.0] / 3


def test_r_drop_config():
    again = keras.losses.deserialize(keras.losses.serialize(RDropCrossentropy(2.0, label_smoothing=0.2, name="twins")))
    assert (again.weight, again.label_smoothing, again.name) == (2.0, 0.2, "twins")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), "5"])
def test_bad_r_drop_weight(weight):
    with pytest.raises(ValueError, match="weight must be"):
        RDropCrossentropy(weight)
