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


@pytest.fixture(scope="session")
def numpy_cell():
    """The equations of one step of a cell: inputs `(batch, features)`, states, weights in the layer's order."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def step(cell, x, states, kernel, recurrent_kernel, bias, recurrent_bias=0.0):
        blocks = {"simple_rnn": 1, "lstm": 4, "gru": 3}[cell]
        inputs = np.split(x @ kernel + bias, blocks, axis=-1)
        hiddens = np.split(states[0] @ recurrent_kernel + recurrent_bias, blocks, axis=-1)
        if cell == "simple_rnn":
            return [np.tanh(inputs[0] + hiddens[0])]
        if cell == "lstm":
            i, f, g, o = (a + b for a, b in zip(inputs, hiddens, strict=True))
            memory = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
            return [sigmoid(o) * np.tanh(memory), memory]
        update, reset = sigmoid(inputs[0] + hiddens[0]), sigmoid(inputs[1] + hiddens[1])
        return [update * states[0] + (1 - update) * np.tanh(inputs[2] + reset * hiddens[2])]

    return step
