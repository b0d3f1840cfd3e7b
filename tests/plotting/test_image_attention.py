import doctest
import io

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import kerasseq
from kerasseq.plotting import image_attention, plot_image_attention
from kerasseq.plotting.image_attention import DARKEST, attention_of_words, interpolation, lit, pixels
from kerasseq.preprocessing.image_files import decode_images

PICTURE = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype="uint8")
TOKENS = ["▁two", "▁cat", "s", "▁$5", "</s>"]
PLACES = [f"{row},{column}" for row in range(2) for column in range(3)]


def generation(**changes):
    attention = np.random.default_rng(1).dirichlet(np.ones(6), size=5).astype("float32")
    described = {
        "text": "two cats $5", "score": -0.5, "alternatives": [], "source_tokens": PLACES, "target_tokens": TOKENS,
        "attention": attention,
    }  # fmt: skip
    return kerasseq.Generation(**{**described, **changes})


def shown(axis):
    (image,) = axis.images
    return np.asarray(image.get_array())


def written(form):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, form)
    return file.getvalue()


def test_one_panel_a_word_behind_the_image():
    figure = plot_image_attention(PICTURE, generation(), columns=3)
    assert [axis.get_title() for axis in figure.axes] == ["", "two", "cats", "$5"]
    assert figure.get_suptitle() == "two cats $5"
    np.testing.assert_allclose(shown(figure.axes[0]), PICTURE / 255)
    first, second, third, _, _ = generation().attention
    for axis, weights in zip(figure.axes[1:], [first, (second + third) / 2], strict=False):
        np.testing.assert_allclose(shown(axis), lit(PICTURE / 255, weights.reshape(2, 3)), atol=1e-6)
    assert plot_image_attention(PICTURE, generation(), title="Cats").get_suptitle() == "Cats"
    FigureCanvasAgg(figure).draw()
    assert len({round(axis.get_position().y0, 3) for axis in figure.axes}) == 2  # Two rows of panels.


def test_image_files():
    figure = plot_image_attention(written("PNG"), generation())
    np.testing.assert_allclose(shown(figure.axes[0]), PICTURE / 255)
    assert shown(plot_image_attention(written("JPEG"), generation()).axes[0]).shape == (20, 30, 3)
    gray = PICTURE[:, :, 0] / 255
    np.testing.assert_array_equal(pixels(gray), np.stack([gray] * 3, axis=-1))


def test_gray_of_16_bits_is_what_the_model_sees():
    file = io.BytesIO()
    Image.fromarray(np.arange(600, dtype="uint16").reshape(20, 30) * 100).save(file, "PNG")
    seen, _ = decode_images([file.getvalue()], (20, 30))
    np.testing.assert_allclose(pixels(file.getvalue()), seen[0] / 255, atol=1 / 255)


def test_what_is_transparent_is_white_as_the_model_sees_it():
    opacity = np.tile([0, 255], (20, 15)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(np.dstack([PICTURE, opacity])).save(file, "PNG")
    seen, _ = decode_images(tf.constant([file.getvalue()]), (20, 30))
    np.testing.assert_allclose(pixels(file.getvalue()) * 255, seen[0], atol=1)


def test_light_falls_where_the_attention_is():
    weights = np.zeros((4, 6))
    weights[1, 4] = 0.7
    light = lit(np.ones((40, 60, 3)), weights)[:, :, 0]
    assert np.unravel_index(np.argmax(light), light.shape) in {(i, j) for i in (14, 15) for j in (44, 45)}
    assert light.max() == 1 and light[35, 5] == pytest.approx(DARKEST, abs=1e-3)
    np.testing.assert_allclose(lit(np.ones((40, 60, 3)), np.full((4, 6), 1 / 24)), 1.0)
    np.testing.assert_allclose(lit(np.ones((40, 60, 3)), np.zeros((4, 6))), DARKEST)


def test_interpolation_is_even():
    weights = interpolation(50, 5)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(weights, weights[::-1, ::-1])
    assert np.argmax(weights, axis=1).tolist() == [place for place in range(5) for _ in range(10)]


def test_words():
    attention = np.arange(6.0)[:, None]
    words = attention_of_words(["s", "▁a", "▁", "b", "</s>", "▁c"], attention)
    assert [(word, float(weights[0])) for word, weights in words] == [("s", 0), ("a", 1), ("b", 2.5), ("c", 5)]


def test_nothing_but_the_end():
    figure = plot_image_attention(PICTURE, generation(text="", target_tokens=["</s>"], attention=np.ones((1, 6)) / 6))
    assert len(figure.axes) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": None}, "no attention. Use a model with attention, such as kerasseq.models.CaptioningSeq2Seq"),
        ({"source_tokens": ["▁the", "</s>"]}, "must be places of an image.*plot_attention"),
        ({"source_tokens": []}, "must be places of an image"),
        ({"source_tokens": PLACES[:5]}, "must be places of an image"),
        ({"attention": np.ones((5, 5))}, r"Expected: \(5, 6\). Received: \(5, 5\)"),
    ],
)
def test_generations_without_a_picture(changes, message):
    with pytest.raises(ValueError, match=message):
        plot_image_attention(PICTURE, generation(**changes))


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"objects that TextGenerator.generate\(images, details=True\)"):
        plot_image_attention(PICTURE, "two cats")
    with pytest.raises(ValueError, match="columns must be a positive integer. Received: columns=0"):
        plot_image_attention(PICTURE, generation(), columns=0)
    with pytest.raises(ValueError, match="4 bytes that begin with b'RIFF', which cannot be read"):
        plot_image_attention(b"RIFF", generation())
    for bad in (PICTURE.astype("float32"), PICTURE[None], PICTURE[:, :, :2]):
        with pytest.raises(ValueError, match="image must be the content of an image file, or an array"):
            plot_image_attention(bad, generation())


def test_examples_of_the_documentation():
    assert doctest.testmod(image_attention).failed == 0
