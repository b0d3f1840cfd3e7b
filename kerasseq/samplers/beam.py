"""Beam search with frozen finished hypotheses."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer
from kerasseq.samplers.top_k import best_tokens, take_rows

IMPOSSIBLE = -1e9


@keras.saving.register_keras_serializable(package="kerasseq")
class BeamSampler:
    """Keeps the best partial hypotheses of each sequence, and apart from them the best finished ones.

    A hypothesis that has ended is frozen: nothing is added to its score any more. It counts if it was among the
    `beam_width` best when it ended; so at `length_penalty=0` a beam of 1 is greedy. Scores are
    `log p(y | x) / lp(y)` with `lp(y) = ((5 + |y|) / 6) ** length_penalty` (Wu et al. 2016, equation 14), where |y|
    counts END.

    The search of a sequence stops when its best partial hypothesis, at the log-probability that it has and the penalty
    of the longest output, could no longer enter the finished ones that are wanted: stopping never changes the result.

    Args:
        beam_width: int, number of partial and of finished hypotheses a sequence.
        length_penalty: float of at least 0. At 0 the score is the log-probability, which favours short outputs.

    Call arguments and results are those of `GreedySampler`, with up to `beam_width` hypotheses.

    Example:

    ```python
    translator = kerasseq.TextGenerator(model, preprocessor, sampler=kerasseq.samplers.BeamSampler(beam_width=10))
    ```

    Sources: Graves 2012 and Sutskever et al. 2014 for the search; Wu et al. 2016 for the penalty.
    """

    def __init__(self, beam_width=5, length_penalty=1.0):
        check_positive_integer("beam_width", beam_width)
        if not length_penalty >= 0:
            raise ValueError(f"length_penalty must be 0 or more. Received: length_penalty={length_penalty!r}.")
        self.beam_width = beam_width
        self.length_penalty = length_penalty

    @property
    def rows_per_sequence(self):
        return self.beam_width

    def penalty(self, length):
        """The divisor of log-probabilities of sequences of `length` tokens, END included."""
        return ((5.0 + ops.cast(length, "float32")) / 6.0) ** self.length_penalty

    def __call__(self, step, states, batch_size, start_id, end_id, max_length, hypotheses=None):
        beams = self.beam_width
        wanted = hypotheses or beams
        positions = ops.arange(max_length, dtype="int32")
        sequence = ops.arange(batch_size, dtype="int32")[:, None]  # (batch, 1)
        longest_penalty = self.penalty(max_length)

        def running(index, tokens, alive_ids, alive_log_probabilities, finished_ids, finished_scores, states):
            # Log-probabilities only fall and the divisor only grows up to max_length: a bound on what is to come.
            best_to_come = alive_log_probabilities[:, 0] / longest_penalty
            undecided = ops.any(best_to_come > finished_scores[:, wanted - 1])
            return ops.logical_and(index < max_length, undecided)

        def body(index, tokens, alive_ids, alive_log_probabilities, finished_ids, finished_scores, states):
            logits, states = step(tokens, states)

            # === Twice as many candidates as beams: at most one a beam ends, so enough go on ===
            width = min(2 * beams, logits.shape[-1])
            log_probabilities, token_ids = best_tokens(logits, width)  # (batch * beams, width)
            candidates = alive_log_probabilities[:, :, None] + ops.reshape(log_probabilities, (-1, beams, width))
            log_probabilities, chosen = ops.top_k(ops.reshape(candidates, (-1, beams * width)), 2 * beams)
            parents = ops.cast(chosen, "int32") // width  # (batch, 2 * beams)
            token_ids = ops.take_along_axis(ops.reshape(token_ids, (-1, beams * width)), chosen, axis=1)
            candidate_ids = take_rows(alive_ids, parents)
            candidate_ids = ops.where(positions == index, token_ids[:, :, None], candidate_ids)
            ended = token_ids == end_id

            # === Finished: the old ones and those that end now ===
            # Only what would have stayed in the beam: a beam of 1 is greedy. And no penalty lifts what is impossible.
            finishes = ended & (ops.arange(2 * beams) < beams) & (log_probabilities > IMPOSSIBLE / 2)
            scores = ops.where(finishes, log_probabilities / self.penalty(index + 1), IMPOSSIBLE)
            finished_scores, best = ops.top_k(ops.concatenate([finished_scores, scores], axis=1), beams)
            finished_ids = take_rows(ops.concatenate([finished_ids, candidate_ids], axis=1), ops.cast(best, "int32"))

            # === Alive: the best that go on ===
            alive_log_probabilities, best = ops.top_k(ops.where(ended, IMPOSSIBLE, log_probabilities), beams)
            alive_ids = take_rows(candidate_ids, ops.cast(best, "int32"))
            tokens = ops.reshape(ops.take_along_axis(token_ids, best, axis=1), (-1, 1))
            rows = ops.reshape(sequence * beams + ops.take_along_axis(parents, best, axis=1), (-1,))
            states = keras.tree.map_structure(lambda state: ops.take(state, rows, axis=0), states)
            return index + 1, tokens, alive_ids, alive_log_probabilities, finished_ids, finished_scores, states

        no_ids = ops.zeros((batch_size, beams, max_length), dtype="int32")
        # All beams start alike, so all but the first are ruled out.
        first_only = ops.where(ops.arange(beams) == 0, 0.0, IMPOSSIBLE)
        _, _, alive_ids, alive_log_probabilities, finished_ids, finished_scores, _ = ops.while_loop(
            running,
            body,
            (
                ops.convert_to_tensor(0, dtype="int32"),
                ops.full((batch_size * beams, 1), start_id, dtype="int32"),
                no_ids,
                ops.broadcast_to(first_only, (batch_size, beams)),
                no_ids,
                ops.full((batch_size, beams), IMPOSSIBLE, dtype="float32"),
                states,
            ),
        )

        # === Partial hypotheses stand in, behind all finished ones, where fewer than `beams` have ended ===
        alive_scores = ops.where(
            alive_log_probabilities > IMPOSSIBLE / 2, alive_log_probabilities / longest_penalty, IMPOSSIBLE
        )
        scores = ops.concatenate([finished_scores, alive_scores], axis=1)
        ranks = ops.concatenate([finished_scores, scores[:, beams:] + IMPOSSIBLE / 2], axis=1)
        _, best = ops.top_k(ranks, wanted)
        token_ids = ops.concatenate([finished_ids, alive_ids], axis=1)
        return {
            "token_ids": take_rows(token_ids, ops.cast(best, "int32")),
            "scores": ops.take_along_axis(scores, best, axis=1),
        }

    def get_config(self):
        return {"beam_width": self.beam_width, "length_penalty": self.length_penalty}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
