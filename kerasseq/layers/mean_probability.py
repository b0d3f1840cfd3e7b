"""The mean of several distributions over a vocabulary."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasseq")
class MeanProbability(keras.layers.Layer):
    """The logarithm of the mean of probabilities: `log (1/n sum_i softmax(logits_i))`.

    Call arguments:
        logits: list of float `(..., vocabulary)`.

    Returns:
        float32 `(..., vocabulary)`, log-probabilities.

    Example:

    >>> import keras, kerasseq
    >>> first, second = keras.ops.log([[0.2, 0.8]]), keras.ops.log([[0.6, 0.4]])
    >>> mean = kerasseq.layers.MeanProbability()([first, second])
    >>> [round(float(probability), 4) for probability in keras.ops.exp(mean)[0]]
    [0.4, 0.6]
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, logits):
        log_probabilities = ops.stack([ops.log_softmax(ops.cast(member, "float32")) for member in logits])
        return ops.logsumexp(log_probabilities, axis=0) - ops.log(float(len(logits)))

    def compute_output_spec(self, logits):
        return keras.KerasTensor(logits[0].shape, dtype="float32")
