import keras
import numpy as np
import pytest

from kerasseq.layers import StartAlignment

MASK = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0], [1, 0, 1]], dtype=bool)
FIRST = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]], dtype="float32")


@pytest.mark.parametrize("weight", [1.0, 0.0, 0.5, 1])
def test_first_real_position(weight):
    start = StartAlignment(weight=weight)(MASK)
    assert start.dtype.name == "float32"
    np.testing.assert_array_equal(start, weight * FIRST)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(side):
    width = ((0, 0), (4, 0) if side == "left" else (0, 4))
    np.testing.assert_array_equal(StartAlignment()(np.pad(MASK, width)), np.pad(FIRST, width))


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_float32_under_any_policy(policy):
    assert StartAlignment(dtype=policy)(MASK).dtype.name == "float32"


def test_symbolic():
    start = StartAlignment()(keras.Input((None,), dtype="bool"))
    assert (start.shape, start.dtype) == ((None, None), "float32")


def test_config():
    config = keras.saving.serialize_keras_object(StartAlignment(weight=0.0, name="start"))
    assert config["registered_name"] == "kerasseq>StartAlignment"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.weight, again.name) == (0.0, "start")
