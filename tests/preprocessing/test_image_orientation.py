"""Images of cameras that were held on their side, against Pillow."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from kerasseq.preprocessing.image_files import decode_images
from kerasseq.preprocessing.image_orientation import orientation


@pytest.fixture(scope="module")
def decode():
    return tf.function(
        lambda contents: decode_images(contents, (20, 30)), input_signature=[tf.TensorSpec([None], tf.string)]
    ).get_concrete_function()


@pytest.fixture(scope="module")
def read():
    return tf.function(orientation, input_signature=[tf.TensorSpec([], tf.string)]).get_concrete_function()


def picture():
    """Another colour in each quarter."""
    pixels = np.zeros((24, 40, 3), "uint8")
    pixels[:12, :20], pixels[:12, 20:], pixels[12:, :20] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return Image.fromarray(pixels)


def saved(image, form, value=None, order=None, further=0):
    exif = Image.Exif()
    if order:
        exif.endian = order
    for tag in range(further):
        exif[0x010E + tag % 2] = "x" * 40
    if value is not None:
        exif[0x0112] = value
    file = io.BytesIO()
    image.save(file, form, exif=exif, **({"quality": 100, "subsampling": 0} if form == "JPEG" else {}))
    return file.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_all_orientations(decode, read, form):
    files = [saved(picture(), form, value) for value in range(1, 9)]
    shown = [ImageOps.exif_transpose(Image.open(io.BytesIO(file))) for file in files]
    expected, _ = decode(tf.constant([saved(image, "PNG") for image in shown]))
    images, is_image = decode(tf.constant(files))
    assert all(is_image) and [int(read(tf.constant(file))) for file in files] == list(range(1, 9))
    np.testing.assert_allclose(images, expected, atol=8)  # JPEG
    different = {array.numpy().tobytes() for array in expected}
    assert len(different) == 8


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_order_and_further_entries(read, order):
    assert int(read(tf.constant(saved(picture(), "JPEG", 6, order, further=2)))) == 6


@pytest.mark.parametrize(
    "content",
    [
        b"", b"Exif", b"Exif\0\0", b"..Exif\0\0II*\0", b"..Exif\0\0II*\0\xff\xff\xff\xff",
        b"..eXIfMM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0", bytes(9_000), bytes(range(256)) * 40,
    ],
)  # fmt: skip
def test_damaged_data_are_upright(read, content):
    assert int(read(tf.constant(content))) == 1


def test_values_beyond_the_last_are_upright(read):
    assert int(read(tf.constant(saved(picture(), "JPEG", 9)))) == int(read(tf.constant(saved(picture(), "JPEG")))) == 1
