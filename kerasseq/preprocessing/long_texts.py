"""Splits texts that exceed a model's maximum length, and joins the outputs."""

import tensorflow as tf

from kerasseq.preprocessing.tokenizers import Tokenizer
from kerasseq.preprocessing.vocabulary import END_ID
from kerasseq.types import Tensor

# Inserted at the ends of sentences, for `tf.strings.split`.
BOUNDARY = "\x1e"
# Inserted at the ends of paragraphs, which always end sentences.
PARAGRAPH = "\x1f"

# RE2 has no look-ahead: the first character of the next sentence is matched, and re-inserted.
SENTENCE_END = r"""([.!?…।۔؟։።]["'”’»)\]]*)\s+([¿¡"'“‘«(\[]*[\p{Lu}\p{Lt}\p{Lo}\p{N}\p{So}])"""
# Scripts without spaces between sentences. ASCII full stops do not count: 3.5, example.org.
WIDE_SENTENCE_END = r"([。！？｡][」』”’）〉》】]*)\s*"
PARAGRAPH_END = r"\s*\n\s*\n\s*"
# Initials and common abbreviations in Latin script. A capital that follows does not begin a sentence.
ABBREVIATION = (
    r"(\b(?:\p{Lu}|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Sra|Dra|Mme|Mlle|Mgr|Hr|Fr|Gen|Col|Lt|Sgt|Capt|Rev|Hon|Sen|Rep|Gov|vs|"
    r"Bd|cf|ca|bzw|z\.B|d\.h|e\.g|i\.e)\.)" + BOUNDARY
)
# Abbreviations only if a number follows: "No. 5", "Jan. 5".
NUMBER = r"(\b(?:No|Nr|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.)" + BOUNDARY + r"(\d)"
# For sentences that are too long: line breaks, and all punctuation that may end a clause.
CLAUSE_END = r"""([.!?…;:]["'”’»)\]]*)\s+|\s*\n\s*"""
NOT_BLANK = r"(?s).*\S.*"
# Any white space of Unicode, as of `str.isspace`.
BLANK = r"[\s\x0b\x1c-\x1f\x{85}\p{Z}]*"


def split_texts(texts: Tensor, tokenizer: Tokenizer, limit: int) -> tuple[tf.RaggedTensor, Tensor]:
    """Splits texts into tokenized parts: sentences; clauses of sentences that are too long; pieces of such clauses.

    Texts, string `(batch,)` -> ids and END, ragged int32 `(parts, None)`, at most `limit` in a part; and the index of
    the text of each part, int64 `(parts,)`.
    """
    units = sentences(texts)
    clauses = split_clauses(units.flat_values, tokenizer.tokenize(units.flat_values).row_lengths() > limit - 1)
    owners = tf.gather(units.value_rowids(), clauses.value_rowids())
    ids = tokenizer.tokenize(clauses.flat_values)
    parts, clause = cut_rows(ids, *tokenizer.boundaries(ids.flat_values), limit - 1)
    return tf.concat([parts, tf.fill([parts.nrows(), 1], END_ID)], axis=1), tf.gather(owners, clause)


def join_texts(texts: Tensor, owners: Tensor, count: Tensor) -> Tensor:
    """Joins the outputs of parts, see `Preprocessor.join_parts`."""
    is_joined = tf.math.unsorted_segment_sum(tf.ones_like(owners), owners, count)[:, tf.newaxis] > 1
    texts = tf.strings.unsorted_segment_join(texts, owners, count, separator=BOUNDARY)
    spaced = tf.strings.regex_replace(texts, WIDE_SENTENCE_END + BOUNDARY, r"\1")
    spaced = tf.strings.strip(tf.strings.regex_replace(spaced, f"{BOUNDARY}+", " "))
    return tf.where(is_joined, spaced, texts)


def sentences(texts: Tensor) -> tf.RaggedTensor:
    """Splits texts into sentences.

    Sentences end at paragraphs, after full-width punctuation of East Asian scripts, and after other end punctuation
    that is followed by white space and a character that is not a lower-case letter, unless it belongs to an initial or
    a common abbreviation. (TF Text's sentence breakers also split "Mr. Smith" and "3.5".) Invalid UTF-8 is read as
    U+FFFD. String `(batch,)` -> ragged string `(batch, None)`, without blank sentences.
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


def split_clauses(texts: Tensor, too_long: Tensor) -> tf.RaggedTensor:
    """Splits sentences that are too long at line breaks and after punctuation.

    This splits lists without full stops, and texts in lower case. String `(sentences,)`, and bool `(sentences,)`, which
    of them to split -> ragged string `(sentences, None)`, without blank clauses.
    """
    marked = tf.strings.regex_replace(texts, CLAUSE_END, rf"\1{BOUNDARY}")
    parts = tf.strings.split(tf.where(too_long, marked, texts), BOUNDARY)
    return tf.ragged.boolean_mask(parts, tf.strings.regex_full_match(parts, NOT_BLANK))


def cut_rows(
    ids: tf.RaggedTensor, begins_word: Tensor, begins_character: Tensor, limit: int
) -> tuple[tf.RaggedTensor, Tensor]:
    """Cuts rows of ids that are longer than a limit into pieces of similar lengths.

    Rows are cut between words if possible: if a word begins in the last quarter of the limit. Else they are cut between
    characters.

    Args:
        ids: int32 `tf.RaggedTensor` `(rows, None)`.
        begins_word: bool `(ids,)`, whether a word begins at each of `ids.flat_values`.
        begins_character: bool `(ids,)`, whether a character does; false for the later bytes of a character.
        limit: int, the maximum number of ids of a piece.

    Returns:
        the pieces, an int32 `tf.RaggedTensor` `(pieces, None)` without empty rows, and the row of each, int64
        `(pieces,)`.
    """
    values, rows = ids.flat_values, ids.value_rowids()
    index = tf.range(tf.size(values, tf.int64), dtype=tf.int64)
    lengths = tf.gather(ids.row_lengths(), rows)
    position = index - tf.gather(ids.row_starts(), rows)
    # A cut moves back to the beginning of a word by at most `room` ids, by which the next piece gets longer.
    room = limit // 4
    pieces = -(-lengths // (limit - room))
    regular = -(-lengths // pieces)  # ids per piece; the last piece may be shorter
    first = position == 0
    cuts = (position % regular == 0) & (lengths > limit) & ~first
    cut_at = index
    for begins in (begins_character, begins_word):  # The preferred one last.
        beginnings = tf.boolean_mask(index, begins | first)
        # Where the character or word of each id begins.
        beginning = tf.gather(beginnings, tf.cumsum(tf.cast(begins | first, tf.int64)) - 1)
        back = index - beginning
        cut_at = tf.where((back <= room) & (back < regular), beginning, cut_at)
    cut_at = tf.boolean_mask(cut_at, cuts)
    starts = tf.scatter_nd(cut_at[:, tf.newaxis], tf.ones_like(cut_at), [tf.size(values, tf.int64)]) > 0
    starts |= first
    parts = tf.RaggedTensor.from_row_starts(values, tf.boolean_mask(index, starts))
    return parts, tf.boolean_mask(rows, starts)
