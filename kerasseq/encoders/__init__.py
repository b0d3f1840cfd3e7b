"""Encoders map a source to a memory, its mask and final states. One file a kind of source."""

from kerasseq.encoders.backbone import BackboneEncoder, from_backbone
from kerasseq.encoders.base import Encoder
from kerasseq.encoders.ensemble import EnsembleEncoder
from kerasseq.encoders.frames import FramesEncoder
from kerasseq.encoders.images import FeatureEncoder, ImageEncoder, ImageFeatures, image_features
from kerasseq.encoders.recurrent import RecurrentEncoder
from kerasseq.encoders.transformer import TransformerEncoder

__all__ = [
    "BackboneEncoder",
    "Encoder",
    "EnsembleEncoder",
    "FeatureEncoder",
    "FramesEncoder",
    "ImageEncoder",
    "ImageFeatures",
    "RecurrentEncoder",
    "TransformerEncoder",
    "from_backbone",
    "image_features",
]
