"""The examples in the docstrings of all modules but those of data sets, whose own tests run them."""

import doctest
import importlib
import logging
import pathlib

import pytest

import kerasseq

PACKAGE = pathlib.Path(kerasseq.__file__).parent
FILES = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
MODULES = sorted(".".join(file.with_suffix("").parts) for file in FILES if file.parts[0] != "datasets")


def test_there_are_examples():
    assert len(MODULES) > 50 and {"models.attention", "seq2seq", "preprocessing.text"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, caplog):
    with caplog.at_level(logging.ERROR, logger="kerasseq"):
        result = doctest.testmod(importlib.import_module(f"kerasseq.{name}"))
    assert result.attempted and not result.failed
