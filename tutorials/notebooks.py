"""Makes the notebooks from the numbered scripts, runs them, and checks that both still say the same.

    python tutorials/notebooks.py run 03_attention.py     # runs it from top to bottom and keeps the outputs: minutes
    python tutorials/notebooks.py run                     # all of them, one after the other: hours
    python tutorials/notebooks.py prose                   # new prose of the scripts into the notebooks, where code is the same
    python tutorials/notebooks.py prose zh-TW/03_attention.py     # makes the notebook of a translation
    python tutorials/notebooks.py check                   # seconds

The scripts are the source, in jupytext's percent format. A notebook has a badge and a cell that installs kerasseq before
the script's cells, and behind them how its outputs were made. The figure of the cell with the tag "picture" also goes to
pictures/, for docs/tutorials.md. Needs pip install -e ".[tutorials]".

Each language has a folder of translations. Their code is that of the English scripts, so their notebooks are not run: they
have no outputs and link to the English notebooks.
"""

import argparse
import base64
import importlib.metadata
import os
import pathlib
import platform
import re
import sys
import tempfile
import time

import jupytext
import nbclient
import nbformat

from kerasseq.zoo import REPOSITORY

BRANCH = "main"
FOLDER = pathlib.Path(__file__).resolve().parent
PACKAGES = ("kerasseq", "tensorflow", "keras", "keras-hub", "tensorflow-text", "numpy")
GENERATED = "generated"  # Tag of cells that are not the script's.
# The note at the top of translations, by folder. It says that the outputs are in the English notebook.
TRANSLATIONS = {"zh-TW": "程式碼與[英文版]({english})相同。這份筆記本沒有附上執行結果，請參閱英文版，或自行執行。"}
# What nobody can turn off: lines that TensorFlow writes before it reads how much to write; and progress bars.
NOISE = re.compile(
    r"^(WARNING: All log messages before absl.*|[IWE]\d{4} .*|INFO:tensorflow:Assets written.*|.*%\|.*\| *\d+/\d+ \[.*\]|)\s*?(\n|$)",
    re.MULTILINE,
)


def scripts():
    """The numbered scripts, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def translations():
    """The translations of numbered scripts, by language and in order."""
    return [script for language in TRANSLATIONS for script in sorted((FOLDER / language).glob("[0-9][0-9]_*.py"))]


def name_of(script):
    """The path of a script in the folder of tutorials, as str."""
    return script.relative_to(FOLDER).as_posix()


def notebook_of(script):
    """The notebook of a script, without outputs."""
    notebook = jupytext.read(script)
    path = REPOSITORY.removeprefix("https://github.com/")
    file = name_of(script.with_suffix(".ipynb"))
    badge = (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{path}/blob/{BRANCH}/tutorials/{file})"
    )
    if note := TRANSLATIONS.get(script.parent.name):
        badge += "\n\n" + note.format(english=f"{REPOSITORY}/blob/{BRANCH}/tutorials/{script.stem}.ipynb")
    install = (
        "# Installs kerasseq where it is missing, as in Colab.\n"
        "import importlib.util\n\n"
        'if importlib.util.find_spec("kerasseq") is None:\n'
        f'    %pip install -q "kerasseq @ git+{REPOSITORY}@{BRANCH}"\n'
        "%matplotlib inline"
    )
    generated = {"tags": [GENERATED]}
    notebook.cells[:0] = [
        nbformat.v4.new_markdown_cell(badge, metadata=generated),
        nbformat.v4.new_code_cell(install, metadata=generated),
    ]
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"  # Not a new one in every run.
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return notebook


def execute(notebook, folder):
    """Runs all cells of a notebook in a fresh kernel; raises `nbclient.exceptions.CellExecutionError`.

    Args:
        notebook: as `notebook_of` gives; gets the outputs.
        folder: pathlib.Path, of temporary files, in which the notebook runs.
    """
    client = nbclient.NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
            if output.get("name") == "stderr":
                output.text = NOISE.sub("", output.text)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]


def run(script):
    """Runs a script as a notebook and writes that beside it, with its outputs."""
    notebook = notebook_of(script)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, pathlib.Path(folder))
    minutes = (time.perf_counter() - begin) / 60
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    made = (
        f"These outputs took about {minutes:.1f} minutes on {os.cpu_count()} CPU cores, with Python "
        f"{platform.python_version()}, {versions}."
    )
    cell = nbformat.v4.new_markdown_cell(made, metadata={"tags": [GENERATED]}, id=f"cell-{len(notebook.cells)}")
    notebook.cells.append(cell)
    write(notebook, script)
    print(f"{script.with_suffix('.ipynb')}: {minutes:.1f} minutes", flush=True)


def write(notebook, script):
    """Writes a notebook beside its script, and the picture for the documentation."""
    nbformat.validate(notebook)
    nbformat.write(notebook, script.with_suffix(".ipynb"))
    if picture := picture_of(notebook):
        path = script.parent / "pictures" / f"{script.stem}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture)


def picture_of(notebook):
    """The first figure of the cell that is tagged for it, as the content of a PNG file; or nothing."""
    for cell in notebook.cells:
        if "picture" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output.data["image/png"])
    return None


def renew_prose(script):
    """Brings the prose of a script into its notebook, which keeps its outputs; not if the code differs.

    The notebook of a translation has no outputs, so it is always made anew.
    """
    path = script.with_suffix(".ipynb")
    if script in translations():
        write(notebook_of(script), script)
        return
    if not path.is_file():
        return
    old, new = nbformat.read(path, as_version=4), notebook_of(script)
    cells = [[cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (old, new)]
    if [cell.source for cell in cells[0]] != [cell.source for cell in cells[1]]:
        print(f"{path.name} has other code than {script.name}: run it.")
        return
    for before, after in zip(*cells, strict=True):
        after.outputs, after.execution_count = before.outputs, before.execution_count
    made = old.cells[-1]
    made.id = f"cell-{len(new.cells)}"
    new.cells.append(made)
    write(new, script)


def problems():
    """What is wrong with the notebooks beside the scripts, as a list of str."""
    found = []
    for script in scripts():
        path = script.with_suffix(".ipynb")
        advice = f"run python tutorials/notebooks.py run {script.name}"
        if not path.is_file():
            found.append(f"{path.name} is missing: {advice}.")
            continue
        notebook = nbformat.read(path, as_version=4)
        expected = [(cell.cell_type, cell.source) for cell in notebook_of(script).cells]
        if [(cell.cell_type, cell.source) for cell in notebook.cells[:-1]] != expected:
            found.append(f"{path.name} has other cells than {script.name}: {advice}.")
        codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
        if [cell.execution_count for cell in codes] != list(range(1, 1 + len(codes))):
            found.append(f"{path.name} was not run from top to bottom: {advice}.")
        for cell in codes:
            if any(output.output_type == "error" or output.get("name") == "stderr" for output in cell.outputs):
                found.append(f"{path.name} has an error or a warning under {cell.source.splitlines()[0]!r}: mend it.")
    for script in translations():
        path = script.with_suffix(".ipynb")
        if not path.is_file() or nbformat.read(path, as_version=4) != notebook_of(script):
            advice = f"run python tutorials/notebooks.py prose {name_of(script)}"
            found.append(f"{name_of(path)} is missing, differs from {script.name} or has outputs: {advice}.")
    notebooks = {path for folder in ("", *TRANSLATIONS) for path in (FOLDER / folder).glob("*.ipynb")}
    stray = notebooks - {script.with_suffix(".ipynb") for script in [*scripts(), *translations()]}
    return found + [f"{name_of(path)} has no script: delete it." for path in sorted(stray)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "prose", "check"])
    parser.add_argument("names", nargs="*", help="scripts; default: all")
    arguments = parser.parse_args()
    known = {name_of(script): script for script in scripts()}
    if arguments.action == "prose":
        known.update({name_of(script): script for script in translations()})
    if unknown := set(arguments.names) - set(known):
        parser.error(f"scripts must be of {list(known)}. Received: {sorted(unknown)}.")
    if arguments.action == "check":
        found = problems()
        print("\n".join(found) or "All notebooks belong to their scripts.")
        sys.exit(bool(found))
    for name in arguments.names or known:
        if arguments.action == "run":
            run(known[name])
        else:
            renew_prose(known[name])


if __name__ == "__main__":
    main()
