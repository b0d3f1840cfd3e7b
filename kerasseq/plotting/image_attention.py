"""Pictures that show where in an image the decoder looked for each word."""

import io
import math

import numpy as np

from kerasseq.arguments import check_positive_integer
from kerasseq.plotting.attention import MISSING_GLYPH, WORD_START, shown_token
from kerasseq.plotting.fonts import covering_fonts

END = "</s>"
DARKEST = 0.15  # Of the image's brightness, where there is no attention at all.
LIGHT = 0.25  # What is added to black where the attention is largest.
PANEL = 1.6  # inches


def plot_image_attention(image, generation, title=None, columns=6):
    """The image once for each word of its text, bright where the decoder looked, dark elsewhere.

    The first panel is the image itself. The attention of a word is the mean over its tokens; END is left out. Weights
    are interpolated between the centres of their places, and scaled to the word's own largest: a bright panel looked
    everywhere, not more than others.

    Args:
        image: bytes, the content of an image file, as it was given to `TextGenerator.generate`; or array `(height,
            width, 3)` or `(height, width)`, of uint8, or of floats from 0 to 1. It is shown squashed as the model saw
            it if it was given as an array of that shape; as it is otherwise.
        generation: `kerasseq.Generation`, as `TextGenerator.generate(..., details=True)` returns; its `source_tokens`
            are the places, `"row,column"`.
        title: str, above the whole figure. Default: the generated text.
        columns: int, panels in a row, at most.

    Returns:
        a `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the generation has no attention, or is not of an image.

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

    ```python
    figure.savefig("where_it_looked.png", dpi=150)
    ```

    Source: the figures of Xu et al. 2015.
    """
    from matplotlib.figure import Figure  # Deferred: importing kerasseq stays cheap.

    rows, places = check_places(generation)
    check_positive_integer("columns", columns)
    image = pixels(image)
    words = attention_of_words(generation.target_tokens, generation.attention)
    title = generation.text if title is None else title

    # === Text: in a font that has it ===
    shown = "".join([title, *(word for word, _ in words)])
    families, missing = covering_fonts(shown)
    boxes = dict.fromkeys(map(ord, missing), MISSING_GLYPH)
    font = {"fontfamily": families, "parse_math": False}

    # === Panels ===
    columns = min(columns, len(words) + 1)
    lines = math.ceil((len(words) + 1) / columns)
    height, width = image.shape[:2]
    size = (columns * PANEL, lines * (PANEL * height / width + 0.15) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    axes[0].imshow(image)
    for axis, (word, weights) in zip(axes[1:], words, strict=False):
        axis.imshow(lit(image, weights.reshape(rows, places // rows)))
        axis.set_title(word.translate(boxes), fontsize=9, **font)
    for axis in axes[: len(words) + 1]:
        axis.set_axis_off()
    for axis in axes[len(words) + 1 :]:
        axis.remove()
    figure.suptitle(title.translate(boxes), fontsize=10, wrap=True, **font)
    return figure


def check_places(generation):
    """The rows and the number of places of a generation's attention, or a `ValueError`."""
    if not hasattr(generation, "attention"):
        raise ValueError(
            "plot_image_attention takes one of the objects that TextGenerator.generate(images, details=True) returns. "
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
            "The generation's source_tokens must be places of an image: '0,0', '0,1', and so on, row by row. Received: "
            f"{tokens}. Show the attention of texts by plot_attention."
        )
    expected = (len(generation.target_tokens), len(tokens))
    if np.shape(generation.attention) != expected:
        raise ValueError(
            f"attention must have the shape (target tokens, places). Expected: {expected}. Received: "
            f"{np.shape(generation.attention)}."
        )
    return rows, len(tokens)


def pixels(image):
    """An image as floats `(height, width, 3)` from 0 to 1."""
    if isinstance(image, bytes):
        from PIL import Image  # Matplotlib needs it too.

        try:
            with Image.open(io.BytesIO(image)) as file:
                if file.mode.startswith("I;16"):  # PIL would cut 16 bits of gray to 8.
                    file = Image.fromarray((np.asarray(file) // 256).astype("uint8"))
                drawn = file.convert("RGBA")
        except OSError as error:  # PIL's own are of it.
            raise ValueError(
                f"image must be the content of an image file. Received: {len(image)} bytes that begin with "
                f"{image[:8]!r}, which cannot be read: {error}."
            ) from error
        # What is transparent shows white paper, as it did to the model.
        image = np.asarray(Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB"))
    image = np.asarray(image)
    if image.dtype == np.uint8:
        image = image / 255.0
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or image.min() < 0 or image.max() > 1:
        raise ValueError(
            "image must be the content of an image file, or an array (height, width, 3) of uint8, or of floats from 0 "
            f"to 1. Received: an array of {image.dtype} of the shape {image.shape}. Divide pixels from 0 to 255 by 255."
        )
    return image


def attention_of_words(tokens, attention):
    """The words that tokens make up, each with the mean of their attention `(places,)`; without END."""
    words = []
    for token, weights in zip(tokens, attention, strict=True):
        if token == END:
            continue
        if token.startswith(WORD_START) or not words:
            words.append((token.removeprefix(WORD_START), [weights]))
        else:
            word, earlier = words[-1]
            words[-1] = (word + token, [*earlier, weights])
    return [(shown_token(word), np.mean(weights, axis=0)) for word, weights in words]


def lit(image, weights):
    """The image, dark where weights `(rows, columns)` are small."""
    height, width, _ = image.shape
    rows, columns = (interpolation(*lengths) for lengths in zip((height, width), weights.shape, strict=True))
    looked = rows @ weights @ columns.T  # (height, width)
    brightness = looked / max(np.max(looked), 1e-9)
    brightness = brightness[:, :, None]
    # Light shows on black things too.
    return image * (DARKEST + (1 - DARKEST) * brightness) + LIGHT * brightness * (1 - image)


def interpolation(length, count):
    """Gaussian weights `(length, count)` of `count` even places for each of `length` pixels."""
    pixel_centres = (np.arange(length)[:, None] + 0.5) / length * count
    weights = np.exp(-1.2 * (pixel_centres - (np.arange(count) + 0.5)) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)
