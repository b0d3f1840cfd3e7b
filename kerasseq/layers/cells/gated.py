"""Cells whose gates depend on the hidden state through one matrix product, with a hand-written gradient."""

from collections.abc import Sequence

import keras
from keras import ops

from kerasseq.layers.cells.base import Cell, scan_steps
from kerasseq.types import State, Tensor


class GatedCell(Cell):
    """A cell whose update depends on the projected inputs and on `recurrent = hidden @ recurrent_kernel`.

    The weights have the shapes, the gate order and the meaning of the Keras layers of the same name, so they can be
    copied from one to the other.

    A framework's own gradient of the loop keeps what each operation needs, and multiplies and accumulates a gradient of
    the kernel in every step. Here the loop keeps the states and the products with the recurrent kernel, the
    backward loop recomputes the gates while they are in the processor's cache, and the gradient of the kernel is one
    product over all steps. There is no second derivative.

    Subclasses define `advance`, and its gradient as `pull`, as functions of tensors alone.

    Source: Werbos 1990 (backpropagation through time).
    """

    has_recurrent_bias = False

    def build(self, inputs_shape):
        self.kernel = self.add_weight(
            shape=(inputs_shape[-1], self.width), initializer=self.by_gate("glorot_uniform"), name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, self.width), initializer=self.by_gate("orthogonal"), name="recurrent_kernel"
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
    def pull(gradients: State, projected: Tensor, state: State, recurrent: Tensor) -> tuple[Tensor, Tensor, State]:
        """The gradients of the arguments of `advance`, from those of the next states.

        Returns:
            the gradients of `projected`, of `recurrent`, and of the states but for the path through `recurrent`; states
            without another path are omitted.
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
        states = (state[name] for name in self.state_names)
        return self.named(scan_with_gradient(self, reverse)(projected, mask, kernel, bias, *states))

    def named(self, states: Sequence[Tensor]) -> State:
        """States in the order of `state_names` as a dict."""
        return dict(zip(self.state_names, states, strict=True))


def scan_with_gradient(cell, reverse):
    """A function `(projected, mask, kernel, bias, *states)` with its gradient.

    It returns the states after all steps, a tuple of `(time, batch, units)`.

    Both loops scan indices, because `keras.ops.scan` copies the sequences that it is given. It requires outputs shaped
    like the carry, so products and gradients that only one of them needs are in both.
    """

    @ops.custom_gradient
    def run(projected, mask, kernel, bias, *states):
        units, width = kernel.shape
        initial = cell.named(states)
        time, batch = ops.shape(projected)[:2]
        indices, no_gates = ops.arange(time), ops.zeros((batch, width), kernel.dtype)

        def step(carry, index):
            state, _ = carry
            recurrent = ops.matmul(state["hidden"], kernel) + bias
            after = cell.advance(projected[index], state, recurrent)
            after = {name: ops.where(mask[index] > 0, after[name], state[name]) for name in state}
            return (after, recurrent), (after, recurrent)

        _, (trajectory, recurrent) = ops.scan(step, (initial, no_gates), indices, reverse=reverse)

        def gradient(*arguments, upstream=None):
            # TensorFlow passes the gradients of all outputs one by one, JAX in one tuple.
            upstream = cell.named(keras.tree.flatten(arguments if upstream is None else upstream))
            before = {
                name: ops.concatenate(
                    [after[1:], initial[name][None]] if reverse else [initial[name][None], after[:-1]]
                )
                for name, after in trajectory.items()
            }
            to_hidden = ops.transpose(kernel)

            def step_back(carry, index):
                total = {name: gradient + upstream[name][index] for name, gradient in carry[0].items()}
                real = mask[index]
                to_projected, to_recurrent, past = cell.pull(
                    {name: gradient * real for name, gradient in total.items()},
                    projected[index],
                    {name: state[index] for name, state in before.items()},
                    recurrent[index],
                )
                through_recurrent = ops.matmul(to_recurrent, to_hidden)
                past["hidden"] = past["hidden"] + through_recurrent if "hidden" in past else through_recurrent
                carry = {name: past[name] + total[name] * (1.0 - real) for name in total}, to_projected, to_recurrent
                return carry, carry

            no_gradients = {name: ops.zeros_like(state) for name, state in initial.items()}
            (to_states, _, _), (_, to_projected, to_recurrent) = ops.scan(
                step_back, (no_gradients, no_gates, no_gates), indices, reverse=not reverse
            )
            flat = ops.reshape(to_recurrent, (-1, width))
            to_kernel = ops.matmul(ops.transpose(ops.reshape(before["hidden"], (-1, units))), flat)
            to_bias = ops.sum(flat, axis=0)
            return (
                to_projected,
                ops.zeros_like(mask),
                to_kernel,
                to_bias,
                *(to_states[name] for name in cell.state_names),
            )

        return tuple(trajectory[name] for name in cell.state_names), gradient

    return run
