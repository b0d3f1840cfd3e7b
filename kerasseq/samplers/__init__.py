"""Decoding strategies. Each runs one loop in the graph, until every sequence has ended."""

from kerasseq.samplers.beam import BeamSampler
from kerasseq.samplers.greedy import GreedySampler
from kerasseq.samplers.random import RandomSampler
from kerasseq.samplers.sampler import Sampler
from kerasseq.samplers.source_words import SourceWords

__all__ = ["BeamSampler", "GreedySampler", "RandomSampler", "Sampler", "SourceWords", "get"]

SAMPLERS = {"greedy": GreedySampler, "beam": BeamSampler}


def get(sampler):
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
    if hasattr(sampler, "get_next_token"):
        return RandomSampler(sampler)
    raise ValueError(
        f"sampler must be one of {', '.join(map(repr, SAMPLERS))}, a kerasseq.samplers object such as "
        f"BeamSampler(beam_width=5), or a keras_hub.samplers object. Received: sampler={sampler!r}."
    )
