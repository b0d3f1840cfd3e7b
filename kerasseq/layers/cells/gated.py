"""Cells whose gates depend on the hidden state through one matrix product, with a hand-written gradient."""

from keras import ops

from kerasseq.layers.cells.base import Cell, scan_steps
from kerasseq.types import State, Tensor


class GatedCell(Cell):
    """A cell whose update depends on the projected inputs and on `recurrent = hidden @ recurrent_kernel`.

    The weights have the shapes, the gate order and the meaning of the Keras layers of the same name, so they can be
    copied from one to the other.

    The gradient splits into factors, which are known for all steps at once, and a short recurrence backwards in time.
    A framework's own gradient of the loop multiplies and accumulates a gradient of the kernel in every step; here the
    loop backwards only multiplies by the factors, and the gradient of the kernel is one product over all steps. Gates
    are recomputed, so memory is that of the states. There is no second derivative.

    Subclasses define `advance`, and its derivative as `linearize` and `pull`, as functions of tensors alone.

    Source: Werbos 1990 (backpropagation through time).
    """

    has_recurrent_bias = False

    def build(self, inputs_shape):
        self.kernel = self.add_weight(shape=(inputs_shape[-1], self.width), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, self.width), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(self.width,), initializer=self.initial_bias, name="bias")
        self.recurrent_bias = None
        if self.has_recurrent_bias:
            self.recurrent_bias = self.add_weight(shape=(self.width,), initializer="zeros", name="recurrent_bias")

    def initial_bias(self, shape, dtype=None):
        """Initializer of the bias of the input projection."""
        return ops.zeros(shape, dtype=dtype)

    @staticmethod
    def advance(projected: Tensor, state: State, recurrent: Tensor) -> State:
        """The next state from projected inputs, the state, and its product with the recurrent kernel."""
        raise NotImplementedError

    @staticmethod
    def linearize(projected: Tensor, state: State, recurrent: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The derivatives of `advance`: `(input_factors, recurrent_factors, carried)`.

        The factors have the shape of `projected`; `carried` is a list of tensors of the shape of a state.
        """
        raise NotImplementedError

    @staticmethod
    def pull(gradients: State, factors: Tensor, carried: list[Tensor]) -> tuple[Tensor, State]:
        """The gradients of the gates and of the previous states, from those of the next states.

        Gradients of previous states exclude the path through the gates; states without another path are omitted.
        """
        raise NotImplementedError

    def step(self, projected, state):
        recurrent = ops.matmul(state["hidden"], self.recurrent_kernel)
        if self.recurrent_bias is not None:
            recurrent = recurrent + self.recurrent_bias
        return self.advance(projected, state, recurrent)

    def scan(self, projected, mask, state, reverse=False, training=None):
        if training is False:
            # TensorFlow keeps every custom gradient it traces for the life of the process.
            return scan_steps(self.step, projected, mask, state, reverse)
        # The custom gradient is a function of values, not of variables.
        kernel = ops.copy(self.recurrent_kernel)
        if self.recurrent_bias is None:
            bias = ops.zeros((self.width,), dtype=kernel.dtype)
        else:
            bias = ops.copy(self.recurrent_bias)
        trajectory = scan_with_gradient(self, reverse)(projected, mask, kernel, bias, joined(self, state))
        return split(self, trajectory)


def joined(cell, state):
    """The states concatenated: dict of `(..., units)` -> `(..., num_states * units)`."""
    return ops.concatenate([state[name] for name in cell.state_names], axis=-1)


def split(cell, tensor):
    """The inverse of `joined`."""
    parts = ops.split(tensor, len(cell.state_names), axis=-1)
    return dict(zip(cell.state_names, parts, strict=True))


def scan_with_gradient(cell, reverse):
    """A function `(projected, mask, kernel, bias, states) -> (time, batch, num_states * units)` with its gradient.

    keras.ops.scan takes one sequence of unknown length and returns outputs shaped like the carry, so tensors are
    concatenated.
    """

    @ops.custom_gradient
    def run(projected, mask, kernel, bias, states):
        units, width = kernel.shape

        def step(projected, state):
            return cell.advance(projected, state, ops.matmul(state["hidden"], kernel) + bias)

        trajectory = joined(cell, scan_steps(step, projected, mask, split(cell, states), reverse))

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream  # (time, batch, num_states * units)
            before = [trajectory[1:], states[None]] if reverse else [states[None], trajectory[:-1]]
            before = split(cell, ops.concatenate(before, axis=0))
            recurrent = ops.matmul(before["hidden"], kernel) + bias
            input_factors, recurrent_factors, carried = cell.linearize(projected, before, recurrent)
            to_hidden = ops.transpose(kernel)
            size = states.shape[-1]

            def step_back(gradients, inputs):
                total, factors, real = gradients + inputs[:, :size], inputs[:, size : size + width], inputs[:, -1:]
                factors_carried = inputs[:, size + width : -1]
                factors_carried = ops.split(factors_carried, len(carried), axis=-1) if carried else []
                gates, past = cell.pull(split(cell, total * real), factors, factors_carried)
                through_gates = ops.matmul(gates, to_hidden)
                past["hidden"] = past["hidden"] + through_gates if "hidden" in past else through_gates
                return joined(cell, past) + total * (1.0 - real), total

            inputs = ops.concatenate([upstream, recurrent_factors, *carried, mask], axis=-1)
            to_states, totals = ops.scan(step_back, ops.zeros_like(states), inputs, reverse=not reverse)
            totals = split(cell, totals * mask)
            to_recurrent, _ = cell.pull(totals, recurrent_factors, carried)  # (time, batch, width)
            to_projected = to_recurrent
            if input_factors is not recurrent_factors:
                to_projected, _ = cell.pull(totals, input_factors, carried)
            flat = ops.reshape(to_recurrent, (-1, width))
            to_kernel = ops.matmul(ops.transpose(ops.reshape(before["hidden"], (-1, units))), flat)
            return to_projected, ops.zeros_like(mask), to_kernel, ops.sum(flat, axis=0), to_states

        return trajectory, gradient

    return run
