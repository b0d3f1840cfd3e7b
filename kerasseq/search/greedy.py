"""The most probable token in every step."""

import keras
from keras import ops

from kerasseq.search.base import Constrained, Sampler
from kerasseq.search.request import IMPOSSIBLE
from kerasseq.search.rows import while_undecided
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

        def advance(search, constants):
            index, undecided, rows = search["index"], search["undecided"], search["rows"]
            constrained_now = constrained._replace(**constants["constrained"])
            outputs = constants["step"](rows["tokens"][:, 0], rows["state"])
            logits = ops.cast(outputs["logits"], "float32")
            masked = constrained_now.mask(logits, search["token_ids"], index, rows["constraints"])
            log_probabilities, tokens = self.choose(logits, masked)  # (batch, 1)
            continues = undecided & (log_probabilities[:, 0] > IMPOSSIBLE / 2)
            # Finished rows emit padding at log-probability 0, so END keeps its score.
            tokens = ops.where(continues[:, None], tokens, 0)
            longest = constants["constrained"]["longest"][:, 0]
            return {
                "index": index + 1,
                "undecided": continues & (tokens[:, 0] != request.end_id) & (index + 1 < longest),
                "token_ids": ops.where(positions == index, tokens, search["token_ids"]),
                "scores": search["scores"] + ops.where(continues[:, None], log_probabilities, 0.0),
                "rows": {
                    "tokens": tokens,
                    "state": outputs["state"],
                    "constraints": constrained_now.follow(tokens[:, 0], rows["constraints"]),
                },
            }

        def finish(search, constants):
            return {"token_ids": search["token_ids"][:, None], "scores": search["scores"]}

        search = {
            "index": ops.convert_to_tensor(0, dtype="int32"),
            "undecided": ops.ones((request.batch_size,), dtype="bool"),
            "token_ids": ops.zeros((request.batch_size, request.max_length), dtype="int32"),
            "scores": ops.zeros((request.batch_size, 1), dtype="float32"),
            "rows": {
                "tokens": ops.full((request.batch_size, 1), request.start_id, dtype="int32"),
                "state": state,
                "constraints": constraint_states,
            },
        }
        constants = {"step": step, "constrained": constrained.tensors}
        return while_undecided(advance, search, constants, finish)

    def choose(self, logits: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        """One token a row: logits, plain and masked, `(rows, vocabulary)` -> log-probabilities and token ids.

        Both results are `(rows, 1)`.
        """
        return best_tokens(logits, 1, masked)
