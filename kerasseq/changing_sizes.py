"""TensorFlow loops over tensors whose sizes change. Other backends have constant sizes."""

from collections.abc import Callable, Iterable
from typing import Any

from kerasseq.types import Tensor


class Shape:
    """The shape of a tensor as a leaf of a nest, unlike a tuple; `None` for an axis whose size changes."""

    def __init__(self, sizes: Iterable[int | None]):
        self.sizes = tuple(sizes)


def while_loop(condition: Callable, body: Callable, variables: Any, shapes: Any) -> Any:
    """`tf.while_loop` over variables of changing sizes; `shapes` is the same nest, of `Shape`."""
    import tensorflow as tf  # Deferred: other backends do without it.

    invariants = tf.nest.map_structure(lambda shape: tf.TensorShape(shape.sizes), shapes)
    return tf.while_loop(condition, body, variables, shape_invariants=invariants)


def assert_equal(value: Tensor, other: Tensor, message: str) -> None:
    """Raises an error unless two scalars are equal, in a graph when it runs."""
    import tensorflow as tf  # Deferred: other backends do without it.

    tf.debugging.assert_equal(value, other, message)
