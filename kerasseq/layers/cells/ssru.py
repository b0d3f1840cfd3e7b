"""The simpler simple recurrent unit."""

import keras
from keras import ops

from kerasseq.layers.cells.base import Cell
from kerasseq.layers.linear_recurrence import by_blocks, linear_recurrence


@keras.saving.register_keras_serializable(package="kerasseq")
class SSRUCell(Cell):
    """`c_t = f_t c_{t-1} + (1 - f_t) x~_t` with the output `relu(c_t)`.

    The forget gate `f_t` is a sigmoid and the candidate `x~_t` linear in the input alone. No matrix product depends on
    the state, so a step is elementwise, and a whole sequence is computed in parallel over time
    (`kerasseq.layers.linear_recurrence`). The candidate has a bias, unlike the paper's.

    Source: Kim et al. 2019, "From Research to Production and Back", section 3.1.
    """

    num_gates = 2
    state_names = ("cell",)
    state_activations = {"cell": "linear"}  # The cell state is unbounded.

    def outputs(self, state):
        return ops.relu(state["cell"])

    def step(self, projected, state):
        forget_gate, candidate = ssru_gates(projected)
        return {"cell": candidate + forget_gate * (state["cell"] - candidate)}

    def scan(self, projected, mask, state, reverse=False, training=None):
        forget_gate, candidate = ssru_gates(projected)
        real = mask > 0
        decay = ops.where(real, forget_gate, 1.0)
        inputs = ops.where(real, (1.0 - forget_gate) * candidate, 0.0)
        if reverse:
            decay, inputs = ops.flip(decay, axis=0), ops.flip(inputs, axis=0)
        # The initial state is the input before the first step.
        first = ops.cast(state["cell"], inputs.dtype)[None]
        decay, inputs = ops.concatenate([first, decay], axis=0), ops.concatenate([first, inputs], axis=0)
        # TensorFlow keeps every custom gradient it traces for the life of the process.
        if training is False:
            cells = by_blocks(decay, inputs, axis=0)[1:]
        else:
            cells = linear_recurrence(decay, inputs, axis=0, solve=by_blocks)[1:]
        return {"cell": ops.flip(cells, axis=0) if reverse else cells}


def ssru_gates(projected):
    forget_gate, candidate = ops.split(projected, 2, axis=-1)
    return ops.sigmoid(forget_gate), candidate
