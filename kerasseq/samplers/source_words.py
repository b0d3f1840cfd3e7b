"""Outputs made of whole words of the source, for summaries that must not invent names or numbers."""

from keras import ops


class SourceWords:
    """Follows where in the source a hypothesis can stand, and says which tokens can come next.

    A hypothesis is a sequence of words of the source, in any order: a word goes on as it does in the source, and where
    it ends there, any other word, a punctuation mark or END may follow. Positions are those of the source's tokens. The
    state holds which of them may come next.

    Args:
        source_ids: int32 `(rows, source)`, 0 for padding.
        words: dict of arrays that describe the vocabulary, see `TextPreprocessor.word_pieces`.
    """

    def __init__(self, source_ids, words):
        self.folded = ops.convert_to_tensor(words["folded"], dtype="int32")  # (vocabulary,)
        source_ids = ops.cast(source_ids, "int32")
        self.source = ops.take(self.folded, source_ids)  # (rows, source)
        spaced, starts_word, ends_word, starts_digit, ends_digit, point = (
            ops.take(ops.convert_to_tensor(words[name], dtype="bool"), source_ids)
            for name in ("spaced", "starts_word", "ends_word", "starts_digit", "ends_digit", "point")
        )
        # "2.7" and "32,000" are one word: no word starts at, or behind, a point between digits.
        number = point & before(ends_digit) & after(starts_digit) & ~spaced & ~after(spaced)
        starts = spaced | ~starts_word | before(~ends_word, first=True)
        self.real = source_ids > 0
        self.starts = starts & ~number & ~before(number) & self.real
        self.final = self.real & after(self.starts, last=True)  # where a word ends
        # "Belser" of "Greenfield/Belser" has no space before it, so it must follow a mark as well.
        self.glued = self.starts & starts_word & ~spaced
        self.mark = ~ends_word

    def start(self):
        """The state before the first token: bool `(rows, source)`."""
        return self.starts

    def follow(self, token_ids, state):
        """Tokens `(rows, 1)` and the state before them to the state behind them."""
        here = state & (self.source == ops.take(self.folded, token_ids))  # (rows, source)
        # A forced prefix may leave the source: any word may follow.
        lost = ~ops.any(here, axis=-1, keepdims=True)
        word = lost | ops.any(here & self.final, axis=-1, keepdims=True)
        mark = lost | ops.any(here & self.final & self.mark, axis=-1, keepdims=True)
        return self.real & ops.where(self.starts, word & (mark | ~self.glued), before(here))

    def allowed(self, state):
        """The tokens that may come next: bool `(rows, vocabulary)`, from the state `(rows, source)`."""
        rows, source = ops.shape(state)
        row_indices = ops.broadcast_to(ops.arange(rows, dtype="int32")[:, None], (rows, source))
        indices = ops.reshape(ops.stack([row_indices, self.source], axis=-1), (-1, 2))
        counts = ops.reshape(ops.cast(state, "int32"), (-1,))
        counts = ops.scatter(indices, counts, (rows, ops.shape(self.folded)[0]))
        return ops.take(counts, self.folded, axis=1) > 0


def before(positions, first=False):
    """What holds one position to the left, bool `(rows, source)`; `first` at the first position."""
    return ops.pad(positions, ((0, 0), (1, 0)), constant_values=first)[:, :-1]


def after(positions, last=False):
    """What holds one position to the right, bool `(rows, source)`; `last` at the last position."""
    return ops.pad(positions, ((0, 0), (0, 1)), constant_values=last)[:, 1:]
