"""Keras layers of encoder-decoder models: recurrences, attention, recurrences with attention, auxiliary losses."""

from kerasseq.layers.attention import (
    Attention,
    BahdanauAttention,
    CoverageAttention,
    DotAttention,
    LocationAttention,
    LuongAttention,
    MonotonicAttention,
    MultiHeadAttention,
)
from kerasseq.layers.augmentation import AdditiveNoise, SpecAugment, SpeedPerturbation
from kerasseq.layers.cells import Cell
from kerasseq.layers.image_normalization import ImageNormalization
from kerasseq.layers.input_feeding import InputFeeding
from kerasseq.layers.losses import AuxiliaryLoss, ContentSelectionLoss, CoverageLoss, CTCLoss, DoublyStochasticLoss
from kerasseq.layers.masking import FullMask, PaddingMask
from kerasseq.layers.pointer_generator import PointerGenerator
from kerasseq.layers.positional_encoding import PositionalEncoding
from kerasseq.layers.recurrent import Recurrent
from kerasseq.layers.recurrent_attention import RecurrentAttention

__all__ = [
    "AdditiveNoise",
    "Attention",
    "AuxiliaryLoss",
    "BahdanauAttention",
    "CTCLoss",
    "Cell",
    "ContentSelectionLoss",
    "CoverageAttention",
    "CoverageLoss",
    "DotAttention",
    "DoublyStochasticLoss",
    "FullMask",
    "ImageNormalization",
    "InputFeeding",
    "LocationAttention",
    "LuongAttention",
    "MonotonicAttention",
    "MultiHeadAttention",
    "PaddingMask",
    "PointerGenerator",
    "PositionalEncoding",
    "Recurrent",
    "RecurrentAttention",
    "SpecAugment",
    "SpeedPerturbation",
]
