"""The contract of recurrent cells."""

from collections.abc import Callable

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer
from kerasseq.types import State, Tensor


class Cell(keras.layers.Layer):
    """One step of a recurrence: its weights, its initial state and its update.

    A cell reads its inputs through one matrix product, `inputs @ kernel + bias`, which `kerasseq.layers.Recurrent`
    computes for all steps at once. A subclass defines `step`, sets `num_gates` and `state_names` where they differ, and
    adds the weights of its recurrence in `build`. It may replace `scan`, for a faster implementation than a loop
    over `step`, and `outputs`, where the output is not the state `hidden`.

    Args:
        units: int, size of each state.

    Attributes:
        num_gates: int, number of blocks of `units` columns in the kernel.
        state_names: tuple of str, the states, each `(batch, units)`.
        state_activations: dict of the activation with which a dense layer makes an initial state, by its name. Default:
            `"tanh"`, for states in (-1, 1).

    Example:

    >>> import keras, kerasseq
    >>> class RunningSum(kerasseq.layers.Cell):
    ...     def step(self, projected, state):
    ...         return {"hidden": state["hidden"] + projected}
    >>> cell = RunningSum(4)
    >>> state = cell(keras.random.normal((2, 3)), cell.initial_state(2))
    >>> keras.ops.shape(state["hidden"])
    (2, 4)
    """

    num_gates = 1
    state_names: tuple[str, ...] = ("hidden",)
    state_activations: dict[str, str] = {}

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        check_positive_integer("units", units)
        self.units = units

    def by_gate(self, initializer: str) -> Callable[..., Tensor]:
        """An initializer of kernels that draws the block of each gate by itself.

        Keras draws all blocks as one matrix. Its initializers then make weights smaller the more gates there are, and a
        model learns more slowly at first.

        Args:
            initializer: str, name of an initializer of Keras, for a block `(inputs, units)`.
        """

        def draw(shape, dtype=None):
            block = (*shape[:-1], self.units)
            # A new initializer for each block: one and the same draws the same numbers again.
            blocks = [keras.initializers.get(initializer)(block, dtype=dtype) for _ in range(self.num_gates)]
            return ops.concatenate(blocks, axis=-1)

        return draw

    @property
    def width(self) -> int:
        """Number of columns of the kernel, `num_gates * units`."""
        return self.num_gates * self.units

    def build(self, inputs_shape):
        self.kernel = self.add_weight(
            shape=(inputs_shape[-1], self.width), initializer=self.by_gate("glorot_uniform"), name="kernel"
        )
        self.bias = self.add_weight(shape=(self.width,), initializer="zeros", name="bias")

    def project(self, inputs: Tensor) -> Tensor:
        """Projects inputs: `(..., features)` -> `(..., width)`."""
        return ops.matmul(inputs, self.kernel) + self.bias

    def project_part(self, part: Tensor, first: int) -> Tensor:
        """Projects the features from `first` on, without the bias: `(..., size)` -> `(..., width)`.

        The projections of all parts and the bias add up to `project` of their concatenation.
        """
        kernel = ops.convert_to_tensor(self.kernel)
        return ops.matmul(part, kernel[first : first + part.shape[-1]])

    def step(self, projected: Tensor, state: State) -> State:
        """One step: projected inputs `(batch, width)` and the state -> the next state."""
        raise NotImplementedError

    def outputs(self, state: State) -> Tensor:
        """The output of the cell for one or more states, `(..., units)`."""
        return state["hidden"]

    def initial_state(self, batch_size: Tensor) -> State:
        """All-zero initial state."""
        return {name: ops.zeros((batch_size, self.units), dtype=self.compute_dtype) for name in self.state_names}

    def scan(
        self, projected: Tensor, mask: Tensor, state: State, reverse: bool = False, training: bool | None = None
    ) -> State:
        """Runs the cell over time.

        Args:
            projected: float `(time, batch, width)`, projected inputs.
            mask: float `(time, batch, 1)`, 1 for real steps and 0 for steps that carry the state through.
            state: dict of float `(batch, units)`, the initial state.
            reverse: bool, whether to run from the last step to the first.
            training: bool, whether gradients are needed.

        Returns:
            dict of float `(time, batch, units)`, the state after every step.
        """
        return scan_steps(self.step, projected, mask, state, reverse)

    def call(self, inputs, state):
        """One step from unprojected inputs `(batch, features)`."""
        return self.step(self.project(inputs), state)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def scan_steps(
    step: Callable[[Tensor, State], State], projected: Tensor, mask: Tensor, state: State, reverse: bool
) -> State:
    """Loops over time with `keras.ops.scan`, and carries the state through masked steps; see `Cell.scan`."""

    # keras.ops.scan takes one sequence of unknown length, so the mask is concatenated to the inputs.
    def scan_step(state, inputs):
        projected, real = inputs[:, :-1], inputs[:, -1:]
        after = step(projected, state)
        after = {name: ops.where(real > 0, after[name], state[name]) for name in state}
        return after, after

    return ops.scan(scan_step, state, ops.concatenate([projected, mask], axis=-1), reverse=reverse)[1]
