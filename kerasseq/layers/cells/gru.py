"""The gated recurrent unit."""

import keras
from keras import ops

from kerasseq.layers.cells.gated import GatedCell


@keras.saving.register_keras_serializable(package="kerasseq")
class GRUCell(GatedCell):
    """`n_t = tanh(x_n + r_t h_n)` and `h_t = z_t h_{t-1} + (1 - z_t) n_t`, as `keras.layers.GRU(reset_after=True)`.

    The update gate z and the reset gate r are sigmoids of `W x_t + U h_{t-1}` and both biases; `x_n` and `h_n` are the
    candidate's blocks of the two products. The weights are those of Keras, its two biases `bias` and `recurrent_bias`.

    Source: Cho et al. 2014, in the variant that applies the reset gate after the matrix product.
    """

    num_gates = 3
    has_recurrent_bias = True

    @staticmethod
    def advance(projected, state, recurrent):
        update, _, _, candidate = gru_gates(projected, recurrent)
        return {"hidden": candidate + update * (state["hidden"] - candidate)}

    @staticmethod
    def pull(gradients, projected, state, recurrent):
        update, reset, recurrent_candidate, candidate = gru_gates(projected, recurrent)
        hidden = gradients["hidden"]
        to_candidate = hidden * (1.0 - update) * (1.0 - ops.square(candidate))
        to_update = hidden * (state["hidden"] - candidate) * update * (1.0 - update)
        to_reset = to_candidate * recurrent_candidate * reset * (1.0 - reset)
        to_projected = ops.concatenate([to_update, to_reset, to_candidate], axis=-1)
        to_recurrent = ops.concatenate([to_update, to_reset, to_candidate * reset], axis=-1)
        return to_projected, to_recurrent, {"hidden": hidden * update}


def gru_gates(projected, recurrent):
    units = projected.shape[-1] // 3
    gates = ops.sigmoid(projected[..., : 2 * units] + recurrent[..., : 2 * units])
    update, reset = ops.split(gates, 2, axis=-1)
    recurrent_candidate = recurrent[..., 2 * units :]
    return update, reset, recurrent_candidate, ops.tanh(projected[..., 2 * units :] + reset * recurrent_candidate)
