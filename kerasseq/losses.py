"""The training loss of sequence models."""

import keras
from keras import ops


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
        float scalar, in nats a token.

    Example:

    >>> import keras, kerasseq
    >>> loss = kerasseq.losses.MaskedCrossentropy()(keras.ops.array([[2, 1, 0]]), keras.ops.zeros((1, 3, 4)))
    >>> round(float(loss), 4)
    1.3863
    """

    def __init__(self, label_smoothing=0.0, name="masked_crossentropy"):
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1). Received: label_smoothing={label_smoothing!r}.")
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.convert_to_tensor(y_pred)
        real = ops.cast(ops.not_equal(y_true, 0), "float32")  # (batch, target)
        weights = real
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, "float32")
            if len(sample_weight.shape) == 1:
                sample_weight = sample_weight[:, None]
            weights = real * sample_weight
        total = ops.sum(self.call(y_true, y_pred) * weights)
        return total / ops.maximum(ops.sum(real), 1.0)

    def call(self, y_true, y_pred):
        """The loss of each token, `(batch, target)`, padding included."""
        y_pred = ops.cast(y_pred, "float32")
        losses = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)  # (batch, target)
        if self.label_smoothing:
            # With z the logits, -log p(y) = log sum exp z - z_y, so smoothing adds e (z_y - mean z).
            chosen = ops.take_along_axis(y_pred, ops.cast(y_true, "int32")[:, :, None], axis=-1)[:, :, 0]
            losses += self.label_smoothing * (chosen - ops.mean(y_pred, axis=-1))
        return losses

    def get_config(self):
        return {"name": self.name, "label_smoothing": self.label_smoothing}
