"""Between texts and tensors of token ids: padding, cutting, shifting."""

import re

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.vocabulary import END_ID, NUM_SPECIAL_TOKENS, START_ID

WORD_START = "\u2581"  # SentencePiece's mark
POINT = "[.,:/–-]"  # within numbers such as 2.7, 7:30 and 14-6
BYTE = re.compile(r"<0x[0-9A-F]{2}>")


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


def shift_right(labels):
    """Decoder inputs for labels: START, then all labels but the last; rows end in padding where labels do."""
    if isinstance(labels, np.ndarray):
        shifted = np.concatenate([np.full_like(labels[:, :1], START_ID), labels[:, :-1]], axis=1)
        return np.where(labels == 0, 0, shifted)
    start = tf.fill([tf.shape(labels)[0], 1], START_ID)
    return tf.where(labels == 0, 0, tf.concat([start, labels[:, :-1]], axis=1))


def word_pieces(pieces):
    """Describes the subwords of a vocabulary: where words and numbers begin and end.

    Args:
        pieces: list of bytes, a subword an id.

    Returns:
        dict of arrays `(vocabulary,)`: `folded`, int32, the first id whose subword is the same but for letter case; and
        bool `spaced`, whether a space stands before it; `starts_word` and `ends_word`, whether its first and last
        character are those of a word (letters, digits, underscore; a byte of a character counts as such);
        `starts_digit`; `point`, whether it is one of the marks that may stand within numbers, alone: a point, comma,
        colon, slash or dash; `starts_point`, whether it begins with one and a digit, and `ends_point`, whether it ends
        in one.
    """
    pieces = [piece.decode("utf-8", "replace") for piece in pieces]
    first = {}
    folded = [first.setdefault(piece.lower(), index) for index, piece in enumerate(pieces)]
    texts = [shown_byte(piece) for piece in pieces]
    # The mark of a space alone is the beginning of the word behind it.
    bare = [text.removeprefix(WORD_START) or "_" for text in texts]
    special = np.arange(len(texts)) < NUM_SPECIAL_TOKENS

    def which(pattern):
        return np.array([re.search(pattern, text) is not None for text in bare]) & ~special

    return {
        "folded": np.array(folded, dtype="int32"),
        "spaced": np.array([text.startswith(WORD_START) for text in texts]) & ~special,
        "starts_word": which(r"\A\w"),
        "ends_word": which(r"\w\Z"),
        "starts_digit": which(r"\A\d"),
        "point": which(rf"\A{POINT}\Z"),
        "starts_point": which(rf"\A{POINT}\d"),
        "ends_point": which(rf"{POINT}\Z"),
    }


def shown_byte(piece):
    """The character of a byte such as `<0x28>`; for a byte that is only part of one, a letter; other pieces as is."""
    if not BYTE.fullmatch(piece):
        return piece
    value = int(piece[1:-1], 16)
    return chr(value) if value < 0x80 else "_"
