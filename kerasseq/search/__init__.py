"""Decoding strategies: one loop in the graph, until every sequence has ended.

Constraints say which tokens may follow; scorers add to the scores of hypotheses.
"""

from typing import Any

from kerasseq.search.base import Sampler
from kerasseq.search.beam import BeamSampler
from kerasseq.search.constraints import Constraint, LengthLimits, NoRepeatNGram, Prefix, SuppressTokens
from kerasseq.search.ctc_prefix import CTCPrefix
from kerasseq.search.decode import decode
from kerasseq.search.greedy import GreedySampler
from kerasseq.search.request import Request
from kerasseq.search.rows import Step
from kerasseq.search.sampling import RandomSampler, draws_tokens
from kerasseq.search.scorers import Coverage, Scorer
from kerasseq.search.source_words import SourceWords

__all__ = [
    "BeamSampler",
    "CTCPrefix",
    "Constraint",
    "Coverage",
    "GreedySampler",
    "LengthLimits",
    "NoRepeatNGram",
    "Prefix",
    "RandomSampler",
    "Request",
    "Sampler",
    "Scorer",
    "SourceWords",
    "Step",
    "SuppressTokens",
    "decode",
    "get",
]

SAMPLERS = {"greedy": GreedySampler, "beam": BeamSampler}


def get(sampler: Any) -> Sampler:
    """A sampler by name, or the object itself; `keras_hub.samplers` objects are wrapped.

    Args:
        sampler: `"greedy"`, `"beam"`, a kerasseq sampler, or a random sampler of `keras_hub.samplers`.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(sampler, str) and sampler in SAMPLERS:
        return SAMPLERS[sampler]()
    if isinstance(sampler, Sampler):
        return sampler
    if draws_tokens(sampler):
        return RandomSampler(sampler)
    raise ValueError(
        f"sampler must be one of {', '.join(map(repr, SAMPLERS))}, a kerasseq.search object such as "
        f"BeamSampler(beam_width=5), or a keras_hub.samplers object. Received: sampler={sampler!r}."
    )
