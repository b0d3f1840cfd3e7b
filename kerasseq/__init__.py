"""Encoder-decoder models for Keras: build, fit, decode, export."""

from kerasseq import datasets, evaluation, layers, losses, metrics, models, plotting, preprocessing, samplers
from kerasseq.generation import Generation, TextGenerator

__version__ = "0.1.0"

__all__ = [
    "Generation",
    "TextGenerator",
    "datasets",
    "evaluation",
    "layers",
    "losses",
    "metrics",
    "models",
    "plotting",
    "preprocessing",
    "samplers",
]
