"""Scorers: what counts in the score of a hypothesis beside its log-probability."""

import keras
from keras import ops

from kerasseq.arguments import check_number
from kerasseq.search.request import Request
from kerasseq.types import State, Tensor

# A position with less attention counts as this share: the logarithm of 0 would exclude the hypothesis.
LEAST_COVERAGE = 1e-6


class Scorer:
    """Adds to the score of a hypothesis that ends. Subclasses define `start`, `follow` and `score`.

    A score must not be above 0: a search stops as soon as no partial hypothesis can be better than the finished ones.
    Scorers of tokens also define `rescore` and `extend`.

    Attributes:
        needs_attention: bool, whether `follow` reads the `attention` of a step.
        needs_ctc: bool, whether `start` reads the `ctc_log_probabilities` of the request.
        candidates: int, the least number of next tokens that `rescore` gets for each partial hypothesis.
    """

    needs_attention = False
    needs_ctc = False
    candidates = 0

    def start(self, request: Request) -> tuple[State, State]:
        """The initial state, a nested dict of tensors `(rows, ...)`, and the constants.

        Those are a nested dict of tensors `(rows, ...)`; what all rows share is under the key `shared`.
        """
        raise NotImplementedError

    def follow(self, outputs: dict[str, Tensor], state: State, constants: State) -> State:
        """The state after a step of the decoder that returned `outputs`."""
        raise NotImplementedError

    def score(self, state: State, constants: State) -> Tensor:
        """The amount added to the score of each row if it ends now, float32 `(rows,)`."""
        raise NotImplementedError

    def rescore(self, log_probabilities: Tensor, token_ids: Tensor, state: State, constants: State) -> Tensor:
        """What next tokens add to the log-probability of a partial hypothesis, float32 `(rows, candidates)`.

        Not above 0. The default is `log_probabilities`, those of the decoder, or what an earlier scorer has made of
        them; `token_ids`, int32, has the same shape. Tokens that constraints forbid stay so.
        """
        return log_probabilities

    def extend(self, token_ids: Tensor, state: State, constants: State) -> State:
        """The state after the tokens with which hypotheses go on, int32 `(rows,)`."""
        return state

    def get_config(self) -> dict:
        """The arguments of the constructor. A compiled graph is reused for an equal configuration."""
        return {}

    @classmethod
    def from_config(cls, config: dict):
        return cls(**config)


@keras.saving.register_keras_serializable(package="kerasseq")
class Coverage(Scorer):
    """The coverage penalty of Wu et al. 2016, equation 14: `weight * sum_i log(min(sum_j a_ij, 1))`.

    The sums run over real source positions i and steps j with attention weights a, so it needs a model with attention.

    Args:
        weight: float of at least 0.

    Raises:
        ValueError: if `weight` is not a finite number of at least 0; in a search, for a request without `source_mask`,
            or a model without attention.
    """

    needs_attention = True

    def __init__(self, weight: float):
        self.weight = check_number("weight", weight)

    def start(self, request):
        if request.source_mask is None:
            raise ValueError(
                "Coverage needs the source_mask of the request, bool (batch, source). Received: source_mask=None."
            )
        coverage = ops.zeros(ops.shape(request.source_mask), dtype="float32")
        return {"coverage": coverage}, {"source_mask": request.source_mask}

    def follow(self, outputs, state, constants):
        if "attention" not in outputs:
            raise ValueError("Coverage needs `attention` among the results of a step. Received: none.")
        return {"coverage": state["coverage"] + ops.cast(outputs["attention"], "float32")}

    def score(self, state, constants):
        logarithms = ops.log(ops.clip(state["coverage"], LEAST_COVERAGE, 1.0))
        return self.weight * ops.sum(ops.where(constants["source_mask"], logarithms, 0.0), axis=-1)

    def get_config(self):
        return {"weight": self.weight}
