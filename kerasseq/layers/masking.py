"""Padding as an explicit mask."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasseq")
class PaddingMask(keras.layers.Layer):
    """Marks the real tokens of padded id sequences.

    Call arguments:
        token_ids: int `(batch, time)`; 0 is padding.

    Returns:
        bool `(batch, time)`, true where the token is real.

    Example:

    >>> import keras, kerasseq
    >>> mask = kerasseq.layers.PaddingMask()(keras.ops.array([[7, 3, 0]], dtype="int32"))
    >>> keras.ops.convert_to_numpy(mask).tolist()
    [[True, True, False]]
    """

    def call(self, token_ids):
        return ops.not_equal(token_ids, 0)

    def compute_output_spec(self, token_ids):
        return keras.KerasTensor(token_ids.shape, dtype="bool")
