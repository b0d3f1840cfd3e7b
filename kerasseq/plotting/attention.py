"""Heat maps of attention weights."""

from __future__ import annotations

import math
import operator
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasseq.plotting.fonts import covering_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORD_START = "\u2581"  # SentencePiece's marker.
SHOWN_WORD_START = "\u2423"  # Open box, the usual symbol of a visible space.
MISSING_GLYPH = "\u25a1"
# In inches:
WIDEST_GRID = 14.0
GAP = 0.25  # between panels
BAR_WIDTH = 0.85  # of the colour bar with its labels


def plot_attention(generations: Any, title: str | None = None, heads: bool = False, copies: bool = False) -> Figure:
    """Plots attention weights as heat maps, with source tokens along x and target tokens along y.

    Word starts, which SentencePiece marks with U+2581, are shown as "␣", the end of a sequence as "END". Characters
    missing in matplotlib's current font are drawn in another installed font. If no font has them (as for Chinese on
    many servers), they are drawn as boxes, and a log message lists them.

    Args:
        generations: `kerasseq.Generation`, or a list of them, as `TextGenerator.generate(..., details=True)` returns.
            Needs `source_tokens`, `target_tokens` and `attention`, float `(target tokens, source tokens)`.
        title: str, title of the figure. The title of a panel is its generated text. Defaults to `None`: no title.
        heads: bool, whether to show one panel per attention head, from `attention_heads`, instead of their mean.
            Defaults to `False`.
        copies: bool, whether to show the origin of each target token, for models that copy: the copy probability of
            each source token, `(1 - p_gen) * attention`, and in the last column the probability of generating from the
            vocabulary, `p_gen`. Defaults to `False`.

    Returns:
        a `matplotlib.figure.Figure` with one panel per generation or head. All panels share one colour scale, from 0 to
        the largest weight.

    Raises:
        ValueError: if there are no generations, or one lacks the required weights, or their shape does not match its
            tokens.

    Example:

    >>> import numpy as np
    >>> import kerasseq
    >>> from kerasseq.plotting import plot_attention
    >>> generation = kerasseq.Generation(
    ...     text="le chat", score=-0.1, alternatives=[], source_tokens=["▁the", "▁cat", "</s>"],
    ...     target_tokens=["▁le", "▁chat", "</s>"], attention=np.eye(3))
    >>> figure = plot_attention(generation)
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['␣the', '␣cat', 'END']
    """
    from matplotlib.figure import Figure  # Deferred: importing kerasseq stays cheap.

    generations = list(generations) if isinstance(generations, (list, tuple)) else [generations]
    check_generations(generations, heads, copies)
    if heads:
        panels = [
            (generation, weights, f"{generation.text or f'output {index}'} (head {number})")
            for index, generation in enumerate(generations, 1)
            for number, weights in enumerate(generation.attention_heads, 1)
        ]
    else:
        weights_of = origins if copies else operator.attrgetter("attention")
        panels = [(generation, weights_of(generation), generation.text) for generation in generations]
    extra = ["vocabulary"] if copies else []
    sources = [[*map(shown_token, generation.source_tokens), *extra] for generation, _, _ in panels]
    targets = [[shown_token(token) for token in generation.target_tokens] for generation, _, _ in panels]
    texts = [text for _, _, text in panels]
    families, missing = covering_fonts("".join([MISSING_GLYPH, "…", *texts, title or "", *sum(sources + targets, [])]))
    boxes = str.maketrans(dict.fromkeys(missing, MISSING_GLYPH))
    font: dict[str, Any] = {"family": families, "parse_math": False}  # A "$" in a text is a dollar sign.

    # === Panels: square cells, smaller for more tokens, but at least a line of small text high ===
    cell = min(max(6.0 / max(map(len, sources + targets)), 0.19), 0.34)  # inches
    font_size = 9 if cell > 0.2 else 8
    figure = Figure()
    axes = []
    highest = max(float(np.max(weights)) for _, weights, _ in panels)
    for number, ((_, weights, text), source, target) in enumerate(zip(panels, sources, targets, strict=True)):
        axis = figure.add_axes((0, 0, 1, 1), label=f"panel {number}")  # `arrange` positions it.
        image = axis.imshow(
            weights, cmap="Blues", vmin=0.0, vmax=highest or 1.0, aspect="auto", interpolation="nearest"
        )
        source, target = ([token.translate(boxes) for token in tokens] for tokens in (source, target))
        axis.set_xticks(range(len(source)), source, rotation=90, fontsize=font_size, **font)
        axis.set_yticks(range(len(target)), target, fontsize=font_size, **font)
        # Faint grid lines connect cells of zero weight to their labels.
        axis.set_xticks(np.arange(0.5, len(source) - 1), minor=True)
        axis.set_yticks(np.arange(0.5, len(target) - 1), minor=True)
        axis.grid(which="minor", color="0.9", linewidth=0.5)
        axis.tick_params(which="both", length=0)
        axis.set_xlabel("source")
        axis.set_ylabel("target")
        characters = max(int((len(source) * cell + 0.5) * 10), 16)  # as many as fit above the panel
        lines = textwrap.wrap(text.translate(boxes), characters, max_lines=2, placeholder=" …")
        axis.set_title("\n".join(lines), fontsize=font_size + 1, **font)
        axes.append(axis)

    # === Grid, colour bar, title ===
    sizes = [(len(source) * cell, len(target) * cell) for source, target in zip(sources, targets, strict=True)]
    bar_axis = arrange(figure, axes, sizes, top=0.4 if title else 0.0)
    bar = figure.colorbar(image, cax=bar_axis, label="probability of the origin" if copies else "attention weight")
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title.translate(boxes), y=1 - 0.1 / figure.get_figheight(), va="top", **font)
    return figure


def arrange(figure: Figure, axes: Sequence[Axes], sizes: Sequence[tuple[float, float]], top: float) -> Axes:
    """Arranges panels in a tight grid, with a colour bar on the right.

    All cells have the same size. matplotlib's layout engines would scale panels of different shapes differently. The
    figure is resized to fit its axes, whose sizes are (width, height) in inches, below `top` inches for a title.
    Returns axes for the colour bar.
    """
    margins = []  # space for labels and titles around each panel: left, right, bottom, top
    for axis, (width, height) in zip(axes, sizes, strict=True):
        axis.set_position((0, 0, width / figure.get_figwidth(), height / figure.get_figheight()))
        inner = axis.get_window_extent()
        outer: Any = axis.get_tightbbox()  # None only for invisible axes.
        sides = (inner.x0 - outer.x0, outer.x1 - inner.x1, inner.y0 - outer.y0, outer.y1 - inner.y1)
        margins.append([side / figure.dpi for side in sides])
    widest = max(width + left + right for (width, _), (left, right, _, _) in zip(sizes, margins, strict=True))
    columns = len(axes) if len(axes) <= 3 else math.ceil(math.sqrt(len(axes)))
    columns = max(1, min(columns, int(WIDEST_GRID // (widest + GAP))))

    # === Edges of columns and rows, in inches from the left and from the top ===
    cells = [divmod(number, columns) for number in range(len(axes))]
    x, lefts = GAP, []
    for column in range(columns):
        members = range(column, len(axes), columns)
        lefts.append(x + max(margins[i][0] for i in members))
        x = lefts[-1] + max(sizes[i][0] + margins[i][1] for i in members) + GAP
    y, tops = GAP / 2 + top, []
    for first in range(0, len(axes), columns):
        members = range(first, min(first + columns, len(axes)))
        tops.append(y + max(margins[i][3] for i in members))
        y = tops[-1] + max(sizes[i][1] + margins[i][2] for i in members) + GAP / 2

    width, height = x + BAR_WIDTH, max(y, 2.2)
    figure.set_size_inches(width, height)
    for axis, (row, column), (panel_width, panel_height) in zip(axes, cells, sizes, strict=True):
        bottom = height - tops[row] - panel_height
        axis.set_position((lefts[column] / width, bottom / height, panel_width / width, panel_height / height))
    bar_height = min(3.0, height - tops[0] - 0.3)
    return figure.add_axes((x / width, (height - tops[0] - bar_height) / height, 0.15 / width, bar_height / height))


def origins(generation: Any) -> np.ndarray:
    """Copy and generation probabilities, `(target tokens, source tokens + 1)`. The last column is the vocabulary."""
    generated = np.asarray(generation.generation_probability)[:, None]
    total = np.sum(generation.attention, axis=1, keepdims=True)  # Less than 1 for monotonic attention.
    copied = (1.0 - generated) * generation.attention / np.maximum(total, 1e-9)
    return np.concatenate([copied, generated], axis=1)


def check_generations(generations: Sequence[Any], heads: bool, copies: bool) -> None:
    """Raises a `ValueError` unless every generation has the requested weights, in the shape of its tokens."""
    if heads and copies:
        raise ValueError("plot_attention shows either heads or copies. Received: heads=True, copies=True. Choose one.")
    if not generations:
        raise ValueError("plot_attention needs at least one Generation. Received: an empty list.")
    for index, generation in enumerate(generations):
        if not hasattr(generation, "attention"):
            raise ValueError(
                "plot_attention takes what TextGenerator.generate(sources, details=True) returns. "
                f"Received at index {index}: {generation!r}."
            )
        if generation.attention is None:
            raise ValueError(
                f"The generation at index {index} has no attention: its model does not attend to the source. Use a "
                "model with attention, such as kerasseq.models.AttentionSeq2Seq."
            )
        if heads and generation.attention_heads is None:
            raise ValueError(
                f"The generation at index {index} has no attention heads. Use a model with multi-head attention, such "
                "as kerasseq.models.AttentionSeq2Seq(..., attention='multi_head'), or heads=False."
            )
        if copies and generation.generation_probability is None:
            raise ValueError(
                f"The generation at index {index} has no generation probability: its model does not copy. Use "
                "kerasseq.models.PointerGeneratorSeq2Seq, or copies=False."
            )
        expected = (len(generation.target_tokens), len(generation.source_tokens))
        received = np.shape(generation.attention_heads)[1:] if heads else np.shape(generation.attention)
        if received != expected or 0 in expected:
            raise ValueError(
                "attention must have the shape (target tokens, source tokens), at least (1, 1). Expected at index "
                f"{index}: {expected}. Received: {received}."
            )


def shown_token(token: str) -> str:
    """A token as an axis label: with readable word starts and END, and escaped invisible characters."""
    if token == "</s>":
        return "END"
    token = token.replace(WORD_START, SHOWN_WORD_START)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in token)
