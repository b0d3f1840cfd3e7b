"""A second loss for encoders of sounds: their memory alone is to tell what is said."""

import keras
from keras import ops

from kerasseq.arguments import check_number, check_positive_integer


@keras.saving.register_keras_serializable(package="kerasseq")
class CTCLoss(keras.layers.Layer):
    """Adds connectionist temporal classification to the model that it is part of (Kim, Hori and Watanabe 2017).

    A dense layer over the memory gives scores of all target tokens for each of its positions, and of a blank in the
    place of padding. The loss sums up all ways to read the target off the positions in order (Graves et al. 2006). So
    the encoder learns, and with it the attention, that sounds and texts run in the same order. Only training needs it:
    what the model generates depends on the decoder alone. The mean over the real steps of a batch, times `weight`, is
    added to what `fit` minimises and to the loss that `evaluate` reports. Steps are the tokens of a target and its END,
    as in `MaskedCrossentropy`; rows with fewer positions than their target needs are left out.

    Args:
        vocabulary_size: int, number of target token ids.
        weight: float of at least 0; 1 counts both losses alike, as the paper's lambda of 0.5. May be set anew before
            `compile`. With 0 the layer does nothing.

    Call arguments:
        outputs: any tensor.
        memory: float `(batch, positions, dim)`.
        memory_mask: bool `(batch, positions)`, true for real positions.
        decoder_token_ids: int `(batch, target)`, START and the target.

    Returns:
        `outputs`, unchanged.

    Example:

    >>> import keras, kerasseq
    >>> memory, mask = keras.random.normal((1, 6, 8)), keras.ops.ones((1, 6), dtype="bool")
    >>> layer = kerasseq.layers.CTCLoss(10)
    >>> _ = layer(keras.ops.zeros((1, 3, 10)), memory, mask, keras.ops.array([[2, 7, 5]]))
    >>> float(layer.losses[0]) > 0.0
    True
    """

    def __init__(self, vocabulary_size, weight=1.0, **kwargs):
        # In another precision Keras would round the outputs on their way through.
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_positive_integer("vocabulary_size", vocabulary_size)
        check_number("weight", weight)
        self.vocabulary_size = vocabulary_size
        self.weight = weight
        self.scores = keras.layers.Dense(vocabulary_size, dtype="float32", name="scores")

    def build(self, outputs_shape, memory_shape, memory_mask_shape=None, decoder_token_ids_shape=None):
        self.scores.build(memory_shape)

    def call(self, outputs, memory, memory_mask, decoder_token_ids):
        if self.weight:
            # Behind START, and one column of padding, for there must be one.
            targets = ops.pad(decoder_token_ids[:, 1:], ((0, 0), (0, 1)))
            lengths = ops.sum(ops.cast(ops.not_equal(targets, 0), "int32"), axis=1)
            positions = ops.sum(ops.cast(memory_mask, "int32"), axis=1)
            # A sound with fewer positions than its text needs has no reading, and no finite loss or gradient.
            repeats = ops.logical_and(ops.equal(targets[:, 1:], targets[:, :-1]), ops.not_equal(targets[:, 1:], 0))
            possible = ops.less_equal(lengths + ops.sum(ops.cast(repeats, "int32"), axis=1), positions)
            readable = ops.where(possible, lengths, 0)
            losses = ops.ctc_loss(targets, self.scores(memory), readable, positions, mask_index=0)
            losses = ops.where(possible, losses, ops.zeros_like(losses))
            steps = ops.sum(ops.where(possible, lengths + 1, ops.zeros_like(lengths)))
            self.add_loss(self.weight * ops.sum(losses) / ops.cast(ops.maximum(steps, 1), "float32"))
        return outputs

    def compute_output_spec(self, outputs, memory, memory_mask, decoder_token_ids):
        return keras.KerasTensor(outputs.shape, dtype=outputs.dtype)

    def get_config(self):
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size, "weight": self.weight}
