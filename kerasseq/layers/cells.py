"""The three recurrent cells: one step, and what backpropagation through time needs to know of it.

In all three, the gates depend on `projected`, the input's share, and on `recurrent = h_{t-1} U`, so the gradient splits
into factors, which are known for all steps at once, and a short recurrence backwards in time that multiplies by them.
"""

import typing

from keras import ops


class Cell(typing.NamedTuple):
    """A recurrent cell as functions of tensors `(..., num_gates * units)` and lists of states `(..., units)`.

    Attributes:
        num_gates: int, number of blocks of `units` columns in the kernels.
        num_states: int; the first state is the hidden state h.
        has_recurrent_bias: bool, whether the recurrent share has a bias of its own.
        step: `(projected, states, recurrent) -> states`. An LSTM's also takes `normalize`, a function for its memory
            before it is read out.
        linearize: `(projected, states, recurrent) -> (input_factors, recurrent_factors, carried)`: the derivatives of a
            step, two tensors like `projected` and a list of tensors like a state.
        pull: `(gradients, factors, carried) -> (gates, past)`: takes the gradients of the next states to the gradient
            of the gates, and to those of the states before, as far as they do not go through the gates (`None` for 0).
    """

    num_gates: int
    num_states: int
    has_recurrent_bias: bool
    step: typing.Callable
    linearize: typing.Callable
    pull: typing.Callable


# === Simple RNN: h = tanh(x + r) ===


def simple_rnn_step(projected, states, recurrent):
    return [ops.tanh(projected + recurrent)]


def simple_rnn_linearize(projected, states, recurrent):
    factors = 1.0 - ops.square(ops.tanh(projected + recurrent))
    return factors, factors, []


def simple_rnn_pull(gradients, factors, carried):
    return gradients[0] * factors, [None]


# === LSTM: c' = f c + i g, h = o tanh(c') ===


def lstm_gates(projected, recurrent):
    input_gate, forget_gate, candidate, output_gate = ops.split(projected + recurrent, 4, axis=-1)
    return ops.sigmoid(input_gate), ops.sigmoid(forget_gate), ops.tanh(candidate), ops.sigmoid(output_gate)


def lstm_step(projected, states, recurrent, normalize=None):
    input_gate, forget_gate, candidate, output_gate = lstm_gates(projected, recurrent)
    memory = forget_gate * states[1] + input_gate * candidate
    read = memory if normalize is None else normalize(memory)
    return [output_gate * ops.tanh(read), memory]


def lstm_linearize(projected, states, recurrent):
    input_gate, forget_gate, candidate, output_gate = lstm_gates(projected, recurrent)
    squashed = ops.tanh(forget_gate * states[1] + input_gate * candidate)
    factors = ops.concatenate(
        [
            candidate * input_gate * (1.0 - input_gate),
            states[1] * forget_gate * (1.0 - forget_gate),
            input_gate * (1.0 - ops.square(candidate)),
            squashed * output_gate * (1.0 - output_gate),
        ],
        axis=-1,
    )
    hidden_to_memory = output_gate * (1.0 - ops.square(squashed))
    return factors, factors, [hidden_to_memory, forget_gate]


def lstm_pull(gradients, factors, carried):
    hidden, memory = gradients
    hidden_to_memory, forget_gate = carried
    memory = memory + hidden * hidden_to_memory
    return ops.concatenate([memory, memory, memory, hidden], axis=-1) * factors, [None, memory * forget_gate]


# === GRU: n = tanh(x_n + reset r_n), h' = n + update (h - n) ===


def gru_gates(projected, recurrent):
    units = projected.shape[-1] // 3
    gates = ops.sigmoid(projected[..., : 2 * units] + recurrent[..., : 2 * units])
    update, reset = ops.split(gates, 2, axis=-1)
    recurrent_candidate = recurrent[..., 2 * units :]
    return update, reset, recurrent_candidate, ops.tanh(projected[..., 2 * units :] + reset * recurrent_candidate)


def gru_step(projected, states, recurrent):
    update, _, _, candidate = gru_gates(projected, recurrent)
    return [candidate + update * (states[0] - candidate)]


def gru_linearize(projected, states, recurrent):
    update, reset, recurrent_candidate, candidate = gru_gates(projected, recurrent)
    to_candidate = (1.0 - update) * (1.0 - ops.square(candidate))
    to_update = (states[0] - candidate) * update * (1.0 - update)
    to_reset = to_candidate * recurrent_candidate * reset * (1.0 - reset)
    input_factors = ops.concatenate([to_update, to_reset, to_candidate], axis=-1)
    recurrent_factors = ops.concatenate([to_update, to_reset, to_candidate * reset], axis=-1)
    return input_factors, recurrent_factors, [update]


def gru_pull(gradients, factors, carried):
    (hidden,), (update,) = gradients, carried
    return ops.concatenate([hidden, hidden, hidden], axis=-1) * factors, [hidden * update]


CELLS = {
    "simple_rnn": Cell(1, 1, False, simple_rnn_step, simple_rnn_linearize, simple_rnn_pull),
    "lstm": Cell(4, 2, False, lstm_step, lstm_linearize, lstm_pull),
    "gru": Cell(3, 1, True, gru_step, gru_linearize, gru_pull),
}


def get_cell(name):
    """Looks up a cell by name, or raises a `ValueError` that lists the names."""
    if not isinstance(name, str) or name not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(map(repr, CELLS))}. Received: cell={name!r}.")
    return CELLS[name]
