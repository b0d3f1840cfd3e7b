"""Training on replicas is training on one device."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent


def results(script, *arguments):
    command = [sys.executable, FOLDER / script, *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


@pytest.mark.notebooks
@pytest.mark.parametrize(
    ("rows", "losses"),
    [
        (41, "auxiliary"),  # The last batch has one row, so one replica has none.
        pytest.param(47, "auxiliary", marks=pytest.mark.slow),
        pytest.param(47, "crossentropy", marks=pytest.mark.slow),
    ],
)
def test_two_replicas(rows, losses):
    """Losses, metrics and weights after SGD agree, also for halves with different numbers of rows and tokens."""
    result = results("replicas_by_strategy.py", str(rows), losses)
    assert result["learned"] > 0.1
    names = {"loss", "perplexity", "token_accuracy", "weights"} | {"val_loss", "val_perplexity", "val_token_accuracy"}
    assert set(result["differences"]) == names
    assert all(difference < 1e-5 for difference in result["differences"].values())


@pytest.mark.notebooks
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize("losses", ["crossentropy", "auxiliary"])
def test_two_devices_of_jax(losses):
    result = results("replicas_by_jax.py", losses)
    assert result["learned"] > 0.1
    assert set(result["differences"]) == {"loss", "perplexity", "token_accuracy", "weights"}
    assert all(difference < 1e-5 for difference in result["differences"].values())
