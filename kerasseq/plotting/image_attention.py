"""Attention weights over image regions, one panel per generated word."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasseq.plotting.attention import MISSING_GLYPH, WORD_START, shown_token
from kerasseq.plotting.fonts import covering_fonts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

END = "</s>"
DARKEST = 0.15  # Relative brightness of the image where the attention is 0.
LIGHT = 0.25  # Brightness added to black where the attention is largest.
PANEL = 1.6  # width in inches
COLUMNS = 6  # largest number of panels in a row


def plot_image_attention(image: bytes | np.ndarray, generation: Any, title: str | None = None) -> Figure:
    """Shows which image regions the decoder attends to for each word: bright with attention, dark without.

    The first panel is the image itself. The attention weights of a word are averaged over its tokens; END is omitted.
    Weights are interpolated between the centres of the image regions, and scaled to the largest weight of each word, so
    a uniformly bright panel means uniform attention.

    Args:
        image: bytes of an image file, as passed to `TextGenerator.generate`; or array `(height, width, 3)` or `(height,
            width)`, uint8, or float from 0 to 1. It is shown as passed, not as resized for the model.
        generation: `kerasseq.Generation`, as `TextGenerator.generate(..., details=True)` returns. Its `source_tokens`
            name the image regions, `"row,column"`.
        title: str, title of the figure. Defaults to the generated text.

    Returns:
        a `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the generation has no attention, or its source is not an image.

    Example:

    >>> import numpy as np
    >>> import kerasseq
    >>> from kerasseq.plotting import plot_image_attention
    >>> generation = kerasseq.Generation(
    ...     text="two cats", score=-0.1, alternatives=[], source_tokens=["0,0", "0,1", "1,0", "1,1"],
    ...     target_tokens=["▁two", "▁cat", "s", "</s>"], attention=np.full((4, 4), 0.25))
    >>> figure = plot_image_attention(np.zeros((8, 8, 3), "uint8"), generation)
    >>> [axis.get_title() for axis in figure.axes]
    ['', 'two', 'cats']

    Source: the figures of Xu et al. 2015.
    """
    from matplotlib.figure import Figure  # Deferred: importing kerasseq stays cheap.

    grid = region_grid(generation)
    picture = pixels(image)
    words = attention_of_words(generation.target_tokens, generation.attention)
    title = generation.text if title is None else title

    # === Fonts ===
    shown = "".join([title, *(word for word, _ in words)])
    families, missing = covering_fonts(shown)
    boxes = dict.fromkeys(map(ord, missing), MISSING_GLYPH)
    font: dict[str, Any] = {"fontfamily": families, "parse_math": False}

    # === Panels ===
    columns = min(COLUMNS, len(words) + 1)
    lines = math.ceil((len(words) + 1) / columns)
    height, width = picture.shape[:2]
    size = (columns * PANEL, lines * (PANEL * height / width + 0.15) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes: Any = figure.subplots(lines, columns, squeeze=False).ravel()
    axes[0].imshow(picture)
    for axis, (word, weights) in zip(axes[1:], words, strict=False):
        axis.imshow(lit(picture, weights.reshape(grid)))
        axis.set_title(word.translate(boxes), fontsize=9, **font)
    for axis in axes[: len(words) + 1]:
        axis.set_axis_off()
    for axis in axes[len(words) + 1 :]:
        axis.remove()
    figure.suptitle(title.translate(boxes), fontsize=10, wrap=True, **font)
    return figure


def region_grid(generation: Any) -> tuple[int, int]:
    """The numbers of rows and columns of image regions. Raises a `ValueError` if there is no attention over them."""
    if not hasattr(generation, "attention"):
        raise ValueError(
            "generation must be one of the objects that TextGenerator.generate(images, details=True) returns. "
            f"Received: {generation!r}."
        )
    if generation.attention is None:
        raise ValueError(
            "The generation has no attention. Use a model with attention, such as kerasseq.models.CaptioningSeq2Seq."
        )
    tokens = generation.source_tokens
    last = [int(number) for number in tokens[-1].split(",") if number.isdecimal()] if tokens else []
    rows, columns = (number + 1 for number in last) if len(last) == 2 else (0, 0)
    if tokens != [f"{row},{column}" for row in range(rows) for column in range(columns)] or not tokens:
        raise ValueError(
            "The generation's source_tokens must name image regions: '0,0', '0,1', and so on, row by row. Received: "
            f"{tokens}. For attention over text, use plot_attention."
        )
    expected = (len(generation.target_tokens), len(tokens))
    if np.shape(generation.attention) != expected:
        raise ValueError(
            f"attention must have the shape (target tokens, image regions). Expected: {expected}. Received: "
            f"{np.shape(generation.attention)}."
        )
    return rows, columns


def pixels(image: bytes | np.ndarray) -> np.ndarray:
    """Decodes an image to floats from 0 to 1, `(height, width, 3)`."""
    if isinstance(image, bytes):
        from PIL import Image  # A dependency of matplotlib.

        try:
            with Image.open(io.BytesIO(image)) as file:
                decoded: Image.Image = file
                if file.mode.startswith("I;16"):  # PIL would clip 16-bit gray values to 8 bits.
                    decoded = Image.fromarray((np.asarray(file) // 256).astype("uint8"))
                decoded = decoded.convert("RGBA")
        except OSError as error:  # Includes PIL.UnidentifiedImageError.
            raise ValueError(
                f"image must be the content of an image file. Received: {len(image)} bytes that start with "
                f"{image[:8]!r} and cannot be decoded: {error}."
            ) from error
        # Transparent pixels become white, as in the preprocessor.
        white = Image.new("RGBA", decoded.size, "white")
        values = np.asarray(Image.alpha_composite(white, decoded).convert("RGB"))
    else:
        values = np.asarray(image)
    if values.dtype == np.uint8:
        values = values / 255.0
    if values.ndim == 2:
        values = np.repeat(values[:, :, None], 3, axis=2)
    if values.ndim != 3 or values.shape[2] != 3 or values.min() < 0 or values.max() > 1:
        raise ValueError(
            "image must be the content of an image file, or an array (height, width, 3) of uint8, or of floats from 0 "
            f"to 1. Received: an array of {values.dtype} with shape {values.shape}. Divide pixels from 0 to 255 by 255."
        )
    return values


def attention_of_words(tokens: Sequence[str], attention: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Joins tokens to words, each with the mean attention weights `(regions,)` of its tokens. Omits END."""
    words: list[tuple[str, list[np.ndarray]]] = []
    for token, weights in zip(tokens, attention, strict=True):
        if token == END:
            continue
        if token.startswith(WORD_START) or not words:
            words.append((token.removeprefix(WORD_START), [weights]))
        else:
            word, earlier = words[-1]
            words[-1] = (word + token, [*earlier, weights])
    return [(shown_token(word), np.mean(weights, axis=0)) for word, weights in words]


def lit(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Darkens the image where the weights `(rows, columns)` are small."""
    height, width, _ = image.shape
    rows, columns = (interpolation(*lengths) for lengths in zip((height, width), weights.shape, strict=True))
    smooth = rows @ weights @ columns.T  # (height, width)
    brightness = (smooth / max(np.max(smooth), 1e-9))[:, :, None]
    # The added light makes attention visible on black objects too.
    return image * (DARKEST + (1 - DARKEST) * brightness) + LIGHT * brightness * (1 - image)


def interpolation(length: int, count: int) -> np.ndarray:
    """Gaussian weights `(length, count)` of `count` evenly spaced regions at each of `length` pixels."""
    pixel_centres = (np.arange(length)[:, None] + 0.5) / length * count
    weights = np.exp(-1.2 * (pixel_centres - (np.arange(count) + 0.5)) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)
