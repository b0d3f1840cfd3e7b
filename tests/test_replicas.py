"""Training on replicas is training on one device."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("replicas_by_strategy.py")


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
    command = [sys.executable, SCRIPT, str(rows), losses]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert result["learned"] > 0.1
    names = {"loss", "perplexity", "token_accuracy", "weights"} | {"val_loss", "val_perplexity", "val_token_accuracy"}
    assert set(result["differences"]) == names
    assert all(difference < 1e-5 for difference in result["differences"].values())
