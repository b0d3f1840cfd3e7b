"""A loss that spreads attention over all regions in the course of a text."""

import keras
from keras import ops

from kerasseq.layers.losses.base import AuxiliaryLoss
from kerasseq.replicas import global_mean


@keras.saving.register_keras_serializable(package="kerasseq")
class DoublyStochasticLoss(AuxiliaryLoss):
    """The doubly stochastic regularization of Xu et al. 2015.

    `sum_i (1 - sum_t a_ti)^2` (the second term of equation 14): the weights of each step sum to 1 over the regions, and
    those of each region should sum to 1 over the real target steps. As in `kerasseq.losses.MaskedCrossentropy`, the sum
    over a batch is divided by its number of real steps, so `weight` is the lambda of equation 14.

    Example:

    >>> import keras, kerasseq
    >>> context = {
    ...     "attention": keras.ops.array([[[0.8, 0.2], [0.6, 0.4]]]),
    ...     "decoder_token_ids": keras.ops.array([[2, 7]]),
    ... }
    >>> layer = kerasseq.layers.DoublyStochasticLoss()
    >>> round(float(layer.loss(context)), 4)  # ((1 - 1.4)^2 + (1 - 0.6)^2) / 2 steps
    0.16
    """

    required = ("attention", "decoder_token_ids")

    def loss(self, context):
        real = ops.cast(ops.not_equal(context["decoder_token_ids"], 0), "float32")
        attended = ops.sum(ops.cast(context["attention"], "float32") * real[:, :, None], axis=1)  # (batch, regions)
        return global_mean(ops.sum(ops.square(1.0 - attended)), ops.sum(real))
