"""Functions shared by the tests of layers; fixtures, because test files cannot import each other."""

import numpy as np
import pytest
import tensorflow as tf

from kerasseq.layers.cells import CELLS, Cell


@pytest.fixture(scope="session")
def random():
    """Normal numbers of a shape, the same ones in every call."""

    def random(*shape, seed=0):
        return np.random.default_rng([seed, *shape]).normal(size=shape)

    return random


@pytest.fixture(scope="session")
def randomize(random):
    """Gives random values to all weights of a layer, biases included."""

    def randomize(layer, scale=1.0):
        for index, weight in enumerate(layer.weights):
            weight.assign(scale * random(*weight.shape, seed=20 + index))
        return layer

    return randomize


@pytest.fixture(scope="module")
def plain_test_cell():
    """Adds to the table of cells one that defines nothing but `step`: `h_t = (h_{t-1} + W x_t + b) / 2`."""

    class PlainTestCell(Cell):
        def step(self, projected, state):
            return {"hidden": 0.5 * (state["hidden"] + projected)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CELLS, "plain_test_cell", PlainTestCell)
        yield


@pytest.fixture(scope="session")
def assert_close():
    """Compares nested structures."""

    def compare(results, expected, atol):
        for result, reference in zip(tf.nest.flatten(results), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(result, reference, atol=atol, rtol=1e-6)

    return compare


# === Gradients ===


@pytest.fixture(scope="session")
def weighted_sum(random):
    """A sum of all results, each number with a random weight, of tensors or arrays."""

    def total(results):
        sums = []
        for index, result in enumerate(tf.nest.flatten(results)):
            weighted = result * random(*result.shape, seed=60 + index).astype(result.dtype.name)
            sums.append(tf.reduce_sum(weighted) if tf.is_tensor(result) else weighted.sum())
        return sum(sums)

    return total


@pytest.fixture(scope="session")
def gradients(weighted_sum):
    """The gradients of the weighted sum of `run(*inputs)` by the inputs, which may be nested, and by weights."""

    def gradients(run, inputs, weights=(), dtype="float32"):
        inputs = tf.nest.map_structure(lambda array: tf.constant(array, dtype), inputs)
        flat = tf.nest.flatten(inputs)
        with tf.GradientTape() as tape:
            tape.watch(flat)
            total = weighted_sum(run(*inputs))
        return tape.gradient(total, [*flat, *(weight.value for weight in weights)])

    return gradients


@pytest.fixture(scope="session")
def central_differences(weighted_sum):
    """The same gradients for a float64 function of arrays, one number moved at a time."""

    def differences(function, arrays, epsilon=1e-5):
        gradients = []
        for index, array in enumerate(arrays):
            gradient = np.zeros_like(array)
            for position in np.ndindex(array.shape):
                sides = []
                for sign in (1, -1):
                    moved = [*arrays[:index], array.copy(), *arrays[index + 1 :]]
                    moved[index][position] += sign * epsilon
                    sides.append(weighted_sum(function(*moved)))
                gradient[position] = (sides[0] - sides[1]) / (2 * epsilon)
            gradients.append(gradient)
        return gradients

    return differences


# === Graphs ===


@pytest.fixture(scope="session")
def graph_nodes():
    """The nodes in the graph of a function with an input signature, those of its loops included."""

    def nodes(function):
        definition = function.get_concrete_function().graph.as_graph_def()
        return [*definition.node, *(node for part in definition.library.function for node in part.node_def)]

    return nodes


@pytest.fixture(scope="session")
def count_loops(graph_nodes):
    """The number of loops in such a graph."""
    return lambda function: sum("While" in node.op for node in graph_nodes(function))
