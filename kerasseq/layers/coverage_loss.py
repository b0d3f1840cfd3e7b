"""A loss against looking at the same place twice."""

import keras
from keras import ops

from kerasseq.arguments import check_number


@keras.saving.register_keras_serializable(package="kerasseq")
class CoverageLoss(keras.layers.Layer):
    """Adds the coverage loss of See, Liu and Manning 2017 to the model that it is part of.

    `covloss_t = sum_i min(a_ti, c_ti)` with the coverage `c_t = sum_{t' < t} a_t'` (equations 10 and 12): what step t
    looks at although earlier steps did. The mean over the real target steps of a batch, times `weight`, is added to
    what `fit` minimises and to the loss that `evaluate` reports (equation 13).

    Args:
        weight: float of at least 0, the lambda of equation 13. May be set anew before `compile`:
            `model.get_layer("coverage_loss").weight = 1.0`. With 0 the layer does nothing.

    Call arguments:
        outputs: any tensor.
        attention: float `(batch, target, source)`.
        target_mask: bool `(batch, target)`, true for real steps.

    Returns:
        `outputs`, unchanged.

    Example:

    >>> import keras, kerasseq
    >>> attention = keras.ops.array([[[0.8, 0.2], [0.6, 0.4]]])
    >>> layer = kerasseq.layers.CoverageLoss()
    >>> _ = layer(keras.ops.zeros((1, 2, 5)), attention, target_mask=keras.ops.ones((1, 2), dtype="bool"))
    >>> round(float(layer.losses[0]), 4)  # (0 + min(0.6, 0.8) + min(0.4, 0.2)) / 2
    0.4
    """

    def __init__(self, weight=1.0, **kwargs):
        # In another precision Keras would round the outputs on their way through.
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_number("weight", weight)
        self.weight = weight

    def call(self, outputs, attention, target_mask):
        if self.weight:
            self.add_loss(self.weight * coverage_loss(attention, target_mask))
        return outputs

    def compute_output_spec(self, outputs, attention, target_mask):
        return keras.KerasTensor(outputs.shape, dtype=outputs.dtype)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


def coverage_loss(attention, target_mask):
    """The mean coverage loss of real steps, a float32 scalar."""
    attention = ops.cast(attention, "float32")
    coverage = ops.cumsum(attention, axis=1) - attention  # (batch, target, source), of earlier steps
    losses = ops.sum(ops.minimum(attention, coverage), axis=-1)  # (batch, target)
    real = ops.cast(target_mask, "float32")
    return ops.sum(losses * real) / ops.maximum(ops.sum(real), 1.0)
