"""Constraints: which tokens may follow a partial hypothesis."""

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import ops

from kerasseq.arguments import check_number, check_positive_integer
from kerasseq.search.request import Hypotheses, Request
from kerasseq.types import State, Tensor


class Constraint:
    """Masks tokens in a search. Subclasses define `mask`, and what else they need.

    The masks of all constraints are combined by `narrow`, lower priority first; then each constraint, in the
    same order, may `override` the result.

    Attributes:
        priority: int, the place in the order in which constraints are applied, lower priority first.
        suppressed_ids: tuple of int, tokens that the constraint never allows.
        joint_vocabulary: bool, whether it compares token ids of source and target.

    Example:

    >>> import keras, kerasseq
    >>> class OnlySmallIds(kerasseq.search.Constraint):
    ...     def mask(self, hypotheses, state, constants):
    ...         return keras.ops.arange(hypotheses.vocabulary_size)[None] < 6
    >>> sampler = kerasseq.search.GreedySampler(constraints=[OnlySmallIds()])
    >>> request = kerasseq.search.Request(batch_size=1, max_length=4)
    >>> step = lambda token_ids, state: {"logits": keras.ops.array([[0.0, 1, 2, 3, 4, 5, 6, 7]]), "state": state}
    >>> keras.ops.convert_to_numpy(sampler(step, {}, request)["token_ids"]).tolist()  # without it, four times 7
    [[[5, 5, 5, 5]]]
    """

    priority = 2
    suppressed_ids: tuple[int, ...] = ()
    joint_vocabulary = False

    def longest(self, request: Request) -> Tensor | None:
        """The most tokens of each hypothesis, END included, int32 `(rows, 1)`; `None` for no limit."""
        return None

    def room(self, request: Request) -> Tensor | None:
        """Lower bound on all length limits, int32 `(rows, 1)`; `None` for none."""
        return None

    def start(self, request: Request) -> tuple[State, State]:
        """The initial state, a nested dict of tensors `(rows, ...)`, and the constants.

        Those are a nested dict of tensors `(rows, ...)`; what all rows share is under the key `shared`.
        """
        return {}, {}

    def mask(self, hypotheses: Hypotheses, state: State, constants: State) -> Tensor | None:
        """The tokens that may follow, bool `(rows, vocabulary)`, or broadcastable to it; `None` for all of them."""
        return None

    def follow(self, token_ids: Tensor, state: State, constants: State) -> State:
        """The state after the tokens, int32 `(rows,)`."""
        return state

    def narrow(self, allowed: Tensor, mask: Tensor) -> Tensor:
        """Combines the mask with that of earlier constraints, those of lower priority."""
        return allowed & mask

    def override(
        self, allowed: Tensor | None, mask: Tensor | None, hypotheses: Hypotheses, constants: State
    ) -> Tensor | None:
        """Final edit of the combined mask, to force tokens or to allow them again."""
        return allowed

    def get_config(self) -> dict:
        """The arguments of the constructor. A compiled graph is reused for an equal configuration."""
        return {}

    @classmethod
    def from_config(cls, config: dict):
        return cls(**config)


@keras.saving.register_keras_serializable(package="kerasseq")
class LengthLimits(Constraint):
    """The fewest and the most tokens of an output.

    Lengths count tokens, END included; the length of a source of tokens too, that of other sources counts the real
    positions of the memory.

    Args:
        min_length: int, the fewest tokens.
        min_length_ratio: float of at least 0, the fewest tokens relative to the length of the source, rounded up.
        max_length_ratio: float above 0, the most tokens relative to the length of the source, rounded down, but at
            least 1, or as many as a prefix and END need, and at most the `max_length` of the call. It takes precedence
            over a minimum. Default: the limit of the preprocessor in `TextGenerator`, else none.
        max_length_offset: float of at least 0, added to it: the most tokens are `max_length_ratio * source +
            max_length_offset`.

    Raises:
        ValueError: for a value outside these ranges.
    """

    def __init__(
        self,
        min_length: int = 1,
        min_length_ratio: float = 0.0,
        max_length_ratio: float | None = None,
        max_length_offset: float = 0,
    ):
        check_positive_integer("min_length", min_length)
        check_number("max_length_offset", max_length_offset)
        check_number("min_length_ratio", min_length_ratio)
        if max_length_ratio is not None and not check_number("max_length_ratio", max_length_ratio) > 0:
            raise ValueError(f"max_length_ratio must be above 0. Received: max_length_ratio={max_length_ratio!r}.")
        if max_length_offset and max_length_ratio is None:
            raise ValueError(
                "max_length_offset is added to max_length_ratio * source, so it needs max_length_ratio. Received: "
                f"max_length_offset={max_length_offset!r}. For a limit of all outputs, pass max_length to generate."
            )
        if max_length_ratio is not None and min_length_ratio > max_length_ratio:
            raise ValueError(
                "min_length_ratio must be at most max_length_ratio. Received: "
                f"min_length_ratio={min_length_ratio!r}, max_length_ratio={max_length_ratio!r}."
            )
        self.min_length = min_length
        self.min_length_ratio = min_length_ratio
        self.max_length_ratio = max_length_ratio
        self.max_length_offset = max_length_offset

    def longest(self, request):
        if self.max_length_ratio is None:
            return None
        # The small term absorbs rounding: in floating point, 0.65 * 180 is below 117.
        return whole(ops.floor(self.max_length_ratio * source_length(request) + self.max_length_offset + 1e-4))

    def start(self, request):
        shortest = ops.full((request.batch_size, 1), self.min_length, dtype="int32")
        if self.min_length_ratio:
            relative = whole(ops.ceil(self.min_length_ratio * source_length(request) - 1e-4))
            shortest = ops.maximum(shortest, relative)
        return {}, {"shortest": shortest}

    def mask(self, hypotheses, state, constants):
        if self.min_length == 1 and not self.min_length_ratio:
            return None
        shortest = ops.minimum(constants["shortest"], hypotheses.longest)
        vocabulary = ops.arange(hypotheses.vocabulary_size, dtype="int32")
        return (hypotheses.index + 1 >= shortest) | (vocabulary != hypotheses.end_id)

    def get_config(self):
        return {
            "min_length": self.min_length,
            "min_length_ratio": self.min_length_ratio,
            "max_length_ratio": self.max_length_ratio,
            "max_length_offset": self.max_length_offset,
        }


@keras.saving.register_keras_serializable(package="kerasseq")
class NoRepeatNGram(Constraint):
    """Blocks repeated n-grams: a sequence of `size` tokens appears only once in an output (Paulus et al. 2018).

    Ignored where earlier constraints allow only repetitions: under `SourceWords`, a word that has begun is completed.

    Args:
        size: int, the n of the n-grams.

    Raises:
        ValueError: if `size` is not a positive integer.
    """

    priority = 1

    def __init__(self, size: int):
        check_positive_integer("size", size)
        self.size = size

    def mask(self, hypotheses, state, constants):
        return ~repeated_ngrams(hypotheses.token_ids, hypotheses.index, self.size, hypotheses.vocabulary_size)

    def narrow(self, allowed, mask):
        # END is never a repetition, so there is always something left unless another constraint forbids it.
        narrowed = allowed & mask
        return ops.where(ops.any(narrowed, axis=-1, keepdims=True), narrowed, allowed)

    def get_config(self):
        return {"size": self.size}


@keras.saving.register_keras_serializable(package="kerasseq")
class SuppressTokens(Constraint):
    """Tokens that never appear in an output.

    Args:
        token_ids: list of int.

    Raises:
        ValueError: unless all are integers of at least 0.
    """

    def __init__(self, token_ids: Iterable[int]):
        ids = tuple(token_ids) if isinstance(token_ids, Iterable) else (token_ids,)
        if any(not isinstance(token, numbers.Integral) or isinstance(token, bool) or token < 0 for token in ids):
            raise ValueError(f"token_ids must be a list of token ids, 0 or more. Received: token_ids={token_ids!r}.")
        self.suppressed_ids = tuple(map(int, ids))

    def mask(self, hypotheses, state, constants):
        vocabulary = ops.arange(hypotheses.vocabulary_size, dtype="int32")
        token_ids = ops.array(self.suppressed_ids, dtype="int32")
        return ops.all(vocabulary[:, None] != token_ids, axis=-1)[None]

    def get_config(self):
        return {"token_ids": list(self.suppressed_ids)}


@keras.saving.register_keras_serializable(package="kerasseq")
class Prefix(Constraint):
    """Outputs begin with the `prefix_ids` of the request. Their log-probabilities count in the scores.

    Other constraints do not apply to the tokens of a prefix.
    """

    priority = 3

    def room(self, request):
        if request.prefix_ids is None:
            raise ValueError("Prefix needs the prefix_ids of the request, int32 (batch, prefix). Received: None.")
        return 1 + ops.sum(ops.cast(request.prefix_ids > 0, "int32"), axis=-1, keepdims=True)

    def start(self, request):
        # One more column, to read where the prefix is over.
        return {}, {"prefix_ids": ops.pad(ops.cast(request.prefix_ids, "int32"), ((0, 0), (0, 1)))}

    def override(self, allowed, mask, hypotheses, constants):
        prefix_ids = constants["prefix_ids"]
        column = ops.minimum(hypotheses.index, ops.shape(prefix_ids)[1] - 1)
        forced = ops.take(prefix_ids, ops.reshape(column, (1,)), axis=1)  # (rows, 1)
        vocabulary = ops.arange(hypotheses.vocabulary_size, dtype="int32")
        others = ops.ones_like(forced, dtype="bool") if allowed is None else allowed
        return ops.where(forced > 0, vocabulary == forced, others)


def source_length(request: Request) -> Tensor:
    """The number of tokens of the source, or of real positions of the memory, float32 `(rows, 1)`."""
    if request.source_token_ids is not None:
        return ops.sum(ops.cast(request.source_token_ids > 0, "float32"), axis=-1, keepdims=True)
    if request.source_mask is None:
        raise ValueError(
            "min_length_ratio and max_length_ratio need the source_mask of the request, bool (batch, source). "
            "Received: source_mask=None."
        )
    return ops.sum(ops.cast(request.source_mask, "float32"), axis=-1, keepdims=True)


def whole(lengths: Tensor) -> Tensor:
    """Float lengths as int32, clipped where int32 would overflow."""
    return ops.cast(ops.minimum(lengths, 2.0**30), "int32")


def repeated_ngrams(token_ids: Tensor, index: Tensor, size: int, vocabulary_size: int) -> Tensor:
    """Marks the tokens that would complete an n-gram of `size` tokens for the second time.

    The `index` tokens so far, int32 `(rows, max_length)` -> bool `(rows, vocabulary_size)`.
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


def check_constraints(constraints: Sequence[Constraint]) -> tuple[Constraint, ...]:
    """The constraints as a tuple; raises a `ValueError` for anything else, or two of one kind."""
    check_entries("constraints", constraints, Constraint, "[NoRepeatNGram(3)]")
    kinds = [type(constraint) for constraint in constraints]
    if len(set(kinds)) < len(kinds):
        names = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"constraints must hold at most one of each kind. Received: {names}.")
    return tuple(constraints)


def check_entries(name: str, entries: Sequence[Any], base: type, example: str) -> None:
    """Raises a `ValueError` unless entries are a list of subclasses of `base` that can be saved."""
    if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, base) for entry in entries):
        raise ValueError(
            f"{name} must be a list of {name} of kerasseq.search, such as {example}. Received: {name}={entries!r}. "
            "Constraints mask tokens (constraints=), scorers add to scores (scorers=)."
        )
    for kind in map(type, entries):
        # A constructor may take arguments that the `get_config` of a base class cannot know.
        init, config = (
            next(base for base in kind.__mro__ if name in vars(base)) for name in ("__init__", "get_config")
        )
        if init is not config and issubclass(init, config):
            raise ValueError(
                f"{kind.__name__} has a constructor of its own, so it must define get_config, which returns its "
                "arguments: graphs are compiled, and files written, by configuration."
            )
