"""Operations on token ids: padding, truncation, shifting."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.vocabulary import END_ID, NUM_SPECIAL_TOKENS, START_ID, UNKNOWN_ID
from kerasseq.types import Tensor

TEXTS_AT_ONCE = 10_000  # tokenized in one call, to bound the memory


def string_tensor(texts: Sequence[str | bytes]) -> Tensor:
    """Converts strings or bytes to a string tensor `(batch,)`.

    Lone surrogates become invalid UTF-8, which tokenizers replace.
    """
    raw = [text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in texts]
    return tf.constant(raw, tf.string, shape=[len(raw)])


def padded(ids: tf.RaggedTensor, limit: int) -> Tensor:
    """Pads ragged ids to int32 `(batch, at most limit)`. Rows that are too long are truncated and end in END."""
    dense = ids[:, :limit].to_tensor()
    # Recurrences cannot run over zero steps: an empty batch gets one column.
    dense = tf.pad(dense, [[0, 0], [0, tf.cast(tf.shape(dense)[1] == 0, tf.int32)]])
    last = tf.range(tf.shape(dense)[1]) == limit - 1
    return tf.where((ids.row_lengths() > limit)[:, tf.newaxis] & last, END_ID, dense)


def shift_right(labels: Tensor) -> Tensor:
    """Makes decoder inputs from labels: START, then all labels but the last. Padding remains padding."""
    if isinstance(labels, np.ndarray):
        shifted = np.concatenate([np.full_like(labels[:, :1], START_ID), labels[:, :-1]], axis=1)
        return np.where(labels == 0, 0, shifted)
    start = tf.fill([tf.shape(labels)[0], 1], START_ID)
    return tf.where(labels == 0, 0, tf.concat([start, labels[:, :-1]], axis=1))


def word_numbers(begins_word: Tensor, token_ids: Tensor, with_unknown: bool = True) -> Tensor:
    """Returns the number of the word to which each token belongs, from 0 on: int32 `(batch, length)`.

    Padding, START and END, which belong to none, have -1. The first word begins with the first token.

    Args:
        begins_word: bool `(batch, length)`, whether a word begins at each token, see `Tokenizer.boundaries`.
        token_ids: int32 `(batch, length)`.
        with_unknown: bool, whether unknown tokens belong to words. Outputs leave them out.
    """
    belongs = token_ids >= NUM_SPECIAL_TOKENS
    if with_unknown:
        belongs |= token_ids == UNKNOWN_ID
    starts = tf.cumsum(tf.cast(begins_word & belongs, tf.int32), axis=1)
    before_first = tf.cast(~begins_word[:, :1], tf.int32)  # The first token begins a word, whatever it is.
    return tf.where(belongs, starts - 1 + before_first, -1)


def join_groups(tokens: Tensor, size: int) -> Tensor:
    """Joins groups of `size` neighbouring tokens: string `(batch, source)` to `(batch, ceil(source / size))`."""
    if size == 1:
        return tokens
    batch, length = tf.unstack(tf.shape(tokens))
    tokens = tf.pad(tokens, [[0, 0], [0, -length % size]], constant_values="")
    return tf.strings.reduce_join(tf.reshape(tokens, [batch, -1, size]), axis=-1)
