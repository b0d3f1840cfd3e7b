"""The kinds of attention by name."""

import typing

from kerasseq.layers.alignment_attention import CoverageAttention, LocationAttention, MonotonicAttention
from kerasseq.layers.attention import BahdanauAttention, LuongAttention
from kerasseq.layers.multi_head_attention import MultiHeadAttention


class Kind(typing.NamedTuple):
    """What bridges and decoders need to know of a kind of attention.

    Attributes:
        make: function of `units`, `num_heads` and `name` that makes the layer.
        placement: str, where the attention stands by default.
        keys: bool, whether the keys are the projected memory; else they are the memory.
        values: bool, whether contexts are made of the projected memory; else of the memory.
        start: float or `None`, the start weight of the first position, for attention with a state.
    """

    make: typing.Callable
    placement: str
    keys: bool = True
    values: bool = False
    start: float | None = None


def additive(layer):
    return lambda units, num_heads, name: layer(units, name=name)


ATTENTIONS = {
    "luong": Kind(lambda units, num_heads, name: LuongAttention(name=name), "after"),
    "dot": Kind(lambda units, num_heads, name: LuongAttention(name=name), "after", keys=False),
    "concat": Kind(additive(BahdanauAttention), "after"),
    "bahdanau": Kind(additive(BahdanauAttention), "inside"),
    "multi_head": Kind(
        lambda units, num_heads, name: MultiHeadAttention(units, num_heads=num_heads, name=name), "after", values=True
    ),
    "location": Kind(additive(LocationAttention), "inside", start=1.0),
    "monotonic": Kind(additive(MonotonicAttention), "inside", start=1.0),
    "coverage": Kind(additive(CoverageAttention), "after", start=0.0),
}

PLACEMENTS = ("after", "input_feeding", "inside")


def get_kind(name):
    """Looks up a kind of attention by name, or raises a `ValueError` that lists the names."""
    if not isinstance(name, str) or name not in ATTENTIONS:
        raise ValueError(f"attention must be one of {', '.join(map(repr, ATTENTIONS))}. Received: attention={name!r}.")
    return ATTENTIONS[name]


def get_placement(placement, attention):
    """The placement, or a kind's default for `None`; raises a `ValueError` for anything else."""
    if placement is None:
        return get_kind(attention).placement
    if placement not in PLACEMENTS:
        raise ValueError(
            f"placement must be one of {', '.join(map(repr, PLACEMENTS))}, or None for the default of the attention. "
            f"Received: placement={placement!r}."
        )
    return placement
