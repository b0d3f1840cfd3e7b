import io

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from kerasseq.plotting import plot_image_attention
from kerasseq.plotting.image_attention import DARKEST, lit, pixels
from kerasseq.preprocessing.image_files import decode_images

PICTURE = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype="uint8")
TOKENS = ["▁two", "▁cat", "s", "▁$5", "</s>"]
REGIONS = [f"{row},{column}" for row in range(2) for column in range(3)]


@pytest.fixture
def captioned(generation):
    """A function from changes to the generation of a caption."""
    return lambda **changes: generation(
        **{"source_tokens": REGIONS, "target_tokens": TOKENS, "text": "two cats $5", **changes}
    )


def shown(axis):
    (image,) = axis.images
    return np.asarray(image.get_array())


def written(form):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, form)
    return file.getvalue()


def test_one_panel_per_word(captioned):
    figure = plot_image_attention(PICTURE, captioned())
    assert [axis.get_title() for axis in figure.axes] == ["", "two", "cats", "$5"]
    assert figure.get_suptitle() == "two cats $5"
    np.testing.assert_allclose(shown(figure.axes[0]), PICTURE / 255)
    first, second, third, _, _ = captioned().attention
    for axis, weights in zip(figure.axes[1:], [first, (second + third) / 2], strict=False):
        np.testing.assert_allclose(shown(axis), lit(PICTURE / 255, weights.reshape(2, 3)), atol=1e-6)
    assert plot_image_attention(PICTURE, captioned(), title="Cats").get_suptitle() == "Cats"


def test_many_words_fill_several_rows(captioned):
    figure = plot_image_attention(PICTURE, captioned(target_tokens=["▁a"] * 8))
    FigureCanvasAgg(figure).draw()
    rows = [round(axis.get_position().y0, 3) for axis in figure.axes]
    assert len(rows) == 9 and len(set(rows)) == 2


def test_words_are_joined_from_tokens(captioned):
    tokens = ["s", "▁a", "▁", "b", "</s>", "▁c"]
    attention = np.eye(6)
    axes = plot_image_attention(PICTURE, captioned(target_tokens=tokens, attention=attention)).axes[1:]
    assert [axis.get_title() for axis in axes] == ["s", "a", "b", "c"]
    expected = [attention[0], attention[1], (attention[2] + attention[3]) / 2, attention[5]]
    for axis, weights in zip(axes, expected, strict=True):
        np.testing.assert_allclose(shown(axis), lit(PICTURE / 255, weights.reshape(2, 3)), atol=1e-6)


def test_image_files(captioned):
    figure = plot_image_attention(written("PNG"), captioned())
    np.testing.assert_allclose(shown(figure.axes[0]), PICTURE / 255)
    assert shown(plot_image_attention(written("JPEG"), captioned()).axes[0]).shape == (20, 30, 3)
    gray = PICTURE[:, :, 0] / 255
    np.testing.assert_array_equal(shown(plot_image_attention(gray, captioned()).axes[0]), np.stack([gray] * 3, -1))


def test_16_bit_gray_is_drawn_as_the_preprocessor_decodes_it():
    file = io.BytesIO()
    Image.fromarray(np.arange(600, dtype="uint16").reshape(20, 30) * 100).save(file, "PNG")
    seen, _ = decode_images([file.getvalue()], (20, 30))
    np.testing.assert_allclose(pixels(file.getvalue()), seen[0] / 255, atol=1 / 255)


def test_transparent_pixels_are_white_as_in_the_preprocessor():
    opacity = np.tile([0, 255], (20, 15)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(np.dstack([PICTURE, opacity])).save(file, "PNG")
    seen, _ = decode_images(tf.constant([file.getvalue()]), (20, 30))
    np.testing.assert_allclose(pixels(file.getvalue()) * 255, seen[0], atol=1)


def test_attended_regions_are_bright():
    weights = np.zeros((4, 6))
    weights[1, 4] = 0.7
    light = lit(np.ones((40, 60, 3)), weights)[:, :, 0]
    assert np.unravel_index(np.argmax(light), light.shape) in {(i, j) for i in (14, 15) for j in (44, 45)}
    assert light.max() == 1 and light[35, 5] == pytest.approx(DARKEST, abs=1e-3)
    np.testing.assert_allclose(lit(np.ones((40, 60, 3)), np.full((4, 6), 1 / 24)), 1.0)
    np.testing.assert_allclose(lit(np.ones((40, 60, 3)), np.zeros((4, 6))), DARKEST)


def test_interpolation_is_symmetric():
    weights = np.random.default_rng(2).random((4, 5))
    image = np.ones((40, 50, 3))
    np.testing.assert_allclose(lit(image, weights[::-1, ::-1]), lit(image, weights)[::-1, ::-1])


def test_only_the_end_token(captioned):
    figure = plot_image_attention(PICTURE, captioned(text="", target_tokens=["</s>"], attention=np.ones((1, 6)) / 6))
    assert len(figure.axes) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": None}, "no attention. Use a model with attention, such as kerasseq.models.CaptioningSeq2Seq"),
        ({"source_tokens": ["▁the", "</s>"]}, "must name image regions.*plot_attention"),
        ({"source_tokens": []}, "must name image regions"),
        ({"source_tokens": REGIONS[:5]}, "must name image regions"),
        ({"attention": np.ones((5, 5))}, r"Expected: \(5, 6\). Received: \(5, 5\)"),
    ],
)
def test_bad_generations(captioned, changes, message):
    with pytest.raises(ValueError, match=message):
        plot_image_attention(PICTURE, captioned(**changes))


def test_bad_arguments(captioned):
    with pytest.raises(ValueError, match=r"objects that TextGenerator.generate\(images, details=True\)"):
        plot_image_attention(PICTURE, "two cats")
    with pytest.raises(ValueError, match="4 bytes that start with b'RIFF' and cannot be decoded"):
        plot_image_attention(b"RIFF", captioned())
    for bad in (PICTURE.astype("float32"), PICTURE[None], PICTURE[:, :, :2]):
        with pytest.raises(ValueError, match="image must be the content of an image file, or an array"):
            plot_image_attention(bad, captioned())
