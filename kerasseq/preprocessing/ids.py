"""Between texts and tensors of token ids: padding, cutting, shifting."""

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.vocabulary import END_ID, START_ID


def string_tensor(texts):
    """Strings or bytes as a string tensor `(batch,)`; lone surrogates make invalid UTF-8, which `tokenize` replaces."""
    raw = [text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in texts]
    return tf.constant(raw, tf.string, shape=[len(raw)])


def padded(ids, limit):
    """Ragged ids as int32 `(batch, at most limit)`; rows that are longer are cut and end in END."""
    dense = ids[:, :limit].to_tensor()
    # A batch of no rows has one column: a recurrence over no steps has no shapes.
    dense = tf.pad(dense, [[0, 0], [0, tf.cast(tf.shape(dense)[1] == 0, tf.int32)]])
    last = tf.range(tf.shape(dense)[1]) == limit - 1
    return tf.where((ids.row_lengths() > limit)[:, tf.newaxis] & last, END_ID, dense)


def tokens(tokenizer, token_ids):
    """The subwords behind ids, a string tensor of the same shape; empty for padding."""
    return tf.where(token_ids == 0, "", tokenizer.id_to_string(token_ids))


def together(tokens, count):
    """Joins each `count` tokens: string `(batch, source)` -> `(batch, ceil(source / count))`."""
    if count == 1:
        return tokens
    batch, length = tf.unstack(tf.shape(tokens))
    tokens = tf.pad(tokens, [[0, 0], [0, -length % count]], constant_values="")
    return tf.strings.reduce_join(tf.reshape(tokens, [batch, -1, count]), axis=-1)


def shift_right(labels):
    """Decoder inputs for labels: START, then all labels but the last; rows end in padding where labels do."""
    if isinstance(labels, np.ndarray):
        shifted = np.concatenate([np.full_like(labels[:, :1], START_ID), labels[:, :-1]], axis=1)
        return np.where(labels == 0, 0, shifted)
    start = tf.fill([tf.shape(labels)[0], 1], START_ID)
    return tf.where(labels == 0, 0, tf.concat([start, labels[:, :-1]], axis=1))
