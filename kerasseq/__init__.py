"""Encoder-decoder models for Keras: build, fit, decode, export."""

from kerasseq import quiet_start  # noqa: F401  # isort: skip  # Before TensorFlow.

from kerasseq import (
    backbones,
    callbacks,
    datasets,
    decoders,
    encoders,
    evaluation,
    export,
    layers,
    losses,
    metrics,
    models,
    plotting,
    preprocessing,
    pretraining,
    search,
    zoo,
)
from kerasseq.generation import Generation
from kerasseq.generator import TextGenerator
from kerasseq.seq2seq import Seq2Seq

__version__ = "0.3.0"

__all__ = [
    "Generation",
    "Seq2Seq",
    "TextGenerator",
    "backbones",
    "callbacks",
    "datasets",
    "decoders",
    "encoders",
    "evaluation",
    "export",
    "layers",
    "losses",
    "metrics",
    "models",
    "plotting",
    "preprocessing",
    "pretraining",
    "search",
    "zoo",
]
