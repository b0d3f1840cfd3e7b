"""The contract of samplers: one loop in the graph over the steps of a decoder."""

import functools
import typing
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer
from kerasseq.search.constraints import Constraint, check_constraints
from kerasseq.search.request import IMPOSSIBLE, Hypotheses, Request
from kerasseq.search.scorers import Scorer
from kerasseq.types import State, Tensor


class Sampler:
    """A decoding strategy. Subclasses define the loop, `__call__`.

    Constraints mask tokens without renormalizing: the scores of the remaining tokens are those of the model.

    Args:
        constraints: list of `kerasseq.search.Constraint`, such as `[NoRepeatNGram(3), LengthLimits(min_length=5)]`.

    Raises:
        ValueError: for anything else in the list, or two constraints of one kind.

    Call arguments:
        step: function of `token_ids (rows,)` and a state, a nest of tensors `(rows, ...)`, where rows is `batch_size *
            rows_per_sequence`. It returns a dict with `logits (rows, vocabulary)`, the next `state`, and for scorers of
            attention `attention (rows, source)`; see `kerasseq.decoders.Decoder.step`. Sequences that are decided leave
            the batch if it is a `kerasseq.search.Step`, which knows what else has rows.
        state: the initial state.
        request: the `kerasseq.search.Request`: sizes, special ids and the source.
        num_hypotheses: int, number of hypotheses to return for each sequence, at most `rows_per_sequence`.

    Returns:
        dict of `token_ids`, int32 `(batch, num_hypotheses, max_length)`, best hypothesis first, with zeros behind END;
        and `scores`, float32 `(batch, num_hypotheses)`: for greedy and random search the natural logarithm of the
        sequence's probability.

    Attributes:
        rows_per_sequence: int, number of hypotheses per sequence in each decoder step.
        scorers: tuple of `kerasseq.search.Scorer`.
        random_state: the object that holds the state of the random numbers; `None` for a deterministic search.
    """

    rows_per_sequence = 1
    scorers: tuple[Scorer, ...] = ()
    random_state: Any = None

    def __init__(self, constraints: Sequence[Constraint] = ()):
        self.constraints = check_constraints(constraints)

    def __call__(
        self, step: Callable[..., Any], state: State, request: Request, num_hypotheses: int | None = None
    ) -> dict[str, Tensor]:
        raise NotImplementedError

    def check_num_hypotheses(self, num_hypotheses: int | None) -> int:
        """The number of hypotheses to return; raises a `ValueError` if it is above `rows_per_sequence`."""
        if num_hypotheses is None:
            return self.rows_per_sequence
        check_positive_integer("num_hypotheses", num_hypotheses)
        if num_hypotheses > self.rows_per_sequence:
            raise ValueError(
                f"{type(self).__name__} returns at most {self.rows_per_sequence} hypotheses for each sequence. "
                f"Received: num_hypotheses={num_hypotheses}. For more, choose BeamSampler(beam_width={num_hypotheses})."
            )
        return num_hypotheses

    def get_config(self) -> dict:
        lists = {"constraints": self.constraints, "scorers": self.scorers}
        serialize = keras.saving.serialize_keras_object
        return {name: [serialize(entry) for entry in entries] for name, entries in lists.items() if entries}

    @classmethod
    def from_config(cls, config: dict) -> "Sampler":
        lists = {
            name: [keras.saving.deserialize_keras_object(entry) for entry in config[name]]
            for name in ("constraints", "scorers")
            if name in config
        }
        return cls(**{**config, **lists})


class Constrained(typing.NamedTuple):
    """The constraints of one search, with their limits and what they compute once.

    Attributes:
        constraints: lower priority first.
        end_id: int.
        constants: of each constraint.
        longest: int32 `(rows, 1)`, the most tokens of a hypothesis, END included.
    """

    constraints: list
    end_id: int
    constants: list
    longest: Tensor

    @classmethod
    def start(cls, constraints: Sequence[Constraint], request: Request) -> tuple["Constrained", list[State]]:
        """The constraints of a search over the rows of a request, and their initial states."""
        constraints = sorted([*constraints, *request.constraints], key=lambda constraint: constraint.priority)
        limits = [limit for constraint in constraints if (limit := constraint.longest(request)) is not None]
        room = [room for constraint in constraints if (room := constraint.room(request)) is not None]
        longest = ops.full((request.batch_size, 1), request.max_length, dtype="int32")
        if limits:
            limit = functools.reduce(ops.minimum, limits)
            longest = ops.minimum(longest, functools.reduce(ops.maximum, [limit, 1, *room]))
        suppressed_ids = tuple(token for constraint in constraints for token in constraint.suppressed_ids)
        request = request._replace(suppressed_ids=suppressed_ids)
        started = [constraint.start(request) for constraint in constraints]
        states, constants = [state for state, _ in started], [constant for _, constant in started]
        return cls(constraints, request.end_id, constants, longest), states

    @property
    def tensors(self) -> dict[str, Any]:
        """The fields that have rows, for `_replace`."""
        return {"constants": self.constants, "longest": self.longest}

    def mask(self, logits: Tensor, token_ids: Tensor, index: Tensor, states: list[State]) -> Tensor:
        """Sets the logits `(rows, vocabulary)` of tokens that must not follow to `IMPOSSIBLE`.

        `token_ids (rows, max_length)` are the `index` tokens so far, `states` those of the constraints.
        """
        hypotheses = Hypotheses(token_ids, index, self.longest, self.end_id, logits.shape[-1])
        allowed, masks = None, []
        for constraint, state, constants in zip(self.constraints, states, self.constants, strict=True):
            masks.append(constraint.mask(hypotheses, state, constants))
            if masks[-1] is not None:
                allowed = masks[-1] if allowed is None else constraint.narrow(allowed, masks[-1])
        for constraint, mask, constants in zip(self.constraints, masks, self.constants, strict=True):
            allowed = constraint.override(allowed, mask, hypotheses, constants)
        return logits if allowed is None else ops.where(allowed, logits, IMPOSSIBLE)

    def follow(self, token_ids: Tensor, states: list[State]) -> list[State]:
        """The states after the next tokens, int32 `(rows,)`."""
        return [
            constraint.follow(token_ids, state, constants)
            for constraint, state, constants in zip(self.constraints, states, self.constants, strict=True)
        ]
