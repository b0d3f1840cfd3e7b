"""The tutorials run from top to bottom in fresh kernels, with small values in the place of their parameters."""

import os
import pathlib
import re

import nbclient
import nbformat
import pytest
from helpers import load_script

from kerasseq.datasets import spoken_digits

TUTORIALS = pathlib.Path(__file__).resolve().parents[1] / "tutorials"
# Of each tutorial, other parameters for a short run.
SMALL = {
    "01_from_sequence_to_sequence.py": {
        "NUM_EXAMPLES": 400, "EPOCHS": 1, "NUM_SEQUENCES": 200, "EPOCHS_SEQUENCES": 1, "UNITS": 16,
    },
    "02_lstm_and_gru.py": {"NUM_SEQUENCES": 200, "EPOCHS": 1, "UNITS": 16, "DISTANCE": 20},
    "03_attention.py": {
        "NUM_SHORT": 64, "NUM_LONG": 64, "EPOCHS_SHORT": 2, "EPOCHS_LONG": 1, "UNITS": 16, "NUM_TEST": 2,
        "COST_LENGTHS": (5, 10), "COST_ROUNDS": 3,
    },
    "04_translate.py": {
        "NUM_PAIRS": 1500, "VOCABULARY_SIZE": 500, "UNITS": 32, "EPOCHS": 2, "NUM_SCORED": 8, "NUM_FORMAL": 20,
    },
    "05_summarize.py": {"NUM_TRAIN": 64, "NUM_TEST": 12, "VOCABULARY_SIZE": 400, "UNITS": 8, "EPOCHS": 1},
    "06_serve.py": {"NUM_DATES": 200, "UNITS": 8, "EPOCHS": 1, "REPEATS": 2},
    "07_listen.py": {"NUM_TRAIN": 64, "EPOCHS_SHORT": 1, "EPOCHS": 1, "UNITS": 8},
    "08_look.py": {"NUM_SCENES": 200, "EPOCHS": 1},
    "09_your_own_data.py": {
        "NUM_PAIRS": 1000, "VOCABULARY_SIZE": 500, "UNITS": 16, "EPOCHS": 2, "FINDER_STEPS": 20, "OVERFIT_STEPS": 5,
        "NUM_SCORED": 8,
    },
}  # fmt: skip
FILES = {
    "04_translate.py": "anki/fra-eng.zip",
    "05_summarize.py": "sentence_compression/comp-data.eval.tsv",
    "09_your_own_data.py": "anki/spa-eng.zip",
    "07_listen.py": f"fsdd/free-spoken-digit-dataset-{spoken_digits.COMMIT}.tar.gz",
}
# Warnings are errors where they come from kerasseq or from the tutorial itself.
STRICT = """\
import warnings
warnings.filterwarnings("error", module="kerasseq")
warnings.filterwarnings("error", module="__main__")
"""


FIGURE = """\
# %% tags=["picture"]
import matplotlib.pyplot as plt

plt.plot([1, 2])
plt.show()
"""


# The others do much the same, for minutes.
FAST = ("01_from_sequence_to_sequence.py", "04_translate.py", "06_serve.py", "08_look.py", "09_your_own_data.py")


@pytest.fixture(scope="module")
def notebooks():
    """The module `tutorials/notebooks.py`, which is no part of the package."""
    return load_script(TUTORIALS / "notebooks.py")


def set_parameters(notebook, values):
    """Puts other values into a notebook's cell of parameters."""
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    for name, value in values.items():
        cell.source, count = re.subn(rf"^{name} = [^#\n]+", f"{name} = {value!r}  ", cell.source, flags=re.MULTILINE)
        assert count == 1, name


def test_every_tutorial_is_run(notebooks):
    assert [script.name for script in notebooks.scripts()] == sorted(SMALL)


@pytest.mark.notebooks
@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in SMALL])
def test_runs(notebooks, name, tmp_path, monkeypatch):
    folder = pathlib.Path(os.environ.get("KERASSEQ_DATA_DIR") or "missing").expanduser()
    if name in FILES and not (folder / FILES[name]).is_file():
        pytest.skip(f"no {FILES[name]} in a folder that KERASSEQ_DATA_DIR names")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    notebook = notebooks.notebook_of(TUTORIALS / name)
    set_parameters(notebook, SMALL[name])
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    notebooks.execute(notebook, tmp_path)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source)


@pytest.mark.notebooks
@pytest.mark.parametrize("line", ["import warnings; warnings.warn('old')", "1 / 0"])
def test_warnings_and_errors_stop_a_tutorial(notebooks, line, tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in (STRICT, line)]
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        notebooks.execute(nbformat.v4.new_notebook(cells=cells), tmp_path)


def test_notebooks_belong_to_their_scripts(notebooks):
    assert notebooks.problems() == []


@pytest.mark.notebooks
def test_other_notebooks_are_found_out(notebooks, tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    script = tmp_path / "01_one.py"
    script.write_text(f"# %% [markdown]\n# # One\n\n# %%\nprint(1)\n\n{FIGURE}")
    assert "01_one.ipynb is missing" in notebooks.problems()[0]
    notebooks.run(script)
    assert notebooks.problems() == []
    written = nbformat.read(tmp_path / "01_one.ipynb", as_version=4)
    assert written.cells[-3].outputs[0].text == "1\n" and "Python 3" in written.cells[-1].source
    assert (tmp_path / "pictures" / "01_one.png").read_bytes().startswith(b"\x89PNG")
    script.write_text(script.read_text().replace("# # One", "# # The first"))
    assert "other cells" in notebooks.problems()[0]
    notebooks.renew_prose(script)
    assert notebooks.problems() == []
    script.write_text(script.read_text().replace("print(1)", "print(2)"))
    notebooks.renew_prose(script)
    assert "other cells" in notebooks.problems()[0]
    script.unlink()
    assert notebooks.problems() == ["01_one.ipynb has no script: delete it."]
