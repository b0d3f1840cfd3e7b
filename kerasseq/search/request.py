"""Inputs and progress of a search."""

import typing
from collections.abc import Callable
from typing import Any

from keras import ops

from kerasseq.types import Tensor

# The log-probability of a masked token: finite, so that no sum or quotient of it is NaN.
IMPOSSIBLE = -1e9


class Request(typing.NamedTuple):
    """The sequences that a search decodes.

    Attributes:
        batch_size: int scalar, number of sequences, or of rows after `repeat`.
        max_length: int scalar, the most tokens of a hypothesis, END included.
        start_id: int, the token before the first.
        end_id: int, the token that ends a hypothesis.
        source_mask: bool `(batch, source)`, true for real positions of the memory. Required by lengths relative to the
            source and by scorers of attention.
        source_token_ids: int32 `(batch, source)`, for sources of tokens.
        max_source_length: int, the length to which longer sources were truncated; `None` if sources are not
            truncated.
        word_pieces: dict of arrays that describes the vocabulary, see
            `kerasseq.preprocessing.Preprocessor.word_pieces`, for `SourceWords`.
        constraints: tuple of constraints of this request, beside those of the sampler.
        prefix_ids: int32 `(batch, prefix)`, 0 behind the prefix, for `Prefix`.
        ctc_log_probabilities: float `(batch, positions, vocabulary)`, those of the target tokens at each position of
            the memory, and of a blank in the place of padding, for `CTCPrefix`.
        suppressed_ids: tuple of int, tokens that the constraints never allow. Filled in by the search.
    """

    batch_size: Tensor
    max_length: Tensor
    start_id: int = 2
    end_id: int = 3
    source_mask: Tensor | None = None
    source_token_ids: Tensor | None = None
    max_source_length: int | None = None
    word_pieces: dict | None = None
    constraints: tuple = ()
    prefix_ids: Tensor | None = None
    ctc_log_probabilities: Tensor | None = None
    suppressed_ids: tuple = ()

    def repeat(self, times: int) -> "Request":
        """The request for `times` rows a sequence."""
        return self._replace(
            batch_size=self.batch_size * times,
            source_mask=repeat_rows(self.source_mask, times),
            source_token_ids=repeat_rows(self.source_token_ids, times),
            prefix_ids=repeat_rows(self.prefix_ids, times),
            ctc_log_probabilities=repeat_rows(self.ctc_log_probabilities, times),
        )


class Hypotheses(typing.NamedTuple):
    """The partial hypotheses of a step.

    Attributes:
        token_ids: int32 `(rows, max_length)`, the tokens so far.
        index: int scalar, their number.
        longest: int32 `(rows, 1)`, the most tokens, END included.
        end_id: int.
        vocabulary_size: int.
    """

    token_ids: Tensor
    index: Tensor
    longest: Tensor
    end_id: int
    vocabulary_size: int


def repeat_rows(nest: Any, times: int) -> Any:
    """Repeats each row of a nest of tensors: `(batch, ...)` -> `(batch * times, ...)`; `None` stays `None`."""
    if nest is None or times == 1:
        return nest
    return map_rows(lambda tensor: ops.repeat(tensor, times, axis=0), nest)


def map_rows(function: Callable[[Tensor], Tensor], nest: Any) -> Any:
    """Applies a function to the tensors of a nest, but for those under the key `shared`, which have no rows."""
    if isinstance(nest, dict):
        return {name: part if name == "shared" else map_rows(function, part) for name, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        return type(nest)(map_rows(function, part) for part in nest)
    return function(nest)
