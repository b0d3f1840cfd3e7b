import io

import pytest

from kerasseq.plotting import plot_diagram

BOXES = {"x": ("le chat", 0, 0, "data"), "e": ("RNN", 0, 1), "c": ("context $c$", 1, 1, "state"), "d": ("GRU", 2, 1.5)}
ARROWS = [("x", "e"), ("e", "c", "last state"), ("c", "d")]


def test_boxes_have_their_positions():
    figure = plot_diagram(BOXES, ARROWS, title="An encoder-decoder")
    axis = figure.axes[0]
    positions = {text.get_text(): text.get_position() for text in axis.texts}
    assert {text: positions[text] for text, *_ in BOXES.values()} == {text: (x, y) for text, x, y, *_ in BOXES.values()}
    assert positions["last state"] == (0.5, 1.0)
    assert figure.get_suptitle() == "An encoder-decoder"


def test_arrows_end_at_the_edges_of_their_boxes():
    figure = plot_diagram(BOXES, ARROWS)
    figure.savefig(io.BytesIO(), dpi=figure.dpi)
    axis = figure.axes[0]
    arrows = [text for text in axis.texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == len(ARROWS)
    boxes = {text.get_text(): text.get_bbox_patch().get_window_extent() for text in axis.texts if text.get_text()}
    for arrow, (start, end, *_) in zip(arrows, ARROWS, strict=True):
        extent = arrow.arrow_patch.get_window_extent()
        assert not extent.contains(*axis.transData.transform(BOXES[start][1:3]))
        assert not extent.contains(*axis.transData.transform(BOXES[end][1:3]))
        # It spans the gap between both boxes.
        assert all(extent.padded(8).overlaps(boxes[BOXES[name][0]]) for name in (start, end))


@pytest.mark.parametrize(
    "boxes, arrows, message",
    [
        ({}, [], "boxes must have at least one box"),
        ({"a": ("A", 0, 0)}, [("a", "b")], r"Arrows must connect boxes: \['a'\]. Received: \['b'\]"),
        ({"a": ("A", 0, 0, "leyer")}, [], "kind of a box must be one of"),
    ],
)
def test_errors(boxes, arrows, message):
    with pytest.raises(ValueError, match=message):
        plot_diagram(boxes, arrows)
