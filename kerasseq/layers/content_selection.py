"""A selector of what to copy: it judges source positions before the decoder writes, and has a say in its copies."""

import math

import keras
from keras import ops

from kerasseq.arguments import check_number, check_share

# The largest logarithm of a ratio, and so no overflow.
LARGEST = 20.0

# Attention below this sum counts as looking elsewhere.
LEAST = 1e-4


@keras.saving.register_keras_serializable(package="kerasseq")
class ContentSelection(keras.layers.Layer):
    """How much likelier each source position is copied by the word of a content selector.

    The ratio of a position is `(odds(q_i) / odds(threshold)) ** weight`, where `odds(q) = q / (1 - q)` and q_i is the
    selector's probability that the position is copied. `PointerGenerator` multiplies what it copies with the ratios:
    the product of what decoder and selector think. Gehrmann, Deng and Rush 2018, section 4, whose bottom-up attention
    this is, let all below a threshold be 0 instead. As in the paper, the selector has no say in training: both learn
    for themselves.

    Args:
        weight: float of at least 0. With 0 all ratios are 1. May be set before generating:
            `model.get_layer("decoder").get_layer("content_selection").weight = 0.5`.
        threshold: float in (0, 1), the probability whose ratio is 1. A lower one makes longer outputs. May be set as
            well.
        end_id: int, the token that ends a source. Its ratio is 1.

    Call arguments:
        selection: float `(batch, source)`, the logits of the selector.
        source_token_ids: int `(batch, source)`.

    Returns:
        float32 `(batch, source)`, at most exp(20) and at least exp(-20).

    Example:

    >>> import keras, kerasseq
    >>> layer = kerasseq.layers.ContentSelection(weight=1.0, threshold=0.2)
    >>> selection = keras.ops.log(keras.ops.array([[3.0, 1.0, 0.5, 9.0]]))  # odds; those of 0.2 are 0.25
    >>> [round(float(ratio), 3) for ratio in layer(selection, keras.ops.array([[7, 8, 9, 3]]))[0]]
    [12.0, 4.0, 2.0, 1.0]
    """

    def __init__(self, weight=0.0, threshold=0.5, end_id=3, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_number("weight", weight)
        check_share("threshold", threshold)
        if threshold == 0:
            raise ValueError(f"threshold must be above 0. Received: threshold={threshold!r}.")
        self.weight = weight
        self.threshold = threshold
        self.end_id = end_id

    def call(self, selection, source_token_ids, training=False):
        if training or not self.weight:
            return ops.ones_like(selection)
        neutral = math.log(self.threshold / (1.0 - self.threshold))
        ratios = ops.exp(ops.clip(self.weight * (selection - neutral), -LARGEST, LARGEST))
        return ops.where(ops.equal(source_token_ids, self.end_id), 1.0, ratios)

    def compute_output_spec(self, selection, source_token_ids, training=False):
        return keras.KerasTensor(selection.shape, dtype="float32")

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "threshold": self.threshold, "end_id": self.end_id}


@keras.saving.register_keras_serializable(package="kerasseq")
class ContentSelectionLoss(keras.layers.Layer):
    """Adds the loss of the content selector to the model that it is part of.

    Binary cross-entropy, the mean over real source positions, against how likely a position was copied for the training
    target: for each target token, the decoder's attention to the positions that hold this token, divided by its sum,
    and of all steps the sum, at most 1. (Gehrmann, Deng and Rush 2018, section 4, align by longest common subsequences
    before the training. This needs no labels, and finds the same: see the tests.)

    Args:
        weight: float of at least 0; multiplies the loss. May be set anew before `compile`. With 0 the layer does
            nothing.

    Call arguments:
        outputs: any tensor.
        selection: float `(batch, source)`, logits.
        attention: float `(batch, target, source)`, of teacher forcing. No gradient goes into it.
        source_token_ids: int `(batch, source)`; 0 is padding.
        decoder_token_ids: int `(batch, target)`: step t of the attention is for token t + 1.

    Returns:
        `outputs`, unchanged.

    Example:

    >>> import keras, kerasseq
    >>> layer = kerasseq.layers.ContentSelectionLoss()
    >>> attention = keras.ops.array([[[0.6, 0.3, 0.1], [0.2, 0.1, 0.7]]])
    >>> source, target = keras.ops.array([[7, 8, 7]]), keras.ops.array([[2, 7]])
    >>> selection = keras.ops.zeros((1, 3))  # Token 7 was copied from the first position with 0.6 / (0.6 + 0.1).
    >>> _ = layer(keras.ops.zeros((1, 2, 9)), selection, attention, source, target)
    >>> round(float(layer.losses[0]), 4)
    0.6931
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
    copied = ops.sum(attention / ops.maximum(total, LEAST), axis=1)
    return ops.stop_gradient(ops.minimum(copied, 1.0))
