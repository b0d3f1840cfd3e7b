"""The examples of the documentation run."""

import doctest
import importlib
import logging

import pytest

MODULES = [
    "audio", "images", "text", "tokenizers.byte_pair", "tokenizers.subwords", "tokenizers.word_piece", "vocabulary",
    "wav",
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_examples(module, caplog):
    with caplog.at_level(logging.ERROR, logger="kerasseq"):
        result = doctest.testmod(importlib.import_module(f"kerasseq.preprocessing.{module}"))
    assert result.attempted and not result.failed
