"""Long sources, and sources of several lines: decoded part by part in the graph, and joined."""

from collections.abc import Callable

import keras
import tensorflow as tf

from kerasseq.blank_sources import blank_scores
from kerasseq.preprocessing import Preprocessor
from kerasseq.search.request import IMPOSSIBLE
from kerasseq.types import Tensor

LONG_SOURCES = ("split", "cut", "sentences")
# Minimum number of parts decoded together.
PARTS_AT_ONCE = 64


def decode_parts(
    decode_rows: Callable[[dict[str, Tensor], Tensor | None], dict[str, Tensor]],
    raw: Tensor,
    preprocessor: Preprocessor,
    every_sentence: bool,
    num_hypotheses: int,
    prefix_ids: Tensor | None = None,
) -> dict[str, Tensor]:
    """Splits raw sources into lines, and lines that are too long; decodes all parts in groups, and joins their outputs.

    Args:
        decode_rows: function of encoder inputs and prefix ids, or `None`, that returns a dict of `text`, string, and
            `score`, float32, both `(rows, num_hypotheses)`.
        raw, every_sentence: as in `Preprocessor.encode_parts`.
        preprocessor: one with `splits_sources`.
        num_hypotheses: int.
        prefix_ids: int32 `(batch, prefix)`, for the first part of each source. Default: none.

    Returns:
        dict of `text` and `score`, `(batch, num_hypotheses)`. The hypotheses of the parts are joined rank by rank, and
        their scores added. Lines remain lines, blank ones included; of a blank source the text is empty, and the score
        0.
    """
    lines = preprocessor.lines(raw)
    texts_of_lines = tf.cast(lines.value_rowids(), tf.int32)
    blank = preprocessor.blank(lines.flat_values)  # Blank lines are not decoded.
    decoded = tf.ones_like(texts_of_lines, tf.bool) if blank is None else ~blank
    encoder_inputs, lines_of_parts = preprocessor.encode_parts(
        tf.boolean_mask(lines.flat_values, decoded), every_sentence
    )
    owners = tf.gather(tf.boolean_mask(texts_of_lines, decoded), lines_of_parts)
    inputs = {"encoder_inputs": encoder_inputs}
    if prefix_ids is not None:  # A prefix begins the first part's output.
        first = tf.concat([[-1], owners[:-1]], axis=0)[: tf.shape(owners)[0]] != owners
        inputs["prefix_ids"] = tf.where(first[:, tf.newaxis], tf.gather(prefix_ids, owners), 0)
    batch_size, parts = tf.shape(raw)[0], tf.shape(owners)[0]
    group = tf.maximum(batch_size, PARTS_AT_ONCE)
    groups = tf.maximum(-(-parts // group), 1)

    def body(index, texts, scores):
        rows = keras.tree.map_structure(lambda tensor: tensor[index * group : (index + 1) * group], inputs)
        outputs = decode_rows(rows["encoder_inputs"], rows.get("prefix_ids"))
        return index + 1, texts.write(index, outputs["text"]), scores.write(index, outputs["score"])

    def array(dtype):
        return tf.TensorArray(dtype, groups, infer_shape=False, element_shape=[None, num_hypotheses])

    _, texts, scores = tf.while_loop(
        lambda index, *_: index < groups, body, (0, array(tf.string), array(tf.float32)), parallel_iterations=1
    )
    texts, scores = texts.concat(), scores.concat()  # (parts, num_hypotheses)
    # Repeats the best hypothesis of a part to fill missing ranks.
    number = tf.gather(tf.math.unsorted_segment_sum(tf.ones_like(owners), owners, batch_size), owners)
    missing = (scores < IMPOSSIBLE / 2) & (number > 1)[:, tf.newaxis]
    texts, scores = tf.where(missing, texts[:, :1], texts), tf.where(missing, scores[:, :1], scores)
    count = tf.math.count_nonzero(decoded, dtype=tf.int32)
    texts = preprocessor.join_parts(texts, lines_of_parts, count)
    # A last row for all blank lines.
    texts = tf.concat([texts, tf.fill([1, num_hypotheses], "")], axis=0)
    texts = tf.gather(texts, tf.where(decoded, tf.cumsum(tf.cast(decoded, tf.int32)) - 1, count))
    # As a separator, a line break after an empty first line would be lost.
    texts = tf.strings.unsorted_segment_join(texts + "\n", texts_of_lines, batch_size)
    texts = tf.strings.regex_replace(texts, r"\n\z", "")
    scores = tf.math.unsorted_segment_sum(scores, owners, batch_size)
    if (blank_sources := preprocessor.blank(raw)) is not None:
        texts = tf.where(blank_sources[:, tf.newaxis], "", texts)
        scores = tf.where(blank_sources[:, tf.newaxis], blank_scores(scores), scores)
    return {"text": texts, "score": scores}
