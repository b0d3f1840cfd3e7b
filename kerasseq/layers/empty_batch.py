"""Padding of empty batches, for layers that fail on them."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasseq")
class AtLeastOneRow(keras.layers.Layer):
    """Pads an empty batch with a row of zeros, before layers that fail on one; `AsManyRows` removes it afterwards.

    A server may receive an empty request, and in TensorFlow 2.21 a convolution of an empty batch returns a wrong shape.

    Call arguments:
        inputs: any tensor `(batch, ...)`.

    Returns:
        a tensor `(max(batch, 1), ...)`.

    Example:

    >>> import keras
    >>> keras.ops.shape(AtLeastOneRow()(keras.ops.ones((0, 5))))
    (1, 5)
    """

    def call(self, inputs):
        rows, *others = ops.shape(inputs)
        missing = max(1 - rows, 0) if isinstance(rows, int) else ops.maximum(1 - rows, 0)
        return ops.concatenate([inputs, ops.zeros((missing, *others), dtype=inputs.dtype)], axis=0)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


@keras.saving.register_keras_serializable(package="kerasseq")
class AsManyRows(keras.layers.Layer):
    """Truncates a tensor to the batch size of another one.

    Call arguments:
        inputs: any tensor `(rows, ...)`.
        reference: any tensor `(batch, ...)` with `batch <= rows`.

    Returns:
        a tensor `(batch, ...)`, the first rows.

    Example:

    >>> import keras
    >>> keras.ops.shape(AsManyRows()(keras.ops.ones((3, 5)), keras.ops.ones((2, 4))))
    (2, 5)
    """

    def call(self, inputs, reference):
        return inputs[: ops.shape(reference)[0]]

    def compute_output_spec(self, inputs, reference):
        return keras.KerasTensor((reference.shape[0], *inputs.shape[1:]), dtype=inputs.dtype)
