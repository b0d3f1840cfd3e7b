import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers import FullMask, PaddingMask, Recurrent
from kerasseq.layers.masking import PairSteps


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_real_tokens(dtype):
    mask = PaddingMask()(np.array([[7, 3, 0], [0, 1, 0], [0, 0, 0]], dtype=dtype))
    assert mask.numpy().tolist() == [[True, True, False], [False, True, False], [False, False, False]]


def test_symbolic():
    mask = PaddingMask()(keras.Input((None,), dtype="int32"))
    assert (mask.shape, mask.dtype) == ((None, None), "bool")


@pytest.mark.parametrize("layer", [PaddingMask, FullMask, PairSteps])
def test_configuration(layer):
    config = keras.saving.serialize_keras_object(layer(name="named"))
    assert config["registered_name"] == f"kerasseq>{layer.__name__}"
    assert keras.saving.deserialize_keras_object(config).name == "named"


# === FullMask ===


def test_every_position_is_real():
    mask = FullMask()(np.zeros((2, 3, 5)))
    assert mask.numpy().tolist() == [[True] * 3] * 2
    symbolic = FullMask()(keras.Input((7, 5)))
    assert (symbolic.shape, symbolic.dtype) == ((None, 7), "bool")


# === PairSteps ===


def pairs_by_hand(sequences, mask):
    """`[h_2i; h_2i+1]` (Chan et al. 2016, equation 5) one pair at a time, zeros where there is no real step."""
    batch, time, features = sequences.shape
    halved, halved_mask = np.zeros((batch, -(-time // 2), 2 * features)), np.zeros((batch, -(-time // 2)), bool)
    for b in range(batch):
        for j in range(time):
            if mask[b, j]:
                side = slice(features, None) if j % 2 else slice(None, features)
                halved[b, j // 2, side] = sequences[b, j]
                halved_mask[b, j // 2] = True
    return halved, halved_mask


def assert_pairs(results, expected):
    for result, reference in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, reference)
        assert np.asarray(result).dtype == ("bool" if reference.dtype == bool else "float32")


@pytest.mark.parametrize("time", [1, 2, 3, 4, 7, 8])
def test_pairs(time, random):
    sequences = random(4, time, 3).astype("float32")
    mask = np.arange(time) < np.array([[time], [time - 1], [1], [0]])
    mask[0, : time // 2] = False  # left padding
    assert_pairs(PairSteps()(sequences, mask), pairs_by_hand(sequences, mask))


@pytest.mark.parametrize("time", [3, 4])
@pytest.mark.parametrize("more", [1, 2, 3, 4])
def test_padding_pairs_changes_nothing(time, more, random):
    sequences, mask = random(2, time, 3), np.arange(time) < np.array([[time], [time - 1]])
    halved, halved_mask = PairSteps()(sequences, mask)
    padded = np.pad(sequences, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
    padded, padded_mask = PairSteps()(padded, np.pad(mask, ((0, 0), (0, more))))
    pairs = (time + 1) // 2
    np.testing.assert_array_equal(padded[:, :pairs], halved)
    np.testing.assert_array_equal(padded_mask[:, :pairs], halved_mask)
    assert not padded[:, pairs:].numpy().any() and not padded_mask[:, pairs:].numpy().any()


def test_pairs_of_unknown_length_in_a_graph(random):
    layer = PairSteps()
    signature = [tf.TensorSpec((None, None, 3)), tf.TensorSpec((None, None), "bool")]
    graph = tf.function(layer, input_signature=signature)
    for time in (1, 4, 5):
        sequences, mask = random(2, time, 3).astype("float32"), np.arange(time) < np.array([[time], [time - 1]])
        assert_pairs(graph(sequences, mask), pairs_by_hand(sequences, mask))


def test_gradient_of_pairs(random):
    """Each real step goes to one place; padding, even if it is not finite, gets a gradient of zero."""
    mask = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=bool)
    sequences = tf.constant(np.where(mask[:, :, None], random(2, 5, 3), np.inf), "float32")
    weighting = random(2, 3, 6).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(sequences)
        total = tf.reduce_sum(PairSteps()(sequences, mask)[0] * weighting)
    expected = weighting.reshape(2, 6, 3)[:, :5] * mask[:, :, None]
    np.testing.assert_array_equal(tape.gradient(total, sequences), expected)


def test_a_pyramid_of_recurrences_ignores_padding(random):
    """Halving twice, with a recurrence on each level: two padded steps more or less make no difference."""
    layers = [Recurrent(4, cell="gru") for _ in range(3)]

    def encode(sequences, mask):
        for layer in layers[:-1]:
            sequences, mask = PairSteps()(layer(sequences, sequence_mask=mask)[0], mask)
        outputs, state = layers[-1](sequences, sequence_mask=mask)
        return outputs, mask, state["hidden"]

    sequences, mask = random(2, 5, 3), np.arange(5) < np.array([[5], [3]])
    outputs, outputs_mask, state = encode(sequences, mask)
    padded, padded_mask, padded_state = encode(
        np.pad(sequences, ((0, 0), (0, 5), (0, 0)), constant_values=9.0), np.pad(mask, ((0, 0), (0, 5)))
    )
    assert outputs_mask.numpy().tolist() == [[True, True], [True, False]]
    assert padded_mask.numpy().tolist() == [[True, True, False], [True, False, False]]
    np.testing.assert_allclose(padded_state, state, atol=1e-6)
    np.testing.assert_allclose(padded.numpy()[:, :2][outputs_mask], outputs.numpy()[outputs_mask], atol=1e-6)


@pytest.mark.parametrize("time, pairs", [(None, None), (1, 1), (4, 2), (5, 3)])
def test_symbolic_pairs(time, pairs):
    halved, mask = PairSteps()(keras.Input((time, 3)), keras.Input((time,), dtype="bool"))
    assert (halved.shape, halved.dtype, mask.shape, mask.dtype) == ((None, pairs, 6), "float32", (None, pairs), "bool")


def test_pairs_in_half_precision():
    halved, mask = PairSteps(dtype="mixed_float16")(np.ones((1, 3, 2)), np.ones((1, 3), bool))
    assert (halved.dtype, mask.dtype) == (tf.float16, tf.bool)
