"""Image files of all kinds against Pillow, and files that cannot be decoded."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerasseq.datasets.drawn_scenes import png
from kerasseq.preprocessing.image_files import DAMAGED, MID_GRAY, NOT_AN_IMAGE, decode_images, image_problems

SIZE = (12, 16)
RANDOM = np.random.default_rng(0)
SMOOTH = np.asarray(
    Image.fromarray(RANDOM.integers(256, size=(4, 5, 3), dtype="uint8")).resize((64, 48), Image.Resampling.BICUBIC)
)


def written(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_that_claims(width, height):
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def jpeg_that_claims(width, height):
    jpeg = written(Image.fromarray(SMOOTH), "JPEG")
    start = jpeg.index(b"\xff\xc0") + 5  # The frame: marker, length, precision, height, width.
    return jpeg[:start] + struct.pack(">2H", height, width) + jpeg[start + 4 :]


PHOTO = Image.fromarray(SMOOTH)
JPEG, PNG = written(PHOTO, "JPEG", quality=95), written(PHOTO, "PNG")
DAMAGED_FILES = {
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "the beginning of a JPEG": JPEG[:3],
    "half a PNG": PNG[: len(PNG) // 2],
    "the beginning of a PNG": PNG[:8],
    "a PNG with another byte": PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:],
    "a JPEG without its tables": JPEG[:20] + bytes(200) + JPEG[220:],
    "a bomb of a PNG": png_that_claims(60_000, 60_000),
    "a PNG of a negative size": png_that_claims(2**32 - 1, 5),
    "a PNG without pixels": png_that_claims(0, 5),
    "a bomb of a JPEG": jpeg_that_claims(60_000, 60_000),
}
NO_IMAGES = {
    "nothing": b"",
    "a letter": b"a",
    "a text": "Ein Bild, größer als 16 Bytes".encode(),
    "a GIF": written(PHOTO, "GIF"),
    "a BMP": written(PHOTO, "BMP"),
}
SIGNATURE = [tf.TensorSpec([None], tf.string)]
decode = tf.function(lambda contents: decode_images(contents, SIZE), input_signature=SIGNATURE)
decode_two_pixels = tf.function(lambda contents: decode_images(contents, (1, 2)), input_signature=SIGNATURE)


def resized(pixels):
    """By Pillow's filter of the same kind, which leaves no aliases either: float `(height, width, 3)`."""
    bands = [Image.fromarray(band.astype("float32")) for band in np.moveaxis(pixels, -1, 0)]
    return np.stack([band.resize(SIZE[::-1], Image.Resampling.BILINEAR) for band in bands], axis=-1)


@pytest.mark.parametrize(
    ("mode", "form"),
    [("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("1", "PNG"), ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG")],
)
def test_formats(mode, form):
    content = written(PHOTO.convert(mode), form)
    images, good = decode([content])
    assert good.numpy().tolist() == [True]
    expected = resized(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    # Decoders of JPEG may round in their own ways.
    np.testing.assert_allclose(images[0], expected, atol=0.1 if form == "PNG" else 4)


@pytest.mark.parametrize("kind", ["gray", "palette"])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_of_few_bits(bits, kind, transparent):
    """Two pixels: the value 0, which may be transparent, and the largest one."""
    header = struct.pack(">2I5B", 2, 1, bits, {"gray": 0, "palette": 3}[kind], 0, 0, 0)
    chunks = [chunk(b"IHDR", header)]
    largest = 2**bits - 1
    if kind == "palette":
        chunks.append(chunk(b"PLTE", bytes([10, 20, 30]) + bytes(3 * (largest - 1)) + bytes([200, 210, 220])))
    if transparent:
        chunks.append(chunk(b"tRNS", bytes(2) if kind == "gray" else bytes(1)))
    row = bytes([0, largest]) if bits == 8 else bytes([largest << (8 - 2 * bits)])
    chunks += [chunk(b"IDAT", zlib.compress(bytes(1) + row)), chunk(b"IEND", b"")]
    images, good = decode_two_pixels(tf.constant([b"\x89PNG\r\n\x1a\n" + b"".join(chunks)]))
    colours = {"gray": [[0] * 3, [255] * 3], "palette": [[10, 20, 30], [200, 210, 220]]}[kind]
    if transparent:
        colours[0] = [255] * 3
    assert good.numpy().tolist() == [True]
    np.testing.assert_allclose(images[0, 0], colours, atol=0.01)


def test_progressive_jpeg():
    images, good = decode([JPEG, written(PHOTO, "JPEG", quality=95, progressive=True)])
    assert good.numpy().all()
    np.testing.assert_allclose(images[0], images[1], atol=1)


def test_sixteen_bits():
    gray = Image.fromarray(SMOOTH[:, :, 0].astype("uint16") * 257)
    images, good = decode([written(gray, "PNG")])
    assert good.numpy().tolist() == [True]
    np.testing.assert_allclose(images[0], resized(SMOOTH[:, :, :1].repeat(3, axis=2)), atol=1)


@pytest.mark.parametrize("gray", [False, True])
def test_transparent_images_are_shown_on_white(gray):
    opacity = np.linspace(0, 255, 64).astype("uint8")[None].repeat(48, axis=0)
    image = Image.fromarray(np.concatenate([SMOOTH, opacity[:, :, None]], axis=-1), "RGBA")
    pixels = SMOOTH
    if gray:
        image, pixels = image.convert("LA"), np.asarray(image.convert("LA"))[:, :, :1].repeat(3, axis=2)
    share = opacity[:, :, None] / 255
    images, _ = decode([written(image, "PNG")])
    np.testing.assert_allclose(images[0], resized(share * pixels + (1 - share) * 255), atol=0.5)


def test_one_pixel_and_the_extremes_of_brightness():
    images, good = decode([png(np.array([[[7, 8, 9]]], "uint8")), png(np.full((50, 3, 3), 255, "uint8"))])
    assert good.numpy().all()
    np.testing.assert_allclose(images[0], np.broadcast_to([7.0, 8.0, 9.0], (*SIZE, 3)), atol=1e-4)
    np.testing.assert_allclose(images[1], 255.0, atol=1e-4)


def test_bad_files_are_gray_and_leave_the_others_alone():
    good_files = [JPEG, PNG, written(PHOTO.convert("L"), "PNG")]
    bad_files = [*NO_IMAGES.values(), *DAMAGED_FILES.values()]
    # Bad, good, bad, bad, good, ...
    contents = list(bad_files)
    rows = [1, 5, len(bad_files) + 2]
    for row, content in zip(rows, good_files, strict=True):
        contents.insert(row, content)
    images, good = decode(contents)
    assert np.flatnonzero(good).tolist() == rows
    alone, _ = decode(good_files)
    np.testing.assert_array_equal(images.numpy()[rows], alone)
    np.testing.assert_array_equal(images.numpy()[~good.numpy()], MID_GRAY)


def test_problems():
    contents = [JPEG, *NO_IMAGES.values(), PNG, *DAMAGED_FILES.values()]
    expected = ["", *[NOT_AN_IMAGE] * len(NO_IMAGES), "", *[DAMAGED] * len(DAMAGED_FILES)]
    assert [problem.decode() for problem in image_problems(contents).numpy()] == expected


def test_the_largest_image(monkeypatch):
    monkeypatch.setattr("kerasseq.preprocessing.image_files.MAX_PIXELS", 64 * 48)
    wider = written(PHOTO.resize((65, 48)), "JPEG")
    assert image_problems(tf.constant([JPEG, PNG, wider])).numpy().tolist() == [b"", b"", DAMAGED.encode()]
    assert decode_images(tf.constant([JPEG, PNG, wider]), SIZE)[1].numpy().tolist() == [True, True, False]


def test_no_files():
    images, good = decode(tf.constant([], tf.string))
    assert images.shape == (0, *SIZE, 3) and good.shape == (0,)
    assert image_problems(tf.constant([], tf.string)).shape == (0,)
