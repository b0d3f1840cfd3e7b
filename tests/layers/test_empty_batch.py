import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers.empty_batch import AsManyRows, AtLeastOneRow


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_rows_within_a_graph(rows):
    """Around a convolution and a product, which TensorFlow 2.21 fails on without a row."""
    images = keras.Input((8, 8, 3))
    convolution, normalization = keras.layers.Conv2D(5, 3), keras.layers.BatchNormalization()
    outputs = AsManyRows()(normalization(convolution(AtLeastOneRow()(images))), images)
    assert outputs.shape == (None, 6, 6, 5)
    model = keras.Model(images, outputs)
    run = tf.function(model, input_signature=[tf.TensorSpec([None, 8, 8, 3])])
    values = np.random.default_rng(0).normal(size=(rows, 8, 8, 3)).astype("float32")
    received = run(values)
    assert received.shape == (rows, 6, 6, 5)
    if rows:
        np.testing.assert_allclose(received, normalization(convolution(values)), atol=1e-5)


def test_other_rows_stay():
    values = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(AtLeastOneRow()(values), values)
    np.testing.assert_array_equal(AtLeastOneRow()(values[:0]), np.zeros((1, 2)))
    np.testing.assert_array_equal(AsManyRows()(values, values[:2]), values[:2])
