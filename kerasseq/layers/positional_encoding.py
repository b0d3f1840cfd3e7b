"""Sinusoidal positional encodings."""

import keras
from keras import ops

from kerasseq.types import Tensor


@keras.saving.register_keras_serializable(package="kerasseq")
class PositionalEncoding(keras.layers.Layer):
    """Adds encodings of the positions.

    `PE(t, 2i) = sin(t / 10000^(2i / d))` and `PE(t, 2i + 1) = cos(t / 10000^(2i / d))` for any position t.

    Call arguments:
        embedded: float `(batch, time, d)`.
        first: int `(batch,)`, the position of the first step of each row. Default: 0.

    Returns:
        float `(batch, time, d)`.

    Example:

    >>> import keras, kerasseq
    >>> encoded = kerasseq.layers.PositionalEncoding()(keras.ops.zeros((1, 3, 4)))
    >>> keras.ops.convert_to_numpy(encoded[0, 0]).tolist()
    [0.0, 1.0, 0.0, 1.0]

    Source: Vaswani et al. 2017, section 3.5.
    """

    def call(self, embedded: Tensor, first: Tensor | None = None) -> Tensor:
        dim = embedded.shape[-1]
        positions = ops.arange(ops.shape(embedded)[1], dtype="int32")[None]  # (1, time)
        if first is not None:
            positions = positions + first[:, None]
        frequencies = [10_000.0 ** -(index / dim) for index in range(0, dim, 2)]
        angles = ops.cast(positions, "float32")[..., None] * ops.convert_to_tensor(frequencies, dtype="float32")
        encoding = ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1)  # (batch, time, d / 2, 2)
        encoding = ops.reshape(encoding, (*ops.shape(positions), 2 * len(frequencies)))[..., :dim]
        return embedded + ops.cast(encoding, embedded.dtype)
