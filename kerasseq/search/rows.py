"""The loop of a search, in which sequences leave the batch once they are decided."""

import typing
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerasseq.search.request import map_rows
from kerasseq.types import State, Tensor

# Sequences leave when one in so many is decided. Each time, the constants of the others are copied.
LEAVE_AT = 8


class Step(typing.NamedTuple):
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

    def running(search):
        return ops.any(search["undecided"])

    step = constants.pop("step")
    if keras.backend.backend() == "tensorflow" and isinstance(step, Step):

        def advance_rows(search, constants):
            return advance(search, {**constants, "step": Step(step.function, constants["step"])})

        return with_leaving(advance_rows, search, {**constants, "step": step.constants}, finish, rows_per_sequence)
    constants = {**constants, "step": step}
    search = ops.while_loop(running, lambda search: (advance(search, constants),), (search,))[0]
    return finish(search, constants)


def with_leaving(advance, search, constants, finish, rows_per_sequence):
    """`while_undecided` in an outer loop, with fewer sequences in each turn. All constants are tensors."""
    import tensorflow as tf  # Deferred: other backends do without it.

    check_constants(constants, search["undecided"], rows_per_sequence)

    def crowded(search):
        undecided = search["undecided"]
        return tf.math.count_nonzero(undecided, dtype="int32") * LEAVE_AT > tf.size(undecided) * (LEAVE_AT - 1)

    def take(nest, sequences, size=1):
        if size > 1:
            sequences = tf.reshape(sequences[:, None] * size + tf.range(size), [-1])
        return map_rows(lambda tensor: tf.gather(tensor, sequences), nest)

    def turn(search, constants, places, results):
        search = ops.while_loop(crowded, lambda search: (advance(search, constants),), (search,))[0]
        found = finish(search, constants)
        results = {name: tf.tensor_scatter_nd_update(results[name], places[:, None], found[name]) for name in results}
        left = tf.cast(tf.where(search["undecided"])[:, 0], "int32")
        search = {
            name: value if name == "index" else take(value, left, rows_per_sequence if name == "rows" else 1)
            for name, value in search.items()
        }
        return search, take(constants, left, rows_per_sequence), tf.gather(places, left), results

    # Results of no step, which all turns replace, have the shapes of the others.
    variables = (search, constants, tf.range(tf.size(search["undecided"])), finish(search, constants))
    variables = keras.tree.map_structure(tf.convert_to_tensor, variables)
    shapes = keras.tree.map_structure(lambda tensor: tensor.shape, variables)
    *_, results = tf.while_loop(
        lambda search, constants, places, results: tf.size(places) > 0,
        turn,
        variables,
        shape_invariants=map_rows(lambda shape: tf.TensorShape([None, *shape[1:]]) if shape.rank else shape, shapes),
    )
    return results


def check_constants(constants, undecided, rows_per_sequence):
    """Raises an error for constants without an axis of rows; where the graph does not know the rows, as it runs."""
    import tensorflow as tf

    rows = tf.size(undecided) * rows_per_sequence

    def check(tensor):
        message = (
            "The constants of steps, constraints and scorers must be tensors (rows, ...). Received: a tensor of the "
            f"shape {tuple(tensor.shape)}. Put what all rows share under the key 'shared'."
        )
        if not tensor.shape.rank:
            raise ValueError(message)
        if tensor.shape[0] is not None:
            tf.debugging.assert_equal(tensor.shape[0], rows, message)

    map_rows(check, constants)
