"""Losses that are layers of a model."""

from kerasseq.layers.losses.base import AuxiliaryLoss
from kerasseq.layers.losses.content_selection import ContentSelectionLoss
from kerasseq.layers.losses.coverage import CoverageLoss
from kerasseq.layers.losses.ctc import CTCLoss
from kerasseq.layers.losses.doubly_stochastic import DoublyStochasticLoss

__all__ = ["AuxiliaryLoss", "CTCLoss", "ContentSelectionLoss", "CoverageLoss", "DoublyStochasticLoss"]
