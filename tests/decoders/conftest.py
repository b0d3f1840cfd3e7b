"""Functions shared by the tests of decoders; fixtures, because test files cannot import each other."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def random():
    """A function of a shape and a seed to float32 numbers of order 1."""

    def draw(*shape, seed=0):
        return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")

    return draw
