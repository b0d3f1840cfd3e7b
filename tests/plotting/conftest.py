"""Shared by the tests of plots: generations to draw."""

import numpy as np
import pytest

import kerasseq


@pytest.fixture(scope="session")
def generation():
    """A function from tokens to a `Generation`. Without `attention`, its weights are random."""

    def generation(source_tokens, target_tokens, text="le chat", **changes):
        weights = np.random.default_rng(0).dirichlet(np.ones(max(len(source_tokens), 1)), size=len(target_tokens))
        arguments = {"score": -0.5, "alternatives": [(text, -0.5)], "attention": weights, **changes}
        return kerasseq.Generation(text=text, source_tokens=source_tokens, target_tokens=target_tokens, **arguments)

    return generation
