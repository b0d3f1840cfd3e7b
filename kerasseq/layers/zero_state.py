"""A first state that knows nothing."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer


@keras.saving.register_keras_serializable(package="kerasseq")
class ZeroState(keras.layers.Layer):
    """A state of zeros for each sequence of a batch.

    Args:
        units: int, size of the state.

    Call arguments:
        reference: any tensor `(batch, ...)`.

    Returns:
        float `(batch, units)`.

    Example:

    >>> import keras, kerasseq
    >>> keras.ops.shape(kerasseq.layers.ZeroState(16)(keras.ops.ones((2, 5, 8))))
    (2, 16)
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        check_positive_integer("units", units)
        self.units = units

    def call(self, reference):
        return ops.zeros((ops.shape(reference)[0], self.units), dtype=self.compute_dtype)

    def compute_output_spec(self, reference):
        return keras.KerasTensor((reference.shape[0], self.units), dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
