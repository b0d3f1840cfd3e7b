"""Connectionist temporal classification as a second loss of a recognizer."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer
from kerasseq.layers.losses.base import AuxiliaryLoss
from kerasseq.replicas import global_mean
from kerasseq.types import Context, Tensor


@keras.saving.register_keras_serializable(package="kerasseq")
class CTCLoss(AuxiliaryLoss):
    """Connectionist temporal classification over the memory (Kim, Hori and Watanabe 2017).

    A dense layer over the memory scores all target tokens at each position, and a blank in the place of padding. The
    loss sums over all monotonic alignments of the target with the positions (Graves et al. 2006), so the encoder, and
    with it the attention, learns that sound and text run in the same order. Training uses it, and searches with
    `kerasseq.search.CTCPrefix`. The loss is the mean over the real steps of a batch: the tokens of a target and its
    END, as in `kerasseq.losses.MaskedCrossentropy`. Rows with fewer positions than their target needs are left out; on
    several replicas they count as steps without loss.

    Args:
        vocabulary_size: int, number of target token ids.
        weight: float of at least 0; 1 weighs both losses alike, as the paper's lambda of 0.5. With 0 nothing is added.

    Example:

    >>> import keras, kerasseq
    >>> context = {
    ...     "memory": keras.random.normal((1, 6, 8)),
    ...     "memory_mask": keras.ops.ones((1, 6), dtype="bool"),
    ...     "decoder_token_ids": keras.ops.array([[2, 7, 5]]),
    ... }
    >>> float(kerasseq.layers.CTCLoss(10).loss(context)) > 0.0
    True
    """

    required = ("memory", "memory_mask", "decoder_token_ids")

    def __init__(self, vocabulary_size: int, weight: float = 1.0, **kwargs):
        super().__init__(weight, **kwargs)
        check_positive_integer("vocabulary_size", vocabulary_size)
        self.vocabulary_size = vocabulary_size
        self.scores = keras.layers.Dense(vocabulary_size, dtype="float32", name="scores")

    def build(self, logits_shape, context_shape):
        self.scores.build(context_shape["memory"])

    def loss(self, context):
        # Without START, and with at least one column of padding.
        targets = ops.pad(context["decoder_token_ids"][:, 1:], ((0, 0), (0, 1)))
        lengths = ops.sum(ops.cast(ops.not_equal(targets, 0), "int32"), axis=1)
        positions = ops.sum(ops.cast(context["memory_mask"], "int32"), axis=1)
        # A target that needs more positions than there are has no alignment: its loss and gradient are not finite.
        repeats = ops.logical_and(ops.equal(targets[:, 1:], targets[:, :-1]), ops.not_equal(targets[:, 1:], 0))
        possible = ops.less_equal(lengths + ops.sum(ops.cast(repeats, "int32"), axis=1), positions)
        readable = ops.where(possible, lengths, 0)
        losses = ops.ctc_loss(targets, self.scores(context["memory"]), readable, positions, mask_index=0)
        losses = ops.where(possible, losses, ops.zeros_like(losses))
        steps = ops.sum(ops.where(possible, lengths + 1, ops.zeros_like(lengths)))
        return global_mean(ops.sum(losses), steps)

    def log_probabilities(self, context: Context) -> Tensor:
        """Of target tokens and the blank, id 0, at each position: float32 `(batch, positions, vocabulary)`."""
        return ops.log_softmax(self.scores(context["memory"]), axis=-1)

    def get_config(self):
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size}
