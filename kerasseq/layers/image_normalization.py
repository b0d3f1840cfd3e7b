"""Pixel normalization of pretrained networks."""

import keras
from keras import ops

from kerasseq.arguments import check_choice

# Order of the channels, means and standard deviations, those of ImageNet for "torch" and "caffe".
NORMALIZATIONS = {
    None: ("RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "tf": ("RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "torch": ("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": ("BGR", (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
}


@keras.saving.register_keras_serializable(package="kerasseq")
class ImageNormalization(keras.layers.Layer):
    """Normalizes RGB images for a pretrained network, as `preprocess_input` of its module does.

    Args:
        mode: `"tf"` scales to [-1, 1]; `"torch"` standardizes each channel; `"caffe"` converts to BGR and subtracts the
            means; `None` leaves pixels unchanged. In `keras.applications`, VGG and the first ResNets use `"caffe"`,
            DenseNet `"torch"`, EfficientNet, ConvNeXt and MobileNetV3 `None`, and the others `"tf"`.

    Call arguments:
        images: float `(batch, height, width, 3)`, RGB from 0 to 255.

    Returns:
        float `(batch, height, width, 3)`.

    Raises:
        ValueError: for an unknown mode.

    Example:

    >>> import keras, kerasseq
    >>> white = 255 * keras.ops.ones((1, 1, 1, 3))
    >>> keras.ops.convert_to_numpy(kerasseq.layers.ImageNormalization("tf")(white)).ravel().tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, mode: str | None = None, **kwargs):
        super().__init__(**kwargs)
        check_choice("mode", mode, NORMALIZATIONS)
        self.mode = mode

    def call(self, images):
        channels, mean, deviation = NORMALIZATIONS[self.mode]
        if channels == "BGR":
            images = ops.flip(images, axis=-1)
        mean, deviation = (ops.convert_to_tensor(values, dtype=images.dtype) for values in (mean, deviation))
        return (images - mean) / deviation

    def compute_output_spec(self, images):
        return keras.KerasTensor(images.shape, dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}
