"""Beam search with frozen finished hypotheses."""

import keras
from keras import ops

from kerasseq.arguments import check_number, check_positive_integer
from kerasseq.samplers.sampler import IMPOSSIBLE, Sampler
from kerasseq.samplers.top_k import best_tokens, take_rows

# Below this share of attention a source position counts as not covered: the logarithm of 0 would rule outputs out.
LEAST_COVERAGE = 1e-6


def gnmt_penalty(length):
    """Wu et al. 2016, equation 14, before the exponent."""
    return (5.0 + length) / 6.0


def plain_length(length):
    return length


NORMALIZATIONS = {"gnmt": gnmt_penalty, "length": plain_length}


@keras.saving.register_keras_serializable(package="kerasseq")
class BeamSampler(Sampler):
    """Keeps the best partial hypotheses of each sequence, and apart from them the best finished ones.

    A hypothesis that has ended is frozen: nothing is added to its score any more. It counts if it was among the
    `beam_width` best when it ended; so without penalties a beam of 1 is greedy. The score of a finished hypothesis
    y is

        log p(y | x) / lp(y) + cp(x, y)

    with the length penalty `lp(y) = ((5 + |y|) / 6) ** length_penalty` or `|y| ** length_penalty`, where |y| counts
    END, and the coverage penalty `cp(x, y) = coverage_penalty * sum_i log(min(sum_j a_ij, 1))` over real source
    positions i and steps j with attention weights a (Wu et al. 2016, equation 14). While hypotheses are partial, they
    are compared by `log p` alone.

    The search of a sequence stops when its best partial hypothesis could no longer enter the finished ones that are
    wanted: log-probabilities only fall, the divisor only grows up to that of the longest output, and no coverage
    penalty is above 0. So stopping never changes the result.

    Args:
        beam_width: int, number of partial and of finished hypotheses a sequence.
        length_penalty: float of at least 0. At 0 the score is the log-probability, which favours short outputs.
        normalization: `"gnmt"` or `"length"`, the length penalty's base; `"length"` with `length_penalty=1.0` is the
            mean log-probability of a token.
        coverage_penalty: float of at least 0, the weight of the coverage penalty; needs a model with attention.
        min_length, min_length_ratio, max_length_ratio, no_repeat_ngram_size, suppressed_ids, source_words_only: the
            rules for outputs, see `kerasseq.samplers.Sampler`.

    Call arguments and results are those of `kerasseq.samplers.Sampler`, with up to `beam_width` hypotheses. Partial
    hypotheses stand behind all finished ones where fewer have ended than are wanted; where the rules leave fewer, ids
    of zeros with a score of -1e9 or less.

    Example:

    ```python
    sampler = kerasseq.samplers.BeamSampler(beam_width=10, no_repeat_ngram_size=3)
    translator = kerasseq.TextGenerator(model, preprocessor, sampler=sampler)
    ```

    Sources: Graves 2012 and Sutskever et al. 2014 for the search; Wu et al. 2016 for the penalties.
    """

    def __init__(
        self,
        beam_width=5,
        length_penalty=1.0,
        normalization="gnmt",
        coverage_penalty=0.0,
        min_length=1,
        min_length_ratio=0.0,
        max_length_ratio=None,
        no_repeat_ngram_size=None,
        suppressed_ids=(),
        source_words_only=False,
    ):
        super().__init__(
            min_length=min_length,
            min_length_ratio=min_length_ratio,
            max_length_ratio=max_length_ratio,
            no_repeat_ngram_size=no_repeat_ngram_size,
            suppressed_ids=suppressed_ids,
            source_words_only=source_words_only,
        )
        check_positive_integer("beam_width", beam_width)
        if not isinstance(normalization, str) or normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {', '.join(map(repr, NORMALIZATIONS))}. "
                f"Received: normalization={normalization!r}."
            )
        self.beam_width = beam_width
        self.length_penalty = check_number("length_penalty", length_penalty)
        self.normalization = normalization
        self.coverage_penalty = check_number("coverage_penalty", coverage_penalty)

    @property
    def rows_per_sequence(self):
        return self.beam_width

    def penalty(self, length):
        """The divisor of log-probabilities of sequences of `length` tokens, END included."""
        return NORMALIZATIONS[self.normalization](ops.cast(length, "float32")) ** self.length_penalty

    def covered(self, coverage, source_mask):
        """The coverage penalty: attention summed over steps, `(rows, source)` -> `(rows,)`."""
        logarithms = ops.log(ops.clip(coverage, LEAST_COVERAGE, 1.0))
        return self.coverage_penalty * ops.sum(ops.where(source_mask, logarithms, 0.0), axis=-1)

    def __call__(
        self,
        step,
        states,
        batch_size,
        start_id,
        end_id,
        max_length,
        hypotheses=None,
        source_mask=None,
        prefix_ids=None,
    ):
        beams = self.beam_width
        wanted = hypotheses or beams
        if wanted > beams:
            raise ValueError(
                f"hypotheses must be at most beam_width. Received: hypotheses={hypotheses}, beam_width={beams}."
            )
        positions = ops.arange(max_length, dtype="int32")
        sequence = ops.arange(batch_size, dtype="int32")[:, None]  # (batch, 1)
        prefix_ids = None if prefix_ids is None else ops.cast(prefix_ids, "int32")
        shortest, longest = self.limits(batch_size, max_length, source_mask, prefix_ids)  # (batch, 1)
        longest_penalty = self.penalty(longest)
        row_shortest, row_longest = ops.repeat(shortest, beams, axis=0), ops.repeat(longest, beams, axis=0)
        row_prefix_ids = None if prefix_ids is None else ops.repeat(prefix_ids, beams, axis=0)
        row_source_mask = None
        if self.coverage_penalty:
            if source_mask is None:
                raise ValueError(
                    "coverage_penalty needs the sampler's call argument source_mask, bool (batch, source). Received: "
                    "source_mask=None."
                )
            row_source_mask = ops.repeat(source_mask, beams, axis=0)  # (rows, source)

        def running(beam):
            # A bound on what is to come: see the docstring.
            alive = beam["alive_log_probabilities"][:, :1]
            undecided = alive / longest_penalty > beam["finished_scores"][:, wanted - 1 : wanted]
            return ops.any(undecided & (alive > IMPOSSIBLE / 2) & (beam["index"] < longest))

        def body(beam):
            index = beam["index"]
            active = index < longest  # (batch, 1); beyond its limit a sequence stands still.
            outputs = step(beam["tokens"], beam["states"])
            logits = ops.cast(outputs["logits"], "float32")
            row_ids = ops.reshape(beam["alive_ids"], (-1, max_length))
            step_allowed = outputs["allowed"](row_longest - index) if "allowed" in outputs else None
            allowed = self.rule_out(logits, row_ids, index, row_shortest, end_id, row_prefix_ids, step_allowed)

            # === Twice as many candidates as beams: at most one a beam ends, so enough go on ===
            width = min(2 * beams, logits.shape[-1])
            log_probabilities, token_ids = best_tokens(logits, width, allowed)  # (batch * beams, width)
            log_probabilities = ops.reshape(log_probabilities, (-1, beams, width))
            candidates = beam["alive_log_probabilities"][:, :, None] + log_probabilities
            log_probabilities, chosen = ops.top_k(ops.reshape(candidates, (-1, beams * width)), 2 * beams)
            parents = ops.cast(chosen, "int32") // width  # (batch, 2 * beams)
            token_ids = ops.take_along_axis(ops.reshape(token_ids, (-1, beams * width)), chosen, axis=1)
            candidate_ids = take_rows(beam["alive_ids"], parents)
            candidate_ids = ops.where(positions == index, token_ids[:, :, None], candidate_ids)
            ended = token_ids == end_id

            # === Finished: the old ones and those that end now ===
            # Only what would have stayed in the beam: a beam of 1 is greedy. And no penalty lifts what is impossible.
            finishes = active & ended & (ops.arange(2 * beams) < beams) & (log_probabilities > IMPOSSIBLE / 2)
            scores = log_probabilities / self.penalty(index + 1)
            if self.coverage_penalty:
                if "attention" not in outputs:
                    raise ValueError("coverage_penalty needs `attention` among what step returns. Received: none.")
                coverage = beam["coverage"] + ops.cast(outputs["attention"], "float32")  # (batch * beams, source)
                covered = ops.reshape(self.covered(coverage, row_source_mask), (-1, beams))
                covered = ops.take_along_axis(covered, parents, axis=1)  # (batch, 2 * beams)
                scores = scores + covered
            scores = ops.where(finishes, scores, IMPOSSIBLE)
            finished_scores, best = ops.top_k(ops.concatenate([beam["finished_scores"], scores], axis=1), beams)
            finished_ids = ops.concatenate([beam["finished_ids"], candidate_ids], axis=1)

            # === Alive: the best that go on ===
            after = {
                "index": index + 1,
                "finished_ids": take_rows(finished_ids, ops.cast(best, "int32")),
                "finished_scores": finished_scores,
            }
            log_probabilities, best = ops.top_k(ops.where(ended, IMPOSSIBLE, log_probabilities), beams)
            after["alive_log_probabilities"] = ops.where(active, log_probabilities, beam["alive_log_probabilities"])
            alive_ids = take_rows(candidate_ids, ops.cast(best, "int32"))
            after["alive_ids"] = ops.where(active[:, :, None], alive_ids, beam["alive_ids"])
            after["tokens"] = ops.reshape(ops.take_along_axis(token_ids, best, axis=1), (-1, 1))
            rows = ops.reshape(sequence * beams + ops.take_along_axis(parents, best, axis=1), (-1,))
            after["states"] = keras.tree.map_structure(lambda state: ops.take(state, rows, axis=0), outputs["states"])
            if self.coverage_penalty:
                after["coverage"] = ops.take(coverage, rows, axis=0)
                covered = ops.take_along_axis(covered, best, axis=1)
                after["alive_covered"] = ops.where(active, covered, beam["alive_covered"])
            return after

        no_ids = ops.zeros((batch_size, beams, max_length), dtype="int32")
        # All beams start alike, so all but the first are ruled out.
        first_only = ops.where(ops.arange(beams) == 0, 0.0, IMPOSSIBLE)
        start = {
            "index": ops.convert_to_tensor(0, dtype="int32"),  # scalar
            "tokens": ops.full((batch_size * beams, 1), start_id, dtype="int32"),  # (batch * beams, 1)
            "alive_ids": no_ids,  # (batch, beams, max_length)
            "alive_log_probabilities": ops.broadcast_to(first_only, (batch_size, beams)),  # (batch, beams)
            "finished_ids": no_ids,  # (batch, beams, max_length)
            "finished_scores": ops.full((batch_size, beams), IMPOSSIBLE, dtype="float32"),  # (batch, beams)
            "states": states,  # nest of (batch * beams, ...)
        }
        if self.coverage_penalty:
            start["coverage"] = ops.zeros(ops.shape(row_source_mask), dtype="float32")  # (batch * beams, source)
            start["alive_covered"] = ops.zeros((batch_size, beams), dtype="float32")  # (batch, beams)
        return self.best_hypotheses(ops.while_loop(running, body, start), longest_penalty, wanted)

    def best_hypotheses(self, beam, longest_penalty, wanted):
        """The finished hypotheses, and behind them partial ones where fewer than are wanted have ended."""
        beams = self.beam_width
        alive_scores = beam["alive_log_probabilities"] / longest_penalty
        if self.coverage_penalty:
            alive_scores = alive_scores + beam["alive_covered"]
        possible = beam["alive_log_probabilities"] > IMPOSSIBLE / 2
        alive_scores, order = ops.top_k(ops.where(possible, alive_scores, IMPOSSIBLE), beams)
        alive_ids = take_rows(ops.where(possible[:, :, None], beam["alive_ids"], 0), ops.cast(order, "int32"))
        scores = ops.concatenate([beam["finished_scores"], alive_scores], axis=1)
        token_ids = ops.concatenate([beam["finished_ids"], alive_ids], axis=1)
        finished = ops.cast(beam["finished_scores"] > IMPOSSIBLE / 2, "int32")
        finished = ops.sum(finished, axis=1, keepdims=True)  # (batch, 1)
        ranks = ops.arange(wanted, dtype="int32")
        best = ops.where(ranks < finished, ranks, ranks - finished + beams)
        return {"token_ids": take_rows(token_ids, best), "scores": ops.take_along_axis(scores, best, axis=1)}

    def get_config(self):
        return {
            "beam_width": self.beam_width,
            "length_penalty": self.length_penalty,
            "normalization": self.normalization,
            "coverage_penalty": self.coverage_penalty,
            **super().get_config(),
        }
