"""Configures TensorFlow Serving for a folder of exported models: labels of versions, and deployment files."""

import dataclasses
import os
import re
from collections.abc import Iterable
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from kerasseq.export.description import FORMAT, read_description, read_format
from kerasseq.export.versions import versions
from kerasseq.file_writing import write_text
from kerasseq.serving.deployment_files import deployment_files

MODELS_CONFIG = "models.config"
MOUNT = "/models"  # path of the folder on the server
LABELS = ("stable", "canary")
# Names appear unescaped in REST addresses and in ready.sh.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

HEADER = """\
# ModelServerConfig of TensorFlow Serving. To move a label:
#   python -m kerasseq.serving configure FOLDER --canary NAME=VERSION
#
# The server loads all versions in the folder. A running server moves a label only to a version that is already loaded,
# and applies labels before it loads versions. So it would reject every change that both adds a version to a list of
# versions and moves a label to it.
"""


@dataclasses.dataclass(frozen=True)
class Deployment:
    """The labels, versions and files of a folder of models.

    Attributes:
        labels: dict from model to dict from label to version.
        versions: dict from model to list of int, all versions in the folder.
        files: dict from file name to `"written"`, `"up to date"` or `"edited"`. An edited file differs from the one
            that this version of kerasseq writes, and was kept.
    """

    labels: dict[str, dict[str, int]]
    versions: dict[str, list[int]]
    files: dict[str, str]


def configure(
    models_folder: str | os.PathLike[str],
    stable: dict[str, int] | None = None,
    canary: dict[str, int] | None = None,
    overwrite: bool = False,
) -> Deployment:
    """Writes the files to serve a folder of exported models with TensorFlow Serving.

    `models.config` lists every model in the folder with the labels `stable` and `canary`, which clients can request
    instead of a version. For a new model, both labels point to the highest version. After that they move only on
    request. The file is replaced atomically, and only if it changes. `batching.config`, `monitoring.config`,
    `ready.sh`, `docker-compose.yml`, `Dockerfile` and `kubernetes.yaml` are written if they are missing. They are the
    same for all models.

    A running server loads new versions as they appear in the folder. It rereads `models.config` and moves a label once
    the version is loaded, so no request fails.

    Args:
        models_folder: path of a folder with one folder per model, as written by `export`.
        stable: dict from model to int, the versions to move the label `stable` to. Default: no moves.
        canary: the same for the label `canary`.
        overwrite: bool, whether to replace edited files, except `models.config`.

    Returns:
        a `Deployment`.

    Raises:
        ValueError: if the folder contains no models, if a requested or listed model or version does not exist, if a
            labeled version is damaged, or if `models.config` is invalid. No file is written then.

    Example:

    ```python
    configure("saved_models").labels["translation_en_fr"]  # {"stable": 1, "canary": 1}
    ```
    """
    models_folder = os.fspath(models_folder)
    models = find_models(models_folder)
    path = os.path.join(models_folder, MODELS_CONFIG)
    config = read_models_config(path)
    before = text_format.MessageToString(config)
    check_models_exist(config, models, path)
    add_new_models(config, models)
    entries = config.model_config_list.config
    for label, moves in zip(LABELS, (stable, canary), strict=True):
        if moves is not None and not isinstance(moves, dict):
            raise ValueError(f"{label} must be a dict from model to version. Received: {moves!r}.")
        move_label(entries, label, moves or {}, models)
    check_labels(entries, models, path)
    check_exports(entries, models_folder)
    for name in [MODELS_CONFIG, *deployment_files()]:
        if os.path.isdir(os.path.join(models_folder, name)):
            raise ValueError(f"{name} in {models_folder} must be a file. Received: a folder. Rename it.")

    files = {}
    for name, text in deployment_files().items():
        files[name] = write_unless_edited(os.path.join(models_folder, name), text, overwrite)
    # Last, because running servers watch it.
    after = text_format.MessageToString(config)
    files[MODELS_CONFIG] = "up to date" if after == before else "written"
    if after != before:
        write_text(path, HEADER + after)
    labels = {entry.name: dict(sorted(entry.version_labels.items(), reverse=True)) for entry in entries}
    return Deployment(labels, models, files)


# === Models ===


def find_models(models_folder: str) -> dict[str, list[int]]:
    """Returns the versions (numbered folders with a SavedModel) of each model in a folder."""
    if not os.path.isdir(models_folder):
        raise ValueError(f"models_folder must be a folder of models. Received: {models_folder}, which does not exist.")
    models = {}
    for name in sorted(os.listdir(models_folder)):
        folder = os.path.join(models_folder, name)
        found = [number for number in versions(folder) if os.path.isfile(f"{folder}/{number}/saved_model.pb")]
        if found and not NAME.fullmatch(name):
            raise ValueError(
                "The name of a model must start with an ASCII letter or digit, followed by letters, digits, '.', '_' "
                f"and '-'. Received: {name!r}. Rename {folder}."
            )
        if found:
            models[name] = found
    if not models:
        raise ValueError(
            "models_folder must contain models as MODEL/VERSION/saved_model.pb. Received: "
            f"{models_folder}, which contains none. Pass the folder above the models, and export one into it: "
            f"generator.export({os.path.join(models_folder, 'my_model')!r})."
        )
    return models


def listed(versions: Iterable[int]) -> str:
    return ", ".join(map(str, versions))


# === models.config ===


def read_models_config(path: str) -> model_server_config_pb2.ModelServerConfig:
    """Reads a `ModelServerConfig`. Returns an empty one if the file does not exist."""
    config = model_server_config_pb2.ModelServerConfig()
    if not os.path.exists(path):
        return config
    try:
        with open(path, encoding="utf-8") as file:
            text_format.Parse(file.read(), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} must be a ModelServerConfig of TensorFlow Serving. Received: {error}. Fix that line, or delete "
            "the file to reset every label to the highest version."
        ) from error
    if config.HasField("custom_model_config"):
        raise ValueError(f"{path} must contain a model_config_list. Received: a custom_model_config.")
    return config


def check_models_exist(
    config: model_server_config_pb2.ModelServerConfig, models: dict[str, list[int]], path: str
) -> None:
    """Checks that each model in a config is in the folder, appears once, and has the server's path."""
    entries = config.model_config_list.config
    names = [entry.name for entry in entries]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} must list each model once. Received more than once: {', '.join(repeated)}.")
    if missing := [name for name in names if name not in models]:
        raise ValueError(
            f"{path} lists models that are not in the folder: {', '.join(missing)}. Restore them, or delete their "
            "`config { ... }` from the file."
        )
    for entry in entries:
        if entry.base_path.rstrip("/") != f"{MOUNT}/{entry.name}":
            raise ValueError(
                f'{path} must have base_path: "{MOUNT}/{entry.name}" for the model {entry.name}. Received: '
                f"{entry.base_path!r}."
            )


def add_new_models(config: model_server_config_pb2.ModelServerConfig, models: dict[str, list[int]]) -> None:
    known = {entry.name for entry in config.model_config_list.config}
    for name in models:
        if name not in known:
            entry = config.model_config_list.config.add(
                name=name, base_path=f"{MOUNT}/{name}", model_platform="tensorflow"
            )
            entry.model_version_policy.all.SetInParent()
            for label in LABELS:
                entry.version_labels[label] = models[name][-1]


def move_label(entries: Any, label: str, moves: dict[str, int], models: dict[str, list[int]]) -> None:
    """Moves a label of the models in `moves` to other versions."""
    for name, version in moves.items():
        if name not in models:
            raise ValueError(f"{label} must name models in the folder: {', '.join(models)}. Received: {name!r}.")
        if isinstance(version, (bool, float)) or version not in models[name]:
            raise ValueError(
                f"{label} must be an existing version of {name}: {listed(models[name])}. Received: {version!r}. Export "
                "it first."
            )
        (entry,) = (entry for entry in entries if entry.name == name)
        entry.version_labels[label] = version


def check_labels(entries: Any, models: dict[str, list[int]], path: str) -> None:
    """Checks that the version behind every label exists and is loaded."""
    for entry in entries:
        loaded = loaded_versions(entry.model_version_policy, models[entry.name])
        labels = sorted(entry.version_labels.items())
        if missing := [f"{label} ({version})" for label, version in labels if version not in models[entry.name]]:
            raise ValueError(
                f"In {path}, labels of {entry.name} must point to existing versions: {listed(models[entry.name])}. "
                f"Received: {', '.join(missing)}. Move all these labels at once, or restore the versions."
            )
        for label, version in labels:
            if version not in loaded:
                raise ValueError(
                    f"In {path}, the model_version_policy of {entry.name} must load version {version}, which has the "
                    f"label {label}. Received: a policy that loads {listed(loaded) or 'none'}. Write "
                    "`model_version_policy { all { } }`."
                )


def loaded_versions(policy: Any, existing: list[int]) -> list[int]:
    """Returns the versions that a server loads under a `ServableVersionPolicy`, in ascending order."""
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return existing
    if choice == "specific":
        return [version for version in existing if version in policy.specific.versions]
    return existing[-max(policy.latest.num_versions, 1) :]


def check_exports(entries: Any, models_folder: str) -> None:
    """Checks that labeled versions exported by kerasseq are complete."""
    for entry in entries:
        for version in sorted(set(entry.version_labels.values())):
            folder = os.path.join(models_folder, entry.name, str(version))
            # Servers run exports of every release; only those of this format can be checked.
            if read_format(folder) == FORMAT:
                read_description(folder)


# === Files ===


def write_unless_edited(path: str, text: str, overwrite: bool) -> str:
    """Writes a file if it is missing, or differs and `overwrite` is set. Returns its state."""
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            if file.read() == text:
                return "up to date"
        if not overwrite:
            return "edited"
    write_text(path, text)
    return "written"
