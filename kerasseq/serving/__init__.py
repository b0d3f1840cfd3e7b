"""Exported models: in TensorFlow Serving, and in LiteRT."""

from kerasseq.serving.client import (
    Answer,
    AttentionAnswer,
    Client,
    DeadlineExceeded,
    RequestRefused,
    ServerUnreachable,
    ServingError,
    VersionStatus,
)
from kerasseq.serving.deployment import Deployment, configure
from kerasseq.serving.on_device import LiteRTModel

__all__ = [
    "Answer",
    "AttentionAnswer",
    "Client",
    "DeadlineExceeded",
    "Deployment",
    "LiteRTModel",
    "RequestRefused",
    "ServerUnreachable",
    "ServingError",
    "VersionStatus",
    "configure",
]
