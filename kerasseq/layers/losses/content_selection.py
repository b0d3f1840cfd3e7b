"""A loss that teaches the encoder which source positions are copied."""

import keras
from keras import layers, ops

from kerasseq.arguments import check_positive_integer
from kerasseq.layers.losses.base import AuxiliaryLoss
from kerasseq.replicas import global_mean
from kerasseq.types import Tensor

# Attention to a token below this sum counts as none.
LEAST = 1e-4


@keras.saving.register_keras_serializable(package="kerasseq")
class ContentSelectionLoss(AuxiliaryLoss):
    """The loss of a content selector over the memory.

    The selector, one hidden layer, predicts for each source position whether it is copied. The loss is the binary
    cross-entropy against the probability that it was copied for the training target, the mean over real source
    positions. Among the positions that hold a target token, the decoder's attention in the step that emits the token
    tells which one it was: `copied_i = min(1, sum_t a_ti [x_i = y_t] / sum_{k: x_k = y_t} a_tk)`. No gradient flows
    into the attention.

    Selector and decoder share the encoder, so training the selector also improves the memory. After Gehrmann, Deng and
    Rush 2018, whose selector learns from labels made beforehand by aligning sources and targets; here the attention of
    the model aligns them.

    Args:
        units: int, size of the selector's hidden layer.
        weight: float of at least 0. With 0 nothing is added.

    Example:

    >>> import keras, kerasseq
    >>> attention = keras.ops.array([[[0.6, 0.3, 0.1], [0.2, 0.1, 0.7]]])
    >>> source, target = keras.ops.array([[7, 8, 7]]), keras.ops.array([[2, 7]])
    >>> copied = kerasseq.layers.ContentSelectionLoss.copied_positions(attention, source, target)
    >>> [round(float(share), 2) for share in copied[0]]  # Token 7 was copied from the first position with 0.6 / 0.7.
    [0.86, 0.0, 0.14]
    """

    required = ("memory", "attention", "encoder_token_ids", "decoder_token_ids")

    def __init__(self, units: int, weight: float = 1.0, **kwargs):
        super().__init__(weight, **kwargs)
        check_positive_integer("units", units)
        self.units = units
        self.hidden = layers.Dense(units, activation="tanh", dtype="float32", name="hidden")
        self.selector = layers.Dense(1, dtype="float32", name="selector")

    def build(self, logits_shape, context_shape):
        self.hidden.build(context_shape["memory"])
        self.selector.build((*context_shape["memory"][:-1], self.units))

    def loss(self, context):
        source_token_ids = context["encoder_token_ids"]
        logits = self.selector(self.hidden(context["memory"]))[..., 0]  # (batch, source)
        copied = self.copied_positions(context["attention"], source_token_ids, context["decoder_token_ids"])
        losses = ops.binary_crossentropy(copied, logits, from_logits=True)
        real = ops.cast(ops.not_equal(source_token_ids, 0), "float32")
        return global_mean(ops.sum(losses * real), ops.sum(real), of="source")

    @staticmethod
    def copied_positions(attention: Tensor, source_token_ids: Tensor, decoder_token_ids: Tensor) -> Tensor:
        """The probability that each source position was copied: float32 `(batch, source)`, without gradient.

        Args:
            attention: float `(batch, target, source)`, under teacher forcing.
            source_token_ids: int `(batch, source)`; 0 is padding.
            decoder_token_ids: int `(batch, target)`; step t of the attention emits token t + 1.
        """
        following = decoder_token_ids[:, 1:, None]
        holds = ops.equal(following, source_token_ids[:, None]) & ops.not_equal(following, 0)
        attention = ops.where(holds, ops.cast(attention, "float32")[:, :-1], 0.0)  # (batch, target - 1, source)
        total = ops.sum(attention, axis=-1, keepdims=True)
        copied = ops.sum(ops.where(total > LEAST, attention / ops.maximum(total, LEAST), 0.0), axis=1)
        return ops.stop_gradient(ops.minimum(copied, 1.0))

    def get_config(self):
        return {**super().get_config(), "units": self.units}
