import doctest

import keras
import numpy as np
import pytest

from kerasseq.layers import ZeroState
from kerasseq.layers import zero_state as zero_state_module


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 5), (0, 4)])
@pytest.mark.parametrize("policy, dtype", [("float32", "float32"), ("mixed_bfloat16", "bfloat16")])
def test_zeros(shape, policy, dtype):
    state = ZeroState(6, dtype=policy)(np.ones(shape))
    assert (state.shape, state.dtype.name) == ((shape[0], 6), dtype)
    assert not keras.ops.any(state)


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_batch_size_of_a_functional_model(dtype):
    reference = keras.Input((None,), dtype=dtype)
    state = ZeroState(6)(reference)
    assert (state.shape, state.dtype) == ((None, 6), "float32")
    model = keras.Model(reference, state)
    for batch in (1, 3):
        assert model(np.ones((batch, 2), dtype)).shape == (batch, 6)


def test_config():
    config = keras.saving.serialize_keras_object(ZeroState(6, name="start"))
    assert config["registered_name"] == "kerasseq>ZeroState"
    again = keras.saving.deserialize_keras_object(config)
    assert (again.units, again.name) == (6, "start")


def test_bad_units():
    with pytest.raises(ValueError, match="units must be a positive integer. Received: units=0."):
        ZeroState(0)


def test_example():
    result = doctest.testmod(zero_state_module)
    assert result.attempted and not result.failed
