"""Decoders emit tokens one by one while they attend to a memory. `base.py` has the contract."""

from kerasseq.decoders.base import Decoder
from kerasseq.decoders.bridge import Bridge
from kerasseq.decoders.ensemble import EnsembleDecoder
from kerasseq.decoders.recurrent import RecurrentDecoder
from kerasseq.decoders.transformer import TransformerDecoder

__all__ = ["Bridge", "Decoder", "EnsembleDecoder", "RecurrentDecoder", "TransformerDecoder"]
