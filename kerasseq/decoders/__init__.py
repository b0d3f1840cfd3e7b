"""Decoders: tokens are emitted one by one, with a look at the memory. `base.py` has the contract."""

from kerasseq.decoders.base import Decoder
from kerasseq.decoders.bridge import Bridge
from kerasseq.decoders.ensemble import EnsembleDecoder
from kerasseq.decoders.recurrent import RecurrentDecoder

__all__ = ["Bridge", "Decoder", "EnsembleDecoder", "RecurrentDecoder"]
