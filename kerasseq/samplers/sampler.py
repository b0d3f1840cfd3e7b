"""What all samplers share: the rules that an output must keep, and how a sampler is called."""

import numbers

from keras import ops

from kerasseq.arguments import check_number, check_positive_integer

# The log-probability of what is ruled out: finite, so that no sum or quotient of it is NaN.
IMPOSSIBLE = -1e9


class Sampler:
    """A decoding strategy: one loop in the graph, under rules for its outputs. Subclasses define the loop, `__call__`.

    A rule rules tokens out, after the softmax: the scores of the tokens that are left stay what the model gives them,
    and are not made to add up to 1 again. Lengths count tokens, END included; the length of a source counts the real
    positions of the memory, which for text are its tokens, END included.

    Args:
        min_length: int, the fewest tokens of an output.
        min_length_ratio: float of at least 0, the fewest tokens relative to the length of the source, rounded up.
        max_length_ratio: float above 0, the most tokens relative to the length of the source, rounded down, but at
            least 1, or what a prefix and END need, and at most the `max_length` of the call. Where this limit is below
            a minimum, the limit holds. Default: none.
        no_repeat_ngram_size: int, the length of sequences of tokens that an output may hold only once: 3 blocks
            repeated trigrams (Paulus et al. 2018). Default: none.
        suppressed_ids: ints, ids that never appear in an output.
        source_words_only: bool, whether outputs are made of whole words of the source and its punctuation marks, in any
            order, whatever the letter case: an output holds no word that its source does not. Numbers with points,
            commas, colons, slashes or dashes, such as 2.7, 32,000, 7:30 and 14-6, stay whole as well.
            An output ends with END within its limit, before the fewest tokens where no word fits any more; a word that
            has begun comes to its end even if that repeats an n-gram. Needs one vocabulary for both sides.

    Raises:
        ValueError: for a value outside these ranges.

    Called by `kerasseq.TextGenerator`:

    Call arguments:
        step: function of `token_ids (rows, 1)` and a nest of states, each `(rows, ...)`, where rows is
            `batch_size * rows_per_sequence`. It returns a dict with `logits (rows, vocabulary)`, the next `states`,
            for a coverage penalty `attention (rows, source)`, and, where not all tokens may come, `allowed`, a function
            from how many more may come, int32 `(rows, 1)`, END included, to which ones: bool `(rows, vocabulary)`.
        states: the states before the first step.
        batch_size: int scalar.
        start_id: int, the token before the first.
        end_id: int, the token that ends a sequence.
        max_length: int scalar, the most tokens of a sequence, END included.
        hypotheses: int, how many of the best hypotheses of a sequence are wanted, at most `rows_per_sequence`.
        source_mask: bool `(batch, source)`, true for real positions. Needed by lengths relative to the source and by a
            coverage penalty.
        prefix_ids: int32 `(batch, prefix)`, tokens that an output must begin with; 0 behind them. Their
            log-probabilities count in the scores. Default: none.

    Returns:
        dict of `token_ids`, int32 `(batch, hypotheses, max_length)`, best hypothesis first, with zeros behind END;
        and `scores`, float32 `(batch, hypotheses)`: for greedy and random search the natural logarithm of the
        sequence's probability.

    Attributes:
        rows_per_sequence: int, hypotheses that go through the model at a time for each sequence.
    """

    rows_per_sequence = 1

    def __init__(
        self,
        min_length=1,
        min_length_ratio=0.0,
        max_length_ratio=None,
        no_repeat_ngram_size=None,
        suppressed_ids=(),
        source_words_only=False,
    ):
        check_positive_integer("min_length", min_length)
        check_number("min_length_ratio", min_length_ratio)
        if max_length_ratio is not None and not check_number("max_length_ratio", max_length_ratio) > 0:
            raise ValueError(f"max_length_ratio must be above 0. Received: max_length_ratio={max_length_ratio!r}.")
        if max_length_ratio is not None and min_length_ratio > max_length_ratio:
            raise ValueError(
                "min_length_ratio must be at most max_length_ratio. Received: "
                f"min_length_ratio={min_length_ratio!r}, max_length_ratio={max_length_ratio!r}."
            )
        if no_repeat_ngram_size is not None:
            check_positive_integer("no_repeat_ngram_size", no_repeat_ngram_size)
        self.min_length = min_length
        self.min_length_ratio = min_length_ratio
        self.max_length_ratio = max_length_ratio
        self.no_repeat_ngram_size = no_repeat_ngram_size
        self.suppressed_ids = check_ids(suppressed_ids)
        self.source_words_only = bool(source_words_only)

    def limits(self, batch_size, max_length, source_mask, prefix_ids=None):
        """The fewest and the most tokens of each sequence's output, both int32 `(batch, 1)`."""
        shortest = ops.full((batch_size, 1), self.min_length, dtype="int32")
        longest = ops.full((batch_size, 1), max_length, dtype="int32")
        if self.min_length_ratio or self.max_length_ratio is not None:
            if source_mask is None:
                raise ValueError(
                    "min_length_ratio and max_length_ratio need the sampler's call argument source_mask, bool "
                    "(batch, source). Received: source_mask=None."
                )
            source_length = ops.sum(ops.cast(source_mask, "float32"), axis=-1, keepdims=True)  # (batch, 1)
            # The small term is for products such as 0.1 * 30, which floating point puts above 3.
            shortest_relative = ops.ceil(self.min_length_ratio * source_length - 1e-4)
            shortest = ops.maximum(shortest, whole(shortest_relative))
            if self.max_length_ratio is not None:
                longest_relative = ops.floor(self.max_length_ratio * source_length + 1e-4)
                least = 1
                if prefix_ids is not None:  # A forced prefix and END have room, whatever the ratio.
                    least += ops.sum(ops.cast(prefix_ids > 0, "int32"), axis=-1, keepdims=True)
                longest = ops.minimum(longest, ops.maximum(whole(longest_relative), least))
        return ops.minimum(shortest, longest), longest

    def rule_out(self, logits, token_ids, index, shortest, end_id, prefix_ids, step_allowed=None):
        """Sets the logits of ruled out tokens to `IMPOSSIBLE`.

        Args:
            logits: float32 `(rows, vocabulary)`.
            token_ids: int32 `(rows, max_length)`, the tokens so far.
            index: int scalar, the number of tokens so far.
            shortest: int32 `(rows, 1)`, the fewest tokens of an output.
            end_id: int.
            prefix_ids: int32 `(rows, prefix)` or `None`; the token at `index` is forced where it is not 0. A forced
                token overrides all other rules.
            step_allowed: bool `(rows, vocabulary)` or `None`, the tokens that the step allows.

        Returns:
            float32 `(rows, vocabulary)`.
        """
        vocabulary = ops.arange(logits.shape[-1], dtype="int32")
        allowed = logits if step_allowed is None else ops.where(step_allowed, logits, IMPOSSIBLE)
        if self.min_length > 1 or self.min_length_ratio:
            allowed = ops.where((index + 1 < shortest) & (vocabulary == end_id), IMPOSSIBLE, allowed)
        if self.suppressed_ids:
            suppressed = ops.any(vocabulary[:, None] == ops.array(self.suppressed_ids, dtype="int32"), axis=-1)
            allowed = ops.where(suppressed, IMPOSSIBLE, allowed)
        if self.no_repeat_ngram_size is not None:
            repeats = repeated_ngrams(token_ids, index, self.no_repeat_ngram_size, logits.shape[-1])
            if step_allowed is not None:  # A word that has begun comes to its end, though that repeats what was.
                repeats = repeats & ops.any(step_allowed & ~repeats, axis=-1, keepdims=True)
            allowed = ops.where(repeats, IMPOSSIBLE, allowed)
        # END all the same, however early, where nothing else may come, or where a prefix leaves no room for its word.
        if step_allowed is not None and end_id not in self.suppressed_ids:
            stuck = ops.all(allowed < IMPOSSIBLE / 2, axis=-1, keepdims=True)
            may_end = step_allowed | ~ops.any(step_allowed, axis=-1, keepdims=True)
            allowed = ops.where(stuck & may_end & (vocabulary == end_id), logits, allowed)
        if prefix_ids is not None:
            # A column of zeros behind the prefix, so that there is one to look at when it is over.
            columns = ops.pad(prefix_ids, ((0, 0), (0, 1)))
            column = ops.minimum(index, ops.shape(prefix_ids)[1])
            forced = ops.take(columns, ops.reshape(column, (1,)), axis=1)  # (rows, 1)
            only_forced = ops.where(vocabulary == forced, logits, IMPOSSIBLE)
            allowed = ops.where(forced > 0, only_forced, allowed)
        return allowed

    def rules(self):
        """The rules for outputs, as arguments of any sampler."""
        return {
            "min_length": self.min_length,
            "min_length_ratio": self.min_length_ratio,
            "max_length_ratio": self.max_length_ratio,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
            "suppressed_ids": list(self.suppressed_ids),
            "source_words_only": self.source_words_only,
        }

    def get_config(self):
        return self.rules()

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def whole(lengths):
    """Float lengths as int32, cut where int32 would overflow."""
    return ops.cast(ops.minimum(lengths, 2.0**30), "int32")


def repeated_ngrams(token_ids, index, size, vocabulary_size):
    """Marks the tokens that would complete an n-gram for the second time.

    Args:
        token_ids: int32 `(rows, max_length)`, the tokens so far.
        index: int scalar, their number.
        size: int, the n of the n-grams.
        vocabulary_size: int.

    Returns:
        bool `(rows, vocabulary_size)`.
    """
    rows, length = ops.shape(token_ids)
    starts = ops.arange(length, dtype="int32")
    same = ops.broadcast_to(starts + size - 1 < index, (rows, length))  # n-grams that are complete by now
    for offset in range(size - 1):
        earlier = ops.take(token_ids, ops.minimum(starts + offset, length - 1), axis=1)  # (rows, max_length)
        latest = ops.take(token_ids, ops.reshape(ops.maximum(index - size + 1 + offset, 0), (1,)), axis=1)  # (rows, 1)
        same = same & (earlier == latest)
    following = ops.take(token_ids, ops.minimum(starts + size - 1, length - 1), axis=1)
    row_indices = ops.broadcast_to(ops.arange(rows, dtype="int32")[:, None], (rows, length))
    indices = ops.reshape(ops.stack([row_indices, following], axis=-1), (-1, 2))
    counts = ops.scatter(indices, ops.reshape(ops.cast(same, "int32"), (-1,)), (rows, vocabulary_size))
    return counts > 0


def check_ids(suppressed_ids):
    """The ids as a tuple; raises a `ValueError` unless all are integers of at least 0."""
    try:
        ids = tuple(suppressed_ids)
    except TypeError:
        ids = (None,)
    for token_id in ids:
        if not isinstance(token_id, numbers.Integral) or isinstance(token_id, bool) or token_id < 0:
            raise ValueError(
                f"suppressed_ids must be a list of token ids, 0 or more. Received: suppressed_ids={suppressed_ids!r}."
            )
    return tuple(int(token_id) for token_id in ids)
