"""The recurrence `y_j = d_j y_{j-1} + x_j`, in a logarithmic number of steps."""

from keras import ops

from kerasseq.types import Tensor


def linear_recurrence(decay: Tensor, inputs: Tensor) -> Tensor:
    """Solves `y_j = decay_j y_{j-1} + inputs_j` along the last axis, with y = 0 before the first position.

    Free of divisions, and so of the underflow of a closed form with cumulative products. The gradient is the same
    recurrence in reverse, `t_j = g_j + decay_{j+1} t_{j+1}` with the gradient g of y: t is the gradient of the inputs,
    and `t_j y_{j-1}` that of the decay. There is no second derivative. (`keras.ops.associative_scan` does not support a
    TensorFlow graph with a time dimension of unknown length.)

    Args:
        decay: float `(batch, time)`.
        inputs: float `(batch, time)`.

    Returns:
        float `(batch, time)`.

    Source: Hillis and Steele 1986 for the doubling, Blelloch 1990 for recurrences.
    """

    @ops.custom_gradient
    def run(decay, inputs):
        outputs = by_doubling(decay, inputs)

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            following = ops.pad(decay[:, 1:], ((0, 0), (0, 1)))  # d_{j+1}
            totals = ops.flip(by_doubling(ops.flip(following, axis=1), ops.flip(upstream, axis=1)), axis=1)
            before = ops.pad(outputs[:, :-1], ((0, 0), (1, 0)))  # y_{j-1}
            return totals * before, totals

        return outputs, gradient

    return run(decay, inputs)


def by_doubling(decay, inputs):
    """Prefix sums by doubling: after round k, a position covers itself and the 2^k - 1 positions before it."""
    positions = ops.arange(ops.shape(inputs)[1], dtype="int32")

    def shifted(tensor, distance):
        earlier = ops.take(tensor, ops.maximum(positions - distance, 0), axis=1)
        return ops.where(positions >= distance, earlier, 0.0)

    def body(distance, decay, outputs):
        return 2 * distance, decay * shifted(decay, distance), outputs + decay * shifted(outputs, distance)

    def running(distance, decay, outputs):
        return distance < ops.shape(outputs)[1]

    start = (ops.convert_to_tensor(1, dtype="int32"), decay, inputs)
    return ops.while_loop(running, body, start)[2]
