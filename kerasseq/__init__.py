"""Encoder-decoder models for Keras: build, fit, decode, export."""

from kerasseq import quiet_start

# A command imports what it needs, for its help needs no TensorFlow: see `kerasseq.command_line.shell.load_library`.
if quiet_start.COMMAND is None:
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
        optimizers,
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
    "optimizers",
    "plotting",
    "preprocessing",
    "pretraining",
    "search",
    "zoo",
]
