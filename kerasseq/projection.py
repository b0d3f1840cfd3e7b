"""Remembers how logits were computed, so that a loss can work in blocks.

Logits are by far the largest tensors of training. Within `remembered_projections`, a decoder notes from which features,
kernel and bias it made them. A loss or metric that can work from those does; the graph then holds no operation that
needs the logits, and TensorFlow does not compute them. Any other loss or metric reads the logits as ever.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

import keras
from keras import layers, ops

from kerasseq.types import Tensor

# The projections of the step that is traced, in the thread of each replica.
_remembered = threading.local()


@dataclasses.dataclass
class TokenResults:
    """Per-token results of a loss, which metrics reuse: tensors `(batch, target)`; zeros at padding."""

    targets: Tensor
    log_probabilities: Tensor
    top_ids: Tensor


@dataclasses.dataclass
class Projection:
    """`logits = features @ kernel + bias` in float32, with the transposed kernel if `transposed`.

    `results` are those of a loss that has been computed from it, for metrics.
    """

    logits: Tensor
    features: Tensor
    kernel: Tensor
    bias: Tensor | None
    transposed: bool
    results: TokenResults | None = None


@contextlib.contextmanager
def remembered_projections(active: bool) -> Iterator[None]:
    """Remembers the projections that are made in a `with` block, if `active`."""
    _remembered.projections = [] if active else None
    try:
        yield
    finally:
        del _remembered.projections


def projection_of(logits: Tensor) -> Projection | None:
    """The remembered projection of these logits, or `None`."""
    projections = getattr(_remembered, "projections", None) or []
    return next((projection for projection in projections if projection.logits is logits), None)


def project(features: Tensor, head: layers.Layer | None, embedding: layers.Layer) -> Tensor:
    """Logits, float32, by a dense layer, or by the matrix of the embedding if there is none."""
    # float32 under mixed precision too.
    logits = ops.cast(embedding(features, reverse=True) if head is None else head(features), "float32")
    projections = getattr(_remembered, "projections", None)
    if projections is not None and (head is None or is_plain(head)):
        kernel = embedding.embeddings if head is None else head.kernel
        features, kernel = (ops.cast(part, "float32") for part in (features, kernel))
        bias = None if head is None else ops.convert_to_tensor(head.bias)
        projections.append(Projection(logits, features, kernel, bias, transposed=head is None))
    return logits


def is_plain(head: layers.Layer) -> bool:
    """Whether a layer is the product and the sum, and not what a user has put in its place."""
    return (
        type(head) is layers.Dense
        and head.activation is keras.activations.linear
        and head.use_bias
        and getattr(head, "quantization_mode", None) is None
    )
