"""Subsampling of frames by strided convolutions."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer


@keras.saving.register_keras_serializable(package="kerasseq")
class ConvolutionalSubsampling(keras.layers.Layer):
    """Halves the number of frames: a convolution over time and frequency with a stride of 2, and a ReLU.

    Position j reads the frames 2j - 1, 2j and 2j + 1. Padded frames count as zeros, so results do not depend on the
    amount of padding.

    Args:
        filters: int, number of convolution filters.

    Call arguments:
        frames: float `(batch, frames, bins, channels)`.
        mask: bool `(batch, frames)`, true for real frames.

    Returns:
        float `(batch, ceil(frames / 2), ceil(bins / 2), filters)`, with zeros for padding, and its mask `(batch,
        ceil(frames / 2))`.

    Example:

    >>> import keras
    >>> mask = keras.ops.array([[True, True, True, False, False]])
    >>> halved, halved_mask = ConvolutionalSubsampling(4)(keras.ops.ones((1, 5, 8, 1)), mask)
    >>> keras.ops.shape(halved), keras.ops.convert_to_numpy(halved_mask).tolist()
    ((1, 3, 4, 4), [[True, True, False]])
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        check_positive_integer("filters", filters)
        self.filters = filters

    def build(self, frames_shape, mask_shape=None):
        self.kernel = self.add_weight(
            shape=(3, 3, frames_shape[-1], self.filters), initializer="he_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, frames, mask):
        batch, time, bins, _ = ops.shape(frames)
        frames = ops.where(mask[:, :, None, None], frames, ops.zeros_like(frames))
        # padding="same" would pad even and odd lengths on different sides.
        frames = ops.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)))
        halved = ops.conv(frames, self.kernel, strides=2, padding="valid")
        # TensorFlow's oneDNN convolution of an empty batch returns a wrong shape.
        halved = ops.reshape(halved, (batch, (time + 1) // 2, (bins + 1) // 2, self.filters))
        halved = ops.relu(halved + self.bias)
        halved_mask = mask[:, ::2]
        return ops.where(halved_mask[:, :, None, None], halved, ops.zeros_like(halved)), halved_mask

    def compute_output_spec(self, frames, mask):
        batch, time, bins, _ = frames.shape
        time = None if time is None else (time + 1) // 2
        return (
            keras.KerasTensor((batch, time, (bins + 1) // 2, self.filters), dtype=self.compute_dtype),
            keras.KerasTensor((batch, time), dtype="bool"),
        )

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}
