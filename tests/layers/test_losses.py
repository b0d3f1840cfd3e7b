"""One contract for the losses that are layers, alone and in a model, and their equations."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq.layers import ContentSelectionLoss, CoverageLoss, CTCLoss, DoublyStochasticLoss
from kerasseq.losses import MaskedCrossentropy

VOCABULARY = 6

# The first source holds each token of its target twice, the last target needs more positions than its source has.
SOURCE = np.array([[5, 4, 4, 5, 3], [4, 3, 0, 0, 0], [3, 0, 0, 0, 0]], dtype="int32")
TARGET = np.array([[2, 4, 5, 4], [2, 4, 0, 0], [2, 5, 5, 0]], dtype="int32")
LABELS = np.array([[4, 5, 4, 3], [4, 3, 0, 0], [5, 5, 3, 0]], dtype="int32")
BATCH = {"encoder_token_ids": SOURCE, "decoder_token_ids": TARGET}

ATTENTION = np.random.default_rng(0).dirichlet(np.ones(5), size=TARGET.shape) * (SOURCE != 0)[:, None]
LOGITS = np.random.default_rng(1).normal(size=(*TARGET.shape, VOCABULARY)).astype("float32")

CONTEXT = {
    "encoder_token_ids": SOURCE,
    "decoder_token_ids": TARGET,
    "attention": (ATTENTION / ATTENTION.sum(axis=-1, keepdims=True)).astype("float32"),
    "memory": np.random.default_rng(2).normal(size=(*SOURCE.shape, 4)).astype("float32"),
    "memory_mask": SOURCE != 0,
}


# === Equations ===


def coverage(layer, context):
    """See et al. 2017: `c_t = sum_{t' < t} a_t'` (10), `covloss_t = sum_i min(a_ti, c_ti)` (12), mean of real steps."""
    losses = []
    for attention, ids in zip(context["attention"], context["decoder_token_ids"], strict=True):
        covered = np.zeros(attention.shape[-1])
        for t in np.flatnonzero(ids):
            losses.append(sum(min(attention[t, i], covered[i]) for i in range(len(covered))))
            covered += attention[t]
    return np.mean(losses)


def doubly_stochastic(layer, context):
    """Xu et al. 2015: `sum_i (1 - sum_t a_ti)^2` (14), by the number of real steps."""
    total = 0.0
    for attention, ids in zip(context["attention"], context["decoder_token_ids"], strict=True):
        total += sum((1 - attention[ids != 0, i].sum()) ** 2 for i in range(attention.shape[-1]))
    return total / np.sum(context["decoder_token_ids"] != 0)


def ctc(layer, context):
    """Graves et al. 2006: -log of the probability of all paths that give the target without repeats, then blanks."""
    total, steps = 0.0, 0
    kernel, bias = layer.scores.get_weights()
    for memory, mask, ids in zip(*(context[name] for name in CTCLoss.required), strict=True):
        scores, target = memory[mask] @ kernel + bias, [token for token in ids[1:] if token]
        log_probabilities = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
        likelihood = 0.0
        for path in itertools.product(range(VOCABULARY), repeat=len(scores)):
            if [token for token, _ in itertools.groupby(path) if token] == target:
                likelihood += np.exp(sum(log_probabilities[position, token] for position, token in enumerate(path)))
        if likelihood:  # A target with too few positions is left out.
            total, steps = total - np.log(likelihood), steps + len(target) + 1
    return total / steps


def copied_by_hand(context):
    """For each target token behind START, the attention to positions that hold it, divided by its sum; 1 at most."""
    source, target, attention = (context[name] for name in ("encoder_token_ids", "decoder_token_ids", "attention"))
    copied = np.zeros(source.shape)
    for b in range(len(source)):
        for t, token in enumerate(target[b][1:]):
            positions = np.flatnonzero(source[b] == token) if token else []
            for i in positions:
                copied[b, i] += attention[b, t, i] / attention[b, t, positions].sum()
    return np.minimum(copied, 1.0)


def selection_by_hand(layer, context):
    """`q = sigmoid(w^T tanh(W h + b) + c)`."""
    (W, b), (w, c) = layer.hidden.get_weights(), layer.selector.get_weights()
    return 1 / (1 + np.exp(-(np.tanh(np.float64(context["memory"]) @ W + b) @ w + c)[..., 0]))


def content_selection(layer, context):
    copied, q = copied_by_hand(context), selection_by_hand(layer, context)
    losses = -copied * np.log(q) - (1 - copied) * np.log(1 - q)
    return losses[context["encoder_token_ids"] != 0].mean()


LOSSES = {
    "coverage": (CoverageLoss, {}, coverage),
    "doubly_stochastic": (DoublyStochasticLoss, {}, doubly_stochastic),
    "ctc": (CTCLoss, {"vocabulary_size": VOCABULARY}, ctc),
    "content_selection": (ContentSelectionLoss, {"units": 3}, content_selection),
}


@pytest.fixture(params=LOSSES)
def case(request, randomize):
    """A function of options that makes a layer of random weights, and the equation."""
    kind, arguments, equation = LOSSES[request.param]

    def make(**options):
        layer = kind(**arguments, **options)
        layer(LOGITS, {name: CONTEXT[name] for name in layer.required})
        return randomize(layer)

    return make, equation


def loss_of(layer, context=CONTEXT, logits=LOGITS):
    layer(logits, {name: context[name] for name in layer.required})
    (loss,) = layer.losses
    assert loss.dtype == tf.float32
    return float(loss)


# === The contract ===


def test_equations(case):
    """Times the weight. Calls do not add up."""
    make, equation = case
    expected = equation(make(), CONTEXT)
    assert expected > 0.1
    for weight in (1.0, 0.25, 3):
        layer = make(weight=weight)
        for _ in range(2):
            assert loss_of(layer) == pytest.approx(weight * expected, rel=1e-5)
    assert float(make().loss(CONTEXT)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision(case, policy):
    """Logits pass through as they are, and nothing is rounded."""
    make, equation = case
    layer = make(dtype=policy)
    logits = layer(LOGITS, {name: CONTEXT[name] for name in layer.required})
    assert logits.dtype == tf.float32
    np.testing.assert_array_equal(logits, LOGITS)
    assert loss_of(layer) == pytest.approx(equation(layer, CONTEXT), rel=1e-5)


def test_a_weight_of_0_adds_no_loss(case):
    make, _ = case
    layer = make(weight=0.0)
    np.testing.assert_array_equal(layer(LOGITS, {name: CONTEXT[name] for name in layer.required}), LOGITS)
    assert layer.losses == []


def test_padding_changes_nothing(case):
    make, _ = case
    more = 0 if isinstance(make(), DoublyStochasticLoss) else 2  # Images have no padding.
    steps, positions = ((0, 0), (0, 3)), ((0, 0), (0, more))
    attention = np.pad(CONTEXT["attention"], (*steps, (0, 0)), constant_values=0.5)
    attention[:, :4][TARGET == 0] = 0.7
    attention = np.pad(attention, ((0, 0), *positions))  # Padding of the source has no attention.
    padded = {
        "encoder_token_ids": np.pad(SOURCE, positions),
        "decoder_token_ids": np.pad(TARGET, steps),
        "attention": attention,
        "memory": np.pad(CONTEXT["memory"], (*positions, (0, 0)), constant_values=9.0),
        "memory_mask": np.pad(CONTEXT["memory_mask"], positions),
    }
    assert loss_of(make(), padded) == pytest.approx(loss_of(make()), rel=1e-5)


@pytest.mark.parametrize("rows, steps, positions", [(0, 4, 5), (3, 1, 5), (3, 4, 1)])
def test_empty_sides(case, rows, steps, positions):
    """No rows, targets of START alone, a single position: the loss is finite."""
    make, _ = case
    if isinstance(make(), CTCLoss) and not rows:
        pytest.skip("The CTC loss of TensorFlow takes no empty batch.")
    context = {
        name: value[:rows, :steps, :positions] if name == "attention"
        else value[:rows, :steps] if name == "decoder_token_ids"
        else value[:rows, :positions]
        for name, value in CONTEXT.items()
    }  # fmt: skip
    loss = loss_of(make(), context, LOGITS[:rows, :steps])
    assert np.isfinite(loss) and (rows or loss == 0.0)


def test_a_graph_of_unknown_sizes(case):
    make, equation = case
    layer = make(weight=2.0)
    signature = {name: tf.TensorSpec((None,) * CONTEXT[name].ndim, CONTEXT[name].dtype) for name in layer.required}
    if "memory" in signature:
        signature["memory"] = tf.TensorSpec((None, None, 4))

    @tf.function(input_signature=[signature])
    def loss(context):
        layer(tf.zeros((1, 1, 1)), context)
        return layer.losses[0]

    for rows in (3, 2):
        context = {name: CONTEXT[name][:rows] for name in layer.required}
        assert float(loss(context)) == pytest.approx(2 * equation(layer, {**CONTEXT, **context}), rel=1e-5)


def test_configuration(case):
    make, _ = case
    layer = make(weight=0.5, name="named")
    layer.weight = 0.75
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == f"kerasseq>{type(layer).__name__}"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.weight, again.name, again.get_config()) == (0.75, "named", layer.get_config())


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "1", None, True])
def test_bad_arguments(weight):
    for kind, arguments, _ in LOSSES.values():
        with pytest.raises(ValueError, match=f"must be a number of at least 0. Received: weight={weight!r}."):
            kind(**arguments, weight=weight)
        for name in arguments:
            with pytest.raises(ValueError, match=f"{name} must be a positive integer. Received: {name}=0."):
                kind(**{name: 0})


# === One by one ===


def test_coverage_of_other_places_and_of_the_same_place():
    """Each step at a place of its own costs nothing; the same place at every step costs 1 from the second on."""
    ids = np.full((1, 4), 4)
    loss = CoverageLoss()
    assert float(loss.loss({"attention": np.eye(4, 5)[None], "decoder_token_ids": ids})) == 0.0
    same = np.eye(5)[[[2, 2, 2, 2]]]
    assert float(loss.loss({"attention": same, "decoder_token_ids": ids})) == pytest.approx(3 / 4)


def test_targets_without_an_alignment_have_no_gradient(randomize):
    """Three times the same token needs five positions."""
    layer, memory = CTCLoss(VOCABULARY), tf.random.stateless_normal((1, 4, 3), (1, 2))
    context = {"memory_mask": np.ones((1, 4), bool), "decoder_token_ids": np.array([[2, 5, 5, 5]])}
    layer.build((1, 4, VOCABULARY), {"memory": memory.shape})
    with tf.GradientTape() as tape:
        tape.watch(memory)
        loss = layer.loss({"memory": memory, **context})
    for gradient in tape.gradient(loss, [memory, *(weight.value for weight in randomize(layer).weights)]):
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


@pytest.mark.parametrize("seed", range(3))
def test_copied_positions_of_deletions(seed):
    """The attention tells repeated tokens apart, even if it is only a little higher than elsewhere."""
    random = np.random.default_rng(seed)
    source = random.integers(4, 9, size=(20, 12)).astype("int32")  # Five tokens.
    kept = random.random(source.shape) < 0.5
    target, attention = np.zeros((20, 13), "int32"), np.full((20, 13, 12), 1e-3, "float32")
    target[:, 0] = 2
    for b, row in enumerate(kept):
        for t, i in enumerate(np.flatnonzero(row)):
            target[b, t + 1] = source[b, i]
            attention[b, t, i] = 0.2  # The rest of the attention is at tokens that do not come next.
            attention[b, t, source[b] != source[b, i]] = 0.1
    np.testing.assert_allclose(ContentSelectionLoss.copied_positions(attention, source, target), kept, atol=0.06)


def test_a_token_that_is_hardly_looked_at_was_not_copied():
    attention = np.array([[[1.0, 1e-6], [0.5, 0.5]]], "float32")
    copied = ContentSelectionLoss.copied_positions(attention, np.array([[4, 5]]), np.array([[2, 5]]))
    np.testing.assert_array_equal(copied, [[0.0, 0.0]])


def test_content_selection_has_no_gradient_into_the_attention(randomize):
    layer = ContentSelectionLoss(3)
    layer.build(LOGITS.shape, {"memory": CONTEXT["memory"].shape})
    bias = randomize(layer).selector.bias
    attention = tf.constant(CONTEXT["attention"])
    with tf.GradientTape() as tape:
        tape.watch(attention)
        loss = layer.loss({**CONTEXT, "attention": attention})
    gradient, nothing = tape.gradient(loss, [bias.value, attention])
    wrong = selection_by_hand(layer, CONTEXT) - copied_by_hand(CONTEXT)
    np.testing.assert_allclose(gradient, [wrong[SOURCE != 0].mean()], atol=1e-6)
    assert nothing is None or not np.any(nothing)


# === In a model ===

WEIGHTS = {"coverage": 0.3, "doubly_stochastic": 0.5, "ctc": 0.2, "content_selection": 0.7}


@pytest.fixture
def model(random):
    losses = [LOSSES[name][0](**LOSSES[name][1], weight=WEIGHTS[name], name=name) for name in LOSSES]
    encoder = kerasseq.encoders.RecurrentEncoder(VOCABULARY, embedding_dim=3, units=4, cell="gru")
    decoder = kerasseq.decoders.RecurrentDecoder(
        VOCABULARY, embedding_dim=3, units=4, cell="gru", attention="luong", copy=True
    )
    model = kerasseq.Seq2Seq(encoder, decoder, losses)
    model.set_weights([0.7 * random(*weight.shape) for weight in model.get_weights()])
    return model


def losses_by_hand(model):
    """Cross-entropy and each loss, from the outputs of encoder and decoder."""
    outputs = {name: np.asarray(value) for name, value in model.decoder_outputs(BATCH).items() if name != "state"}
    context = {name: np.asarray(value) for name, value in model.encode(BATCH).items() if name != "states"}
    context |= {**BATCH, "attention": outputs["attention"]}
    log_probabilities = [outputs["logits"][b, t, LABELS[b, t]] for b, t in np.argwhere(LABELS)]
    losses = {name: LOSSES[name][2](model.get_layer(name), context) for name in LOSSES}
    return -np.mean(log_probabilities), losses


def test_evaluate_reports_the_sum_with_new_weights(model):
    crossentropy, losses = losses_by_hand(model)
    weights = {**WEIGHTS, "coverage": 0.0, "ctc": 1.5}
    for name, weight in weights.items():
        model.get_layer(name).weight = weight
    total = crossentropy + sum(weights[name] * losses[name] for name in LOSSES)
    metrics = [MaskedCrossentropy(name="crossentropy")]
    model.compile("sgd", MaskedCrossentropy(), metrics=metrics, run_eagerly=True)
    for _ in range(2):
        results = model.evaluate(BATCH, LABELS, verbose=0, return_dict=True)
        assert results["loss"] == pytest.approx(total, rel=1e-5)
        assert results["crossentropy"] == pytest.approx(crossentropy, rel=1e-5)


def test_fit_takes_the_step_down_all_losses_and_the_model_is_saved(model, tmp_path):
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        logits = model(BATCH)
        total = MaskedCrossentropy()(LABELS, logits) + sum(model.losses)
    assert len(model.losses) == len(LOSSES)
    gradients = map(tf.convert_to_tensor, tape.gradient(total, [variable.value for variable in variables]))
    expected = [variable.numpy() - 0.5 * gradient for variable, gradient in zip(variables, gradients, strict=True)]
    model.compile(keras.optimizers.SGD(0.5), MaskedCrossentropy(), run_eagerly=True)
    history = model.fit(BATCH, LABELS, verbose=0).history
    np.testing.assert_allclose(history["loss"], [float(total)], rtol=1e-5)
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, atol=1e-5, err_msg=variable.path)
    model.get_layer("coverage").weight = 0.25
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(BATCH), model(BATCH))
    np.testing.assert_allclose(loaded.losses, model.losses, rtol=1e-6)
    assert loaded.get_layer("coverage").weight == 0.25


def test_the_selector_alone_learns_what_is_kept():
    """Copies of the first three of six tokens: after training, the selector knows without having been told."""
    random = np.random.default_rng(0)
    source = np.stack([random.permutation(np.arange(4, 12))[:6] for _ in range(256)]).astype("int32")
    source = np.pad(source, ((0, 0), (0, 1)), constant_values=3)
    labels = np.pad(source[:, :3], ((0, 0), (0, 1)), constant_values=3)
    target = np.pad(labels[:, :3], ((0, 0), (1, 0)), constant_values=2)
    inputs = {"encoder_token_ids": source, "decoder_token_ids": target}
    keras.utils.set_random_seed(0)
    encoder = kerasseq.encoders.RecurrentEncoder(12, embedding_dim=16, units=16, cell="gru")
    decoder = kerasseq.decoders.RecurrentDecoder(
        12, embedding_dim=16, units=16, cell="gru", attention="luong", copy=True
    )
    loss = ContentSelectionLoss(16)
    model = kerasseq.Seq2Seq(encoder, decoder, [loss])
    model.compile(keras.optimizers.Adam(0.03), MaskedCrossentropy())
    model.fit(inputs, labels, batch_size=64, epochs=9, verbose=0)
    selected = selection_by_hand(loss, model.encode(inputs))[:, :6] > 0.5
    assert (selected == (np.arange(6) < 3)).mean() > 0.95
