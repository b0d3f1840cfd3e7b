"""The likeliest token in every step."""

import keras
from keras import ops

from kerasseq.samplers.top_k import best_tokens


@keras.saving.register_keras_serializable(package="kerasseq")
class GreedySampler:
    """Takes the likeliest token in every step, until END.

    Called by `kerasseq.TextGenerator`, as every sampler is:

    Call arguments:
        step: function of `token_ids (rows, 1)` and a nest of states, each `(rows, ...)`, that returns logits
            `(rows, vocabulary)` and the next states, where rows is `batch_size * rows_per_sequence`.
        states: the states before the first step.
        batch_size: int scalar.
        start_id: int, the token before the first.
        end_id: int, the token that ends a sequence.
        max_length: int scalar, the most tokens of a sequence, END included.
        hypotheses: int, how many of the best hypotheses of a sequence are wanted, at most `rows_per_sequence`.

    Returns:
        dict of `token_ids`, int32 `(batch, hypotheses, max_length)`, best hypothesis first, with zeros behind END;
        and `scores`, float32 `(batch, hypotheses)`: here the natural logarithm of the sequence's probability.
    """

    rows_per_sequence = 1

    def __call__(self, step, states, batch_size, start_id, end_id, max_length, hypotheses=1):
        positions = ops.arange(max_length, dtype="int32")

        def running(index, tokens, token_ids, scores, done, states):
            return ops.logical_and(index < max_length, ops.logical_not(ops.all(done)))

        def body(index, tokens, token_ids, scores, done, states):
            logits, states = step(tokens, states)
            log_probabilities, tokens = self.choose(logits)  # (batch, 1)
            # Finished rows emit padding at log-probability 0, so END keeps its score.
            tokens = ops.where(done, 0, tokens)
            scores = scores + ops.where(done, 0.0, log_probabilities)
            token_ids = ops.where(positions == index, tokens, token_ids)
            return index + 1, tokens, token_ids, scores, ops.logical_or(done, tokens == end_id), states

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

    def choose(self, logits):
        """One token a row: logits `(rows, vocabulary)` -> log-probabilities and token ids, both `(rows, 1)`."""
        return best_tokens(logits, 1)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
