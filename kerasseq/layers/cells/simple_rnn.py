"""The simple recurrent network."""

import keras
from keras import ops

from kerasseq.layers.cells.gated import GatedCell


@keras.saving.register_keras_serializable(package="kerasseq")
class SimpleRNNCell(GatedCell):
    """`h_t = tanh(W x_t + U h_{t-1} + b)`, with the weights of `keras.layers.SimpleRNN`.

    Source: Elman 1990.
    """

    @staticmethod
    def advance(projected, state, recurrent):
        return {"hidden": ops.tanh(projected + recurrent)}

    @staticmethod
    def pull(gradients, projected, state, recurrent):
        to_sum = gradients["hidden"] * (1.0 - ops.square(ops.tanh(projected + recurrent)))
        return to_sum, to_sum, {}
