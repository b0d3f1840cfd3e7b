"""Functions shared by the tests of layers; fixtures, because test files cannot import each other."""

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def central_differences():
    """Gradients of a float64 function of arrays, one number moved at a time."""

    def differences(function, arrays, epsilon=1e-5):
        gradients = []
        for index, array in enumerate(arrays):
            gradient = np.zeros_like(array)
            for position in np.ndindex(array.shape):
                sides = []
                for sign in (1, -1):
                    moved = [other.copy() for other in arrays]
                    moved[index][position] += sign * epsilon
                    sides.append(function(*moved))
                gradient[position] = (sides[0] - sides[1]) / (2 * epsilon)
            gradients.append(gradient)
        return gradients

    return differences


@pytest.fixture(scope="session")
def assert_close():
    """Compares nested structures."""

    def compare(results, expected, atol):
        for result, reference in zip(tf.nest.flatten(results), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(result, reference, atol=atol, rtol=1e-6)

    return compare


@pytest.fixture(scope="session")
def count_loops():
    """Number of While operations in the graph of a function with an input signature."""

    def count(function):
        definition = function.get_concrete_function().graph.as_graph_def()
        nodes = [*definition.node, *(node for part in definition.library.function for node in part.node_def)]
        return sum("While" in node.op for node in nodes)

    return count


@pytest.fixture(scope="session")
def weighted_gradients():
    """Gradients of a weighted sum of all results of `run(*inputs)`, by inputs and by weights."""

    def gradients(run, inputs, weights, weighting):
        inputs = [tf.constant(array, "float32") for array in inputs]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            results = tf.nest.flatten(run(*inputs))
            value = sum(tf.reduce_sum(result * w) for result, w in zip(results, weighting, strict=True))
        return tape.gradient(value, [*inputs, *(weight.value for weight in weights)])

    return gradients
