"""Keras layers of encoder-decoder models: recurrences, attention, recurrences with attention."""

from kerasseq.layers.alignment_attention import CoverageAttention, LocationAttention, MonotonicAttention, StartAlignment
from kerasseq.layers.attention import BahdanauAttention, LuongAttention
from kerasseq.layers.augmentation import AdditiveNoise, SpecAugment, SpeedPerturbation
from kerasseq.layers.cells import CELLS
from kerasseq.layers.content_selection_loss import ContentSelectionLoss
from kerasseq.layers.coverage_loss import CoverageLoss
from kerasseq.layers.ctc_loss import CTCLoss
from kerasseq.layers.doubly_stochastic_loss import DoublyStochasticLoss
from kerasseq.layers.empty_batch import AsManyRows, AtLeastOneRow
from kerasseq.layers.grid_places import GridPlaces
from kerasseq.layers.image_normalization import ImageNormalization
from kerasseq.layers.input_feeding import InputFeeding
from kerasseq.layers.masking import FullMask, PaddingMask, PairSteps
from kerasseq.layers.mean_probability import MeanProbability
from kerasseq.layers.multi_head_attention import MultiHeadAttention
from kerasseq.layers.pointer_generator import PointerGenerator
from kerasseq.layers.recurrent import Recurrent
from kerasseq.layers.recurrent_attention import RecurrentAttention
from kerasseq.layers.subsampling import ConvolutionalSubsampling
from kerasseq.layers.zero_state import ZeroState

__all__ = [
    "CELLS",
    "AdditiveNoise",
    "AsManyRows",
    "AtLeastOneRow",
    "BahdanauAttention",
    "CTCLoss",
    "ContentSelectionLoss",
    "ConvolutionalSubsampling",
    "CoverageAttention",
    "CoverageLoss",
    "DoublyStochasticLoss",
    "FullMask",
    "GridPlaces",
    "ImageNormalization",
    "InputFeeding",
    "LocationAttention",
    "LuongAttention",
    "MeanProbability",
    "MonotonicAttention",
    "MultiHeadAttention",
    "PaddingMask",
    "PairSteps",
    "PointerGenerator",
    "Recurrent",
    "RecurrentAttention",
    "SpecAugment",
    "SpeedPerturbation",
    "StartAlignment",
    "ZeroState",
]
