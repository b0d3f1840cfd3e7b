"""Folders of models as they are published: a description, `preset.json`, and the files that it lists.

Format 1:

- `format`: 1.
- `files`: of each file, by its path in the folder, the `sha256` and the `size` in bytes.

`TextGenerator.save_to_preset` writes `model.keras` and lists that alone. `python -m kerasseq.zoo describe` describes
the folder of an exported version.
"""

import json
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

from kerasseq.downloads import download, is_right, sha256_of
from kerasseq.file_writing import replacing, write_text

FORMAT = 1
PRESET = "preset.json"
MODEL = "model.keras"
README = "README.md"
BEST, RUN = "best.keras", "run.json"  # of the folder of a training with `kerasseq train`
GRAPH = "saved_model.pb"  # of an exported version
# What a folder is, by a file that it has.
KINDS = {BEST: "run", RUN: "run without a model yet", PRESET: "preset", GRAPH: "version"}
FILE_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")  # Below the folder, on any system, and not hidden.
SHA256 = re.compile("[0-9a-f]{64}")

Files = dict[str, dict[str, Any]]

CARD = """\
# Name of the model

```python
import kerasseq

generator = kerasseq.TextGenerator.from_preset("...")  # where this folder is published
generator.generate(["..."])
```

- What it does, in which languages:
- Parameters, size:
- Data, and their licence:
- Licence of the model:
- Scores, on which test data, of what else (a baseline):
- What it is not for, and what it gets wrong:
"""


def describe(folder: pathlib.Path) -> dict[str, Any]:
    """The description of all files in a folder but hidden ones and an older description."""
    if kind_of(folder) not in ("preset", "version"):
        raise ValueError(
            "Expected the folder of a preset, or of one exported version, such as exported/name/1. Received: "
            f"{folder}, which is neither."
        )
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    names = sorted(name for name in paths if FILE_NAME.fullmatch(name) and name != PRESET)
    return {"format": FORMAT, "files": {name: describe_file(paths[name]) for name in names}}


def describe_file(path: pathlib.Path) -> dict[str, Any]:
    return {"sha256": sha256_of(path), "size": path.stat().st_size}


def write_preset(folder: pathlib.Path, save: Callable[[pathlib.Path], None]) -> None:
    """Writes a folder to publish. The description comes last.

    Args:
        folder: `pathlib.Path`, made if need be. A model and a description there are replaced, a `README.md` is kept.
        save: function of a path that writes a `.keras` file there.

    Raises:
        ValueError: if the folder is that of a training or of an exported model, which a description would not describe.
    """
    kind = kind_of(folder)
    if kind is not None and kind != "preset":
        what = "a training" if kind.startswith("run") else "an exported model"
        raise ValueError(
            f"A preset needs a folder of its own. Received: {folder}, the folder of {what}. Pass the path of a new "
            f"folder, such as {folder}_preset."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / MODEL) as unfinished:
        save(unfinished)
    files = {MODEL: describe_file(folder / MODEL)}
    write_text(folder / PRESET, json.dumps({"format": FORMAT, "files": files}, indent=1) + "\n")
    if not (folder / README).exists():
        write_text(folder / README, CARD)


def kind_of(path: pathlib.Path) -> str | None:
    """What is at a path: a `.keras` file, a run, a preset, or an exported model; `None` if it is no model."""
    if os.path.isfile(path):
        return "file" if path.suffix == ".keras" else None
    for name, kind in KINDS.items():
        if os.path.isfile(path / name):
            return kind
    names = [graph.parent.name for graph in path.glob(f"[1-9]*/{GRAPH}")]
    numbers = sorted(int(name) for name in names if name.isascii() and name.isdecimal())
    return f"versions {', '.join(map(str, numbers))}" if numbers else None


def read_files(text: str, source: object) -> Files:
    """The files that a description lists.

    Args:
        text: str, the content of `preset.json`.
        source: where it comes from, for errors.

    Raises:
        ValueError: if it is not a description of this format, or lists files outside its folder.
    """
    try:
        description = json.loads(text)
        found, files = description["format"], dict(description["files"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"Expected a {PRESET} that TextGenerator.save_to_preset wrote at {source}. Received: {text[:80]!r}. Check "
            "the address; a login page may respond in its place."
        ) from error
    if found != FORMAT:
        raise ValueError(f"{source} must have format {FORMAT}. Received: {found!r}. Update kerasseq.")
    for name, file in files.items():
        described = (
            isinstance(file, dict) and SHA256.fullmatch(str(file.get("sha256"))) and type(file.get("size")) is int
        )
        if not FILE_NAME.fullmatch(name) or not described:
            raise ValueError(
                f"{source} must list paths below its folder, each with sha256 and size. Received: {name!r}: {file!r}."
            )
    return files


def read_preset(path: pathlib.Path, source: object) -> Files:
    """The files that a description on this machine lists, see `read_files`."""
    return read_files(path.read_text(encoding="utf-8", errors="replace"), source)


def fetch_files(address: str, files: Files, folder: pathlib.Path) -> None:
    """Downloads those files of a folder that are missing or damaged."""
    for name, file in files.items():
        if not is_right(folder / name, file["sha256"]):
            download(f"{address}/{name}", folder / name, file["sha256"], file["size"])


def is_complete(folder: pathlib.Path, files: Files) -> bool:
    return all(is_right(folder / name, file["sha256"]) for name, file in files.items())


def check_files(folder: pathlib.Path, files: Files, advice: str) -> None:
    """Raises a `ValueError` unless a folder has all files, unchanged."""
    for name, file in files.items():
        path = folder / name
        if not is_right(path, file["sha256"]):
            received = f"sha256 {sha256_of(path)}" if path.is_file() else "no such file"
            raise ValueError(
                f"{path} is missing, damaged or of another release. Expected sha256 {file['sha256']}. Received: "
                f"{received}. {advice}"
            )


def model_in(folder: pathlib.Path) -> pathlib.Path:
    """What `TextGenerator.load` reads in a folder: the `.keras` file of a preset, or the folder of an export."""
    return folder / MODEL if (folder / MODEL).is_file() else folder
