import csv
import doctest
import logging
import os
import subprocess
import sys

import keras
import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg

import kerasseq
from kerasseq import plotting
from kerasseq.plotting import MISSING_GLYPH, covering_fonts, plot_attention, plot_history, shown_token


def generation(source_tokens, target_tokens, attention="random", text="le chat"):
    if isinstance(attention, str):
        weights = np.random.default_rng(0).random((len(target_tokens), len(source_tokens)))
        attention = weights / weights.sum(axis=1, keepdims=True)
    return kerasseq.Generation(
        text=text, score=-0.5, alternatives=[(text, -0.5)], source_tokens=source_tokens, target_tokens=target_tokens,
        attention=attention,
    )  # fmt: skip


def panels(figure):
    """The axes with a heat map, without the colour bar's."""
    return [axis for axis in figure.axes if axis.images]


def labels(axis):
    return [[label.get_text() for label in ticks] for ticks in (axis.get_xticklabels(), axis.get_yticklabels())]


def drawn(figure):
    """The renderer that has drawn the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


CAT = generation(["▁the", "▁c", "at", "</s>"], ["▁le", "▁chat", "</s>"])


# === plot_attention ===


def test_heat_map_shows_attention_and_tokens():
    figure = plot_attention(CAT)
    (axis,) = panels(figure)
    np.testing.assert_array_equal(axis.images[0].get_array(), CAT.attention)
    assert labels(axis) == [["␣the", "␣c", "at", "END"], ["␣le", "␣chat", "END"]]
    assert list(axis.get_xticks()) == [0, 1, 2, 3]
    assert list(axis.get_yticks()) == [0, 1, 2]
    bottom, top = axis.get_ylim()
    assert bottom > top  # The first target token on top, as one reads.
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("source", "target", "le chat")
    assert [other.get_ylabel() for other in figure.axes if other is not axis] == ["attention weight"]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_one_panel_a_generation_on_one_colour_scale(count):
    generations = [generation(["▁a"] * (2 + i), ["▁b"] * (3 + i), text=f"number {i}") for i in range(count)]
    figure = plot_attention(generations, title="All")
    assert [axis.get_title() for axis in panels(figure)] == [f"number {i}" for i in range(count)]
    for axis, expected in zip(panels(figure), generations, strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), expected.attention)
    highest = max(expected.attention.max() for expected in generations)
    assert {axis.images[0].get_clim() for axis in panels(figure)} == {(0.0, highest)}
    assert len(figure.axes) == count + 1  # No empty panel stays, and there is one colour bar.
    assert figure.get_suptitle() == "All"


def test_weights_of_zero_alone():
    figure = plot_attention(generation(["▁a"], ["▁b"], np.zeros((1, 1))))
    assert panels(figure)[0].images[0].get_clim() == (0.0, 1.0)


@pytest.mark.parametrize(
    "token, shown",
    [
        ("▁May", "␣May"),
        ("▁", "␣"),
        ("</s>", "END"),
        ("<0xE2>", "<0xE2>"),
        ("é", "é"),
        ("\u200b", "\\u200b"),
        ("a\n", "a\\n"),
    ],
)
def test_shown_token(token, shown):
    assert shown_token(token) == shown


def test_dollars_and_backslashes_are_no_mathematics(tmp_path):
    tokens = ["▁$", "x_1$", "\\frac{", "</s>"]
    figure = plot_attention(generation(tokens, tokens, text="$\\frac{$"))
    figure.savefig(tmp_path / "attention.png")
    assert labels(panels(figure)[0])[0] == ["␣$", "x_1$", "\\frac{", "END"]
    assert panels(figure)[0].get_title() == "$\\frac{$"


@pytest.mark.parametrize(
    "tokens", [["▁你", "好", "吗"], ["▁مرحبا", "▁بك"], ["▁été", "Ångström"], ["😀"], ["▁नम", "स्ते"]]
)
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_all_scripts_draw_without_warnings(tmp_path, tokens, ending, recwarn):
    figure = plot_attention(generation(tokens, tokens, text=" ".join(tokens)), title=tokens[0])
    figure.savefig(tmp_path / f"attention.{ending}")
    assert [str(warning.message) for warning in recwarn] == []


def test_characters_without_any_font_are_boxes_and_named_once(monkeypatch, caplog):
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    with caplog.at_level(logging.WARNING, "kerasseq"):
        figure = plot_attention(generation(["▁你", "好", "a"], ["好"], text="好 a"))
    assert labels(panels(figure)[0]) == [["␣" + MISSING_GLYPH, MISSING_GLYPH, "a"], [MISSING_GLYPH]]
    assert panels(figure)[0].get_title() == MISSING_GLYPH + " a"
    (record,) = caplog.records
    assert "你 (U+4F60)" in record.getMessage() and "好 (U+597D)" in record.getMessage()


def test_fonts_that_are_gone_are_passed_over(monkeypatch):
    gone = font_manager.FontEntry(fname="/nowhere/gone.ttf", name="A Sans", weight=400)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [gone])
    assert covering_fonts("好")[1] == ["好"]


def test_an_installed_font_stands_in(caplog):
    # With a default font of few characters, others of matplotlib's own have the Arabic and Cyrillic ones.
    with matplotlib.rc_context({"font.family": ["cmr10"]}):
        families, missing = covering_fonts("Привет مرحبا")
    assert families[0] == "cmr10" and len(families) > 1 and not missing
    assert not any("Last Resort" in family for family in families)
    assert covering_fonts("plain é") == (matplotlib.rcParams["font.family"], [])
    assert not caplog.records


def test_sixty_tokens_are_readable():
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


def test_nothing_overlaps_or_sticks_out_in_a_grid():
    long = [f"▁longish{i}" for i in range(12)]
    generations = [generation(long[: 5 + i], long[: 9 - i], text="a text of many words " * 5) for i in range(4)]
    figure = plot_attention(generations, title="Four sentences")
    renderer = drawn(figure)
    assert len(figure.axes) == 5  # the colour bar included
    boxes = [axis.get_tightbbox(renderer) for axis in figure.axes]
    page = figure.bbox
    for index, box in enumerate(boxes):
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
        for other in boxes[index + 1 :]:
            assert box.x1 <= other.x0 + 1 or other.x1 <= box.x0 + 1 or box.y1 <= other.y0 + 1 or other.y1 <= box.y0 + 1


def test_all_cells_are_squares_of_one_size():
    figure = plot_attention([generation(["▁a"] * (2 + 3 * i), ["▁b"] * (9 - i)) for i in range(4)])
    cells = set()
    for axis in panels(figure):
        rows, columns = axis.images[0].get_array().shape
        width, height = axis.get_position().size * figure.get_size_inches()
        cells |= {round(width / columns, 6), round(height / rows, 6)}
    assert len(cells) == 1


@pytest.mark.parametrize(
    "generations, message",
    [
        ([], "at least one Generation"),
        (generation(["▁a"], ["▁b"], None), "index 0 has no attention.*AttentionSeq2Seq"),
        ([CAT, generation(["▁a"], ["▁b"], None)], "index 1 has no attention"),
        (generation(["▁a", "▁b"], ["▁c"], np.ones((2, 1))), r"Expected at index 0: \(1, 2\). Received: \(2, 1\)"),
        (generation([], [], np.ones((0, 0))), "at least"),
        ("le chat", "details=True"),
        (["le chat"], "details=True"),
    ],
)
def test_attention_errors(generations, message):
    with pytest.raises(ValueError, match=message):
        plot_attention(generations)


def test_no_global_state():
    before = dict(matplotlib.rcParams)
    figure = plot_attention(CAT)
    plot_history({"loss": [1.0]})
    assert dict(matplotlib.rcParams) == before
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)  # Opaque, for dark pages.
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_importing_needs_no_matplotlib():
    program = "import sys; sys.modules['matplotlib'] = None; import kerasseq.plotting"
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": path})


# === plot_history ===

HISTORY = {"loss": [3.0, 2.0, 1.0], "token_accuracy": [0.1, 0.5, 0.9], "val_loss": [3.5, 2.5, 2.0]}


def curves(figure):
    """{metric: {label: (x, y)}} of a figure."""
    return {
        axis.get_ylabel(): {
            line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()
        }
        for axis in figure.axes
    }


def test_curves_are_the_history():
    figure = plot_history(HISTORY, title="Dates")
    assert curves(figure) == {
        "loss": {"training": ([1, 2, 3], [3.0, 2.0, 1.0]), "validation": ([1, 2, 3], [3.5, 2.5, 2.0])},
        "token accuracy": {"training": ([1, 2, 3], [0.1, 0.5, 0.9])},
    }
    assert [axis.get_xlabel() for axis in figure.axes] == ["epoch", "epoch"]
    legends = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in figure.axes]
    assert legends == [["training", "validation"], ["training"]]
    assert figure.get_suptitle() == "Dates"


@pytest.mark.parametrize("epochs", [1, 2, 12])
def test_ticks_are_whole_epochs(epochs):
    figure = plot_history({"loss": list(range(epochs))})
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
    assert ticks and all(float(tick).is_integer() and tick >= 1 for tick in ticks)


def fit(epochs=3, initial_epoch=0, callbacks=(), validation_freq=1):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.ones((4, 1), "float32")
    return model.fit(
        x, x, validation_data=(x, x), epochs=epochs, initial_epoch=initial_epoch, verbose=0, callbacks=list(callbacks),
        validation_freq=validation_freq,
    )  # fmt: skip


def test_keras_history():
    history = fit(epochs=5, initial_epoch=2)
    drawn = curves(plot_history(history))
    assert list(drawn) == ["loss", "mae"]
    assert drawn["mae"]["validation"] == ([3, 4, 5], history.history["val_mae"])


def test_csv_log_draws_what_the_history_draws(tmp_path):
    history = fit(callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")])
    from_file = curves(plot_history(tmp_path / "log.csv"))
    assert curves(plot_history(str(tmp_path / "log.csv"))) == from_file
    for metric, expected in curves(plot_history(history)).items():
        for label, (epochs, values) in expected.items():
            assert from_file[metric][label][0] == epochs
            np.testing.assert_allclose(from_file[metric][label][1], values, rtol=1e-6)


def test_csv_log_with_validation_in_every_second_epoch(tmp_path):
    history = fit(epochs=4, callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")], validation_freq=2)
    with pytest.raises(ValueError, match=r"'val_loss': 2.*CSVLogger"):
        plot_history(history)
    epochs, values = curves(plot_history(tmp_path / "log.csv"))["loss"]["validation"]
    assert epochs == [2, 4]
    np.testing.assert_allclose(values, history.history["val_loss"], rtol=1e-6)


def test_csv_log_of_resumed_training_without_validation(tmp_path):
    rows = [[0, 3.0, "NA"], [1, 9.0, "NA"], [1, 2.0, "NA"], [2, 1.0, "NA"]]
    with open(tmp_path / "log.csv", "w", newline="") as file:
        csv.writer(file).writerows([["epoch", "loss", "val_loss"], *rows])
    assert curves(plot_history(tmp_path / "log.csv")) == {"loss": {"training": ([1, 2, 3], [3.0, 2.0, 1.0])}}


def test_diverged_training():
    nan = float("nan")
    drawn_curves = curves(plot_history({"loss": [2.0, nan, 1.0], "val_loss": [nan, nan, nan]}))
    assert drawn_curves == {"loss": {"training": ([1, 3], [2.0, 1.0]), "validation": ([], [])}}


@pytest.mark.parametrize("history", [{}, {"loss": []}, keras.callbacks.History()])
def test_empty_history(history):
    if not isinstance(history, dict):
        history.history, history.epoch = {}, []
    with pytest.raises(ValueError, match="holds no epoch.*Call fit"):
        plot_history(history)


def test_file_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        plot_history(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("epoch,loss\n")
    with pytest.raises(ValueError, match="holds no epoch"):
        plot_history(tmp_path / "empty.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="column 'epoch'"):
        plot_history(tmp_path / "other.csv")


@pytest.mark.parametrize("history", [None, 3, [1.0, 2.0]])
def test_what_is_no_history(history):
    with pytest.raises(ValueError, match="must be what fit returns"):
        plot_history(history)


def test_examples():
    result = doctest.testmod(plotting)
    assert result.attempted and not result.failed
