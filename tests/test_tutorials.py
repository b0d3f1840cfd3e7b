"""The numbered tutorials run from top to bottom, with small values in the place of their parameters."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from kerasseq.datasets import spoken_digits

TUTORIALS = pathlib.Path(__file__).resolve().parents[1] / "tutorials"
# Of each tutorial, other parameters for a short run.
SMALL = {
    "07_listen.py": {"NUM_TRAIN": 64, "EPOCHS": 1, "UNITS": 8},
    "08_look.py": {"NUM_SCENES": 200, "EPOCHS": 1},
}
FILES = {"07_listen.py": f"fsdd/free-spoken-digit-dataset-{spoken_digits.COMMIT}.tar.gz"}


def with_parameters(script, values):
    """A tutorial with other values in its cell of parameters."""
    for name, value in values.items():
        script, count = re.subn(rf"^{name} = [\d_]+", f"{name} = {value}", script, flags=re.MULTILINE)
        assert count == 1, name
    return script


def test_every_numbered_tutorial_is_run():
    assert sorted(path.name for path in TUTORIALS.glob("[0-9]*.py")) == sorted(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_runs(name, tmp_path):
    folder = pathlib.Path(os.environ.get("KERASSEQ_DATA_DIR") or "missing").expanduser()
    if name in FILES and not (folder / FILES[name]).is_file():
        pytest.skip(f"no {FILES[name]} in a folder that KERASSEQ_DATA_DIR names")
    script = tmp_path / name
    script.write_text(with_parameters((TUTORIALS / name).read_text(), SMALL[name]))
    environment = {**os.environ, "MPLBACKEND": "agg", "CUDA_VISIBLE_DEVICES": "-1"}
    # Warnings are errors where they come from kerasseq or from the tutorial itself.
    command = [sys.executable, "-W", "error:::kerasseq", "-W", "error:::__main__", str(script)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=1_200)
    assert result.returncode == 0, result.stderr[-3_000:]
