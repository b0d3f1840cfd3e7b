"""A loss against attending to the same position twice."""

import keras
from keras import ops

from kerasseq.layers.losses.base import AuxiliaryLoss
from kerasseq.replicas import global_mean


@keras.saving.register_keras_serializable(package="kerasseq")
class CoverageLoss(AuxiliaryLoss):
    """The coverage loss of See, Liu and Manning 2017.

    `covloss_t = sum_i min(a_ti, c_ti)` with the coverage `c_t = sum_{t' < t} a_t'` (equations 10 and 12): the attention
    of step t on positions that earlier steps attended to. The loss is the mean over the real target steps of a batch;
    `weight` is the lambda of equation 13.

    Example:

    >>> import keras, kerasseq
    >>> context = {
    ...     "attention": keras.ops.array([[[0.8, 0.2], [0.6, 0.4]]]),
    ...     "decoder_token_ids": keras.ops.array([[2, 7]]),
    ... }
    >>> round(float(kerasseq.layers.CoverageLoss().loss(context)), 4)  # (0 + min(0.6, 0.8) + min(0.4, 0.2)) / 2
    0.4
    """

    required = ("attention", "decoder_token_ids")

    def loss(self, context):
        attention = ops.cast(context["attention"], "float32")
        coverage = ops.cumsum(attention, axis=1) - attention  # (batch, target, source), of earlier steps
        losses = ops.sum(ops.minimum(attention, coverage), axis=-1)  # (batch, target)
        real = ops.cast(ops.not_equal(context["decoder_token_ids"], 0), "float32")
        return global_mean(ops.sum(losses * real), ops.sum(real))
