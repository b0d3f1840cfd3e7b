"""Keras layers of encoder-decoder models: recurrences, attention scores, recurrent attention."""

from kerasseq.layers.attention import BahdanauAttention, LuongAttention
from kerasseq.layers.masking import PaddingMask
from kerasseq.layers.recurrent import CELLS, Recurrent
from kerasseq.layers.recurrent_attention import RecurrentAttention

__all__ = ["CELLS", "BahdanauAttention", "LuongAttention", "PaddingMask", "Recurrent", "RecurrentAttention"]
