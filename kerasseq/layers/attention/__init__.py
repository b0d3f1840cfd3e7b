"""Attention scores, one file a score, by name."""

import typing

from kerasseq.arguments import check_choice
from kerasseq.layers.attention.bahdanau import BahdanauAttention
from kerasseq.layers.attention.base import Attention
from kerasseq.layers.attention.coverage import CoverageAttention
from kerasseq.layers.attention.location import LocationAttention
from kerasseq.layers.attention.luong import DotAttention, LuongAttention
from kerasseq.layers.attention.monotonic import MonotonicAttention
from kerasseq.layers.attention.multi_head import MultiHeadAttention


class Score(typing.NamedTuple):
    """A name in the table: the class of the layer, the default placement, and the options that the layer takes."""

    layer: typing.Callable[..., Attention]
    placement: str
    options: tuple[str, ...] = ()


SCORES = {
    "luong": Score(LuongAttention, "after"),
    "dot": Score(DotAttention, "after"),
    "concat": Score(BahdanauAttention, "after"),
    "bahdanau": Score(BahdanauAttention, "inside"),
    "multi_head": Score(MultiHeadAttention, "after", ("num_heads",)),
    "location": Score(LocationAttention, "inside"),
    "monotonic": Score(MonotonicAttention, "inside"),
    "coverage": Score(CoverageAttention, "after"),
}


def get_score(name: str) -> Score:
    """Looks up a score by name, or raises a `ValueError` that lists the names."""
    check_choice("attention", name, SCORES)
    return SCORES[name]


def make_attention(name: str, units: int, **options: typing.Any) -> Attention:
    """The attention layer of a name; of the options, such as `num_heads`, it gets those it takes."""
    score = get_score(name)
    return score.layer(units, **{option: options[option] for option in score.options}, name="attention")
