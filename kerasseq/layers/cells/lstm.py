"""Long short-term memory."""

import keras
from keras import ops

from kerasseq.layers.cells.gated import GatedCell


@keras.saving.register_keras_serializable(package="kerasseq")
class LSTMCell(GatedCell):
    """`c_t = f_t c_{t-1} + i_t g_t` and `h_t = o_t tanh(c_t)`, with the weights of `keras.layers.LSTM`.

    The gates i, f and o are sigmoids, the candidate g a tanh, of `W x_t + U h_{t-1} + b`. The bias of the forget gate
    starts at 1 (Jozefowicz et al. 2015).

    Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000 for the forget gate.
    """

    num_gates = 4
    state_names = ("hidden", "cell")
    state_activations = {"cell": "linear"}  # The cell state is unbounded.

    def initial_bias(self, shape, dtype=None):
        bias = ops.zeros(shape, dtype=dtype)
        forget_gate = ops.arange(shape[0]) // self.units == 1
        return ops.where(forget_gate, ops.ones_like(bias), bias)

    @staticmethod
    def advance(projected, state, recurrent):
        input_gate, forget_gate, candidate, output_gate = lstm_gates(projected, recurrent)
        cell = forget_gate * state["cell"] + input_gate * candidate
        return {"hidden": output_gate * ops.tanh(cell), "cell": cell}

    @staticmethod
    def pull(gradients, projected, state, recurrent):
        input_gate, forget_gate, candidate, output_gate = lstm_gates(projected, recurrent)
        squashed = ops.tanh(forget_gate * state["cell"] + input_gate * candidate)
        hidden = gradients["hidden"]
        cell = gradients["cell"] + hidden * output_gate * (1.0 - ops.square(squashed))
        to_gates = ops.concatenate(
            [
                cell * candidate * input_gate * (1.0 - input_gate),
                cell * state["cell"] * forget_gate * (1.0 - forget_gate),
                cell * input_gate * (1.0 - ops.square(candidate)),
                hidden * squashed * output_gate * (1.0 - output_gate),
            ],
            axis=-1,
        )
        return to_gates, to_gates, {"cell": cell * forget_gate}


def lstm_gates(projected, recurrent):
    input_gate, forget_gate, candidate, output_gate = ops.split(projected + recurrent, 4, axis=-1)
    return ops.sigmoid(input_gate), ops.sigmoid(forget_gate), ops.tanh(candidate), ops.sigmoid(output_gate)
