"""The training losses of sequence models."""

import keras
from keras import ops

from kerasseq.arguments import check_number, check_share


@keras.saving.register_keras_serializable(package="kerasseq")
class MaskedCrossentropy(keras.losses.Loss):
    """Label-smoothed cross-entropy, averaged over real target tokens.

    The loss of a token is `-sum_k q(k) log p(k)` with `q(k) = (1 - e) [k = y] + e / K` over the K tokens of the
    vocabulary (Szegedy et al. 2016, section 7), computed without one-hot targets. Tokens with id 0 are padding and
    count nowhere: the result does not depend on how far a batch is padded.

    Args:
        label_smoothing: float in [0, 1), the e above.
        name: str.

    Call arguments:
        y_true: int `(batch, target)`, token ids; 0 is padding.
        y_pred: float `(batch, target, vocabulary)`, logits.
        sample_weight: float `(batch,)` or `(batch, target)`. Multiplies the losses; the divisor stays the number of
            real tokens, as in Keras.

    Returns:
        float scalar, in nats a token. With ids outside of the vocabulary, TensorFlow raises an error on CPUs; elsewhere
        it is not a number.

    Raises:
        ValueError: if `label_smoothing` is not in [0, 1), or the shapes do not belong together.

    Example:

    >>> import keras, kerasseq
    >>> loss = kerasseq.losses.MaskedCrossentropy()(keras.ops.array([[2, 1, 0]]), keras.ops.zeros((1, 3, 4)))
    >>> round(float(loss), 4)
    1.3863
    """

    def __init__(self, label_smoothing=0.0, name="masked_crossentropy"):
        check_share("label_smoothing", label_smoothing)
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check_shapes(y_true, y_pred, sample_weight)
        losses = self.call(y_true, y_pred) * token_weights(y_true, sample_weight)
        return ops.sum(losses) / number_of_tokens(y_true)

    def call(self, y_true, y_pred):
        """The loss of each token, `(batch, target)`, padding included."""
        ids, logits = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
        # Negative ids, such as -1 for padding, are no tokens counted from the end, but out of range as well.
        ids = ops.where(ids < 0, logits.shape[-1], ids)
        losses = crossentropies(ids, logits, self.label_smoothing)
        return ops.where(ids < logits.shape[-1], losses, float("nan"))

    def get_config(self):
        return {"name": self.name, "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="kerasseq")
class RDropCrossentropy(MaskedCrossentropy):
    """`MaskedCrossentropy`, and how far two passes with different dropout are from each other (R-Drop).

    Every example stands twice in a batch, in rows 2i and 2i + 1: `dataset(..., copies=2)` makes such batches. Dropout
    makes two predictions P and Q of them, and training brings these together: each token adds
    `weight / 2 (KL(P || Q) + KL(Q || P))` to the two cross-entropies. So a model learns small data less by heart.
    Training takes about twice the time an epoch. Neighbours with different targets add nothing, so without copies this
    is `MaskedCrossentropy`, but for neighbours that have the same target by chance: where that is frequent, as with
    digits, give validation data of two copies too.

    Args:
        weight: float of at least 0, the paper's alpha. It takes 5 for translation.
        label_smoothing, name: as in `MaskedCrossentropy`, and so are the arguments of a call.

    Returns:
        float scalar, in nats a token: half of the paper's loss, which is a sum over both copies.

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

    def __init__(self, weight=5.0, label_smoothing=0.0, name="r_drop_crossentropy"):
        super().__init__(label_smoothing=label_smoothing, name=name)
        check_number("weight", weight)
        self.weight = weight

    def __call__(self, y_true, y_pred, sample_weight=None):
        crossentropy = super().__call__(y_true, y_pred, sample_weight)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        divergences = divergences_of_neighbours(ops.cast(y_pred, "float32"))  # (pairs, target)
        twins = ops.all(ops.equal(y_true[:-1:2], y_true[1::2]), axis=-1, keepdims=True)
        weights = token_weights(y_true, sample_weight)[:-1:2] * ops.cast(twins, "float32")
        return crossentropy + self.weight * ops.sum(divergences * weights) / number_of_tokens(y_true)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


def check_shapes(y_true, y_pred, sample_weight):
    """Raises a `ValueError` where shapes would only fit each other by broadcasting."""
    shapes = {"y_true": y_true.shape, "y_pred": y_pred.shape}
    good = len(y_true.shape) == 2 and len(y_pred.shape) == 3 and agree(y_true.shape, y_pred.shape[:2])
    if sample_weight is not None:
        shapes["sample_weight"] = ops.shape(sample_weight)
        # One column is one weight a row.
        good = (
            good
            and len(shapes["sample_weight"]) in (1, 2)
            and (shapes["sample_weight"][1:] == (1,) or agree(shapes["sample_weight"], y_true.shape))
        )
    if not good:
        raise ValueError(
            "y_true must be token ids (batch, target), y_pred logits (batch, target, vocabulary), and sample_weight "
            f"(batch,) or (batch, target). Received shapes: {shapes}."
        )


def agree(shape, other):
    """Whether the known sizes of two shapes are the same, as far as both have axes."""
    known = [pair for pair in zip(shape, other, strict=False) if all(isinstance(size, int) for size in pair)]
    return all(size == other_size for size, other_size in known)


def token_weights(y_true, sample_weight):
    """What each token counts, float32 `(batch, target)`: 0 at padding."""
    real = ops.cast(ops.not_equal(y_true, 0), "float32")
    if sample_weight is None:
        return real
    sample_weight = ops.cast(sample_weight, "float32")
    return real * (sample_weight[:, None] if len(sample_weight.shape) == 1 else sample_weight)


def number_of_tokens(y_true):
    """The number of real tokens, at least 1, a float32 scalar."""
    return ops.maximum(ops.sum(ops.cast(ops.not_equal(y_true, 0), "float32")), 1.0)


# Logits are by far the largest tensors of training, so each pass over them counts. Both functions have gradients of
# their own, with fewer passes than those that the framework derives.


def crossentropies(y_true, logits, label_smoothing):
    """The label-smoothed cross-entropy of each token, float32 `(batch, target)`."""

    @ops.custom_gradient
    def losses_of(logits):
        log_probabilities = ops.log_softmax(logits, axis=-1)
        chosen = ops.take_along_axis(log_probabilities, y_true[:, :, None], axis=-1)[:, :, 0]
        losses = -(1 - label_smoothing) * chosen
        if label_smoothing:
            losses -= label_smoothing * ops.mean(log_probabilities, axis=-1)

        def gradient(*arguments, upstream=None):
            """p - q, with q = e / K but for y."""
            upstream = arguments[0] if upstream is None else upstream  # (batch, target)
            smoothing = label_smoothing / logits.shape[-1]
            others = (ops.exp(log_probabilities) - smoothing) * upstream[:, :, None]
            at_y = (ops.exp(chosen) - smoothing - (1 - label_smoothing)) * upstream
            flat = ops.reshape(others, (-1, logits.shape[-1]))
            targets = ops.reshape(y_true, (-1,))
            places = ops.stack([ops.arange(ops.shape(targets)[0], dtype="int32"), targets], axis=-1)
            return ops.reshape(ops.scatter_update(flat, places, ops.reshape(at_y, (-1,))), ops.shape(logits))

        return losses, gradient

    return losses_of(logits)


def divergences_of_neighbours(logits):
    """The mean of KL(P || Q) and KL(Q || P) between the rows 2i and 2i + 1, float32 `(batch // 2, target)`."""

    @ops.custom_gradient
    def divergences_of(logits):
        log_probabilities = ops.log_softmax(logits, axis=-1)
        first, second = log_probabilities[:-1:2], log_probabilities[1::2]  # (pairs, target, vocabulary)
        p, q = ops.exp(first), ops.exp(second)
        difference, distance = p - q, first - second
        forward = ops.sum(p * distance, axis=-1, keepdims=True)  # KL(P || Q), (pairs, target, 1)
        backward = -ops.sum(q * distance, axis=-1, keepdims=True)  # KL(Q || P)

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            half = upstream[:, :, None] / 2
            of_first = (p * (distance - forward) + difference) * half
            of_second = -(q * (distance + backward) + difference) * half
            shape = ops.shape(logits)
            pairs = ops.reshape(ops.stack([of_first, of_second], axis=1), (-1, *shape[1:]))
            return ops.concatenate([pairs, ops.zeros_like(logits[ops.shape(pairs)[0] :])])  # An odd row has no twin.

        return (forward + backward)[:, :, 0] / 2, gradient

    return divergences_of(logits)
