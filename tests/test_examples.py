"""The examples in the docstrings of all modules but those of data sets, whose own tests run them."""

import doctest
import importlib
import logging
import pathlib

import pytest

import kerasseq

PACKAGE = pathlib.Path(kerasseq.__file__).parent
MODULES = [
    "backbones", "callbacks", "decoders.bridge", "decoders.recurrent", "encoders.base", "encoders.frames",
    "encoders.images", "encoders.recurrent", "evaluation.captions", "evaluation.compression", "evaluation.texts",
    "layers.attention.bahdanau", "layers.attention.coverage", "layers.attention.location", "layers.attention.luong",
    "layers.attention.monotonic", "layers.attention.multi_head", "layers.augmentation", "layers.cells.base",
    "layers.empty_batch", "layers.grid_regions", "layers.image_normalization", "layers.input_feeding",
    "layers.losses.content_selection", "layers.losses.coverage", "layers.losses.ctc",
    "layers.losses.doubly_stochastic", "layers.masking", "layers.pointer_generator", "layers.recurrent",
    "layers.recurrent_attention", "layers.subsampling", "losses", "metrics", "models.attention", "models.captioning",
    "models.ensemble", "models.gru", "models.lstm", "models.pointer_generator", "models.speech", "models.vanilla",
    "plotting.attention", "plotting.diagram", "plotting.history", "plotting.image_attention", "preprocessing.audio",
    "preprocessing.images", "preprocessing.text", "preprocessing.tokenizers.subwords", "preprocessing.vocabulary",
    "preprocessing.wav", "pretraining", "search.constraints", "search.decode", "seq2seq",
]  # fmt: skip


def test_all_modules_with_examples_are_listed():
    files = [path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in files}
    assert {name for name in names if not name.startswith("datasets.")} == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, caplog):
    with caplog.at_level(logging.ERROR, logger="kerasseq"):
        result = doctest.testmod(importlib.import_module(f"kerasseq.{name}"))
    assert result.attempted and not result.failed
