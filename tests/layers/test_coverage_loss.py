import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.joining import decoder_outputs
from kerasseq.layers import CoverageLoss
from kerasseq.layers import coverage_loss as coverage_loss_module
from kerasseq.losses import MaskedCrossentropy
from kerasseq.models import PointerGeneratorSeq2Seq

TARGET_MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
ATTENTION = np.random.default_rng(0).dirichlet(np.full(5, 0.5), size=TARGET_MASK.shape).astype("float32")
OUTPUTS = np.random.default_rng(1).normal(size=(*TARGET_MASK.shape, 6)).astype("float32")

BATCH = {
    "encoder_token_ids": np.array([[5, 4, 7, 3], [6, 3, 0, 0], [3, 0, 0, 0]], dtype="int32"),
    "decoder_token_ids": np.array([[2, 7, 4, 5, 6], [2, 5, 0, 0, 0], [2, 4, 4, 6, 0]], dtype="int32"),
}
LABELS = np.array([[7, 4, 5, 6, 3], [5, 3, 0, 0, 0], [4, 4, 6, 3, 0]], dtype="int32")


def by_the_paper(attention, target_mask):
    """See et al. 2017: `c_t = sum_{t' < t} a_t'` (10), `covloss_t = sum_i min(a_ti, c_ti)` (12), mean of real steps."""
    total, steps = 0.0, 0
    for b in range(len(attention)):
        coverage = [0.0] * attention.shape[2]
        for t in np.flatnonzero(target_mask[b]):
            for i in range(attention.shape[2]):
                total += min(attention[b, t, i], coverage[i])
                coverage[i] += attention[b, t, i]
            steps += 1
    return total / steps


def loss_of(layer, attention=ATTENTION, target_mask=TARGET_MASK):
    layer(OUTPUTS, attention, target_mask=target_mask)
    (loss,) = layer.losses
    return float(loss)


# === The layer ===


def test_equations():
    expected = by_the_paper(ATTENTION, TARGET_MASK)
    assert expected > 0.1
    for weight in (1.0, 0.25, 3):
        assert loss_of(CoverageLoss(weight)) == pytest.approx(weight * expected, abs=1e-6)
    assert loss_of(CoverageLoss()) == pytest.approx(expected, abs=1e-6)


def test_no_loss_for_looking_elsewhere_and_all_for_the_same_place():
    """Each step at a place of its own costs nothing; the same place at every step costs 1 from the second on."""
    everywhere = np.ones((1, 4), bool)
    assert loss_of(CoverageLoss(), np.eye(4, 5)[None], everywhere) == 0.0
    assert loss_of(CoverageLoss(), np.eye(5)[[[2, 2, 2, 2]]], everywhere) == pytest.approx(3 / 4)


def test_padding_changes_nothing():
    padded = np.pad(ATTENTION, ((0, 0), (0, 3), (0, 0)), constant_values=0.5)
    padded[:, :4][~TARGET_MASK] = 0.7
    padded = np.pad(padded, ((0, 0), (0, 0), (0, 2)))  # Padding of the source has no attention.
    mask = np.pad(TARGET_MASK, ((0, 0), (0, 3)))
    assert loss_of(CoverageLoss(), padded, mask) == pytest.approx(loss_of(CoverageLoss()), abs=1e-6)


def test_nothing_real_costs_nothing():
    assert loss_of(CoverageLoss(), target_mask=np.zeros_like(TARGET_MASK)) == 0.0
    assert loss_of(CoverageLoss(), ATTENTION[:, :0], TARGET_MASK[:, :0]) == 0.0
    assert loss_of(CoverageLoss(), ATTENTION[:0], TARGET_MASK[:0]) == 0.0


def test_a_weight_of_0_adds_no_loss():
    layer = CoverageLoss(0.0)
    np.testing.assert_array_equal(layer(OUTPUTS, ATTENTION, target_mask=TARGET_MASK), OUTPUTS)
    assert layer.losses == []


def test_calls_do_not_add_up():
    layer = CoverageLoss()
    assert loss_of(layer) == loss_of(layer) > 0


def test_a_graph_with_unknown_sizes():
    layer = CoverageLoss(2.0)
    signature = [tf.TensorSpec((None, None, None)), tf.TensorSpec((None, None), "bool")]

    @tf.function(input_signature=signature)
    def loss(attention, target_mask):
        layer(attention, attention, target_mask=target_mask)
        return layer.losses[0]

    for rows, steps, positions in ((3, 4, 5), (2, 3, 2), (1, 1, 1)):
        given = ATTENTION[:rows, :steps, :positions], TARGET_MASK[:rows, :steps]
        np.testing.assert_allclose(loss(*given), 2 * by_the_paper(*given), atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision(policy):
    """Outputs in float32 pass through as they are, and the coverage is not rounded."""
    layer = CoverageLoss(dtype=policy)
    outputs = layer(OUTPUTS, ATTENTION, target_mask=TARGET_MASK)
    assert outputs.dtype == tf.float32
    np.testing.assert_array_equal(outputs, OUTPUTS)
    assert layer.losses[0].dtype == tf.float32
    assert loss_of(layer) == pytest.approx(by_the_paper(ATTENTION, TARGET_MASK), abs=1e-6)


def test_config():
    layer = CoverageLoss(0.5, name="looked_at")
    layer.weight = 0.75
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "kerasseq>CoverageLoss"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.weight, again.name) == (0.75, "looked_at")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "1", None, True])
def test_bad_weights(weight):
    with pytest.raises(ValueError, match=f"must be a number of at least 0. Received: weight={weight!r}."):
        CoverageLoss(weight)


def test_bad_weight_of_a_model():
    with pytest.raises(ValueError, match="must be a number of at least 0. Received: .*=-0.5."):
        PointerGeneratorSeq2Seq(9, units=4, embedding_dim=3, coverage_loss=-0.5)


# === In a model ===


def build(coverage_loss, seed=0):
    model = PointerGeneratorSeq2Seq(9, cell="gru", units=4, embedding_dim=3, coverage_loss=coverage_loss)
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(size=weight.shape, scale=0.7) for weight in model.get_weights()])
    return model


def losses_by_hand(outputs):
    """Cross-entropy and coverage loss of `BATCH`, from log-probabilities and attention, token by token."""
    log_probabilities, coverage_losses = [], []
    for b, length in enumerate(np.sum(LABELS != 0, axis=1)):
        coverage = tf.zeros(4)
        for t in range(length):
            log_probabilities.append(outputs["logits"][b, t, LABELS[b, t]])
            attention = outputs["attention"][b, t]
            coverage_losses.append(tf.reduce_sum(tf.where(attention < coverage, attention, coverage)))
            coverage += attention
    assert len(coverage_losses) == 11
    return -tf.add_n(log_probabilities) / 11, tf.add_n(coverage_losses) / 11


def test_fit_takes_the_step_down_both_losses():
    """As the paper trains: first without the coverage loss, then a little with it. `compile` makes it take effect."""
    model = build(0.0)
    outputs, variables = decoder_outputs(model), model.trainable_variables
    for weight in (0.0, 0.8):
        model.get_layer("coverage_loss").weight = weight
        model.compile(keras.optimizers.SGD(0.5), MaskedCrossentropy())
        for _ in range(2):
            with tf.GradientTape() as tape:
                crossentropy, coverage_loss = losses_by_hand(outputs(BATCH))
                total = crossentropy + weight * coverage_loss
            gradients = map(tf.convert_to_tensor, tape.gradient(total, [variable.value for variable in variables]))
            expected = [v.numpy() - 0.5 * gradient for v, gradient in zip(variables, gradients, strict=True)]
            history = model.fit(BATCH, LABELS, verbose=0).history
            np.testing.assert_allclose(history["loss"], [float(total)], rtol=1e-5)
            for variable, value in zip(variables, expected, strict=True):
                np.testing.assert_allclose(variable, value, atol=1e-5, err_msg=variable.path)
        assert float(coverage_loss) > 0.1


def test_a_new_weight_is_saved(tmp_path):
    model = build(1.0)
    model.get_layer("coverage_loss").weight = 0.5
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").get_layer("coverage_loss").weight == 0.5


def test_evaluate_reports_the_sum():
    model = build(0.8)
    crossentropy, coverage_loss = map(float, losses_by_hand(decoder_outputs(model)(BATCH)))
    model.compile("sgd", MaskedCrossentropy(), metrics=[MaskedCrossentropy(name="crossentropy")])
    for _ in range(2):
        results = model.evaluate(BATCH, LABELS, verbose=0, return_dict=True)
        assert results["loss"] == pytest.approx(crossentropy + 0.8 * coverage_loss, rel=1e-5)
        assert results["crossentropy"] == pytest.approx(crossentropy, rel=1e-5)


def test_calls_of_a_model_do_not_add_up():
    model = build(1.0)
    for _ in range(2):
        model(BATCH)
        (loss,) = model.losses
        assert float(loss) == pytest.approx(float(losses_by_hand(decoder_outputs(model)(BATCH))[1]), rel=1e-5)


def test_the_same_outputs_with_any_weight():
    np.testing.assert_array_equal(build(0.0)(BATCH), build(2.0)(BATCH))


def test_example():
    result = doctest.testmod(coverage_loss_module)
    assert result.attempted and not result.failed
