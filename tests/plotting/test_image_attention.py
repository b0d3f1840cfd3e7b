import doctest

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import kerasseq
from kerasseq.plotting import image_attention, plot_image_attention

TOKENS = ["▁a", "▁red", "▁cir", "cle", "</s>"]
PLACES = [f"{row},{column}" for row in range(2) for column in range(3)]


def generation(attention, source_tokens=PLACES):
    return kerasseq.Generation(
        text="a red circle", score=-1.0, alternatives=[], source_tokens=source_tokens, target_tokens=TOKENS,
        attention=attention,
    )  # fmt: skip


def looking_at(*places):
    weights = np.zeros((len(TOKENS), len(PLACES)))
    weights[range(len(places)), places] = 1.0
    weights[len(places) :, 0] = 1.0
    return weights


def panels(figure):
    return {axis.get_title(): axis.images[0].get_array() for axis in figure.axes if axis.images}


def test_bright_where_the_decoder_looked():
    """White paper of two rows and three columns of places; a word's place is bright, those far from it are dark."""
    image = np.full((40, 60, 3), 255, "uint8")
    figure = plot_image_attention(image, generation(looking_at(0, 2, 3, 3)))
    shown = panels(figure)
    assert list(shown) == ["", "a", "red", "circle"]  # Two tokens of a word are one panel; END is none.
    np.testing.assert_allclose(shown[""], image / 255)
    corners = {"a": (10, 10), "red": (10, 50), "circle": (30, 10)}
    for word, (row, column) in corners.items():
        pixels = np.asarray(shown[word])
        assert pixels[row, column].min() > 0.95
        others = [pixels[r, c].max() for other, (r, c) in corners.items() if other != word]
        assert max(others) < 0.4
    FigureCanvasAgg(figure).draw()


def test_no_attention():
    with pytest.raises(ValueError, match="attention"):
        plot_image_attention(np.zeros((4, 4, 3), "uint8"), generation(None))


def test_places_of_a_text():
    with pytest.raises(ValueError, match="row,column|image"):
        plot_image_attention(np.zeros((4, 4, 3), "uint8"), generation(looking_at(0), ["▁le", "▁chat", "", "", "", ""]))


def test_examples():
    result = doctest.testmod(image_attention)
    assert result.attempted and not result.failed
