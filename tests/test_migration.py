"""The README's page on migration: its blocks run as they stand, but for those that need TensorFlow Addons."""

import pathlib
import re
import subprocess
import sys

import pytest

README = pathlib.Path(__file__).resolve().parent.parent / "README.md"
SECTION = re.search(r"^## Migration\n(.*?)^## ", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[1]
PAIRS, *BLOCKS = re.findall(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)

EXPECTED = [f"{a} {b}" for a in ("eins", "zwei", "drei", "vier") for b in ("eins", "zwei", "drei", "vier")]


def side(marker):
    """The blocks of one side, one after the other: `kerasseq`, or the recipe that needs Keras alone."""
    return PAIRS + "".join(block for block in BLOCKS if marker(block))


def of_kerasseq(block):
    return "tfa" not in block and "encoder_inputs" not in block


def of_recipe(block):
    return "encoder_inputs" in block


def run(code):
    code = "import keras\nkeras.utils.set_random_seed(0)\n" + code
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr[-3_000:]
    return [line for line in result.stdout.splitlines() if line.startswith("[")]


def test_every_block_has_a_side():
    tfa = [block for block in BLOCKS if "tfa." in block or "embed_target" in block]
    assert len(tfa) == 2
    assert len(tfa) + sum(map(of_kerasseq, BLOCKS)) + sum(map(of_recipe, BLOCKS)) == len(BLOCKS) == 6


@pytest.mark.slow
def test_the_afters():
    greedy, sampled, recipe = run(side(of_kerasseq))
    for line in (greedy, recipe):
        assert sum(text in line for text in map(repr, EXPECTED)) >= 15
    assert sum(text in sampled for text in map(repr, EXPECTED)) >= 10


@pytest.mark.slow
def test_the_recipe_before():
    (line,) = run(side(of_recipe))
    assert sum(text in line for text in map(repr, EXPECTED)) >= 15
