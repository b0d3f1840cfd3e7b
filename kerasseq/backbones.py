"""Pretrained networks from images to grids of features, beside those of `keras.applications`."""

import re

import h5py
import keras
from keras import layers

from kerasseq.datasets.fetch import fetch

FILE = "squeezenet/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = (
    "https://raw.githubusercontent.com/DeepCognition/keras-squeezenet/a73d4339aa4d37c51a0b3ba044bed55477abec73/"
    "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
SHA256 = "17154246284f555591549ac2c83e127abfbf4307dc4b0060fdaa2931d0fa38da"

# Of each fire module in turn, the filters that squeeze, and half of those that expand; "pool" halves the grid.
FIRES = ("pool", (16, 64), (16, 64), "pool", (32, 128), (32, 128), "pool", (48, 192), (48, 192), (64, 256), (64, 256))


def SqueezeNet(input_shape=(227, 227, 3), weights="imagenet", name="squeezenet"):
    """SqueezeNet v1.1 without its classifier: 0.7 million parameters.

    Fire modules squeeze the channels by 1x1 convolutions, and expand them by 1x1 and 3x3 ones side by side (Iandola et
    al. 2016, section 3.2). Version 1.1 of the authors has fewer and smaller filters at the beginning, and pools sooner,
    for 2.4 times less computation.

    Args:
        input_shape: tuple `(height, width, 3)`; height and width of at least 31, or `None` for any.
        weights: `"imagenet"`, trained on ImageNet, fetched from
            https://github.com/DeepCognition/keras-squeezenet (MIT); or `None`, random.
        name: str.

    Returns:
        a functional `keras.Model` from images `(batch, height, width, 3)`, BGR less the means of ImageNet, as
        `normalization="caffe"` makes them, to `(batch, rows, columns, 512)`: a place for each 16 pixels or so, 9 rows
        and columns at 160 pixels, 13 at 227.

    Raises:
        ValueError: if the weights are unknown, or the input too small.
        ConnectionError: if the weights are neither in the mirror, nor in the cache, nor within reach.

    Example:

    >>> import kerasseq
    >>> kerasseq.backbones.SqueezeNet((160, 160, 3), weights=None).output.shape
    (None, 9, 9, 512)

    Source: Iandola et al. 2016; https://github.com/forresti/SqueezeNet, SqueezeNet_v1.1.
    """
    if weights not in ("imagenet", None):
        raise ValueError(f"weights must be 'imagenet' or None. Received: weights={weights!r}.")
    if len(input_shape) != 3 or input_shape[2] != 3 or any(side is not None and side < 31 for side in input_shape[:2]):
        raise ValueError(
            f"input_shape must be (height, width, 3), at least (31, 31, 3). Received: input_shape={input_shape!r}."
        )
    images = keras.Input(input_shape, name="images")
    features = layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(images)
    fire = 1
    for filters in FIRES:
        if filters == "pool":
            features = layers.MaxPooling2D(3, strides=2, name=f"pool{fire}")(features)
        else:
            fire += 1
            features = fire_module(features, *filters, name=f"fire{fire}")
    model = keras.Model(images, features, name=name)
    if weights == "imagenet":
        load_weights(model, fetch(FILE, URL, SHA256))
    return model


def fire_module(features, squeeze, expand, name):
    """`(batch, rows, columns, channels)` -> `(batch, rows, columns, 2 * expand)`."""
    squeezed = layers.Conv2D(squeeze, 1, activation="relu", name=f"{name}_squeeze1x1")(features)
    expanded = [
        layers.Conv2D(expand, size, padding="same", activation="relu", name=f"{name}_expand{size}x{size}")(squeezed)
        for size in (1, 3)
    ]
    return layers.Concatenate(name=f"{name}_concat")(expanded)


def load_weights(model, path):
    """Reads a kernel and a bias for each convolution from the groups of a file that have its name."""
    with h5py.File(path) as file:
        for layer in model.layers:
            if isinstance(layer, layers.Conv2D):
                group = file[re.sub("^(fire[0-9]+)_", r"\1/", layer.name)]
                layer.set_weights([group[name][()] for name in group.attrs["weight_names"]])
