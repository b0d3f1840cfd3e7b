"""Random sampling, through the samplers of keras_hub."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasseq.search.constraints import Constraint
from kerasseq.search.greedy import GreedySampler


@keras.saving.register_keras_serializable(package="kerasseq")
class RandomSampler(GreedySampler):
    """Draws each token with a `keras_hub.samplers` object: temperature, top-k, top-p.

    `TextGenerator` wraps such objects itself. Call arguments and results are those of `kerasseq.search.Sampler`;
    scores are log-probabilities under the model, before the sampler's temperature and truncation.

    Args:
        sampler: a `keras_hub.samplers` object that draws one token a row, such as `TopKSampler(k=5, seed=1)`.
        constraints: as in `Sampler`. The sampler draws among the tokens that they allow.

    Raises:
        ValueError: for a sampler that keeps several sequences a row, such as keras_hub's own `BeamSampler`.
    """

    def __init__(self, sampler: Any, constraints: Sequence[Constraint] = ()):
        super().__init__(constraints)
        if not draws_tokens(sampler) or type(sampler).__name__ in ("BeamSampler", "ContrastiveSampler"):
            raise ValueError(
                "RandomSampler takes a keras_hub.samplers object that draws one token a row, such as TopKSampler, "
                f"TopPSampler or RandomSampler. Received: {sampler!r}. For beam search use "
                "kerasseq.search.BeamSampler."
            )
        for name, valid, expected in (
            ("temperature", lambda value: value > 0, "above 0. For the most probable tokens, pass 'greedy'"),
            ("k", lambda value: value >= 1, "at least 1"),
            ("p", lambda value: 0 < value <= 1, "above 0 and at most 1"),
        ):
            value = getattr(sampler, name, None)
            if value is not None and not valid(value):
                raise ValueError(
                    f"{name} must be {expected}. Received: a {type(sampler).__name__} with {name}={value!r}."
                )
        self.sampler = sampler

    @property
    def num_candidates(self) -> int:
        """The number of tokens among which each is drawn; 0 for all of the vocabulary."""
        return getattr(self.sampler, "k", None) or 0

    @property
    def random_state(self) -> Any:
        return self.sampler

    def choose(self, logits, masked):
        tokens = self.sampler.get_next_token(self.sampler.compute_probabilities(masked))
        tokens = ops.cast(tokens, "int32")[:, None]  # (rows, 1)
        chosen = ops.take_along_axis(masked, tokens, axis=-1)
        return chosen - ops.logsumexp(logits, axis=-1, keepdims=True), tokens

    def get_config(self):
        return {"sampler": keras.saving.serialize_keras_object(self.sampler), **super().get_config()}

    @classmethod
    def from_config(cls, config):
        return super().from_config({**config, "sampler": keras.saving.deserialize_keras_object(config["sampler"])})


def draws_tokens(sampler: Any) -> bool:
    """Whether an object is a sampler of keras_hub, without importing that package, which takes a second."""
    return callable(getattr(sampler, "get_next_token", None))
