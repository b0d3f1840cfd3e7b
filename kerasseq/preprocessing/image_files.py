"""The contents of image files to pixels, in the graph; what is no image, or damaged, fails no batch."""

import numpy as np
import tensorflow as tf

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # What files begin with.
PNG_SIZE, PNG_DEPTH = 16, 24  # Where a PNG file has its width and height, four bytes each, and its bits a sample.
MOST_PIXELS = 50_000_000  # A small file may claim to be a picture that no memory holds.
OPAQUE = np.uint8(255)
PARALLEL_CALLS = 4
MID_GRAY = 127.5

NOT_AN_IMAGE = "not a JPEG or PNG image"
DAMAGED = f"damaged, or of more than {MOST_PIXELS:,} pixels"


def begins_as_image(content):
    """Whether bytes begin as JPEG or PNG files do."""
    return content.startswith((JPEG, PNG))


def decode_images(contents, size):
    """Decodes JPEG and PNG files, and squashes them to one size.

    Args:
        contents: string `(batch,)`.
        size: tuple of int, height and width.

    Returns:
        float32 `(batch, height, width, 3)`, RGB from 0 to 255, mid gray where there is no image; and bool `(batch,)`,
        true where there is one.
    """

    def decode(row, content):
        image = tf.cond(is_png(content), lambda: squashed_png(content, size), lambda: squashed_jpeg(content, size))
        return row, tf.ensure_shape(image, (*size, 3))

    rows, images = decodable(contents, decode, tf.zeros((*size, 3)))
    number = tf.shape(contents)[0]
    good = tf.scatter_nd(rows[:, tf.newaxis], tf.ones_like(rows), [number]) > 0
    scattered = tf.scatter_nd(rows[:, tf.newaxis], images, [number, *size, 3])
    return tf.where(good[:, tf.newaxis, tf.newaxis, tf.newaxis], scattered, MID_GRAY), good


def image_problems(contents):
    """What is wrong with files: string `(batch,)`, empty where they are images that `decode_images` decodes."""

    def decode(row, content):
        # Every byte is read all the same; JPEG blocks become single pixels.
        image = tf.cond(is_png(content), lambda: read_png(content)[0], lambda: read_jpeg(content, ratio=8))
        return row, tf.shape(image)[0]

    rows, _ = decodable(contents, decode, tf.constant(0))
    good = tf.scatter_nd(rows[:, tf.newaxis], tf.ones_like(rows), tf.shape(contents)[:1]) > 0
    return tf.where(good, "", tf.where(is_jpeg(contents) | is_png(contents), DAMAGED, NOT_AN_IMAGE))


def decodable(contents, decode, like):
    """The rows that can be decoded, and what they are decoded to.

    Errors in a graph stop it, but a data set can leave out the elements that have raised one.

    Args:
        contents: string `(batch,)`.
        decode: function from a row, int32, and its content, a string, to the row and a tensor.
        like: a tensor of the shape and type of what `decode` gives.

    Returns:
        int32 `(good,)`, and the decoded tensors `(good, ...)`.
    """
    rows = tf.where(is_jpeg(contents) | is_png(contents))[:, 0]
    dataset = tf.data.Dataset.from_tensor_slices((tf.cast(rows, tf.int32), tf.gather(contents, rows)))
    dataset = dataset.map(decode, num_parallel_calls=PARALLEL_CALLS, deterministic=True).ignore_errors()
    # A data set that is asked for its one batch must have an element.
    dataset = dataset.concatenate(tf.data.Dataset.from_tensors((tf.constant(-1), like)))
    options = tf.data.Options()
    options.autotune.enabled = False
    rows, decoded = dataset.batch(tf.size(rows, tf.int64) + 1).with_options(options).get_single_element()
    return rows[:-1], decoded[:-1]


def is_jpeg(content):
    return tf.strings.substr(content, 0, len(JPEG)) == JPEG


def is_png(content):
    return tf.strings.substr(content, 0, len(PNG)) == PNG


# === One file ===


def read_jpeg(content, ratio=1):
    """The pixels of a JPEG file, uint8 `(height / ratio, width / ratio, 3)`, once its size is known to be bearable."""
    height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(content))
    with tf.control_dependencies([bearable(height, width)]):
        return tf.io.decode_jpeg(content, channels=3, ratio=ratio)


def read_png(content):
    """The colours of a PNG file, uint8 `(height, width, 3)`, and its opacity, uint8 `(height, width, 1)`."""
    size = tf.strings.substr(content, PNG_SIZE, 8)
    width, height = tf.unstack(tf.ensure_shape(tf.io.decode_raw(size, tf.int32, little_endian=False), [2]))
    with tf.control_dependencies([bearable(height, width)]):
        pixels = tf.io.decode_png(content, channels=4)
    colours, opacity = pixels[..., :3], pixels[..., 3:]
    # TensorFlow 2.21 makes files without transparency of less than 8 bits as opaque as their largest value.
    depth = tf.io.decode_raw(tf.strings.substr(content, PNG_DEPTH, 1), tf.uint8)[0]
    filler = tf.cast(2 ** tf.cast(depth, tf.int32) - 1, tf.uint8)
    return colours, tf.cond(
        tf.reduce_all(opacity == filler), lambda: tf.fill(tf.shape(opacity), OPAQUE), lambda: opacity
    )


def bearable(height, width):
    """An operation that fails for images of too many pixels."""
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.debugging.assert_less_equal(pixels, tf.constant(MOST_PIXELS, tf.int64))


def squashed_jpeg(content, size):
    return squashed(read_jpeg(content), size)


def squashed_png(content, size):
    """What is transparent shows white paper behind it."""
    colours, opacity = read_png(content)

    def on_paper():
        # 255 * 255 fits into 16 bits, half of the memory of floats.
        covering = tf.cast(colours, tf.uint16) * tf.cast(opacity, tf.uint16)
        return squashed(covering, size) / 255.0 + (255.0 - squashed(opacity, size))

    return tf.cond(tf.reduce_all(opacity == OPAQUE), lambda: squashed(colours, size), on_paper)


def squashed(image, size):
    """float32 `(height, width, channels)`; an image that has the size already, as those of data sets may, is quick."""
    fits = tf.reduce_all(tf.shape(image)[:2] == size)
    return tf.cond(fits, lambda: tf.cast(image, tf.float32), lambda: tf.image.resize(image, size, antialias=True))
