"""`assets.extra/kerasseq.json`: the configuration of an exported generator, its weights, and digests of all files.

Format 2, of kerasseq 0.3:

- `format`: 2.
- `generator`: the arguments of `TextGenerator`: the serialized `model` (its parts and their arguments), `preprocessor`
  and `sampler`, and `max_length`, `long_sources` and `name`.
- `weights`: the name and shape of each weight, in the order of the checkpoint in `variables/`.
- `files`: the SHA-256 of each file. `digest`: that of the rest of the description.
"""

import hashlib
import json
import os
from typing import Any

from kerasseq.export.warm_up import WARM_UP_FILE, read_warm_up
from kerasseq.file_writing import write_text

FORMAT = 2
CONFIG_FILE = "kerasseq.json"
EXTRA = "assets.extra"


def digests(folder: str) -> dict[str, str]:
    """The SHA-256 of each file in a version's folder, by its path there.

    The description, which holds them, has a digest of its own. Warm-up requests are left out: their records have
    checksums, and users may replace them.
    """
    left_out = [os.path.join(EXTRA, name) for name in (CONFIG_FILE, WARM_UP_FILE)]
    paths = [os.path.join(base, name) for base, _, names in os.walk(folder) for name in names]
    names = sorted(os.path.relpath(path, folder) for path in paths)
    return {name: sha256(os.path.join(folder, name)) for name in names if name not in left_out}


def sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(description: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def write_description(folder: str, description: dict[str, Any]) -> None:
    """Writes `kerasseq.json` in one step, with its format and a digest of itself."""
    path = os.path.join(folder, EXTRA, CONFIG_FILE)
    description = json.loads(json.dumps({"format": FORMAT, **description}))  # As it will be read: keys are strings.
    write_text(path, json.dumps({**description, "digest": digest(description)}, separators=(",", ":")))


def read_description(folder: str) -> dict[str, Any]:
    """The description of an export, after checking that all its files are complete and unchanged.

    Raises:
        ValueError: if the folder is not an export, its format is not that of this release, or a file is missing or
            damaged.
    """
    config_file = os.path.join(folder, EXTRA, CONFIG_FILE)
    if not os.path.exists(config_file):
        raise ValueError(
            f"Expected a version folder written by kerasseq's export, with {EXTRA}/{CONFIG_FILE}, or the folder above "
            f"it. Received: {folder}, which has none."
        )
    description = read_json(config_file)
    found = description.get("format", 1)
    if found != FORMAT:
        release = "kerasseq 0.2 reads it." if found == 1 else "A later release of kerasseq reads it."
        raise ValueError(f"{config_file} must have format {FORMAT}. Received: format {found}. {release}")
    if description.pop("digest", None) != digest(description):
        raise damaged(config_file, "its digest does not match")
    files = description["files"]
    if missing := sorted(name for name in files if not os.path.exists(os.path.join(folder, name))):
        raise ValueError(
            f"{folder} is incomplete. Missing: {', '.join(missing)}. Copy the version folder again, with all its files."
        )
    if changed := [name for name, value in files.items() if sha256(os.path.join(folder, name)) != value]:
        raise ValueError(
            f"{folder} is damaged: {', '.join(changed)} is not what was exported. Copy the version folder again."
        )
    if os.path.exists(os.path.join(folder, EXTRA, WARM_UP_FILE)):
        read_warm_up(os.path.join(folder, EXTRA))
    return description


def read_format(folder: str) -> int | None:
    """The format of an export, or `None` for a folder that is not an export of kerasseq."""
    config_file = os.path.join(folder, EXTRA, CONFIG_FILE)
    return read_json(config_file).get("format", 1) if os.path.exists(config_file) else None


def read_json(config_file: str) -> dict[str, Any]:
    """The content of `kerasseq.json`, or a `ValueError` if it is damaged."""
    try:
        with open(config_file, encoding="utf-8") as file:
            description = json.load(file)
        if not isinstance(description, dict):
            raise ValueError("not an object")
        return description
    except ValueError as error:
        raise damaged(config_file, error) from error


def damaged(config_file: str, problem: object) -> ValueError:
    return ValueError(f"{config_file} is damaged: {problem}. Copy the version folder again, or export it again.")
