"""How a camera was held: the orientation in the EXIF data of image files, read and applied in the graph."""

import tensorflow as tf

from kerasseq.types import Tensor

# What is in front of the EXIF data: in JPEG files, and in PNG files the name of the chunk. Both precede the pixels.
MARKS = (b"Exif\0\0", b"eXIf")
SEARCHED = 4_096  # bytes of a file
ORIENTATION, MAX_ENTRIES = 0x0112, 64


def upright(image: Tensor, content: Tensor) -> Tensor:
    """Turns an image `(height, width, channels)` as the EXIF data of its file, a string scalar, say."""
    turned = orientation(content)

    def turn():
        transposed = tf.cond(turned >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        is_mirrored, is_upside_down = (tf.reduce_any(turned == kinds) for kinds in ([2, 3, 6, 7], [3, 4, 7, 8]))
        mirrored = tf.cond(is_mirrored, lambda: transposed[:, ::-1], lambda: transposed)
        return tf.cond(is_upside_down, lambda: mirrored[::-1], lambda: mirrored)

    return tf.cond(turned == 1, lambda: image, turn)


def orientation(content: Tensor) -> Tensor:
    """The EXIF orientation of a file, a string scalar: int32 from 1, upright, to 8. 1 for files without.

    Source: CIPA DC-008, "Exchangeable image file format", 4.6.4, tag 274; Adobe, "TIFF Revision 6.0", section 2.
    """
    data = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 0, SEARCHED), tf.uint8), tf.int32)
    data = tf.concat([data, tf.zeros([16], tf.int32)], axis=0)
    start = tf.reduce_max(tf.stack([position_after(data, mark) for mark in MARKS]))
    is_little_endian = data[start] == ord("I")

    def integers(positions, size):
        """Unsigned integers of `size` bytes at these positions; those beyond the data are of its last bytes."""
        places = tf.clip_by_value(positions[..., tf.newaxis] + tf.range(size), 0, tf.size(data) - 1)
        powers = tf.constant([256**power for power in range(size)])
        return tf.reduce_sum(tf.gather(data, places) * tf.where(is_little_endian, powers, powers[::-1]), axis=-1)

    directory = start + integers(start + 4, 4)
    entries = directory + 2 + 12 * tf.range(tf.minimum(integers(directory, 2), MAX_ENTRIES))
    values = tf.boolean_mask(integers(entries + 8, 2), integers(entries, 2) == ORIENTATION)
    value = tf.reduce_max(tf.concat([values, [1]], axis=0))
    return tf.where((start > 0) & (value <= 8), value, 1)


def position_after(data: Tensor, mark: bytes) -> Tensor:
    """The position behind the first occurrence of a mark; 0 without one."""
    length = tf.size(data) - len(mark)
    found = tf.reduce_all(tf.stack([data[index : index + length] == byte for index, byte in enumerate(mark)]), axis=0)
    first = tf.argmax(found, output_type=tf.int32)
    return tf.where(found[first], first + len(mark), 0)
