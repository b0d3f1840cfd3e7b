"""Features of a frozen backbone in place of images, computed once before training."""

import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kerasseq.arguments import check_positive_integer
from kerasseq.preprocessing.image_files import check_image
from kerasseq.types import Tensor


def feature_pairs(
    pairs: Sequence[tuple[bytes, Any]],
    extractor: keras.Model,
    decode: Callable[[Sequence[bytes]], Tensor],
    batch_size: int,
) -> list[tuple[np.ndarray, Any]]:
    """Replaces images by their features, see `ImagePreprocessor.feature_pairs`.

    Args:
        pairs: list of (image, anything) tuples.
        extractor: `keras.Model` from images to features.
        decode: function from a list of image files to float32 `(batch, height, width, 3)`.
        batch_size: int, images per batch of the extractor.
    """
    import tqdm  # Deferred: only long work shows progress.

    check_positive_integer("batch_size", batch_size)
    pairs = list(pairs)
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"pairs must be tuples (image, text). Received at index {index}: {reprlib.repr(pair)}.")
        check_image(pair[0], index)
    images = list(dict.fromkeys(image for image, _ in pairs))
    features: dict[bytes, np.ndarray] = {}
    with tqdm.tqdm(total=len(images), desc="features", unit="image", delay=2) as progress:
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            # Half precision: a thousand images of 160 x 160 pixels have some 40 million features.
            arrays = extractor.predict_on_batch(decode(batch)).astype("float16")
            features.update(zip(batch, arrays, strict=True))
            progress.update(len(batch))
    return [(features[image], target) for image, target in pairs]


def check_features(features: Sequence[np.ndarray], augmentation: Any) -> tuple[int, ...]:
    """Returns the shape of the features. Raises a `ValueError` if they have several, or images are to be augmented."""
    if augmentation is not None:
        raise ValueError(
            "augmentation applies to images. Received: features. Pass pairs of images instead, or compute the features "
            "of augmented images."
        )
    shapes = {array.shape for array in features}
    if len(shapes) > 1 or len(features[0].shape) != 3:
        raise ValueError(
            "Features must be arrays (rows, columns, channels) of one shape, as feature_pairs returns them. "
            f"Received: the shapes {sorted(shapes)}."
        )
    return features[0].shape


def stack_features(features: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks features to a float32 batch."""
    return np.stack(features).astype("float32")
