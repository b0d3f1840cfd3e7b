"""Rows and columns of image regions."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasseq")
class GridRegions(keras.layers.Layer):
    """Row and column of each region in a feature map, in row-major order.

    Call arguments:
        features: any tensor `(batch, rows, columns, channels)`.

    Returns:
        int32 `(batch, rows * columns, 2)`, row and column, starting at 0.

    Example:

    >>> import keras
    >>> keras.ops.convert_to_numpy(GridRegions()(keras.ops.zeros((1, 2, 2, 8)))).tolist()
    [[[0, 0], [0, 1], [1, 0], [1, 1]]]
    """

    def call(self, features):
        batch, rows, columns, _ = ops.shape(features)
        regions = ops.arange(rows * columns, dtype="int32")
        regions = ops.stack([regions // columns, regions % columns], axis=-1)
        return ops.broadcast_to(regions[None], (batch, rows * columns, 2))

    def compute_output_spec(self, features):
        batch, rows, columns, _ = features.shape
        return keras.KerasTensor((batch, rows * columns, 2), dtype="int32")
