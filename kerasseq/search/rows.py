"""The loop of a search, in which sequences leave the batch once they are decided."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerasseq.changing_sizes import Shape, assert_equal, while_loop
from kerasseq.search.request import map_rows
from kerasseq.types import State, Tensor

# Decided sequences leave once they are an eighth of the batch. Each time, the constants of the others are copied.
LEAVE_AT = 8


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a decoder that tells its constants apart, so that sequences may leave the batch in a search.

    Attributes:
        function: `function(token_ids, state, constants)`, as `kerasseq.decoders.Decoder.step`.
        constants: a nested dict of tensors `(rows, ...)`; what all rows share is under the key `shared`.
    """

    function: Callable
    constants: State

    def __call__(self, token_ids: Tensor, state: State) -> dict[str, Tensor]:
        return self.function(token_ids, state, self.constants)


def while_undecided(
    advance: Callable[[dict, dict], dict],
    search: dict[str, Any],
    constants: dict[str, Any],
    finish: Callable[[dict, dict], dict[str, Tensor]],
    rows_per_sequence: int = 1,
) -> dict[str, Tensor]:
    """Repeats a step of a search until every sequence is decided, and returns their results.

    In a TensorFlow graph, decided sequences leave the batch where the step tells its constants apart. Other backends
    need constant shapes.

    Args:
        advance: function of `search` and `constants` that returns the next `search`. It must not change sequences that
            are decided.
        search: dict of `index`, int scalar, the number of steps; `undecided`, bool `(batch,)`; `rows`, a nest of
            tensors `(batch * rows_per_sequence, ...)`; and others, nests of tensors `(batch, ...)`.
        constants: dict of `step`, a `Step` or another function of token ids and state; and others, nests of tensors
            `(batch * rows_per_sequence, ...)`; what all rows share is under the key `shared`.
        finish: function of `search` and `constants` that returns the results of all sequences, decided or not.
        rows_per_sequence: int.
    """

    step = constants["step"]
    if keras.backend.backend() == "tensorflow" and isinstance(step, Step):

        def advance_rows(search, constants):
            return advance(search, {**constants, "step": Step(step.function, constants["step"])})

        return with_leaving(advance_rows, search, {**constants, "step": step.constants}, finish, rows_per_sequence)
    search = ops.while_loop(
        lambda search: ops.any(search["undecided"]), lambda search: (advance(search, constants),), (search,)
    )[0]
    return finish(search, constants)


def with_leaving(advance, search, constants, finish, rows_per_sequence):
    """`while_undecided` in an outer loop, with fewer sequences in each turn. All constants are tensors."""

    def crowded(search):
        undecided = ops.cast(search["undecided"], "int32")
        return ops.sum(undecided) * LEAVE_AT > ops.size(undecided) * (LEAVE_AT - 1)

    def take(nest, sequences, size=1):
        if size > 1:
            sequences = ops.reshape(sequences[:, None] * size + ops.arange(size, dtype="int32"), (-1,))
        return map_rows(lambda tensor: ops.take(tensor, sequences, axis=0), nest)

    def turn(search, constants, places, results):
        search = ops.while_loop(crowded, lambda search: (advance(search, constants),), (search,))[0]
        found = finish(search, constants)
        results = {name: ops.scatter_update(results[name], places[:, None], found[name]) for name in results}
        left = ops.cast(ops.nonzero(search["undecided"])[0], "int32")
        search = {
            name: value if name == "index" else take(value, left, rows_per_sequence if name == "rows" else 1)
            for name, value in search.items()
        }
        return search, take(constants, left, rows_per_sequence), ops.take(places, left, axis=0), results

    batch_size = ops.size(search["undecided"])
    check_constants(constants, batch_size * rows_per_sequence)
    # Results of no step, which all turns replace, have the shapes of the others.
    variables = (search, constants, ops.arange(batch_size, dtype="int32"), finish(search, constants))
    variables = keras.tree.map_structure(ops.convert_to_tensor, variables)
    shapes = keras.tree.map_structure(lambda tensor: Shape(tensor.shape), variables)
    shapes = map_rows(lambda shape: Shape([None, *shape.sizes[1:]]) if shape.sizes else shape, shapes)
    return while_loop(lambda search, constants, places, results: ops.size(places) > 0, turn, variables, shapes)[-1]


def check_constants(constants, rows):
    """Raises an error for constants without an axis of rows: where a graph does not know their shape, as it runs."""

    def check(tensor):
        shape = tuple(tensor.shape)
        message = (
            "The constants of steps, constraints and scorers must be tensors (rows, ...). Received: a tensor of the "
            f"shape {shape}. Put what all rows share under the key 'shared'."
        )
        if not shape:
            raise ValueError(message)
        assert_equal(ops.shape(tensor)[0], rows, message)

    map_rows(check, constants)
