"""Texts that are longer than a model reads, in parts that are not: sentences, and pieces of very long ones."""

import tensorflow as tf

# A record separator stands where a sentence ends, for `tf.strings.split`.
BOUNDARY = "\x1e"
PARAGRAPH = "\x1f"  # the same where a paragraph ends, whatever stands before

# RE2 has no look-ahead: the first character of the next sentence is matched, and put back.
SENTENCE_END = r"""([.!?…।۔؟։።]["'”’»)\]]*)\s+([¿¡"'“‘«(\[]*[\p{Lu}\p{Lt}\p{Lo}\p{N}\p{So}])"""
# In scripts that write no spaces between sentences. A full stop of ASCII is none: 3.5, example.org.
WIDE_SENTENCE_END = r"([。！？｡][」』”’）〉》】]*)\s*"
PARAGRAPH_END = r"\s*\n\s*\n\s*"
# Initials and the commonest titles of languages in Latin script, after which a capital does not begin a sentence.
ABBREVIATION = (
    r"(\b(?:\p{Lu}|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Sra|Dra|Mme|Mlle|Mgr|Hr|Fr|Gen|Col|Lt|Sgt|Capt|Rev|Hon|Sen|Rep|Gov|vs|"
    r"Bd|cf|ca|bzw|z\.B|d\.h|e\.g|i\.e)\.)" + BOUNDARY
)
# The same before numbers alone: "No. 5", "Jan. 5".
NUMBER = r"(\b(?:No|Nr|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.)" + BOUNDARY + r"(\d)"
# In what is too long for a sentence: any line, and any punctuation that may end one.
CLAUSE_END = r"""([.!?…;:]["'”’»)\]]*)\s+|\s*\n\s*"""
NOT_BLANK = r"(?s).*\S.*"


def sentences(texts):
    """Splits texts into sentences.

    TF Text's own breakers split behind every full stop, those of "Mr." and "3.5" among them, and its regular
    expressions cannot look ahead; so the ends of sentences are marked by rules: end punctuation with white space and a
    letter that is not lower case behind it, the full-width punctuation of East Asian scripts, and empty lines; but not
    initials and common abbreviations.

    Args:
        texts: string `(batch,)`. Invalid UTF-8 becomes U+FFFD.

    Returns:
        string `tf.RaggedTensor` `(batch, None)`, without blank ones.
    """
    marked = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    marked = tf.strings.regex_replace(marked, f"[{BOUNDARY}{PARAGRAPH}]", " ")
    marked = tf.strings.regex_replace(marked, PARAGRAPH_END, PARAGRAPH)
    marked = tf.strings.regex_replace(marked, SENTENCE_END, rf"\1{BOUNDARY}\2")
    marked = tf.strings.regex_replace(marked, WIDE_SENTENCE_END, rf"\1{BOUNDARY}")
    marked = tf.strings.regex_replace(marked, ABBREVIATION, r"\1 ")
    marked = tf.strings.regex_replace(marked, NUMBER, r"\1 \2")
    marked = tf.strings.regex_replace(marked, PARAGRAPH, BOUNDARY)
    parts = tf.strings.split(marked, BOUNDARY)
    return tf.ragged.boolean_mask(parts, tf.strings.regex_full_match(parts, NOT_BLANK))


def split_clauses(texts, too_long):
    """Splits texts that are too long for a sentence at their lines, and behind all that may end a sentence.

    So lists without full stops and texts in lower case are split where they may be.

    Args:
        texts: string `(sentences,)`, of `sentences`.
        too_long: bool `(sentences,)`, which of them are split.

    Returns:
        string `tf.RaggedTensor` `(sentences, None)`, without blank ones.
    """
    marked = tf.strings.regex_replace(texts, CLAUSE_END, rf"\1{BOUNDARY}")
    parts = tf.strings.split(tf.where(too_long, marked, texts), BOUNDARY)
    return tf.ragged.boolean_mask(parts, tf.strings.regex_full_match(parts, NOT_BLANK))


def cut_rows(ids, begins_word, begins_character, limit):
    """Cuts rows of ids that are longer than a limit into pieces of about the same length.

    Cuts lie between words if one begins within a quarter of the limit before, else between characters.

    Args:
        ids: int32 `tf.RaggedTensor` `(rows, None)`.
        begins_word: bool `(ids,)`, for each of `ids.flat_values` whether a word begins there.
        begins_character: bool `(ids,)`, whether a character does, as it does not in the later bytes of one.
        limit: int, the most ids of a piece.

    Returns:
        the pieces, an int32 `tf.RaggedTensor` `(pieces, None)`, none of them empty, and the row of each, int64
        `(pieces,)`.
    """
    values, rows = ids.flat_values, ids.value_rowids()
    index = tf.range(tf.size(values, tf.int64), dtype=tf.int64)
    lengths = tf.gather(ids.row_lengths(), rows)
    position = index - tf.gather(ids.row_starts(), rows)
    # A cut goes back to the last word's beginning, by `room` ids at most, so the piece behind it grows by as many.
    room = limit // 4
    pieces = -(-lengths // (limit - room))
    regular = -(-lengths // pieces)  # ids of each piece, the last one's apart
    first = position == 0
    cuts = (position % regular == 0) & (lengths > limit) & ~first
    cut_at = index
    for begins in (begins_character, begins_word):  # The better one last.
        places = tf.boolean_mask(index, begins | first)
        place = tf.gather(
            places, tf.cumsum(tf.cast(begins | first, tf.int64)) - 1
        )  # where what an id belongs to begins
        back = index - place
        cut_at = tf.where((back <= room) & (back < regular), place, cut_at)
    cut_at = tf.boolean_mask(cut_at, cuts)
    starts = tf.scatter_nd(cut_at[:, tf.newaxis], tf.ones_like(cut_at), [tf.size(values, tf.int64)]) > 0
    starts |= first
    parts = tf.RaggedTensor.from_row_starts(values, tf.boolean_mask(index, starts))
    return parts, tf.boolean_mask(rows, starts)
