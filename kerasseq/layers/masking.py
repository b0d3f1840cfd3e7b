"""Explicit masks of padding, and a reduction of sequences that keeps them."""

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


@keras.saving.register_keras_serializable(package="kerasseq")
class FullMask(keras.layers.Layer):
    """Marks every position as real: the mask of a memory without padding, such as the regions of an image.

    Call arguments:
        memory: any tensor `(batch, source, ...)`.

    Returns:
        bool `(batch, source)`, all true.

    Example:

    >>> import keras, kerasseq
    >>> keras.ops.convert_to_numpy(kerasseq.layers.FullMask()(keras.ops.zeros((1, 3, 8)))).tolist()
    [[True, True, True]]
    """

    def call(self, memory):
        return ops.ones(ops.shape(memory)[:2], dtype="bool")

    def compute_output_spec(self, memory):
        return keras.KerasTensor(memory.shape[:2], dtype="bool")


@keras.saving.register_keras_serializable(package="kerasseq")
class MaskedMean(keras.layers.Layer):
    """The mean over the real steps of a sequence, zeros if there are none.

    Call arguments:
        sequences: float `(batch, time, features)`.
        sequence_mask: bool `(batch, time)`, true for real steps.

    Returns:
        float `(batch, features)`.

    Example:

    >>> import keras
    >>> mask = keras.ops.array([[True, True, False], [False, False, False]])
    >>> steps = keras.ops.array([[[1.0], [3.0], [9.0]], [[5.0], [5.0], [5.0]]])
    >>> keras.ops.convert_to_numpy(MaskedMean()(steps, mask)).tolist()
    [[2.0], [0.0]]
    """

    def call(self, sequences, sequence_mask):
        real = ops.cast(sequence_mask, sequences.dtype)[:, :, None]
        return ops.sum(sequences * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1)

    def compute_output_spec(self, sequences, sequence_mask):
        return keras.KerasTensor((sequences.shape[0], sequences.shape[2]), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable(package="kerasseq")
class PairSteps(keras.layers.Layer):
    """Halves the length of a sequence by concatenating pairs of steps, Chan et al. 2016, equation 5.

    Call arguments:
        sequences: float `(batch, time, features)`.
        sequence_mask: bool `(batch, time)`, true for real steps.

    Returns:
        float `(batch, ceil(time / 2), 2 * features)`, with zeros for padded steps, and its mask.

    Example:

    >>> import keras
    >>> mask = keras.ops.array([[True, True, True, False, False]])
    >>> halved, halved_mask = PairSteps()(keras.ops.ones((1, 5, 8)), mask)
    >>> keras.ops.shape(halved), keras.ops.convert_to_numpy(halved_mask).tolist()
    ((1, 3, 16), [[True, True, False]])
    """

    def call(self, sequences, sequence_mask):
        batch, time, features = ops.shape(sequences)
        # The last step of an odd length is paired with zeros, as it would be with padding.
        sequences = ops.where(sequence_mask[:, :, None], sequences, 0.0)
        sequences = ops.pad(sequences, ((0, 0), (0, 1), (0, 0)))[:, : time + time % 2]
        mask = ops.pad(sequence_mask, ((0, 0), (0, 1)))[:, : time + time % 2]
        pairs = (time + 1) // 2
        halved_mask = ops.any(ops.reshape(mask, (batch, pairs, 2)), axis=-1)
        return ops.reshape(sequences, (batch, pairs, 2 * features)), halved_mask

    def compute_output_spec(self, sequences, sequence_mask):
        batch, time, features = sequences.shape
        pairs = None if time is None else (time + 1) // 2
        return (
            keras.KerasTensor((batch, pairs, 2 * features), dtype=self.compute_dtype),
            keras.KerasTensor((batch, pairs), dtype="bool"),
        )
