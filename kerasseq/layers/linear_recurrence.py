"""The recurrence `y_t = d_t y_{t-1} + x_t`, in parallel over time."""

from collections.abc import Callable

from keras import ops

from kerasseq.types import Tensor

BLOCK = 8


def linear_recurrence(decay: Tensor, inputs: Tensor, axis: int = -1, solve: Callable | None = None) -> Tensor:
    """Solves `y_t = decay_t y_{t-1} + inputs_t` along an axis, with y = 0 before the first position.

    Free of divisions, and so of the underflow of a closed form with cumulative products. The gradient is the same
    recurrence in reverse, `s_t = g_t + decay_{t+1} s_{t+1}` with the gradient g of y: s is the gradient of the inputs,
    and `s_t y_{t-1}` that of the decay. There is no second derivative. (`keras.ops.associative_scan` does not support a
    TensorFlow graph with a time dimension of unknown length.)

    Args:
        decay: float tensor.
        inputs: float tensor of the same shape.
        axis: int, the time axis.
        solve: `by_doubling`, the default, or `by_blocks`, which is faster for large tensors.

    Returns:
        float tensor of the same shape.

    Source: Hillis and Steele 1986 for the doubling, Blelloch 1990 for recurrences.
    """
    solve = solve or by_doubling

    @ops.custom_gradient
    def run(decay, inputs):
        outputs = solve(decay, inputs, axis)

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            following = shifted(ops.flip(decay, axis=axis), 1, axis)  # d_{t+1}, in reverse
            totals = ops.flip(solve(following, ops.flip(upstream, axis=axis), axis), axis=axis)
            return totals * shifted(outputs, 1, axis), totals

        return outputs, gradient

    return run(decay, inputs)


def by_doubling(decay: Tensor, inputs: Tensor, axis: int = -1) -> Tensor:
    """`linear_recurrence` without its gradient: after round k, a position covers itself and the 2^k - 1 before it."""

    def body(distance, decay, outputs):
        outputs = outputs + decay * shifted(outputs, distance, axis)
        return 2 * distance, decay * shifted(decay, distance, axis), outputs

    def running(distance, decay, outputs):
        return distance < ops.shape(outputs)[axis]

    start = (ops.convert_to_tensor(1, dtype="int32"), decay, inputs)
    return ops.while_loop(running, body, start)[2]


def by_blocks(decay: Tensor, inputs: Tensor, axis: int = -1) -> Tensor:
    """The same with fewer operations: in blocks of 8 steps side by side, then over the blocks.

    Within a block, step by step, `y_t = z_t + p_t y_s`: z is the solution that starts from 0, p the product of the
    decays since the block's first step, and y_s the last step of the block before.
    """
    if axis != 0:
        decay, inputs = ops.moveaxis(decay, axis, 0), ops.moveaxis(inputs, axis, 0)
        return ops.moveaxis(by_blocks(decay, inputs, axis=0), 0, axis)
    time, others = ops.shape(inputs)[0], ops.shape(inputs)[1:]
    blocks = (time + BLOCK - 1) // BLOCK

    def split(tensor):  # (time, ...) -> a list of (blocks, ...), one for each step of a block
        padding = ops.zeros((blocks * BLOCK - time, *others), dtype=tensor.dtype)
        tensor = ops.reshape(ops.concatenate([tensor, padding], axis=0), (blocks, BLOCK, *others))
        return [tensor[:, step] for step in range(BLOCK)]

    decays, solutions = split(decay), split(inputs)
    for step in range(1, BLOCK):
        solutions[step] = solutions[step] + decays[step] * solutions[step - 1]
        decays[step] = decays[step] * decays[step - 1]
    before = shifted(by_doubling(decays[-1], solutions[-1], axis=0), 1, axis=0)  # y_s of each block
    outputs = [solution + product * before for solution, product in zip(solutions, decays, strict=True)]
    return ops.reshape(ops.stack(outputs, axis=1), (blocks * BLOCK, *others))[:time]


def shifted(tensor, distance, axis):
    """Moves a tensor by `distance` positions along an axis, with zeros before the first."""
    positions = ops.arange(ops.shape(tensor)[axis], dtype="int32")
    earlier = ops.take(tensor, ops.maximum(positions - distance, 0), axis=axis)
    column = [1] * len(tensor.shape)
    column[axis] = -1
    return ops.where(ops.reshape(positions >= distance, column), earlier, 0.0)
