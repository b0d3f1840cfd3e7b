"""Outputs made of whole words of the source, for summaries that must not invent names or numbers.

`kerasseq/preprocessing/word_pieces.py` tells where words and numbers begin and end in a vocabulary; both files keep
numbers whole.
"""

import keras
from keras import ops

from kerasseq.search.constraints import Constraint
from kerasseq.types import Tensor

# The arguments of `joins_number`.
NUMBERS = ("starts_digit", "point", "starts_point", "ends_point")


@keras.saving.register_keras_serializable(package="kerasseq")
class SourceWords(Constraint):
    """Restricts outputs to whole words and punctuation of the source, ignoring case.

    A hypothesis is a sequence of such words in any order: a word continues as it does in the source, and where it ends
    there, any other word, a punctuation mark or END may follow. Numbers with points, commas, colons, slashes or dashes,
    such as 2.7, 32,000, 7:30 and 14-6, stay whole as well. An output ends with END within its limit, before the fewest
    tokens where no word fits any more. Words with tokens that other constraints suppress are not used; where the source
    was truncated, its last word may be only a part of one, and is not used either.

    The state holds, for each position of the source, whether its token may come next.

    Needs one vocabulary for both sides: `TextPreprocessor.from_pairs(pairs, joint=True)`.
    """

    priority = 0
    joint_vocabulary = True

    def start(self, request):
        if request.source_token_ids is None or request.word_pieces is None:
            raise ValueError(
                "SourceWords needs sources of tokens, and a preprocessor that knows where words begin. Received: "
                "a request without source_token_ids or word_pieces."
            )
        words, limit, end_id = request.word_pieces, request.max_source_length, request.end_id
        source_ids = ops.cast(request.source_token_ids, "int32")  # (rows, source)
        folded = ops.convert_to_tensor(words["folded"], dtype="int32")  # (vocabulary,)
        source = ops.take(folded, source_ids)  # (rows, source)
        of_source = {
            name: ops.take(ops.convert_to_tensor(values, dtype="bool"), source_ids)
            for name, values in words.items()
            if name != "folded"
        }  # bool (rows, source) each
        spaced, starts_word, ends_word = (of_source[name] for name in ("spaced", "starts_word", "ends_word"))
        real = source_ids > 0
        inside_number = joins_number(~spaced, **{name: of_source[name] for name in NUMBERS})
        truncated = ops.zeros_like(real[:, :1])  # (rows, 1)
        if limit is not None:
            truncated = ops.sum(ops.cast(real, "int32"), axis=1, keepdims=True) >= limit
        # A point at the cut may belong to a number.
        inside_number = inside_number | (truncated & of_source["point"] & ~spaced & after(source_ids == end_id))
        starts = spaced | ~starts_word | before(~ends_word, first=True)
        starts = starts & ~inside_number & real
        words_of = ops.cumsum(ops.cast(starts, "int32"), axis=1)  # numbered from 1; END is the last one
        usable = real & ~(truncated & (words_of == words_of[:, -1:] - 1))
        if request.suppressed_ids:
            suppressed_ids = ops.array(request.suppressed_ids, dtype="int32")
            suppressed = ops.any(source_ids[:, :, None] == suppressed_ids, axis=-1)
            by_word = count(words_of, suppressed, ops.shape(words_of)[1] + 1)
            usable = usable & (ops.take_along_axis(by_word, words_of, axis=1) == 0)
        constants = {
            "source": source,
            "starts": starts,
            "final": real & after(starts, last=True),  # where a word ends
            # "Belser" of "Greenfield/Belser" has no space before it: after another word it would be part of that.
            "glued": starts & starts_word & ~spaced,
            "needed": to_word_end(words_of, real) + ops.cast(source_ids != end_id, "int32"),
            "usable": usable,
            "shared": {"folded": folded, "may_end": ops.array(end_id not in request.suppressed_ids)},
        }
        return {"positions": starts & usable}, constants

    def follow(self, token_ids, state, constants):
        here = state["positions"] & (constants["source"] == ops.take(constants["shared"]["folded"], token_ids)[:, None])
        # A forced prefix may leave the source: any word may follow.
        lost = ~ops.any(here, axis=-1, keepdims=True)
        word = lost | ops.any(here & constants["final"], axis=-1, keepdims=True)
        positions = ops.where(constants["starts"] & ~constants["glued"], word, before(here))
        return {"positions": constants["usable"] & positions}

    def mask(self, hypotheses, state, constants):
        # Words that would not end within the limit are left out.
        left = hypotheses.longest - hypotheses.index
        positions = state["positions"] & (constants["needed"] <= left)
        counts = count(constants["source"], positions, ops.shape(constants["shared"]["folded"])[0])
        return ops.take(counts, constants["shared"]["folded"], axis=1) > 0

    def override(self, allowed, mask, hypotheses, constants):
        # Allows END early if nothing else is allowed, or if a prefix's word cannot be completed.
        stuck = ~ops.any(allowed, axis=-1, keepdims=True)
        may_end = constants["shared"]["may_end"] & (mask | ~ops.any(mask, axis=-1, keepdims=True))
        is_end = ops.arange(hypotheses.vocabulary_size, dtype="int32") == hypotheses.end_id
        return allowed | (stuck & may_end & is_end)


def to_word_end(words: Tensor, real: Tensor) -> Tensor:
    """The number of tokens from each position to the end of its word: int32 `(rows, source)`."""
    source = ops.shape(words)[1]
    ends = ops.cumsum(count(words, real, source + 1), axis=1)
    return ops.take_along_axis(ends, words, axis=1) - ops.arange(source, dtype="int32")


def count(values: Tensor, chosen: Tensor, number: int) -> Tensor:
    """Counts each of `number` values at the chosen positions: `(rows, source)` twice -> int32 `(rows, number)`."""
    rows, source = ops.shape(values)
    row_indices = ops.broadcast_to(ops.arange(rows, dtype="int32")[:, None], (rows, source))
    indices = ops.reshape(ops.stack([row_indices, values], axis=-1), (-1, 2))
    return ops.scatter(indices, ops.reshape(ops.cast(chosen, "int32"), (-1,)), (rows, number))


def joins_number(
    glued: Tensor, starts_digit: Tensor, point: Tensor, starts_point: Tensor, ends_point: Tensor
) -> Tensor:
    """Positions that continue a number: "2.7", "32,000" and "14-6" are one, however they are segmented.

    A point, or another such mark, before a digit belongs to the token before it: otherwise "12" and "no.7" would make
    "12.7".
    """
    point_before_digit = glued & point & after(glued & starts_digit)
    return point_before_digit | before(point_before_digit) | glued & (starts_point | before(ends_point) & starts_digit)


def before(positions: Tensor, first: bool = False) -> Tensor:
    """Shifts right: the value of the position before, bool `(rows, source)`, and `first` at the first position."""
    return ops.pad(positions, ((0, 0), (1, 0)), constant_values=first)[:, :-1]


def after(positions: Tensor, last: bool = False) -> Tensor:
    """Shifts left: the value of the position after, bool `(rows, source)`, and `last` at the last position."""
    return ops.pad(positions, ((0, 0), (0, 1)), constant_values=last)[:, 1:]
