"""The convolution that halves the frames, against loops."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasseq.layers.subsampling import ConvolutionalSubsampling


@pytest.mark.parametrize(("time", "bins"), [(1, 1), (6, 4), (7, 5)])
def test_by_loops(time, bins):
    random = np.random.default_rng(time)
    frames = random.normal(size=(2, time, bins, 3)).astype("float32")
    mask = np.ones((2, time), bool)
    mask[1, time // 2 :] = False
    layer = ConvolutionalSubsampling(4)
    halved, halved_mask = layer(frames, mask)
    kernel, bias = (ops.convert_to_numpy(weight) for weight in (layer.kernel, layer.bias))
    expected = np.zeros((2, (time + 1) // 2, (bins + 1) // 2, 4))
    for row, j, f in np.ndindex(expected.shape[:3]):
        if mask[row, 2 * j]:
            total = bias.copy()
            for dt, df in np.ndindex(3, 3):
                t, b = 2 * j + dt - 1, 2 * f + df - 1
                if 0 <= t < time and 0 <= b < bins and mask[row, t]:
                    total = total + frames[row, t, b] @ kernel[dt, df]
            expected[row, j, f] = np.maximum(total, 0)
    np.testing.assert_allclose(halved, expected, atol=1e-5)
    np.testing.assert_array_equal(halved_mask, mask[:, ::2])


@pytest.mark.parametrize("padding", [1, 2, 3, 8])
def test_padding_changes_nothing(padding):
    """Whether the length becomes odd or even."""
    layer = ConvolutionalSubsampling(4)
    frames = keras.random.normal((1, 7, 6, 1))
    alone, _ = layer(frames, ops.ones((1, 7), dtype="bool"))
    padded = ops.pad(frames, ((0, 0), (0, padding), (0, 0), (0, 0)), constant_values=5.0)
    halved, mask = layer(padded, ops.arange(7 + padding)[None] < 7)
    np.testing.assert_allclose(halved[:, :4], alone, atol=1e-6)
    assert not ops.convert_to_numpy(halved[:, 4:]).any()
    assert ops.convert_to_numpy(mask)[0].tolist() == [True] * 4 + [False] * ((7 + padding + 1) // 2 - 4)
