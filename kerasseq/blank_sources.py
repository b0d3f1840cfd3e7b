"""Gives blank sources empty outputs without running the model."""

from collections.abc import Callable

import tensorflow as tf

from kerasseq.search.request import IMPOSSIBLE
from kerasseq.types import Tensor


def around_blanks(
    decode: Callable[..., dict[str, Tensor]], blank: Tensor | None, raw: Tensor, prefix_ids: Tensor | None
) -> dict[str, Tensor]:
    """Decodes the sources that are not blank, and puts empty outputs in the places of the others.

    Args:
        decode: function of raw sources and prefix ids, or `None`, that returns a dict of tensors `(rows, ...)`. It is
            called once, if need be with an empty batch.
        blank: bool `(batch,)`, see `Preprocessor.blank`, or `None` if no source is blank.
        raw: raw sources `(batch,)`.
        prefix_ids: int32 `(batch, prefix)`, or `None`.

    Returns:
        dict of tensors `(batch, ...)`.
    """
    if blank is None:
        return decode(raw, prefix_ids)
    filled = ~blank
    outputs = decode(tf.boolean_mask(raw, filled), None if prefix_ids is None else tf.boolean_mask(prefix_ids, filled))
    # The row of each source; blank ones share a last row.
    rows = tf.where(filled, tf.cumsum(tf.cast(filled, tf.int32)) - 1, tf.math.count_nonzero(filled, dtype=tf.int32))

    def spread(name, tensor):
        # No text, weights of 0, the number of no word.
        empty = "" if tensor.dtype == tf.string else -1 if tensor.dtype.is_integer else 0
        last = tf.fill(tf.concat([[1], tf.shape(tensor)[1:]], axis=0), tf.constant(empty, tensor.dtype))
        if name == "score":
            last = blank_scores(last)
        return tf.gather(tf.concat([tensor, last], axis=0), rows)

    return {name: spread(name, tensor) for name, tensor in outputs.items()}


def blank_scores(scores: Tensor) -> Tensor:
    """The scores of blank sources: 0, and impossible ones for the ranks behind the first, whose text is the same.

    Args:
        scores: float32 `(rows, num_hypotheses)`, of which the shape counts.
    """
    first = tf.range(tf.shape(scores)[1]) == 0
    return tf.zeros_like(scores) + tf.where(first, 0.0, tf.constant(IMPOSSIBLE, scores.dtype))
