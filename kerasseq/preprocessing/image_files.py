"""Decodes image files in the graph. Files that cannot be decoded do not fail the batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.image_orientation import upright
from kerasseq.types import Tensor

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # the first bytes of files
PNG_SIZE, PNG_DEPTH = 16, 24  # offsets of width and height, four bytes each, and of the bits per sample
MAX_PIXELS = 50_000_000  # A small file may declare a size that exceeds the memory.
OPAQUE = np.uint8(255)
PARALLEL_CALLS = 4
MID_GRAY = 127.5

NOT_AN_IMAGE = "not a JPEG or PNG image"
DAMAGED = f"damaged, or of more than {MAX_PIXELS:,} pixels"


def check_image(image: Any, index: int) -> None:
    """Raises a `ValueError` unless `image` is bytes that begin as JPEG or PNG files do."""
    if not isinstance(image, bytes):
        raise ValueError(
            "Images must be bytes, the contents of JPEG or PNG files, such as pathlib.Path('photo.jpg').read_bytes(). "
            f"Received at index {index}: {type(image).__name__}."
        )
    if not image.startswith((JPEG, PNG)):
        raise ValueError(
            f"Images must be the contents of JPEG or PNG files. Received at index {index}: {len(image)} bytes that "
            f"begin with {image[:8]!r}. Convert the file, or leave it out."
        )


def decode_images(contents: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Decodes JPEG and PNG files, string `(batch,)`, turns them upright, and resizes them to a height and width.

    Returns:
        float32 `(batch, height, width, 3)`, RGB from 0 to 255, mid gray for files that cannot be decoded; and bool
        `(batch,)`, whether each file was decoded.
    """

    def decode(row, content):
        image = tf.cond(
            is_png(content),
            lambda: resized_png(content, size),
            lambda: resized(read_jpeg(content), size),
        )
        return row, tf.ensure_shape(image, (*size, 3))

    rows, images, is_image = decodable(contents, decode, tf.zeros((*size, 3)))
    scattered = tf.scatter_nd(rows[:, tf.newaxis], images, [tf.shape(contents)[0], *size, 3])
    return tf.where(is_image[:, tf.newaxis, tf.newaxis, tf.newaxis], scattered, MID_GRAY), is_image


def image_problems(contents: Tensor) -> Tensor:
    """Returns what is wrong with files, string `(batch,)`: empty for those that `decode_images` decodes."""

    def decode(row, content):
        # Reads every byte, but decodes each block of a JPEG file to one pixel.
        image = tf.cond(is_png(content), lambda: read_png(content)[0], lambda: read_jpeg(content, ratio=8))
        return row, tf.shape(image)[0]

    _, _, is_image = decodable(contents, decode, tf.constant(0))
    return tf.where(is_image, "", tf.where(is_jpeg(contents) | is_png(contents), DAMAGED, NOT_AN_IMAGE))


def decodable(contents: Tensor, decode: Callable[..., Any], example: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decodes the rows that can be decoded.

    An error in a graph stops it, but a data set can skip the elements that raise one. `decode` is a function from a
    row, int32, and its content, a string, to the row and a tensor like `example`.

    Returns:
        int32 `(decoded,)`, the rows that were decoded; their tensors `(decoded, ...)`; and bool `(batch,)`, whether
        each row was decoded.
    """
    rows = tf.where(is_jpeg(contents) | is_png(contents))[:, 0]
    dataset = tf.data.Dataset.from_tensor_slices((tf.cast(rows, tf.int32), tf.gather(contents, rows)))
    decode = tf.autograph.experimental.do_not_convert(decode)
    dataset = dataset.map(decode, num_parallel_calls=PARALLEL_CALLS, deterministic=True).ignore_errors()
    # get_single_element requires a batch: add an element, in case there is no other.
    dataset = dataset.concatenate(tf.data.Dataset.from_tensors((tf.constant(-1), example)))
    options = tf.data.Options()
    options.autotune.enabled = False
    rows, decoded = dataset.batch(tf.size(rows, tf.int64) + 1).with_options(options).get_single_element()
    rows, decoded = rows[:-1], decoded[:-1]
    return rows, decoded, tf.scatter_nd(rows[:, tf.newaxis], tf.ones_like(rows), tf.shape(contents)[:1]) > 0


def is_jpeg(content: Tensor) -> Tensor:
    return tf.strings.substr(content, 0, len(JPEG)) == JPEG


def is_png(content: Tensor) -> Tensor:
    return tf.strings.substr(content, 0, len(PNG)) == PNG


# === One file ===


def read_jpeg(content: Tensor, ratio: int = 1) -> Tensor:
    """Decodes a JPEG file of acceptable size to uint8 `(height / ratio, width / ratio, 3)`."""
    height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(content))
    with tf.control_dependencies([size_check(height, width)]):
        return upright(tf.io.decode_jpeg(content, channels=3, ratio=ratio), content)


def read_png(content: Tensor) -> tuple[Tensor, Tensor]:
    """Decodes a PNG file to colours, uint8 `(height, width, 3)`, and opacity, uint8 `(height, width, 1)`."""
    size = tf.strings.substr(content, PNG_SIZE, 8)
    width, height = tf.unstack(tf.ensure_shape(tf.io.decode_raw(size, tf.int32, little_endian=False), [2]))
    with tf.control_dependencies([size_check(height, width)]):
        pixels = upright(tf.io.decode_png(content, channels=4), content)
    colours, opacity = pixels[..., :3], pixels[..., 3:]
    # TensorFlow 2.21 fills the opacity of files without transparency with the largest value of their bit depth.
    depth = tf.io.decode_raw(tf.strings.substr(content, PNG_DEPTH, 1), tf.uint8)[0]
    filler = tf.cast(2 ** tf.cast(depth, tf.int32) - 1, tf.uint8)
    return colours, tf.cond(
        tf.reduce_all(opacity == filler), lambda: tf.fill(tf.shape(opacity), OPAQUE), lambda: opacity
    )


def size_check(height: Tensor, width: Tensor) -> tf.Operation:
    """Returns an operation that fails for images of too many pixels."""
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.debugging.assert_less_equal(pixels, tf.constant(MAX_PIXELS, tf.int64))


def resized_png(content: Tensor, size: tuple[int, int]) -> Tensor:
    """Decodes and resizes a PNG file. Transparent pixels show a white background."""
    colours, opacity = read_png(content)

    def on_white():
        # 255 * 255 fits into 16 bits, which take half of the memory of floats.
        covering = tf.cast(colours, tf.uint16) * tf.cast(opacity, tf.uint16)
        return resized(covering, size) / 255.0 + (255.0 - resized(opacity, size))

    return tf.cond(tf.reduce_all(opacity == OPAQUE), lambda: resized(colours, size), on_white)


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes an image to float32 `(height, width, channels)`. Skips the work if it has the size already."""
    fits = tf.reduce_all(tf.shape(image)[:2] == size)
    return tf.cond(fits, lambda: tf.cast(image, tf.float32), lambda: tf.image.resize(image, size, antialias=True))
