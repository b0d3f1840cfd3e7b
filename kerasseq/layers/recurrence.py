"""A cell run over time, with backpropagation through time written out."""

import functools

from keras import ops


def recurrence(cell, projected, mask, kernel, bias, states, reverse=False, training=True):
    """Runs a cell over time.

    The gradient that a framework derives for such a loop multiplies and adds up a gradient of the kernel in every step.
    Here the loop backwards only multiplies by factors computed for all steps at once, and the gradient of the kernel is
    one product over all steps. Gates are computed again instead of kept, so memory is that of the states. There is no
    second derivative.

    Args:
        cell: a `kerasseq.layers.cells.Cell`.
        projected: float `(time, batch, num_gates * units)`, the input's share of the gates.
        mask: float `(time, batch, 1)`, 1 for real steps and 0 for those that carry the states through.
        kernel: float `(units, num_gates * units)`.
        bias: float `(num_gates * units,)`, added to the recurrent share.
        states: list of float `(batch, units)`, before the first step.
        reverse: bool, whether to run from the last step to the first.
        training: bool, whether to have the gradient described above. TensorFlow keeps what has a gradient of its own
            for the life of the process, so graphs that only predict do without: they have the framework's.

    Returns:
        list of float `(time, batch, units)`, the states after every step.

    Source: Werbos 1990 (backpropagation through time).
    """
    # keras.ops.scan takes one sequence of unknown length, and outputs like the carry: tensors travel side by side.
    run = scan_with_gradient(cell, reverse) if training else functools.partial(scan, cell, reverse)
    trajectory = run(projected, mask, kernel, bias, ops.concatenate(states, axis=-1))
    return split(trajectory, cell.num_states)


def split(tensor, count):
    return list(ops.split(tensor, count, axis=-1)) if count else []


def scan(cell, reverse, projected, mask, kernel, bias, states):
    """`(projected, mask, kernel, bias, states) -> (time, batch, num_states * units)`."""
    width = kernel.shape[1]

    def step(states, inputs):
        projected, real = inputs[:, :width], inputs[:, width:]
        before = split(states, cell.num_states)
        recurrent = ops.matmul(before[0], kernel) + bias
        after = ops.concatenate(cell.step(projected, before, recurrent), axis=-1)
        after = ops.where(real > 0, after, states)
        return after, after

    return ops.scan(step, states, ops.concatenate([projected, mask], axis=-1), reverse=reverse)[1]


def scan_with_gradient(cell, reverse):
    """`scan` of a cell, with a gradient of its own."""

    @ops.custom_gradient
    def run(projected, mask, kernel, bias, states):
        units, width = kernel.shape
        trajectory = scan(cell, reverse, projected, mask, kernel, bias, states)

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream  # (time, batch, num_states * units)
            before = [trajectory[1:], states[None]] if reverse else [states[None], trajectory[:-1]]
            before = split(ops.concatenate(before, axis=0), cell.num_states)
            recurrent = ops.matmul(before[0], kernel) + bias
            input_factors, recurrent_factors, carried = cell.linearize(projected, before, recurrent)
            to_hidden = ops.transpose(kernel)
            size = cell.num_states * units

            def step_back(gradients, inputs):
                total, factors, real = gradients + inputs[:, :size], inputs[:, size : size + width], inputs[:, -1:]
                gates, past = cell.pull(
                    split(total * real, cell.num_states), factors, split(inputs[:, size + width : -1], len(carried))
                )
                through_gates = ops.matmul(gates, to_hidden)
                past[0] = through_gates if past[0] is None else past[0] + through_gates
                return ops.concatenate(past, axis=-1) + total * (1.0 - real), total

            inputs = ops.concatenate([upstream, recurrent_factors, *carried, mask], axis=-1)
            to_states, totals = ops.scan(step_back, ops.zeros_like(states), inputs, reverse=not reverse)
            totals = split(totals * mask, cell.num_states)
            to_recurrent, _ = cell.pull(totals, recurrent_factors, carried)  # (time, batch, num_gates * units)
            to_projected = to_recurrent
            if input_factors is not recurrent_factors:
                to_projected, _ = cell.pull(totals, input_factors, carried)
            flat = ops.reshape(to_recurrent, (-1, width))
            to_kernel = ops.matmul(ops.transpose(ops.reshape(before[0], (-1, units))), flat)
            return to_projected, ops.zeros_like(mask), to_kernel, ops.sum(flat, axis=0), to_states

        return trajectory, gradient

    return run
