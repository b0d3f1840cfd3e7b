"""Diagrams of what a model is made of: boxes, and arrows between them."""

from kerasseq.plotting.fonts import covering_fonts

CELL = (1.9, 0.95)  # inches of a column and of a row
FACES = {"layer": "#dbe9f6", "data": "#f2f2f2", "state": "#fdebd0"}
INK = "#222222"


def plot_diagram(boxes, arrows, title=None):
    """A diagram of boxes on a grid and arrows between them, on white paper.

    Args:
        boxes: dict, from the name of a box to `(text, column, row)` or `(text, column, row, kind)`. Texts may have
            several lines, and mathematics between dollars. Columns count from the left and rows from the bottom, in
            fractions where needed. Kinds have colours of their own: `"layer"` (the default), `"data"` or `"state"`.
        arrows: list of `(from, to)` or `(from, to, label)`, of names of boxes.
        title: str, above the diagram. Default: none.

    Returns:
        a `matplotlib.figure.Figure`.

    Raises:
        ValueError: if there is no box, an arrow's end is none of them, or a kind is unknown.

    Example:

    >>> from kerasseq.plotting import plot_diagram
    >>> figure = plot_diagram({"x": ("source", 0, 0, "data"), "encoder": ("LSTM", 0, 1)}, [("x", "encoder")])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['source', 'LSTM', '']

    ```python
    figure.savefig("diagram.png", dpi=150)
    ```
    """
    from matplotlib.figure import Figure  # Deferred: importing kerasseq stays cheap.

    boxes = {name: (*box, "layer")[:4] for name, box in boxes.items()}
    if not boxes:
        raise ValueError("boxes must have a box at least: nothing to draw. Received: {}.")
    labels, columns, rows, kinds = zip(*boxes.values(), strict=True)
    if not set(kinds) <= set(FACES):
        raise ValueError(
            f"The kind of a box must be one of {list(FACES)}. Received: {sorted(set(kinds) - set(FACES))}."
        )
    unknown = {end for arrow in arrows for end in arrow[:2]} - set(boxes)
    if unknown:
        raise ValueError(f"Arrows must go from box to box: {list(boxes)}. Received: {sorted(unknown)}.")

    width, height = max(columns) - min(columns) + 1, max(rows) - min(rows) + 1
    figure = Figure(figsize=(width * CELL[0], height * CELL[1] + 0.35 * bool(title)), facecolor="white")
    figure.subplots_adjust(0, 0, 1, 1 - 0.35 * bool(title) / figure.get_figheight())
    axis = figure.subplots()
    axis.set(xlim=(min(columns) - 0.5, max(columns) + 0.5), ylim=(min(rows) - 0.5, max(rows) + 0.5))
    axis.set_axis_off()
    families, _ = covering_fonts("".join(labels))
    font = {"fontfamily": families, "color": INK}
    texts = {}
    for name, (text, column, row, kind) in boxes.items():
        style = {"boxstyle": "round,pad=0.5", "facecolor": FACES[kind], "edgecolor": INK}
        texts[name] = axis.text(column, row, text, ha="center", va="center", fontsize=9, bbox=style, **font)
    for start, end, *label in arrows:
        (x0, y0), (x1, y1) = boxes[start][1:3], boxes[end][1:3]
        ends = {"patchA": texts[start].get_bbox_patch(), "patchB": texts[end].get_bbox_patch()}
        style = {"arrowstyle": "-|>", "color": INK, "shrinkA": 2, "shrinkB": 2, **ends}
        axis.annotate("", (x1, y1), (x0, y0), arrowprops=style)
        if label:
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            middle = ((x0 + x1) / 2, (y0 + y1) / 2)
            axis.text(*middle, label[0], ha="center", va="center", fontsize=8, bbox=paper, **font)
    if title:
        figure.suptitle(title, parse_math=False, color=INK)
    return figure
