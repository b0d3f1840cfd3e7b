"""Pretrained image backbones, in addition to those of `keras.applications`."""

import os
import re

import h5py
import keras
from keras import layers

from kerasseq.datasets.fetch import fetch
from kerasseq.types import Tensor

__all__ = ["SqueezeNet"]

FILE = "squeezenet/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = (
    "https://raw.githubusercontent.com/DeepCognition/keras-squeezenet/a73d4339aa4d37c51a0b3ba044bed55477abec73/"
    "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
SHA256 = "17154246284f555591549ac2c83e127abfbf4307dc4b0060fdaa2931d0fa38da"

# (squeeze filters, filters of each expand convolution) of each fire module; "pool" halves the resolution.
FIRE_MODULES: tuple[str | tuple[int, int], ...] = (
    "pool",
    (16, 64),
    (16, 64),
    "pool",
    (32, 128),
    (32, 128),
    "pool",
    (48, 192),
    (48, 192),
    (64, 256),
    (64, 256),
)


def SqueezeNet(
    input_shape: tuple[int | None, int | None, int] = (227, 227, 3),
    weights: str | None = "imagenet",
    name: str = "squeezenet",
) -> keras.Model:
    """SqueezeNet v1.1 without its classifier: 0.7 million parameters.

    Fire modules squeeze the channels with 1x1 convolutions, then expand them with parallel 1x1 and 3x3 convolutions
    (Iandola et al. 2016, section 3.2). The authors' version 1.1 has fewer and smaller filters in the first layer and
    pools earlier, which takes 2.4 times less computation than version 1.0.

    Args:
        input_shape: tuple `(height, width, 3)`. Height and width are at least 31, or `None` for any size.
        weights: `"imagenet"`, weights trained on ImageNet, downloaded from
            https://github.com/DeepCognition/keras-squeezenet (MIT); or `None`, random weights. Defaults to
            `"imagenet"`.
        name: str.

    Returns:
        a functional `keras.Model` from images `(batch, height, width, 3)`, BGR minus the ImageNet means as
        `normalization="caffe"` produces them, to features `(batch, rows, columns, 512)`. Each image region spans about
        16 pixels: 9 rows and columns for 160 pixels, 13 for 227.

    Raises:
        ValueError: if the weights are unknown, or the input is too small.
        ConnectionError: if the weights are neither in the mirror nor in the cache, and cannot be downloaded.

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
    for filters in FIRE_MODULES:
        if isinstance(filters, str):
            features = layers.MaxPooling2D(3, strides=2, name=f"pool{fire}")(features)
        else:
            fire += 1
            features = fire_module(features, *filters, name=f"fire{fire}")
    model = keras.Model(images, features, name=name)
    if weights == "imagenet":
        load_weights(model, fetch(FILE, URL, SHA256))
    return model


def fire_module(features: Tensor, squeeze: int, expand: int, name: str) -> Tensor:
    """`(batch, rows, columns, channels)` -> `(batch, rows, columns, 2 * expand)`."""
    squeezed = layers.Conv2D(squeeze, 1, activation="relu", name=f"{name}_squeeze1x1")(features)
    expanded = [
        layers.Conv2D(expand, size, padding="same", activation="relu", name=f"{name}_expand{size}x{size}")(squeezed)
        for size in (1, 3)
    ]
    return layers.Concatenate(name=f"{name}_concat")(expanded)


def load_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads the kernel and bias of each convolution from the HDF5 group of its name."""
    with h5py.File(path) as file:
        for layer in model.layers:
            if isinstance(layer, layers.Conv2D):
                group = file[re.sub("^(fire[0-9]+)_", r"\1/", layer.name)]
                layer.set_weights([group[name][()] for name in group.attrs["weight_names"]])
