"""Keras layers of encoder-decoder models: recurrences, attention scores, recurrent attention."""

from kerasseq.layers.attention import BahdanauAttention, LuongAttention
from kerasseq.layers.cells import CELLS
from kerasseq.layers.masking import PaddingMask
from kerasseq.layers.recurrent import Recurrent
from kerasseq.layers.recurrent_attention import RecurrentAttention

__all__ = ["CELLS", "BahdanauAttention", "LuongAttention", "PaddingMask", "Recurrent", "RecurrentAttention"]
