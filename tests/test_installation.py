"""The package is found, whatever the working folder: installed from a wheel, and from a clone in editable mode."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import nbformat
import pytest
from file_server import file_server
from helpers import load_script

import kerasseq
from kerasseq.zoo import released

ROOT = pathlib.Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / "tutorials"
pytestmark = pytest.mark.notebooks  # Each test takes many seconds.


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone named kerasseq, with the files that an installation needs."""
    clone = tmp_path_factory.mktemp("projects") / "kerasseq"
    shutil.copytree(ROOT / "kerasseq", clone / "kerasseq", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    return clone


@pytest.fixture
def python(tmp_path):
    """The Python of a fresh environment that has the packages of this one, but kerasseq only as far as it is a wheel.

    Packages beside a path in a `.pth` file are found, but `.pth` files beside it, as of editable installations, are not
    read.
    """
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    paths = dict.fromkeys(sysconfig.get_paths()[kind] for kind in ("purelib", "platlib"))
    (site_packages / "packages.pth").write_text("\n".join(paths))
    return environment / "bin" / "python"


def run(python, *arguments, **options):
    """Runs Python without this project on the path, and without a package index; returns the standard output."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERASSEQ_MODELS_DIR")
    }
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "no_proxy": "*"} | options.pop("env", {})
    options = {"capture_output": True, "text": True, "timeout": 900, **options}
    process = subprocess.run([python, *arguments], env=environment, **options)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


FIND = "import importlib.util; print(importlib.util.find_spec('kerasseq').origin)"


def test_a_clone_is_found_from_the_folder_above_it(clone, python, tmp_path):
    """There Python sees the clone's folder as well, a namespace package if nothing better is on the path."""
    expected = f"{clone / 'kerasseq' / '__init__.py'}\n"
    script = clone.parent / "beside.py"
    script.write_text(FIND)
    assert run(python, "-c", FIND, cwd=clone.parent) == "None\n"
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", clone)
    for folder in (clone.parent, clone, tmp_path):
        assert run(python, "-c", FIND, cwd=folder) == expected
        assert run(python, script, cwd=folder) == expected


# Runs the first cells of a notebook, and then gets a released model by its name. "%pip" needs IPython.
COLAB = """
import pathlib, sys
from IPython.terminal.interactiveshell import TerminalInteractiveShell

cells, address = sys.argv[1:]
shell = TerminalInteractiveShell.instance()
for cell in pathlib.Path(cells).read_text(encoding="utf-8").split("\\0"):
    shell.run_cell(cell).raise_error()
import kerasseq
print("\\nPACKAGE", kerasseq.__file__)
kerasseq.zoo.released.REPOSITORY = address
released = kerasseq.TextGenerator.from_preset(shell.user_ns["RELEASED"])
print("MODEL", released.model.count_params())
"""


@pytest.fixture(scope="module")
def wheel(clone):
    folder = clone.parent / "wheels"
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, clone)
    (wheel,) = folder.iterdir()
    return wheel


def test_the_wheel_has_files_besides_code(wheel):
    """The mark that there are types, for type checkers, and the addresses of the released models."""
    assert {"kerasseq/py.typed", "kerasseq/zoo/models.json"} <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("name", ["04_translate", "05_summarize"])
def test_first_cells_as_in_colab(name, wheel, python, tmp_path):
    """From a wheel in the place of the repository, outside a clone; the released model comes from a server."""
    notebooks = load_script(TUTORIALS / "notebooks.py")
    notebook = nbformat.read(TUTORIALS / f"{name}.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    first = code[: next(index for index, source in enumerate(code) if "\nimport kerasseq" in source) + 1]
    repository = f"git+{released.REPOSITORY}@{notebooks.BRANCH}"
    assert repository in first[0]
    first[0] = first[0].replace(f"kerasseq @ {repository}", str(wheel))
    (tmp_path / "cells").write_text("\0".join(first), encoding="utf-8")
    (tmp_path / "colab").mkdir()
    model = re.search('^RELEASED = "(.*?)"', "\n".join(first), re.MULTILINE)[1]
    version = released.newest(model)
    revision = released.release(model, version)["revision"]
    with file_server() as server:
        server.publish(
            ROOT / "saved_models" / model / str(version), f"/project/raw/{revision}/saved_models/{model}/{version}"
        )
        printed = run(
            python, "-c", COLAB, tmp_path / "cells", f"{server.url}/project",
            cwd=tmp_path / "colab", env={"KERAS_HOME": str(tmp_path / "keras")},
        )  # fmt: skip
        asked = {path for path, _ in server.requests}
    package, parameters = (re.search(rf"^{word} (.*)$", printed, re.MULTILINE)[1] for word in ("PACKAGE", "MODEL"))
    assert pathlib.Path(package).is_relative_to(tmp_path / "environment")
    assert int(parameters) == kerasseq.zoo.card(model).parameters
    assert asked == set(server.files)
