"""Builders of encoder-decoder models: functions that return a `kerasseq.Seq2Seq`."""

from kerasseq.models.attention import AttentionSeq2Seq
from kerasseq.models.average import average_weights
from kerasseq.models.captioning import CaptioningSeq2Seq, with_backbone
from kerasseq.models.ensemble import Ensemble
from kerasseq.models.fixed_context import GRUSeq2Seq, LSTMSeq2Seq, VanillaSeq2Seq
from kerasseq.models.pointer_generator import PointerGeneratorSeq2Seq
from kerasseq.models.speech import SpeechSeq2Seq
from kerasseq.models.transformer import TransformerSeq2Seq

__all__ = [
    "AttentionSeq2Seq",
    "CaptioningSeq2Seq",
    "Ensemble",
    "GRUSeq2Seq",
    "LSTMSeq2Seq",
    "PointerGeneratorSeq2Seq",
    "SpeechSeq2Seq",
    "TransformerSeq2Seq",
    "VanillaSeq2Seq",
    "average_weights",
    "with_backbone",
]
