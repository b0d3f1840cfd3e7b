"""SqueezeNet against the description of its authors, and its weights against what they know."""

import os
import pathlib

import numpy as np
import pytest

from kerasseq import backbones
from kerasseq.encoders import image_features


@pytest.fixture(scope="module")
def squeezenet():
    folder = pathlib.Path(os.environ.get("KERASSEQ_DATA_DIR") or "missing").expanduser()
    if not (folder / backbones.FILE).is_file():
        pytest.skip(f"no {backbones.FILE} in a folder that KERASSEQ_DATA_DIR names")
    return backbones.SqueezeNet((160, 160, 3))


def test_sizes_of_the_authors():
    """722,496 parameters without the classifier: convolutions of 3x3x3x64, and eight fire modules."""
    model = backbones.SqueezeNet((227, 227, 3), weights=None)
    fires = [
        (64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128), (256, 48, 192), (384, 48, 192), (384, 64, 256),
        (512, 64, 256),
    ]  # fmt: skip
    expected = 3 * 3 * 3 * 64 + 64
    for channels, squeeze, expand in fires:
        expected += channels * squeeze + squeeze + (1 + 9) * squeeze * expand + 2 * expand
    assert model.count_params() == expected == 722_496
    assert model.output.shape == (None, 13, 13, 512)


def test_pretrained_features_tell_places_apart(squeezenet):
    """A bright square moves through a dark picture: the features that it lights up move with it."""
    extractor = image_features(squeezenet, normalization="caffe")
    images = np.full((2, 160, 160, 3), 40.0, "float32")
    images[0, 16:64, 16:64] = [220, 30, 30]
    images[1, 96:144, 96:144] = [220, 30, 30]
    background = extractor.predict(np.full((1, 160, 160, 3), 40.0, "float32"), verbose=0)
    change = np.abs(extractor.predict(images, verbose=0) - background).sum(axis=-1)
    (first, second) = (np.unravel_index(np.argmax(grid), grid.shape) for grid in change)
    assert max(first) <= 4 and min(second) >= 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "places"}, "weights must be 'imagenet' or None. Received: weights='places'"),
        ({"input_shape": (16, 16, 3)}, r"at least \(31, 31, 3\). Received: input_shape=\(16, 16, 3\)"),
        ({"input_shape": (64, 64)}, "input_shape must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        backbones.SqueezeNet(**{"weights": None, **arguments})
