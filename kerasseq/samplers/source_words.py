"""Outputs made of whole words of the source, for summaries that must not invent names or numbers."""

from keras import ops

# What `joins_number` looks at.
NUMBERS = ("starts_digit", "point", "starts_point", "ends_point")


class SourceWords:
    """Follows where in the source a hypothesis can stand, and says which tokens can come next.

    A hypothesis is a sequence of words of the source, in any order: a word goes on as it does in the source, and where
    it ends there, any other word, a punctuation mark or END may follow. Positions are those of the source's tokens. The
    state holds which of them may come next.

    Args:
        source_ids: int32 `(rows, source)`, 0 for padding.
        words: dict of arrays that describe the vocabulary, see `TextPreprocessor.word_pieces`.
        end_id: int.
        limit: int, the length to which longer sources were cut: their last word may be only a part of one, and is not
            used. Default: none were.
        suppressed_ids: ints; words that hold one of them are not used.
    """

    def __init__(self, source_ids, words, end_id=3, limit=None, suppressed_ids=()):
        self.folded = ops.convert_to_tensor(words["folded"], dtype="int32")  # (vocabulary,)
        source_ids = ops.cast(source_ids, "int32")
        self.source = ops.take(self.folded, source_ids)  # (rows, source)
        of_source = {
            name: ops.take(ops.convert_to_tensor(values, dtype="bool"), source_ids)
            for name, values in words.items()
            if name != "folded"
        }  # bool (rows, source) each
        spaced, starts_word, ends_word = (of_source[name] for name in ("spaced", "starts_word", "ends_word"))
        self.real = source_ids > 0
        inside_number = joins_number(~spaced, **{name: of_source[name] for name in NUMBERS})
        if limit is not None:
            cut = ops.sum(ops.cast(self.real, "int32"), axis=1, keepdims=True) >= limit
            # A point at the cut may be one within a number.
            inside_number = inside_number | (cut & of_source["point"] & ~spaced & after(source_ids == end_id))
        starts = spaced | ~starts_word | before(~ends_word, first=True)
        self.starts = starts & ~inside_number & self.real
        self.final = self.real & after(self.starts, last=True)  # where a word ends
        # "Belser" of "Greenfield/Belser" has no space before it: behind another word it would be part of that.
        self.glued = self.starts & starts_word & ~spaced
        self.words = ops.cumsum(ops.cast(self.starts, "int32"), axis=1)  # numbered from 1; END is the last one
        self.needed = self.to_word_end() + ops.cast(source_ids != end_id, "int32")
        self.usable = self.real
        if limit is not None:
            last = ops.max(self.words, axis=1, keepdims=True) - 1
            self.usable = self.usable & ~(cut & (self.words == last))
        if suppressed_ids:
            suppressed = ops.any(source_ids[:, :, None] == ops.array(suppressed_ids, dtype="int32"), axis=-1)
            by_word = count(self.words, suppressed, ops.shape(self.words)[1] + 1)
            self.usable = self.usable & (ops.take_along_axis(by_word, self.words, axis=1) == 0)

    def start(self):
        """The state before the first token: bool `(rows, source)`."""
        return self.starts & self.usable

    def follow(self, token_ids, state):
        """Tokens `(rows, 1)` and the state before them to the state behind them."""
        here = state & (self.source == ops.take(self.folded, token_ids))  # (rows, source)
        # A forced prefix may leave the source: any word may follow.
        lost = ~ops.any(here, axis=-1, keepdims=True)
        word = lost | ops.any(here & self.final, axis=-1, keepdims=True)
        return self.usable & ops.where(self.starts & ~self.glued, word, before(here))

    def allowed(self, state, left=None):
        """The tokens that may come next.

        Args:
            state: bool `(rows, source)`.
            left: int32 `(rows, 1)`, how many tokens may still come, END included: nothing comes after which the word
                would not end in time. Default: any number.

        Returns:
            bool `(rows, vocabulary)`.
        """
        if left is not None:
            state = state & (self.needed <= left)
        counts = count(self.source, state, ops.shape(self.folded)[0])
        return ops.take(counts, self.folded, axis=1) > 0

    def to_word_end(self):
        """How many tokens there are from each position to the end of its word: int32 `(rows, source)`."""
        source = ops.shape(self.words)[1]
        ends = ops.cumsum(count(self.words, self.real, source + 1), axis=1)
        return ops.take_along_axis(ends, self.words, axis=1) - ops.arange(source, dtype="int32")


def count(values, chosen, number):
    """How often each of `number` values is at a chosen position: `(rows, source)` twice to int32 `(rows, number)`."""
    rows, source = ops.shape(values)
    row_indices = ops.broadcast_to(ops.arange(rows, dtype="int32")[:, None], (rows, source))
    indices = ops.reshape(ops.stack([row_indices, values], axis=-1), (-1, 2))
    return ops.scatter(indices, ops.reshape(ops.cast(chosen, "int32"), (-1,)), (rows, number))


def joins_number(glued, starts_digit, point, starts_point, ends_point):
    """Where a number goes on from the position before: "2.7", "32,000" and "14-6" are one, however they are cut.

    A point, or another such mark, before a digit goes with whatever is before it, or else "12" and "no.7" would make
    "12.7".
    """
    point_before_digit = glued & point & after(glued & starts_digit)
    return point_before_digit | before(point_before_digit) | glued & (starts_point | before(ends_point) & starts_digit)


def before(positions, first=False):
    """What holds one position to the left, bool `(rows, source)`; `first` at the first position."""
    return ops.pad(positions, ((0, 0), (1, 0)), constant_values=first)[:, :-1]


def after(positions, last=False):
    """What holds one position to the right, bool `(rows, source)`; `last` at the last position."""
    return ops.pad(positions, ((0, 0), (0, 1)), constant_values=last)[:, 1:]
