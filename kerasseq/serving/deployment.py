"""Deploys a folder of exported models with TensorFlow Serving: which version each label points to, and the files."""

import dataclasses
import os
import re

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from kerasseq.arguments import check_positive_integer
from kerasseq.exported import CONFIG_FILE, EXTRA, read_description, versions
from kerasseq.serving.deployment_files import deployment_files

MODELS_CONFIG = "models.config"
MOUNT = "/models"  # where the server sees the folder
LABELS = ("stable", "canary")
# Names stand in addresses of the REST API and in ready.sh as they are.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

HEADER = """\
# ModelServerConfig of TensorFlow Serving. Move a label:
#   python -m kerasseq.serving configure FOLDER --canary NAME=VERSION
#
# All versions in the folder are loaded, because a running server moves a label only to a version that is loaded
# already, and looks at the labels before it loads anything: given a list of versions, it would refuse for ever a change
# that adds a version to the list and moves a label to it.
"""


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What a folder of models serves, and what became of its files.

    Attributes:
        labels: dict from model to dict from label to version.
        versions: dict from model to list of int, all versions, which a server loads whether a label names them or not.
        files: dict from file name to `"written"`, `"up to date"`, or `"edited"` for one that differs from what this
            version of kerasseq writes and was kept.
    """

    labels: dict
    versions: dict
    files: dict


def configure(models_folder, stable=None, canary=None, overwrite=False):
    """Writes the files that serve a folder of exported models with TensorFlow Serving.

    `models.config` lists every model in the folder with the labels `stable` and `canary`, which clients can name
    instead of a version. Both point to the highest version of a new model; after that they move only as asked. The file
    is replaced in one step, and left alone if nothing changes. `batching.config`, `monitoring.config`, `ready.sh`,
    `docker-compose.yml`, `Dockerfile` and `kubernetes.yaml` are written if they are missing. They depend on no model.

    A running server reads `models.config` again and moves a label when the version is loaded, so that no request fails:
    until then, the label stays where it is. Versions are loaded when they appear in the folder.

    Args:
        models_folder: path of a folder with a folder for each model, as `export` writes them.
        stable: dict from model to int, the version that the label `stable` is to point to. Default: as it is.
        canary: the same for the label `canary`.
        overwrite: bool, whether files that were edited are replaced, all but `models.config`.

    Returns:
        a `Deployment`.

    Raises:
        ValueError: if there are no models, a model or version does not exist, whether it is asked for or named in
            `models.config`, a version with a label is damaged, or `models.config` cannot be understood. Nothing is
            written then.

    Example:

    ```python
    configure("saved_models").labels["translation_en_fr"]  # {"stable": 1, "canary": 1}
    ```
    """
    models_folder = os.fspath(models_folder)
    models = find_models(models_folder)
    path = os.path.join(models_folder, MODELS_CONFIG)
    config = read_models_config(path)
    before = model_server_config_pb2.ModelServerConfig()
    before.CopyFrom(config)

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
            raise ValueError(f"{name} is to be a file in {models_folder}. Received: a folder of that name. Rename it.")

    files = {}
    for name, text in deployment_files().items():
        files[name] = write_unless_edited(os.path.join(models_folder, name), text, overwrite)
    # Last, because running servers look at it.
    if config == before:
        files[MODELS_CONFIG] = "up to date"
    else:
        write_in_one_step(path, HEADER + text_format.MessageToString(config))
        files[MODELS_CONFIG] = "written"
    labels = {entry.name: dict(sorted(entry.version_labels.items(), reverse=True)) for entry in entries}
    return Deployment(labels, models, files)


# === Models ===


def find_models(models_folder):
    """The versions of each model in a folder, by the model's name; a version is a numbered folder with a SavedModel."""
    if not os.path.isdir(models_folder):
        raise ValueError(f"Expected a folder of models. Received: {models_folder}, which is no folder.")
    models = {}
    for name in sorted(os.listdir(models_folder)):
        folder = os.path.join(models_folder, name)
        found = [
            version
            for version in versions(folder)
            if os.path.isfile(os.path.join(folder, str(version), "saved_model.pb"))
        ]
        if found and not NAME.fullmatch(name):
            raise ValueError(
                "A model's name must begin with a letter or a digit, and go on with letters, digits, '.', '_' and '-' "
                f"(ASCII). Received: {name!r}. Rename {folder}."
            )
        if found:
            models[name] = found
    if not models:
        raise ValueError(
            f"Expected a folder that holds models as MODEL/VERSION/saved_model.pb. Received: {models_folder}, which "
            "holds none. Name the folder above the models, and export one into it: "
            f"generator.export({os.path.join(models_folder, 'my_model')!r})."
        )
    return models


def listed(models, name):
    return ", ".join(map(str, models[name]))


# === models.config ===


def read_models_config(path):
    """The `ModelServerConfig` in a file; an empty one if there is no file."""
    config = model_server_config_pb2.ModelServerConfig()
    if not os.path.exists(path):
        return config
    try:
        with open(path, encoding="utf-8") as file:
            text_format.Parse(file.read(), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no ModelServerConfig of TensorFlow Serving: {error}. Mend the line, or remove the file to "
            "begin anew with every label at the highest version."
        ) from error
    if config.HasField("custom_model_config"):
        raise ValueError(f"{path} must hold a model_config_list. Received: a custom_model_config.")
    return config


def check_models_exist(config, models, path):
    """Raises a `ValueError` unless each model in a config is in the folder, once, and where the server looks for it."""
    entries = config.model_config_list.config
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} lists a model more than once, which the server refuses: {', '.join(twice)}.")
    if gone := [name for name in names if name not in models]:
        raise ValueError(
            f"{path} lists models that are not in the folder: {', '.join(gone)}. Bring them back, or remove their "
            "`config { ... }` from the file."
        )
    for entry in entries:
        if entry.base_path.rstrip("/") != f"{MOUNT}/{entry.name}":
            raise ValueError(
                f'{path} must have base_path: "{MOUNT}/{entry.name}" for the model {entry.name}. Received: '
                f"{entry.base_path!r}."
            )


def add_new_models(config, models):
    known = {entry.name for entry in config.model_config_list.config}
    for name in models:
        if name not in known:
            entry = config.model_config_list.config.add(
                name=name, base_path=f"{MOUNT}/{name}", model_platform="tensorflow"
            )
            entry.model_version_policy.all.SetInParent()
            for label in LABELS:
                entry.version_labels[label] = models[name][-1]


def move_label(entries, label, moves, models):
    """Points a label of some models, named in the dict `moves`, to other versions."""
    for name, version in moves.items():
        if name not in models:
            raise ValueError(f"{label} must name models in the folder: {', '.join(models)}. Received: {name!r}.")
        check_positive_integer(f"{label}[{name!r}]", version)
        if version not in models[name]:
            raise ValueError(
                f"{label} must be a version of {name} that exists: {listed(models, name)}. Received: {version}. Export "
                "it first."
            )
        (entry,) = (entry for entry in entries if entry.name == name)
        entry.version_labels[label] = version


def check_labels(entries, models, path):
    """Raises a `ValueError` unless the version behind every label exists, and is one that the policy loads."""
    for entry in entries:
        loaded = loaded_versions(entry.model_version_policy, models[entry.name])
        labels = sorted(entry.version_labels.items())
        if gone := [f"{label} ({version})" for label, version in labels if version not in models[entry.name]]:
            raise ValueError(
                f"Labels of {entry.name} point to versions that are gone: {', '.join(gone)}. There are: "
                f"{listed(models, entry.name)}. Move all these labels at once, or bring the versions back. (In {path}.)"
            )
        for label, version in labels:
            if version not in loaded:
                raise ValueError(
                    f"The label {label} of {entry.name} points to version {version}, which the model_version_policy in "
                    f"{path} does not load. Write `model_version_policy {{ all {{ }} }}`."
                )


def loaded_versions(policy, existing):
    """Those of a model's versions, in rising order, that a server with a `ServableVersionPolicy` loads."""
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return existing
    if choice == "specific":
        return [version for version in existing if version in policy.specific.versions]
    return existing[-max(policy.latest.num_versions, 1) :]


# === Files ===


def write_unless_edited(path, text, overwrite):
    """Writes a file that is missing, or any that differs if `overwrite`; returns what became of it."""
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            if file.read() == text:
                return "up to date"
        if not overwrite:
            return "edited"
    write_in_one_step(path, text)
    return "written"


def write_in_one_step(path, text):
    """Replaces a file, so that a server sees the old text or the new one, and never a part."""
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.replace(part, path)


def check_exports(entries, models_folder):
    """Raises a `ValueError` if a version with a label was exported by kerasseq and is not whole."""
    for entry in entries:
        for version in sorted(set(entry.version_labels.values())):
            folder = os.path.join(models_folder, entry.name, str(version))
            if os.path.exists(os.path.join(folder, EXTRA, CONFIG_FILE)):
                read_description(folder)
