"""Functions shared by the tests of encoders; fixtures, because test files cannot import each other."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def randomized():
    """A function that gives a model random weights of order 1."""

    def randomize(model):
        generator = np.random.default_rng(0)
        for weight in model.trainable_weights:
            weight.assign(generator.normal(size=weight.shape))
        return model

    return randomize
