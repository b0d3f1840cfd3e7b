"""Random sampling, through the samplers of keras_hub."""

import keras
from keras import ops

from kerasseq.samplers.greedy import GreedySampler


@keras.saving.register_keras_serializable(package="kerasseq")
class RandomSampler(GreedySampler):
    """Draws each token with a `keras_hub.samplers` object: temperature, top-k, top-p.

    `TextGenerator` wraps such objects itself. Call arguments and results are those of `kerasseq.samplers.Sampler`;
    scores are log-probabilities under the model, before the sampler's temperature and truncation.

    Args:
        sampler: a `keras_hub.samplers` object that draws one token a row, such as `TopKSampler(k=5, seed=1)`.
        min_length, min_length_ratio, max_length_ratio, no_repeat_ngram_size, suppressed_ids, source_words_only: the
            rules for outputs, see `kerasseq.samplers.Sampler`. The sampler draws among the tokens that they leave.

    Raises:
        ValueError: for a sampler that keeps several sequences a row, such as keras_hub's own `BeamSampler`.
    """

    def __init__(
        self,
        sampler,
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
        if not hasattr(sampler, "get_next_token") or type(sampler).__name__ in ("BeamSampler", "ContrastiveSampler"):
            raise ValueError(
                "RandomSampler takes a keras_hub.samplers object that draws one token a row, such as TopKSampler, "
                f"TopPSampler or RandomSampler. Received: {sampler!r}. For beam search use "
                "kerasseq.samplers.BeamSampler."
            )
        self.sampler = sampler

    def choose(self, logits, allowed):
        tokens = self.sampler.get_next_token(self.sampler.compute_probabilities(allowed))
        tokens = ops.cast(tokens, "int32")[:, None]  # (rows, 1)
        chosen = ops.take_along_axis(allowed, tokens, axis=-1)
        return chosen - ops.logsumexp(logits, axis=-1, keepdims=True), tokens

    def get_config(self):
        return {"sampler": keras.saving.serialize_keras_object(self.sampler), **super().get_config()}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "sampler": keras.saving.deserialize_keras_object(config["sampler"])})
