import doctest

import keras
import numpy as np
import pytest

from kerasseq.layers import PaddingMask
from kerasseq.layers import masking as masking_module


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_real_tokens(dtype):
    mask = PaddingMask()(np.array([[7, 3, 0], [0, 1, 0], [0, 0, 0]], dtype=dtype))
    assert mask.numpy().tolist() == [[True, True, False], [False, True, False], [False, False, False]]


def test_symbolic():
    mask = PaddingMask()(keras.Input((None,), dtype="int32"))
    assert (mask.shape, mask.dtype) == ((None, None), "bool")


def test_config():
    config = keras.saving.serialize_keras_object(PaddingMask(name="memory_mask"))
    assert config["registered_name"] == "kerasseq>PaddingMask"
    assert keras.saving.deserialize_keras_object(config).name == "memory_mask"


def test_example():
    result = doctest.testmod(masking_module)
    assert result.attempted and not result.failed
