import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import PointerGenerator

BATCH, TARGET, SOURCE, VOCABULARY, FEATURES = 2, 3, 5, 7, 4

# The first source holds one token three times and another one twice, the second one is padded.
IDS = np.array([[4, 6, 4, 6, 4], [5, 6, 5, 0, 0]], "int32")


RANDOM = np.random.default_rng(0)
LOGITS, FEATURE = 2 * RANDOM.normal(size=(BATCH, TARGET, VOCABULARY)), RANDOM.normal(size=(BATCH, TARGET, FEATURES))
ATTENTION = np.exp(RANDOM.normal(size=(BATCH, TARGET, SOURCE))) * (IDS != 0)[:, None]
ATTENTION /= ATTENTION.sum(axis=-1, keepdims=True)
INPUTS = [LOGITS, ATTENTION, FEATURE]


@pytest.fixture
def layer(random):
    layer = PointerGenerator()
    layer.build(LOGITS.shape, ATTENTION.shape, FEATURE.shape, IDS.shape)
    layer.set_weights([random(FEATURES, 1, seed=1), np.array([0.3])])
    return layer


def by_the_paper(logits, attention, features, kernel, bias, ids=IDS, floor=1e-10):
    """See et al. 2017: p_gen = sigmoid(w^T [h*; s; x] + b) (8), P(w) = p_gen P_vocab(w) + (1 - p_gen) sum a_i (9).

    What the attention lacks to 1 goes to the vocabulary.
    """
    probabilities, p_gen = np.zeros(logits.shape), np.zeros(logits.shape[:2])
    for b, t in np.ndindex(*p_gen.shape):
        p_gen[b, t] = 1 / (1 + np.exp(-(features[b, t] @ kernel[:, 0] + bias[0])))
        p_vocab = np.exp(logits[b, t]) / np.exp(logits[b, t]).sum()
        for w in range(logits.shape[-1]):
            copied = sum(attention[b, t, i] for i in range(ids.shape[1]) if ids[b, i] == w)
            rest = 1 - attention[b, t].sum()
            probabilities[b, t, w] = p_gen[b, t] * p_vocab[w] + (1 - p_gen[b, t]) * (copied + rest * p_vocab[w])
    return np.log(probabilities + floor), p_gen + (1 - p_gen) * (1 - attention.sum(axis=-1))


def parameters(layer):
    return [np.asarray(weight.numpy(), "float64") for weight in layer.weights]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_equations(layer, dtype, assert_close):
    results = layer(*INPUTS, IDS.astype(dtype))
    assert_close(results, by_the_paper(*INPUTS, *parameters(layer)), atol=2e-6)
    np.testing.assert_allclose(np.exp(results[0]).sum(axis=-1), np.ones((BATCH, TARGET)), atol=1e-6)


def test_attention_that_adds_up_to_less_than_1(layer, assert_close):
    """As monotonic attention does: the probabilities add up to 1 all the same, even where nothing is looked at."""
    weights = ATTENTION * np.array([0.9, 0.3, 0.0])[:, None]
    results = layer(LOGITS, weights, FEATURE, IDS)
    assert_close(results, by_the_paper(LOGITS, weights, FEATURE, *parameters(layer)), atol=2e-6)
    np.testing.assert_allclose(np.exp(results[0]).sum(axis=-1), np.ones((BATCH, TARGET)), atol=1e-6)
    nowhere = np.exp(LOGITS[:, 2]) / np.exp(LOGITS[:, 2]).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(np.exp(results[0])[:, 2], nowhere, atol=1e-6)


def test_the_floor_is_added(layer):
    """Where a token's probability is near the floor too."""
    steep = [6 * LOGITS, *INPUTS[1:]]
    log_probabilities, _ = by_the_paper(*steep, *parameters(layer), floor=0.0)
    assert ((log_probabilities > np.log(1e-12)) & (log_probabilities < np.log(1e-9))).sum() >= 2
    np.testing.assert_allclose(layer(*steep, IDS)[0], by_the_paper(*steep, *parameters(layer))[0], atol=1e-4)


def test_gradients(layer, central_differences, gradients):
    inputs = [LOGITS, 0.8 * ATTENTION, FEATURE]  # Where it adds up to 1, there is no going beyond.
    results = gradients(lambda *inputs: layer(*inputs, IDS), inputs, layer.weights)
    expected = central_differences(by_the_paper, [*inputs, *parameters(layer)])
    for gradient, reference in zip(results, expected, strict=True):
        np.testing.assert_allclose(gradient, reference, rtol=2e-5, atol=2e-5)
        assert np.abs(gradient).max() > 1e-2


def copies_alone(layer):
    """So sure to copy that the generation probability is 0 in float32."""
    layer.bias.assign([-200.0])
    return layer


def test_no_probability_has_the_logarithm_of_the_floor(layer):
    log_probabilities, p_gen = copies_alone(layer)(*INPUTS, IDS)
    assert not p_gen.numpy().any()
    elsewhere = np.array([[1, 1, 1, 1, 0, 1, 0], [0, 1, 1, 1, 1, 0, 0]], dtype=bool)
    elsewhere = np.broadcast_to(elsewhere[:, None], LOGITS.shape).copy()
    elsewhere[1, :, 0] = True  # Padding, which has no attention.
    np.testing.assert_allclose(log_probabilities.numpy()[elsewhere], np.log(1e-10), rtol=1e-6)
    assert (log_probabilities.numpy()[~elsewhere] > -5).all()


@pytest.mark.parametrize("bias", [-200.0, 200.0])
@pytest.mark.parametrize("factor", [1.0, 1e4])
def test_extremes_stay_finite(layer, bias, factor, gradients):
    layer.bias.assign([bias])
    inputs = [factor * LOGITS, ATTENTION, FEATURE]
    slopes = gradients(lambda *inputs: layer(*inputs, IDS), inputs, layer.weights)
    assert all(np.isfinite(result).all() for result in [*layer(*inputs, IDS), *slopes])


def test_a_position_without_attention_may_hold_any_token(layer):
    other = IDS.copy()
    other[1, 3:] = [4, 6]
    for result, expected in zip(layer(*INPUTS, other), layer(*INPUTS, IDS), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_rows_and_steps_by_themselves(layer, assert_close):
    """Each step has its place in the one sum over all of them."""
    log_probabilities, p_gen = layer(*INPUTS, IDS)
    for b, t in np.ndindex(BATCH, TARGET):
        alone = layer(*(tensor[b : b + 1, t : t + 1] for tensor in INPUTS), IDS[b : b + 1])
        expected = log_probabilities[b : b + 1, t : t + 1], p_gen[b : b + 1, t : t + 1]
        assert_close(alone, expected, atol=1e-6)


def test_a_graph_with_unknown_sizes(layer, assert_close):
    signature = [
        tf.TensorSpec((None, None, VOCABULARY)),
        tf.TensorSpec((None, None, None)),
        tf.TensorSpec((None, None, FEATURES)),
        tf.TensorSpec((None, None), "int32"),
    ]
    graph = tf.function(layer, input_signature=signature)
    for rows, steps, positions in ((2, 3, 5), (1, 1, 3), (2, 2, 1), (0, 3, 5), (2, 0, 5), (2, 3, 0)):
        cut = [LOGITS[:rows, :steps], ATTENTION[:rows, :steps, :positions], FEATURE[:rows, :steps]]
        expected = by_the_paper(*cut, *parameters(layer), ids=IDS[:rows, :positions])
        assert_close(graph(*cut, IDS[:rows, :positions]), expected, atol=2e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision(layer, policy, assert_close):
    """All is computed in float32: 1e-10 is 0 in float16."""
    half = PointerGenerator(dtype=policy)
    half.build(LOGITS.shape, ATTENTION.shape, FEATURE.shape, IDS.shape)
    half.set_weights(layer.get_weights())
    assert half.compute_dtype == half.variable_dtype == "float32"
    results = copies_alone(half)(*INPUTS, IDS)
    assert [result.dtype for result in results] == [tf.float32] * 2
    assert_close(results, by_the_paper(*INPUTS, *parameters(half)), atol=2e-6)


def test_symbolic_shapes(layer):
    shapes = [(None, VOCABULARY), (None, None), (None, FEATURES)]
    inputs = [keras.Input(shape, dtype="float16") for shape in shapes]
    log_probabilities, p_gen = layer(*inputs, keras.Input((None,), dtype="int32"))
    assert (log_probabilities.shape, log_probabilities.dtype) == ((None, None, VOCABULARY), "float32")
    assert (p_gen.shape, p_gen.dtype) == ((None, None), "float32")


def test_a_saved_functional_model(layer, tmp_path):
    shapes = [(None, VOCABULARY), (None, None), (None, FEATURES)]
    inputs = [*(keras.Input(shape) for shape in shapes), keras.Input((None,), dtype="int32")]
    model = keras.Model(inputs, layer(*inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for result, expected in zip(loaded([*INPUTS, IDS]), layer(*INPUTS, IDS), strict=True):
        np.testing.assert_array_equal(result, expected)
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "kerasseq>PointerGenerator"


def test_starts_between_generating_and_copying(random):
    """Without a bias, and with a kernel of the size of a dense layer's, p_gen stays off 0 and 1."""
    layer = PointerGenerator()
    features = random(1, 200, 64)
    _, p_gen = layer(np.zeros((1, 200, 3)), np.full((1, 200, 2), 0.5), features, np.array([[1, 2]]))
    assert layer.kernel.shape == (64, 1) and layer.bias.numpy().tolist() == [0.0]
    assert 0.25 < np.mean(p_gen) < 0.75 and np.std(p_gen) > 0.05
