"""Exported models in TensorFlow Serving."""

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

__all__ = [
    "Answer",
    "AttentionAnswer",
    "Client",
    "DeadlineExceeded",
    "Deployment",
    "RequestRefused",
    "ServerUnreachable",
    "ServingError",
    "VersionStatus",
    "configure",
]
