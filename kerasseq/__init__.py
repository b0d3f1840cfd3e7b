"""Encoder-decoder models for Keras: build, fit, decode, export."""

from kerasseq import (
    backbones,
    bridges,
    callbacks,
    datasets,
    decoders,
    encoders,
    evaluation,
    joining,
    layers,
    losses,
    metrics,
    models,
    plotting,
    preprocessing,
    pretraining,
    samplers,
)
from kerasseq.details import Generation
from kerasseq.generation import TextGenerator

__version__ = "0.2.0"

__all__ = [
    "Generation",
    "TextGenerator",
    "backbones",
    "bridges",
    "callbacks",
    "datasets",
    "decoders",
    "encoders",
    "evaluation",
    "joining",
    "layers",
    "losses",
    "metrics",
    "models",
    "plotting",
    "preprocessing",
    "pretraining",
    "samplers",
]
