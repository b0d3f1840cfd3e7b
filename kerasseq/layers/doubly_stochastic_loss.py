"""A loss that makes attention look at every place in the course of a text."""

import keras
from keras import ops

from kerasseq.arguments import check_number


@keras.saving.register_keras_serializable(package="kerasseq")
class DoublyStochasticLoss(keras.layers.Layer):
    """Adds the doubly stochastic regularisation of Xu et al. 2015 to the model that it is part of.

    `sum_i (1 - sum_t a_ti)^2` (the second term of equation 14): the weights of each step sum up to 1 over the places,
    and those of each place should sum up to 1 over the real target steps, as they can where a text has as many steps as
    the image has places. Like the cross-entropy of `kerasseq.losses.MaskedCrossentropy`, the sum over a batch is taken
    over its real steps, so `weight` balances the two as in the paper. It is added to what `fit` minimises and to the
    loss that `evaluate` reports.

    Args:
        weight: float of at least 0, the lambda of equation 14. May be set anew before `compile`:
            `model.get_layer("doubly_stochastic_loss").weight = 1.0`. With 0 the layer does nothing.

    Call arguments:
        outputs: any tensor.
        attention: float `(batch, target, places)`.
        target_mask: bool `(batch, target)`, true for real steps.

    Returns:
        `outputs`, unchanged.

    Example:

    >>> import keras, kerasseq
    >>> attention = keras.ops.array([[[0.8, 0.2], [0.6, 0.4]]])
    >>> layer = kerasseq.layers.DoublyStochasticLoss()
    >>> _ = layer(keras.ops.zeros((1, 2, 5)), attention, target_mask=keras.ops.ones((1, 2), dtype="bool"))
    >>> round(float(layer.losses[0]), 4)  # (1 - 1.4)^2 + (1 - 0.6)^2, over 2 steps
    0.16
    """

    def __init__(self, weight=1.0, **kwargs):
        # In another precision Keras would round the outputs on their way through.
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_number("weight", weight)
        self.weight = weight

    def call(self, outputs, attention, target_mask):
        if self.weight:
            self.add_loss(self.weight * doubly_stochastic_loss(attention, target_mask))
        return outputs

    def compute_output_spec(self, outputs, attention, target_mask):
        return keras.KerasTensor(outputs.shape, dtype=outputs.dtype)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


def doubly_stochastic_loss(attention, target_mask):
    """The loss of a batch over its real steps, a float32 scalar."""
    real = ops.cast(target_mask, "float32")
    looked = ops.sum(ops.cast(attention, "float32") * real[:, :, None], axis=1)  # (batch, places)
    return ops.sum(ops.square(1.0 - looked)) / ops.maximum(ops.sum(real), 1.0)
