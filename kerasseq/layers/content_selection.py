"""A selector of what to copy: it judges source positions before the decoder writes, and steers where that looks."""

import math

import keras
from keras import ops

from kerasseq.arguments import check_number, check_share

# The largest change of a weight's logarithm, and so no overflow.
LARGEST = 20.0


@keras.saving.register_keras_serializable(package="kerasseq")
class ContentSelection(keras.layers.Layer):
    """Bottom-up attention after Gehrmann, Deng and Rush 2018: less of it where a content selector sees nothing to copy.

    With q_i the selector's probability that position i is copied, the weights become `a_i r_i^w / sum_k a_k r_k^w`,
    where `r_i = odds(q_i) / odds(threshold)` and `odds(q) = q / (1 - q)`: the product of what the decoder and the
    selector think. (The paper cuts at a threshold instead: weights below it become 0, section 4.) As in the paper, the
    selector has no say in training: both learn for themselves.

    Args:
        weight: float of at least 0, the w above. With 0 the layer does nothing. May be set before generating:
            `model.get_layer("decoder").get_layer("content_selection").weight = 0.5`.
        threshold: float in (0, 1), the probability that changes nothing. A lower one makes longer outputs. May be set
            as well.
        end_id: int, the token that ends a source: it may be copied whatever the selector says.

    Call arguments:
        attention: float `(batch, target, source)`.
        selection: float `(batch, source)`, the logits of the selector.
        source_token_ids: int `(batch, source)`.

    Returns:
        float32 `(batch, target, source)`, with the sums of `attention` over the source.

    Example:

    >>> import keras, kerasseq
    >>> layer = kerasseq.layers.ContentSelection(weight=1.0)
    >>> attention = keras.ops.array([[[0.5, 0.25, 0.25]]])
    >>> selection = keras.ops.log(keras.ops.array([[3.0, 1.0, 0.5]]))  # odds
    >>> weights = layer(attention, selection, keras.ops.array([[7, 8, 9]]))
    >>> [round(float(weight), 3) for weight in weights[0, 0]]  # 1.5, 0.25 and 0.125, divided by their sum
    [0.8, 0.133, 0.067]
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

    def call(self, attention, selection, source_token_ids, training=False):
        if training or not self.weight:
            return attention
        neutral = math.log(self.threshold / (1.0 - self.threshold))
        change = ops.clip(self.weight * (selection - neutral), -LARGEST, LARGEST)
        change = ops.where(ops.equal(source_token_ids, self.end_id), 0.0, change)
        weights = attention * ops.exp(change)[:, None]
        total, changed = (ops.sum(values, axis=-1, keepdims=True) for values in (attention, weights))
        return ops.where(changed > 0.0, weights * (total / ops.where(changed > 0.0, changed, 1.0)), attention)

    def compute_output_spec(self, attention, selection, source_token_ids, training=False):
        return keras.KerasTensor(attention.shape, dtype="float32")

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "threshold": self.threshold, "end_id": self.end_id}


@keras.saving.register_keras_serializable(package="kerasseq")
class ContentSelectionLoss(keras.layers.Layer):
    """Adds the loss of the content selector to the model that it is part of.

    Binary cross-entropy, the mean over real source positions, against what the decoder looks at when it writes the
    training target: the sum of its attention over the target's steps, at most 1. In place of the alignment by longest
    common subsequences of Gehrmann, Deng and Rush 2018, section 4, it needs no labels besides the targets.

    Args:
        weight: float of at least 0; multiplies the loss. May be set anew before `compile`. With 0 the layer does
            nothing.

    Call arguments:
        outputs: any tensor.
        selection: float `(batch, source)`, logits.
        attention: float `(batch, target, source)`, of teacher forcing. No gradient goes into it.
        source_mask: bool `(batch, source)`, true for real positions.
        target_mask: bool `(batch, target)`, true for real steps.

    Returns:
        `outputs`, unchanged.

    Example:

    >>> import keras, kerasseq
    >>> layer = kerasseq.layers.ContentSelectionLoss()
    >>> attention = keras.ops.array([[[0.9, 0.1], [0.9, 0.1]]])
    >>> true = keras.ops.ones((1, 2), dtype="bool")
    >>> _ = layer(keras.ops.zeros((1, 2, 5)), keras.ops.zeros((1, 2)), attention, source_mask=true, target_mask=true)
    >>> round(float(layer.losses[0]), 4)
    0.6931
    """

    def __init__(self, weight=1.0, **kwargs):
        # In another precision Keras would round the outputs on their way through.
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_number("weight", weight)
        self.weight = weight

    def call(self, outputs, selection, attention, source_mask, target_mask):
        if self.weight:
            self.add_loss(self.weight * content_selection_loss(selection, attention, source_mask, target_mask))
        return outputs

    def compute_output_spec(self, outputs, selection, attention, source_mask, target_mask):
        return keras.KerasTensor(outputs.shape, dtype=outputs.dtype)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


def content_selection_loss(selection, attention, source_mask, target_mask):
    """The mean loss of real source positions, a float32 scalar."""
    attention = ops.cast(attention, "float32") * ops.cast(target_mask, "float32")[:, :, None]
    copied = ops.stop_gradient(ops.minimum(ops.sum(attention, axis=1), 1.0))  # (batch, source)
    losses = ops.binary_crossentropy(copied, selection, from_logits=True)
    real = ops.cast(source_mask, "float32")
    return ops.sum(losses * real) / ops.maximum(ops.sum(real), 1.0)
