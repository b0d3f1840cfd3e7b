"""The likeliest token in every step."""

import keras
from keras import ops

from kerasseq.samplers.sampler import IMPOSSIBLE, Sampler
from kerasseq.samplers.top_k import best_tokens


@keras.saving.register_keras_serializable(package="kerasseq")
class GreedySampler(Sampler):
    """Takes the likeliest token in every step, until END.

    Args:
        min_length, min_length_ratio, max_length_ratio, no_repeat_ngram_size, suppressed_ids, source_words_only: the
            rules for outputs, see `kerasseq.samplers.Sampler`. A sequence for which they leave no token stops without
            END.

    Call arguments and results are those of `kerasseq.samplers.Sampler`.
    """

    def __call__(
        self,
        step,
        states,
        batch_size,
        start_id,
        end_id,
        max_length,
        hypotheses=1,
        source_mask=None,
        prefix_ids=None,
    ):
        positions = ops.arange(max_length, dtype="int32")
        prefix_ids = None if prefix_ids is None else ops.cast(prefix_ids, "int32")
        shortest, longest = self.limits(batch_size, max_length, source_mask, prefix_ids)

        def running(index, tokens, token_ids, scores, done, states):
            return ops.logical_and(index < max_length, ops.logical_not(ops.all(done)))

        def body(index, tokens, token_ids, scores, done, states):
            outputs = step(tokens, states)
            logits = ops.cast(outputs["logits"], "float32")
            step_allowed = outputs["allowed"](longest - index) if "allowed" in outputs else None
            allowed = self.rule_out(logits, token_ids, index, shortest, end_id, prefix_ids, step_allowed)
            log_probabilities, tokens = self.choose(logits, allowed)  # (batch, 1)
            done = ops.logical_or(done, log_probabilities < IMPOSSIBLE / 2)
            # Finished rows emit padding at log-probability 0, so END keeps its score.
            tokens = ops.where(done, 0, tokens)
            scores = scores + ops.where(done, 0.0, log_probabilities)
            token_ids = ops.where(positions == index, tokens, token_ids)
            done = done | (tokens == end_id) | (index + 1 >= longest)
            return index + 1, tokens, token_ids, scores, done, outputs["states"]

        _, _, token_ids, scores, _, _ = ops.while_loop(
            running,
            body,
            (
                ops.convert_to_tensor(0, dtype="int32"),
                ops.full((batch_size, 1), start_id, dtype="int32"),
                ops.zeros((batch_size, max_length), dtype="int32"),
                ops.zeros((batch_size, 1), dtype="float32"),
                ops.zeros((batch_size, 1), dtype="bool"),
                states,
            ),
        )
        return {"token_ids": token_ids[:, None], "scores": scores}

    def choose(self, logits, allowed):
        """One token a row: logits, all and the allowed ones, `(rows, vocabulary)` -> log-probabilities and token ids.

        Both results are `(rows, 1)`.
        """
        return best_tokens(logits, 1, allowed)
