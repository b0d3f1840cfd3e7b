import importlib
import logging
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg

import kerasseq
from kerasseq.plotting import plot_attention, plot_history
from kerasseq.plotting.attention import MISSING_GLYPH


def panels(figure):
    """The axes with heat maps, without the colour bar."""
    return [axis for axis in figure.axes if axis.images]


def labels(axis):
    return [[label.get_text() for label in ticks] for ticks in (axis.get_xticklabels(), axis.get_yticklabels())]


def drawn(figure):
    """Draws the figure. Returns the renderer."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


@pytest.fixture
def cat(generation):
    return generation(["▁the", "▁c", "at", "</s>"], ["▁le", "▁chat", "</s>"])


def test_heat_map_of_attention_with_tokens(cat):
    figure = plot_attention(cat)
    (axis,) = panels(figure)
    np.testing.assert_array_equal(axis.images[0].get_array(), cat.attention)
    assert labels(axis) == [["␣the", "␣c", "at", "END"], ["␣le", "␣chat", "END"]]
    assert list(axis.get_xticks()) == [0, 1, 2, 3]
    assert list(axis.get_yticks()) == [0, 1, 2]
    bottom, top = axis.get_ylim()
    assert bottom > top  # The first target token is at the top.
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("source", "target", "le chat")
    assert [other.get_ylabel() for other in figure.axes if other is not axis] == ["attention weight"]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_panels_share_one_colour_scale(generation, count):
    generations = [generation(["▁a"] * (2 + i), ["▁b"] * (3 + i), text=f"number {i}") for i in range(count)]
    figure = plot_attention(generations, title="All")
    assert [axis.get_title() for axis in panels(figure)] == [f"number {i}" for i in range(count)]
    for axis, expected in zip(panels(figure), generations, strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), expected.attention)
    highest = max(expected.attention.max() for expected in generations)
    assert {axis.images[0].get_clim() for axis in panels(figure)} == {(0.0, highest)}
    assert len(figure.axes) == count + 1  # No empty panels, and one colour bar.
    assert figure.get_suptitle() == "All"


def test_one_panel_per_head(generation):
    random = np.random.default_rng(1)
    generations = [
        generation(["▁a", "▁b"], ["▁c"] * 3, "one", attention_heads=random.dirichlet([1, 1], size=(2, 3))),
        generation(["▁d"], ["▁e"] * 2, "two", attention_heads=random.dirichlet([1], size=(3, 2))),
    ]
    figure = plot_attention(generations, heads=True)
    titles = ["one (head 1)", "one (head 2)", "two (head 1)", "two (head 2)", "two (head 3)"]
    assert [axis.get_title() for axis in panels(figure)] == titles
    shown = [axis.images[0].get_array() for axis in panels(figure)]
    for weights, expected in zip(
        shown, [*generations[0].attention_heads, *generations[1].attention_heads], strict=True
    ):
        np.testing.assert_array_equal(weights, expected)
    assert len({axis.images[0].get_clim() for axis in panels(figure)}) == 1
    assert [axis.get_title() for axis in panels(plot_attention(generations))] == ["one", "two"]


def test_all_weights_are_zero(generation):
    figure = plot_attention(generation(["▁a"], ["▁b"], attention=np.zeros((1, 1))))
    assert panels(figure)[0].images[0].get_clim() == (0.0, 1.0)


def test_token_labels(generation):
    tokens = ["▁May", "▁", "<0xE2>", "é", "\u200b", "a\n", "</s>"]
    (axis,) = panels(plot_attention(generation(tokens, tokens)))
    assert labels(axis) == [["␣May", "␣", "<0xE2>", "é", "\\u200b", "a\\n", "END"]] * 2


def test_dollars_and_backslashes_are_not_mathematics(generation, tmp_path):
    tokens = ["▁$", "x_1$", "\\frac{", "</s>"]
    figure = plot_attention(generation(tokens, tokens, text="$\\frac{$"))
    figure.savefig(tmp_path / "attention.png")
    assert labels(panels(figure)[0])[0] == ["␣$", "x_1$", "\\frac{", "END"]
    assert panels(figure)[0].get_title() == "$\\frac{$"


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_all_scripts_draw_without_warnings(generation, tmp_path, ending, recwarn):
    scripts = [["▁你", "好", "吗"], ["▁مرحبا", "▁بك"], ["▁été", "Ångström"], ["😀"], ["▁नम", "स्ते"]]
    figure = plot_attention([generation(tokens, tokens, " ".join(tokens)) for tokens in scripts], title="你好")
    figure.savefig(tmp_path / f"attention.{ending}")
    assert [str(warning.message) for warning in recwarn] == []


def test_characters_without_a_font_are_boxes_and_logged_once(generation, monkeypatch, caplog):
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    with caplog.at_level(logging.WARNING, "kerasseq"):
        figure = plot_attention(generation(["▁你", "好", "a"], ["好"], text="好 a"))
    assert labels(panels(figure)[0]) == [["␣" + MISSING_GLYPH, MISSING_GLYPH, "a"], [MISSING_GLYPH]]
    assert panels(figure)[0].get_title() == MISSING_GLYPH + " a"
    (record,) = caplog.records
    assert "你 (U+4F60)" in record.getMessage() and "好 (U+597D)" in record.getMessage()


def test_sixty_tokens_are_readable(generation):
    tokens = [f"▁word{i}" for i in range(60)]
    figure = plot_attention(generation(tokens, tokens))
    renderer = drawn(figure)
    (axis,) = panels(figure)
    for ticks, low, high in ((axis.get_xticklabels(), "x0", "x1"), (axis.get_yticklabels(), "y0", "y1")):
        extents = [label.get_window_extent(renderer) for label in ticks]
        boxes = sorted((getattr(extent, low), getattr(extent, high)) for extent in extents)
        assert all(before[1] <= after[0] for before, after in zip(boxes, boxes[1:], strict=False))
        assert min(label.get_fontsize() for label in ticks) >= 8
    assert max(figure.get_size_inches()) < 20


def test_nothing_overlaps_or_leaves_the_page_in_a_grid(generation):
    long = [f"▁longish{i}" for i in range(12)]
    generations = [generation(long[: 5 + i], long[: 9 - i], text="a text of many words " * 5) for i in range(4)]
    figure = plot_attention(generations, title="Four sentences")
    renderer = drawn(figure)
    assert len(figure.axes) == 5  # including the colour bar
    boxes = [axis.get_tightbbox(renderer) for axis in figure.axes]
    page = figure.bbox
    for index, box in enumerate(boxes):
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
        for other in boxes[index + 1 :]:
            assert box.x1 <= other.x0 + 1 or other.x1 <= box.x0 + 1 or box.y1 <= other.y0 + 1 or other.y1 <= box.y0 + 1


def test_all_cells_are_squares_of_one_size(generation):
    figure = plot_attention([generation(["▁a"] * (2 + 3 * i), ["▁b"] * (9 - i)) for i in range(4)])
    cells = set()
    for axis in panels(figure):
        rows, columns = axis.images[0].get_array().shape
        width, height = axis.get_position().size * figure.get_size_inches()
        cells |= {round(width / columns, 6), round(height / rows, 6)}
    assert len(cells) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"attention": None}, "index 1 has no attention.*AttentionSeq2Seq"),
        ({"attention": np.ones((2, 1))}, r"Expected at index 1: \(1, 2\). Received: \(2, 1\)"),
        ({"source_tokens": [], "target_tokens": [], "attention": np.ones((0, 0))}, r"at least \(1, 1\)"),
    ],
)
def test_bad_generations(generation, cat, arguments, message):
    arguments = {"source_tokens": ["▁a", "▁b"], "target_tokens": ["▁c"], **arguments}
    with pytest.raises(ValueError, match=message):
        plot_attention([cat, generation(**arguments)])


@pytest.mark.parametrize(
    "generations, options, message",
    [
        ([], {}, "at least one Generation"),
        ("le chat", {}, "details=True"),
        (["le chat"], {}, "details=True"),
        (None, {"heads": True}, "index 0 has no attention heads.*attention='multi_head'"),
        (None, {"copies": True}, "index 0 has no generation probability.*PointerGeneratorSeq2Seq"),
        (None, {"heads": True, "copies": True}, "either heads or copies"),
    ],
)
def test_bad_arguments(cat, generations, options, message):
    with pytest.raises(ValueError, match=message):
        plot_attention(cat if generations is None else generations, **options)


def test_no_global_state(cat):
    before = dict(matplotlib.rcParams)
    figure = plot_attention(cat)
    plot_history({"loss": [1.0]})
    assert dict(matplotlib.rcParams) == before
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)  # Opaque, for dark pages.
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_importing_needs_no_matplotlib(monkeypatch):
    monkeypatch.setattr(kerasseq, "plotting", kerasseq.plotting)  # Restored, because the import replaces it.
    for name in [name for name in sys.modules if name.startswith(("kerasseq.plotting", "matplotlib"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert importlib.import_module("kerasseq.plotting").plot_attention
