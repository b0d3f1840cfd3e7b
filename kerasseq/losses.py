"""Training losses of sequence models."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kerasseq.arguments import check_number, check_share
from kerasseq.projected_crossentropy import projected_crossentropy
from kerasseq.projection import projection_of
from kerasseq.replicas import global_mean, real_tokens, scaled
from kerasseq.types import Tensor

__all__ = ["MaskedCrossentropy", "RDropCrossentropy"]


@keras.saving.register_keras_serializable(package="kerasseq")
class MaskedCrossentropy(keras.losses.Loss):
    """Label-smoothed cross-entropy, averaged over real target tokens.

    The loss of a token is `-sum_k q(k) log p(k)` with `q(k) = (1 - e) [k = y] + e / K` for a vocabulary of K tokens
    (Szegedy et al. 2016, section 7), computed without one-hot targets. Tokens with id 0 are padding and are masked, so
    the result does not depend on the amount of padding.

    Args:
        label_smoothing: float in [0, 1), the e above. Defaults to 0.
        name: str.

    Call arguments:
        y_true: int `(batch, target)`, token ids; 0 is padding.
        y_pred: float `(batch, target, vocabulary)`, logits.
        sample_weight: float `(batch,)` or `(batch, target)`. Multiplies the token losses. The divisor remains the
            number of real tokens, as in Keras.

    Returns:
        float scalar, in nats per token of the batch. Keras logs the mean over batches, weighted by their rows, which
        depends a little on the batch size; `kerasseq.metrics.Perplexity` does not. For ids outside the vocabulary,
        TensorFlow raises an error on CPUs; otherwise the loss is NaN.

    Raises:
        ValueError: if `label_smoothing` is not in [0, 1), or the shapes are incompatible.

    Example:

    >>> import keras, kerasseq
    >>> loss = kerasseq.losses.MaskedCrossentropy()(keras.ops.array([[2, 1, 0]]), keras.ops.zeros((1, 3, 4)))
    >>> round(float(loss), 4)
    1.3863
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "masked_crossentropy") -> None:
        check_share("label_smoothing", label_smoothing)
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check_shapes(y_true, y_pred, sample_weight)
        weights = token_weights(y_true, sample_weight)
        projection = projection_of(y_pred) if type(self) is MaskedCrossentropy else None
        if projection is None:
            total = ops.sum(self.call(y_true, y_pred) * weights)
        else:
            total, projection.results = projected_crossentropy(projection, y_true, weights, self.label_smoothing)
        return scaled(global_mean(total, real_tokens(y_true)))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of each token, `(batch, target)`, including padding."""
        ids, logits = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
        # Negative ids are out of range. They must not index the vocabulary from its end.
        ids = ops.where(ids < 0, logits.shape[-1], ids)
        losses = crossentropies(ids, logits, self.label_smoothing)
        return ops.where(ids < logits.shape[-1], losses, float("nan"))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="kerasseq")
class RDropCrossentropy(MaskedCrossentropy):
    """`MaskedCrossentropy` plus the divergence between two forward passes with different dropout masks (R-Drop).

    Every example must occur twice per batch, in rows 2i and 2i + 1, as `dataset(..., copies=2)` arranges. Dropout
    makes their predictions P and Q differ. Each token adds `weight / 2 (KL(P || Q) + KL(Q || P))` to the two
    cross-entropies. This regularizes training on small data sets. An epoch takes about twice as long.

    On several replicas, each needs whole pairs: a batch size that is a multiple of twice their number.

    Adjacent rows with different targets add no divergence, so without copies this is `MaskedCrossentropy`, except for
    adjacent rows that happen to have the same target. If such rows are frequent, as with digits, use two copies for the
    validation data too.

    Args:
        weight: float of at least 0, the alpha of the paper, which uses 5 for translation. Defaults to 5.
        label_smoothing: float in [0, 1), as in `MaskedCrossentropy`.
        name: str.

    Call arguments are those of `MaskedCrossentropy`.

    Returns:
        float scalar, in nats per token: half of the paper's loss, which is summed over both copies.

    Raises:
        ValueError: if `weight` is negative, and as `MaskedCrossentropy`.

    Source: Wu et al. 2021 (R-Drop: Regularized Dropout for Neural Networks), equations 1 to 3.

    Example:

    >>> import keras, kerasseq
    >>> loss = kerasseq.losses.RDropCrossentropy(weight=2.0)
    >>> logits = keras.ops.log(keras.ops.array([[[0.25, 0.75]], [[0.75, 0.25]]]))
    >>> round(float(loss(keras.ops.array([[1], [1]]), logits)), 4)  # (log 4/3 + log 4) / 2 + log 3 / 2
    1.3863
    """

    def __init__(self, weight: float = 5.0, label_smoothing: float = 0.0, name: str = "r_drop_crossentropy") -> None:
        super().__init__(label_smoothing=label_smoothing, name=name)
        check_number("weight", weight)
        self.weight = weight

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        crossentropy = super().__call__(y_true, y_pred, sample_weight)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        divergences = copy_divergences(ops.cast(y_pred, "float32"))  # (pairs, target)
        are_copies = ops.all(ops.equal(y_true[:-1:2], y_true[1::2]), axis=-1, keepdims=True)  # (pairs, 1)
        weights = token_weights(y_true, sample_weight)[:-1:2] * ops.cast(are_copies, "float32")
        divergence = scaled(global_mean(ops.sum(divergences * weights), real_tokens(y_true)))
        return crossentropy + self.weight * divergence

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight}


def check_shapes(y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> None:
    """Raises a `ValueError` for incompatible shapes, including those that broadcasting would accept."""
    shapes = {"y_true": y_true.shape, "y_pred": y_pred.shape}
    valid = len(y_true.shape) == 2 and len(y_pred.shape) == 3 and sizes_agree(y_true.shape, y_pred.shape[:2])
    if sample_weight is not None:
        shape = shapes["sample_weight"] = ops.shape(sample_weight)
        # A single column holds one weight per row.
        valid = valid and len(shape) in (1, 2) and (shape[1:] == (1,) or sizes_agree(shape, y_true.shape))
    if not valid:
        raise ValueError(
            "y_true must be token ids (batch, target), y_pred logits (batch, target, vocabulary), and sample_weight "
            f"(batch,) or (batch, target). Received shapes: {shapes}."
        )


def sizes_agree(shape: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two shapes agree in the axes that both have and whose sizes are known."""
    known = [pair for pair in zip(shape, other, strict=False) if all(isinstance(size, int) for size in pair)]
    return all(size == other_size for size, other_size in known)


def token_weights(y_true: Tensor, sample_weight: Tensor | None) -> Tensor:
    """The weight of each token, float32 `(batch, target)`: 0 for padding."""
    real = ops.cast(ops.not_equal(y_true, 0), "float32")
    if sample_weight is None:
        return real
    sample_weight = ops.cast(sample_weight, "float32")
    return real * (sample_weight[:, None] if len(sample_weight.shape) == 1 else sample_weight)


# Logits are by far the largest tensors of training, so each pass over them is expensive. The custom gradients below
# take fewer passes than automatic differentiation.


def crossentropies(y_true: Tensor, logits: Tensor, label_smoothing: float) -> Tensor:
    """The label-smoothed cross-entropy of each token, float32 `(batch, target)`."""

    @ops.custom_gradient
    def losses_of(logits: Tensor) -> tuple[Tensor, Callable[..., Tensor]]:
        log_probabilities = ops.log_softmax(logits, axis=-1)  # (batch, target, vocabulary)
        at_target = ops.take_along_axis(log_probabilities, y_true[:, :, None], axis=-1)[:, :, 0]
        losses = -(1 - label_smoothing) * at_target
        if label_smoothing:
            losses -= label_smoothing * ops.mean(log_probabilities, axis=-1)

        def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> Tensor:
            """p - q, where q is e / K except at y."""
            upstream = arguments[0] if upstream is None else upstream  # (batch, target)
            smoothing = label_smoothing / logits.shape[-1]
            everywhere = (ops.exp(log_probabilities) - smoothing) * upstream[:, :, None]
            at_y = (ops.exp(at_target) - smoothing - (1 - label_smoothing)) * upstream
            flat = ops.reshape(everywhere, (-1, logits.shape[-1]))  # (batch * target, vocabulary)
            targets = ops.reshape(y_true, (-1,))
            indices = ops.stack([ops.arange(ops.shape(targets)[0], dtype="int32"), targets], axis=-1)
            return ops.reshape(ops.scatter_update(flat, indices, ops.reshape(at_y, (-1,))), ops.shape(logits))

        return losses, gradient

    return losses_of(logits)


def copy_divergences(logits: Tensor) -> Tensor:
    """The mean of KL(P || Q) and KL(Q || P) between rows 2i and 2i + 1, float32 `(batch // 2, target)`."""

    @ops.custom_gradient
    def divergences_of(logits: Tensor) -> tuple[Tensor, Callable[..., Tensor]]:
        log_probabilities = ops.log_softmax(logits, axis=-1)
        first, second = log_probabilities[:-1:2], log_probabilities[1::2]  # (pairs, target, vocabulary)
        p, q = ops.exp(first), ops.exp(second)
        difference, log_ratio = p - q, first - second
        forward = ops.sum(p * log_ratio, axis=-1, keepdims=True)  # KL(P || Q), (pairs, target, 1)
        backward = -ops.sum(q * log_ratio, axis=-1, keepdims=True)  # KL(Q || P)

        def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> Tensor:
            upstream = arguments[0] if upstream is None else upstream  # (pairs, target)
            half = upstream[:, :, None] / 2
            of_first = (p * (log_ratio - forward) + difference) * half
            of_second = -(q * (log_ratio + backward) + difference) * half
            shape = ops.shape(logits)
            pairs = ops.reshape(ops.stack([of_first, of_second], axis=1), (-1, *shape[1:]))
            # With an odd batch size, the last row has no copy and a zero gradient.
            return ops.concatenate([pairs, ops.zeros_like(logits[ops.shape(pairs)[0] :])])

        return (forward + backward)[:, :, 0] / 2, gradient

    return divergences_of(logits)
