"""The pages on migration: their blocks run as they stand, but for those that need TensorFlow Addons."""

import pathlib
import re
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs" / "migration"


def blocks(name):
    """The blocks of Python of a page."""
    return re.findall(r"^```python\n(.*?)^```", (FOLDER / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


TFA, RECIPE = blocks("tfa.md"), blocks("keras_recipe.md")
EXPECTED = [f"{a} {b}" for a in ("eins", "zwei", "drei", "vier") for b in ("eins", "zwei", "drei", "vier")]


def run(code):
    code = "import keras\nkeras.utils.set_random_seed(0)\n" + code
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr[-3_000:]
    return [line for line in result.stdout.splitlines() if line.startswith("[")]


def test_blocks_are_pairs_then_before_and_after():
    assert ["tfa." in block for block in TFA] == [False, True, False, True, False]
    assert ["kerasseq" in block for block in RECIPE] == [False, False, True]
    assert TFA[0] == RECIPE[0]


@pytest.mark.slow
def test_the_afters():
    greedy, sampled = run(TFA[0] + TFA[2] + TFA[4])
    (recipe,) = run(RECIPE[0] + RECIPE[2])
    for line in (greedy, recipe):
        assert sum(text in line for text in map(repr, EXPECTED)) >= 15
    assert sum(text in sampled for text in map(repr, EXPECTED)) >= 10


@pytest.mark.slow
def test_the_recipe_before():
    (line,) = run(RECIPE[0] + RECIPE[1])
    assert sum(text in line for text in map(repr, EXPECTED)) >= 15
