"""Beam search with frozen finished hypotheses."""

import functools
from collections.abc import Sequence

import keras
from keras import ops

from kerasseq.arguments import check_choice, check_number, check_positive_integer
from kerasseq.search.base import Constrained, Sampler
from kerasseq.search.constraints import Constraint, check_entries
from kerasseq.search.request import IMPOSSIBLE
from kerasseq.search.rows import while_undecided
from kerasseq.search.scorers import Scorer
from kerasseq.search.top_k import best_tokens, take_rows
from kerasseq.types import Tensor

STOPPING_RULES = ("exact", "best_length", "first")

# The length penalty before the exponent: Wu et al. 2016, equation 14, and the length itself.
NORMALIZATIONS = {"gnmt": lambda length: (5.0 + length) / 6.0, "length": lambda length: length}


@keras.saving.register_keras_serializable(package="kerasseq")
class BeamSampler(Sampler):
    """Keeps the best partial and, separately, the best finished hypotheses of each sequence.

    A hypothesis that has ended is frozen: its score no longer changes. It counts if it was among the `beam_width` best
    when it ended, so a beam of 1 is greedy search. The score of a finished hypothesis y is

        log p(y | x) / lp(y) + the sum of the scorers

    where scorers of tokens, such as `CTCPrefix`, replace log p by what they make of it, and with the length penalty
    `lp(y) = ((5 + |y|) / 6) ** length_penalty` (Wu et al. 2016, equation 14) or
    `|y| ** length_penalty`, where |y| counts END. Partial hypotheses are compared by `log p` alone.

    The search of a sequence stops when its best partial hypothesis can no longer enter the requested number of finished
    ones: log-probabilities only fall, the divisor only grows up to that of the longest output, and no scorer adds more
    than 0. Stopping therefore never changes the result. Cheaper rules, which may miss a better hypothesis:

    - `stop="best_length"`: the bound takes the divisor of the present length, as if the best partial hypothesis ended
      now with probability 1.
    - `stop="first"`: the requested number of hypotheses have ended, one of them as the most probable of its step.

    Args:
        beam_width: int, number of partial and of finished hypotheses for each sequence.
        length_penalty: float of at least 0. With 0 the score is the log-probability, which favours short outputs.
        normalization: `"gnmt"` or `"length"`, the length penalty's base; `"length"` with `length_penalty=1.0` is the
            mean log-probability of a token.
        constraints: as in `Sampler`.
        scorers: list of `kerasseq.search.Scorer`, such as `[Coverage(0.02)]`.
        stop: `"exact"`, `"best_length"` or `"first"`.

    Call arguments and results are those of `kerasseq.search.Sampler`, with up to `beam_width` hypotheses. Partial
    hypotheses follow all finished ones where fewer have ended than are requested; where the constraints leave fewer,
    ids of zeros with a score of -1e9 or less fill the remaining ranks.

    Example:

    ```python
    sampler = kerasseq.search.BeamSampler(beam_width=10, constraints=[kerasseq.search.NoRepeatNGram(3)])
    translator = kerasseq.TextGenerator(model, preprocessor, sampler=sampler)
    ```

    Sources: Graves 2012 and Sutskever et al. 2014 for the search; Wu et al. 2016 for the penalties.
    """

    def __init__(
        self,
        beam_width: int = 5,
        length_penalty: float = 1.0,
        normalization: str = "gnmt",
        constraints: Sequence[Constraint] = (),
        scorers: Sequence[Scorer] = (),
        stop: str = "exact",
    ):
        super().__init__(constraints)
        check_positive_integer("beam_width", beam_width)
        check_choice("normalization", normalization, NORMALIZATIONS)
        check_choice("stop", stop, STOPPING_RULES)
        self.beam_width = self.rows_per_sequence = beam_width
        self.length_penalty = check_number("length_penalty", length_penalty)
        self.normalization = normalization
        self.stop = stop
        check_entries("scorers", scorers, Scorer, "[Coverage(0.02)]")
        self.scorers = tuple(scorers)

    def penalty(self, length: Tensor) -> Tensor:
        """The divisor of log-probabilities of hypotheses of `length` tokens, END included."""
        return NORMALIZATIONS[self.normalization](ops.cast(length, "float32")) ** self.length_penalty

    def __call__(self, step, state, request, num_hypotheses=None):
        beams, batch_size = self.beam_width, request.batch_size
        num_hypotheses = self.check_num_hypotheses(num_hypotheses)
        request = request.repeat(beams)
        constrained, constraint_states = Constrained.start(self.constraints, request)
        started = [scorer.start(request) for scorer in self.scorers]
        least_width = max([2 * beams, *(scorer.candidates for scorer in self.scorers)])
        positions = ops.arange(request.max_length, dtype="int32")

        def longest(constants):
            return ops.reshape(constants["constrained"]["longest"], (-1, beams))[:, :1]  # (batch, 1)

        def advance(beam, constants):
            index, rows = beam["index"], beam["rows"]
            active = beam["undecided"][:, None]  # (batch, 1); the others are frozen.
            constrained_now = constrained._replace(**constants["constrained"])
            outputs = constants["step"](rows["tokens"], rows["state"])
            logits = ops.cast(outputs["logits"], "float32")
            row_ids = ops.reshape(beam["alive_ids"], (-1, request.max_length))
            masked = constrained_now.mask(logits, row_ids, index, rows["constraints"])

            # === Candidates: at most one per beam is END, so `beams` remain ===
            width = min(least_width, logits.shape[-1])
            log_probabilities, token_ids = best_tokens(logits, width, masked)  # (batch * beams, width)
            log_probabilities = self._rescored(log_probabilities, token_ids, rows["scorers"], constants["scorers"])
            log_probabilities = ops.reshape(log_probabilities, (-1, beams, width))
            candidates = beam["alive_log_probabilities"][:, :, None] + log_probabilities
            log_probabilities, chosen = ops.top_k(ops.reshape(candidates, (-1, beams * width)), 2 * beams)
            parents = ops.cast(chosen, "int32") // width  # (batch, 2 * beams)
            token_ids = ops.take_along_axis(ops.reshape(token_ids, (-1, beams * width)), chosen, axis=1)
            candidate_ids = take_rows(beam["alive_ids"], parents)
            candidate_ids = ops.where(positions == index, token_ids[:, :, None], candidate_ids)
            ended = token_ids == request.end_id

            # === Finished: merged with those ending now ===
            # Only hypotheses within the beam finish: a beam of 1 is greedy. No score lifts what is impossible.
            finishes = active & ended & (ops.arange(2 * beams) < beams) & (log_probabilities > IMPOSSIBLE / 2)
            scores = log_probabilities / self.penalty(index + 1)
            scorer_states, added = self._added_scores(outputs, rows["scorers"], constants["scorers"])
            if added is not None:
                added = ops.take_along_axis(added, parents, axis=1)  # (batch, 2 * beams)
                scores = scores + added
            scores = ops.where(finishes, scores, IMPOSSIBLE)
            finished_scores, best = ops.top_k(ops.concatenate([beam["finished_scores"], scores], axis=1), beams)
            finished_ids = ops.concatenate([beam["finished_ids"], candidate_ids], axis=1)
            after = {
                "index": index + 1,
                "finished_ids": take_rows(finished_ids, ops.cast(best, "int32")),
                "finished_scores": finished_scores,
            }

            # === Alive: the best unfinished candidates ===
            log_probabilities, best = ops.top_k(ops.where(ended, IMPOSSIBLE, log_probabilities), beams)
            after["alive_log_probabilities"] = ops.where(active, log_probabilities, beam["alive_log_probabilities"])
            alive_ids = take_rows(candidate_ids, ops.cast(best, "int32"))
            after["alive_ids"] = ops.where(active[:, :, None], alive_ids, beam["alive_ids"])
            if added is not None:
                added = ops.take_along_axis(added, best, axis=1)
                after["alive_added"] = ops.where(active, added, beam["alive_added"])
            if self.stop == "first":
                after["ended_first"] = beam["ended_first"] | finishes[:, :1]
            chosen_rows = ops.arange(ops.shape(parents)[0], dtype="int32")[:, None] * beams
            chosen_rows = ops.reshape(chosen_rows + ops.take_along_axis(parents, best, axis=1), (-1,))
            states = {"state": outputs["state"], "constraints": rows["constraints"], "scorers": scorer_states}
            states = keras.tree.map_structure(lambda tensor: ops.take(tensor, chosen_rows, axis=0), states)
            tokens = ops.reshape(ops.take_along_axis(token_ids, best, axis=1), (-1,))
            extended = zip(self.scorers, states["scorers"], constants["scorers"], strict=True)
            after["rows"] = {
                "state": states["state"],
                "tokens": tokens,
                "constraints": constrained_now.follow(tokens, states["constraints"]),
                "scorers": [scorer.extend(tokens, state, constant) for scorer, state, constant in extended],
            }
            after["undecided"] = beam["undecided"] & undecided(after, constants)
            return after

        def undecided(beam, constants):
            alive = beam["alive_log_probabilities"][:, :1]
            least = beam["finished_scores"][:, num_hypotheses - 1 : num_hypotheses]
            if self.stop == "first":
                open_ranks = ~(beam["ended_first"] & (least > IMPOSSIBLE / 2))
            else:  # the bound on future scores of the class docstring
                length = longest(constants) if self.stop == "exact" else beam["index"] + 1
                open_ranks = alive / self.penalty(length) > least
            return (open_ranks & (alive > IMPOSSIBLE / 2) & (beam["index"] < longest(constants)))[:, 0]

        def finish(beam, constants):
            return self._best_hypotheses(beam, self.penalty(longest(constants)), num_hypotheses)

        no_ids = ops.zeros((batch_size, beams, request.max_length), dtype="int32")
        # All beams start alike, so all but the first are impossible.
        first_only = ops.where(ops.arange(beams) == 0, 0.0, IMPOSSIBLE)
        beam = {
            "index": ops.convert_to_tensor(0, dtype="int32"),  # scalar
            "undecided": ops.ones((batch_size,), dtype="bool"),  # (batch,)
            "alive_ids": no_ids,  # (batch, beams, max_length)
            "alive_log_probabilities": ops.broadcast_to(first_only, (batch_size, beams)),  # (batch, beams)
            "finished_ids": no_ids,  # (batch, beams, max_length)
            "finished_scores": ops.full((batch_size, beams), IMPOSSIBLE, dtype="float32"),  # (batch, beams)
            "rows": {  # of each partial hypothesis
                "tokens": ops.full((batch_size * beams,), request.start_id, dtype="int32"),  # (batch * beams,)
                "state": state,  # nest of (batch * beams, ...), as the following two
                "constraints": constraint_states,
                "scorers": [scorer_state for scorer_state, _ in started],
            },
        }
        if self.scorers:
            beam["alive_added"] = ops.zeros((batch_size, beams), dtype="float32")  # (batch, beams)
        if self.stop == "first":
            beam["ended_first"] = ops.zeros((batch_size, 1), dtype="bool")  # (batch, 1)
        constants = {
            "step": step,
            "constrained": constrained.tensors,
            "scorers": [scorer_constants for _, scorer_constants in started],
        }
        return while_undecided(advance, beam, constants, finish, beams)

    def _rescored(self, log_probabilities, token_ids, states, constants):
        """What the scorers make of log-probabilities, `(rows, candidates)`."""
        if not self.scorers:
            return log_probabilities
        rescored = log_probabilities
        for scorer, state, constant in zip(self.scorers, states, constants, strict=True):
            rescored = scorer.rescore(rescored, token_ids, state, constant)
        return ops.where(log_probabilities > IMPOSSIBLE / 2, rescored, IMPOSSIBLE)

    def _added_scores(self, outputs, states, constants):
        """The scorers' states after a step, and the sum of their scores, `(batch, beams)` or `None`."""
        after, scores = [], []
        for scorer, state, constant in zip(self.scorers, states, constants, strict=True):
            after.append(scorer.follow(outputs, state, constant))
            scores.append(ops.reshape(scorer.score(after[-1], constant), (-1, self.beam_width)))
        return after, functools.reduce(ops.add, scores) if scores else None

    def _best_hypotheses(self, beam, longest_penalty, num_hypotheses):
        """The finished hypotheses, followed by partial ones where fewer than requested have ended."""
        beams = self.beam_width
        alive_scores = beam["alive_log_probabilities"] / longest_penalty
        if self.scorers:
            alive_scores = alive_scores + beam["alive_added"]
        possible = beam["alive_log_probabilities"] > IMPOSSIBLE / 2
        alive_scores, order = ops.top_k(ops.where(possible, alive_scores, IMPOSSIBLE), beams)
        alive_ids = take_rows(ops.where(possible[:, :, None], beam["alive_ids"], 0), ops.cast(order, "int32"))
        scores = ops.concatenate([beam["finished_scores"], alive_scores], axis=1)
        token_ids = ops.concatenate([beam["finished_ids"], alive_ids], axis=1)
        finished = ops.cast(beam["finished_scores"] > IMPOSSIBLE / 2, "int32")
        finished = ops.sum(finished, axis=1, keepdims=True)  # (batch, 1)
        ranks = ops.arange(num_hypotheses, dtype="int32")
        best = ops.where(ranks < finished, ranks, ranks - finished + beams)
        return {"token_ids": take_rows(token_ids, best), "scores": ops.take_along_axis(scores, best, axis=1)}

    def get_config(self):
        return {
            "beam_width": self.beam_width,
            "length_penalty": self.length_penalty,
            "normalization": self.normalization,
            "stop": self.stop,
            **super().get_config(),
        }
