"""The most probable token in every step."""

import keras
from keras import ops

from kerasseq.search.base import Constrained, Sampler
from kerasseq.search.request import IMPOSSIBLE
from kerasseq.search.top_k import best_tokens
from kerasseq.types import Tensor


@keras.saving.register_keras_serializable(package="kerasseq")
class GreedySampler(Sampler):
    """Takes the most probable token in every step, until END.

    Args:
        constraints: as in `Sampler`. A sequence for which they leave no token stops without END.

    Call arguments and results are those of `kerasseq.search.Sampler`.

    Example:

    ```python
    sampler = kerasseq.search.GreedySampler(constraints=[kerasseq.search.NoRepeatNGram(3)])
    translator.generate(["How are you?"], sampler=sampler)
    ```
    """

    def __call__(self, step, state, request, num_hypotheses=None):
        self.check_num_hypotheses(num_hypotheses)
        positions = ops.arange(request.max_length, dtype="int32")
        constrained, constraint_states = Constrained.start(self.constraints, request)
        rows = (request.batch_size, 1)

        def running(search):
            return ops.logical_and(search["index"] < request.max_length, ops.logical_not(ops.all(search["done"])))

        def body(search):
            index, done = search["index"], search["done"]
            outputs = step(search["tokens"][:, 0], search["state"])
            logits = ops.cast(outputs["logits"], "float32")
            masked = constrained.mask(logits, search["token_ids"], index, search["constraints"])
            log_probabilities, tokens = self.choose(logits, masked)  # (batch, 1)
            done = ops.logical_or(done, log_probabilities < IMPOSSIBLE / 2)
            # Finished rows emit padding at log-probability 0, so END keeps its score.
            tokens = ops.where(done, 0, tokens)
            return {
                "index": index + 1,
                "tokens": tokens,
                "token_ids": ops.where(positions == index, tokens, search["token_ids"]),
                "scores": search["scores"] + ops.where(done, 0.0, log_probabilities),
                "done": done | (tokens == request.end_id) | (index + 1 >= constrained.longest),
                "state": outputs["state"],
                "constraints": constrained.follow(tokens[:, 0], search["constraints"]),
            }

        start = {
            "index": ops.convert_to_tensor(0, dtype="int32"),
            "tokens": ops.full(rows, request.start_id, dtype="int32"),
            "token_ids": ops.zeros((request.batch_size, request.max_length), dtype="int32"),
            "scores": ops.zeros(rows, dtype="float32"),
            "done": ops.zeros(rows, dtype="bool"),
            "state": state,
            "constraints": constraint_states,
        }
        search = ops.while_loop(running, lambda search: (body(search),), (start,))[0]
        return {"token_ids": search["token_ids"][:, None], "scores": search["scores"]}

    def choose(self, logits: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        """One token a row: logits, plain and masked, `(rows, vocabulary)` -> log-probabilities and token ids.

        Both results are `(rows, 1)`.
        """
        return best_tokens(logits, 1, masked)
