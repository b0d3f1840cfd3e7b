"""Model diagrams: boxes and arrows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kerasseq.plotting.fonts import covering_fonts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = (1.9, 0.95)  # width of a column and height of a row, in inches
FACES = {"layer": "#dbe9f6", "data": "#f2f2f2", "state": "#fdebd0"}
INK = "#222222"


def plot_diagram(
    boxes: Mapping[str, tuple[Any, ...]], arrows: Sequence[tuple[str, ...]], title: str | None = None
) -> Figure:
    """Draws a diagram of boxes on a grid, connected by arrows.

    Args:
        boxes: dict from box names to `(text, column, row)` or `(text, column, row, kind)`. Texts may have several
            lines, and mathematics between dollar signs. Columns count from the left and rows from the bottom, and may
            be fractional. The kind selects the colour: `"layer"` (the default), `"data"` or `"state"`.
        arrows: list of `(from, to)` or `(from, to, label)`, where `from` and `to` are box names.
        title: str, title of the figure. Defaults to `None`: no title.

    Returns:
        a `matplotlib.figure.Figure`.

    Raises:
        ValueError: if there are no boxes, an arrow starts or ends at an unknown box, or a kind is unknown.

    Example:

    >>> from kerasseq.plotting import plot_diagram
    >>> figure = plot_diagram({"x": ("source", 0, 0, "data"), "encoder": ("LSTM", 0, 1)}, [("x", "encoder")])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['source', 'LSTM', '']
    """
    from matplotlib.figure import Figure  # Deferred: importing kerasseq stays cheap.

    boxes = {name: (*box, "layer")[:4] for name, box in boxes.items()}
    if not boxes:
        raise ValueError("boxes must have at least one box. Received: {}.")
    labels, columns, rows, kinds = zip(*boxes.values(), strict=True)
    if not set(kinds) <= set(FACES):
        raise ValueError(
            f"The kind of a box must be one of {list(FACES)}. Received: {sorted(set(kinds) - set(FACES))}."
        )
    unknown = {end for arrow in arrows for end in arrow[:2]} - set(boxes)
    if unknown:
        raise ValueError(f"Arrows must connect boxes: {list(boxes)}. Received: {sorted(unknown)}.")

    width, height = max(columns) - min(columns) + 1, max(rows) - min(rows) + 1
    figure = Figure(figsize=(width * CELL[0], height * CELL[1] + 0.35 * bool(title)), facecolor="white")
    figure.subplots_adjust(0, 0, 1, 1 - 0.35 * bool(title) / figure.get_figheight())
    axis = figure.subplots()
    axis.set(xlim=(min(columns) - 0.5, max(columns) + 0.5), ylim=(min(rows) - 0.5, max(rows) + 0.5))
    axis.set_axis_off()
    families, _ = covering_fonts("".join(labels))
    font: dict[str, Any] = {"fontfamily": families, "color": INK}
    texts = {}
    for name, (text, column, row, kind) in boxes.items():
        box_style: dict[str, Any] = {"boxstyle": "round,pad=0.5", "facecolor": FACES[kind], "edgecolor": INK}
        texts[name] = axis.text(column, row, text, ha="center", va="center", fontsize=9, bbox=box_style, **font)
    for start, end, *label in arrows:
        (x0, y0), (x1, y1) = boxes[start][1:3], boxes[end][1:3]
        ends: dict[str, Any] = {"patchA": texts[start].get_bbox_patch(), "patchB": texts[end].get_bbox_patch()}
        arrow_style: dict[str, Any] = {"arrowstyle": "-|>", "color": INK, "shrinkA": 2, "shrinkB": 2, **ends}
        axis.annotate("", (x1, y1), (x0, y0), arrowprops=arrow_style)
        if label:
            background: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            middle = ((x0 + x1) / 2, (y0 + y1) / 2)
            axis.text(*middle, label[0], ha="center", va="center", fontsize=8, bbox=background, **font)
    if title:
        figure.suptitle(title, parse_math=False, color=INK)
    return figure
