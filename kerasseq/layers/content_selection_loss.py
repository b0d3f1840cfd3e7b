"""A loss for a selector of what to copy, which judges source positions before the decoder writes."""

import keras
from keras import ops

from kerasseq.arguments import check_number

# Attention to a token below this sum counts as not looking at it.
LEAST = 1e-4


@keras.saving.register_keras_serializable(package="kerasseq")
class ContentSelectionLoss(keras.layers.Layer):
    """Adds the loss of a content selector to the model that it is part of.

    Binary cross-entropy, the mean over real source positions, against how likely a position was copied for the training
    target. Of the positions that hold a target token, the decoder's attention in the step that writes it says which one
    it was: `copied_i = min(1, sum_t a_ti [x_i = y_t] / sum_{k: x_k = y_t} a_tk)`. No gradient goes into the attention.

    The selector and the rest of the model share the encoder, and so what the selector learns serves the decoder. After
    Gehrmann, Deng and Rush 2018, whose selector learns from labels that are made beforehand, by aligning sources and
    targets; here the model itself aligns them.

    Args:
        weight: float of at least 0; multiplies the loss. May be set anew before `compile`. With 0 the layer does
            nothing.

    Call arguments:
        outputs: any tensor.
        selection: float `(batch, source)`, logits.
        attention: float `(batch, target, source)`, of teacher forcing.
        source_token_ids: int `(batch, source)`; 0 is padding.
        decoder_token_ids: int `(batch, target)`: step t of the attention is for token t + 1.

    Returns:
        `outputs`, unchanged.

    Example:

    >>> import keras, kerasseq
    >>> layer = kerasseq.layers.ContentSelectionLoss()
    >>> attention = keras.ops.array([[[0.6, 0.3, 0.1], [0.2, 0.1, 0.7]]])
    >>> source, target = keras.ops.array([[7, 8, 7]]), keras.ops.array([[2, 7]])
    >>> selection = keras.ops.array([[2.0, -2.0, 0.0]])  # Token 7 was copied from the first position with 0.6 / 0.7.
    >>> _ = layer(keras.ops.zeros((1, 2, 9)), selection, attention, source, target)
    >>> round(float(layer.losses[0]), 4)
    0.4109
    """

    def __init__(self, weight=1.0, **kwargs):
        # In another precision Keras would round the outputs on their way through.
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_number("weight", weight)
        self.weight = weight

    def call(self, outputs, selection, attention, source_token_ids, decoder_token_ids):
        if self.weight:
            loss = content_selection_loss(selection, attention, source_token_ids, decoder_token_ids)
            self.add_loss(self.weight * loss)
        return outputs

    def compute_output_spec(self, outputs, selection, attention, source_token_ids, decoder_token_ids):
        return keras.KerasTensor(outputs.shape, dtype=outputs.dtype)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


def content_selection_loss(selection, attention, source_token_ids, decoder_token_ids):
    """The mean loss of real source positions, a float32 scalar."""
    losses = ops.binary_crossentropy(
        copied_positions(attention, source_token_ids, decoder_token_ids), selection, from_logits=True
    )
    real = ops.cast(ops.not_equal(source_token_ids, 0), "float32")
    return ops.sum(losses * real) / ops.maximum(ops.sum(real), 1.0)


def copied_positions(attention, source_token_ids, decoder_token_ids):
    """How likely each source position was copied, given the target: float32 `(batch, source)`, without gradient."""
    following = decoder_token_ids[:, 1:, None]
    holds = ops.equal(following, source_token_ids[:, None]) & ops.not_equal(following, 0)  # (batch, target - 1, source)
    attention = ops.where(holds, ops.cast(attention, "float32")[:, :-1], 0.0)
    total = ops.sum(attention, axis=-1, keepdims=True)
    copied = ops.sum(ops.where(total > LEAST, attention / ops.maximum(total, LEAST), 0.0), axis=1)
    return ops.stop_gradient(ops.minimum(copied, 1.0))
