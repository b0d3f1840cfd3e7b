"""Attention scores, one file a score, by name."""

import functools
import typing

from kerasseq.layers.attention.bahdanau import BahdanauAttention
from kerasseq.layers.attention.base import Attention
from kerasseq.layers.attention.coverage import CoverageAttention
from kerasseq.layers.attention.location import LocationAttention
from kerasseq.layers.attention.luong import DotAttention, LuongAttention
from kerasseq.layers.attention.monotonic import MonotonicAttention
from kerasseq.layers.attention.multi_head import MultiHeadAttention


class Score(typing.NamedTuple):
    """A name in the table: the class of the layer, and the default placement."""

    layer: type[Attention]
    placement: str


SCORES = {
    "luong": Score(LuongAttention, "after"),
    "dot": Score(DotAttention, "after"),
    "concat": Score(BahdanauAttention, "after"),
    "bahdanau": Score(BahdanauAttention, "inside"),
    "multi_head": Score(MultiHeadAttention, "after"),
    "location": Score(LocationAttention, "inside"),
    "monotonic": Score(MonotonicAttention, "inside"),
    "coverage": Score(CoverageAttention, "after"),
}


def get_score(name: str) -> Score:
    """Looks up a score by name, or raises a `ValueError` that lists the names."""
    if not isinstance(name, str) or name not in SCORES:
        raise ValueError(f"attention must be one of {', '.join(map(repr, SCORES))}. Received: attention={name!r}.")
    return SCORES[name]


def make_attention(name: str, units: int, num_heads: int) -> Attention:
    """The attention layer of a name; `num_heads` is for `"multi_head"`."""
    make: typing.Callable = get_score(name).layer
    if make is MultiHeadAttention:
        make = functools.partial(make, num_heads=num_heads)
    return make(units, name="attention")
