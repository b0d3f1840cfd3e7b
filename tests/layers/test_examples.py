"""The examples in the docstrings of all layers."""

import doctest
import importlib
import pkgutil

import pytest

import kerasseq.layers
from kerasseq.layers.cells import CELLS

MODULES = [module.name for module in pkgutil.walk_packages(kerasseq.layers.__path__, "kerasseq.layers.")]

# Functions, base classes and tables.
WITHOUT_EXAMPLES = {
    "attention", "attention.alignment", "attention.base", "attention_loop", "cells", "cells.gated",
    "inner_layers", "linear_recurrence", "losses", "losses.base", *(f"cells.{cell}" for cell in CELLS),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert not result.failed
    assert bool(result.attempted) == (name.removeprefix("kerasseq.layers.") not in WITHOUT_EXAMPLES)
