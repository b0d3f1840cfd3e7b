"""The way back from a SavedModel to a `TextGenerator`: versions of a model, their files, and whether they are whole."""

import hashlib
import json
import os
import re

import keras
import tensorflow as tf

from kerasseq.generation import TextGenerator
from kerasseq.warmup import WARM_UP_FILE, read_warm_up

CONFIG_FILE = "kerasseq.json"
EXTRA = "assets.extra"
VERSION = re.compile("[1-9][0-9]{0,17}")  # Servers read 64 bits, and know no other spelling of a number.
VARIABLES = "variables.data-00000-of-00001"


def next_version(model_folder):
    """One more than the highest version in a model's folder."""
    return max(versions(model_folder), default=0) + 1


def versions(model_folder):
    """The version numbers in a model's folder."""
    if not os.path.isdir(model_folder):
        return []
    return sorted(int(name) for name in os.listdir(model_folder) if VERSION.fullmatch(name))


def digests(folder):
    """The SHA-256 of each file in a version's folder, by its path there.

    Without the description that holds them, which has a digest of its own, and the warm-up requests, which users may
    replace by their own, and whose records have checksums.
    """
    left_out = [os.path.join(EXTRA, name) for name in (CONFIG_FILE, WARM_UP_FILE)]
    paths = [os.path.join(base, name) for base, _, names in os.walk(folder) for name in names]
    names = sorted(os.path.relpath(path, folder) for path in paths)
    return {name: sha256(os.path.join(folder, name)) for name in names if name not in left_out}


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_description(folder, description):
    """Writes `kerasseq.json` in one step, with a digest of itself."""
    path = os.path.join(folder, EXTRA, CONFIG_FILE)
    description = json.loads(json.dumps(description))  # As it will be read: keys are strings.
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump({**description, "digest": digest(description)}, file, indent=1)
    os.replace(f"{path}.part", path)


def digest(description):
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def read_description(path):
    """The description of the export in a version's folder, whose files are all there, and as they were written.

    Raises:
        ValueError: if a file is missing or damaged.
    """
    config_file = os.path.join(path, EXTRA, CONFIG_FILE)
    if not os.path.exists(config_file):
        raise ValueError(
            f"Expected a version folder written by kerasseq's export, with {EXTRA}/{CONFIG_FILE}, or the folder above "
            f"it. Received: {path}, which has none."
        )
    try:
        with open(config_file, encoding="utf-8") as file:
            description = json.load(file)
        written = description.pop("digest", None)
        # The first exports know the digests of their vocabularies alone.
        if "files" in description:
            files = description["files"]
            if digest(description) != written:
                raise ValueError("its digest is another")
        else:
            files = {os.path.join(EXTRA, name): value for name, value in description["assets"].items()}
        description["generator"]["config"]["model"], description["weights"][0]["path"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{config_file} is damaged: {type(error).__name__}: {error}. Copy the version folder again, or export it "
            "again."
        ) from error
    needed = {*files, os.path.join("variables", "variables.index"), os.path.join("variables", VARIABLES)}
    if missing := sorted(name for name in needed if not os.path.exists(os.path.join(path, name))):
        raise ValueError(
            f"{path} is incomplete. Missing: {', '.join(missing)}. Copy the version folder again, with all its files."
        )
    if damaged := [name for name, value in files.items() if sha256(os.path.join(path, name)) != value]:
        raise ValueError(
            f"{path} is damaged: {', '.join(damaged)} is not what was exported. Copy the version folder again."
        )
    if os.path.exists(os.path.join(path, EXTRA, WARM_UP_FILE)):
        read_warm_up(os.path.join(path, EXTRA))
    return description


def load_exported(path):
    """Rebuilds a `TextGenerator` from a version folder written by `export`, or from the highest version of a model.

    Args:
        path: str, a version's folder or a model's folder.

    Returns:
        a `TextGenerator` with the exported weights.

    Raises:
        ValueError: if the folder is not an export of kerasseq, a file in it is missing or damaged, or its weights do
            not fit its configuration.
    """
    if not os.path.exists(os.path.join(path, "saved_model.pb")) and versions(path):
        path = os.path.join(path, str(max(versions(path))))
    description = read_description(path)
    config, weights = description["generator"]["config"], description["weights"]
    preprocessor = keras.saving.deserialize_keras_object(config["preprocessor"])
    preprocessor.load_assets(os.path.join(path, EXTRA))
    model = keras.saving.deserialize_keras_object(config["model"])
    if len(model.weights) != len(weights):
        raise ValueError(
            f"{path} lists {len(weights)} weights, the model it describes has {len(model.weights)}. "
            "Export the model again with this version of kerasseq."
        )
    values = read_weights(path, len(weights))
    for index, (weight, saved, value) in enumerate(zip(model.weights, weights, values, strict=True)):
        expected = (weight.path, list(weight.shape))
        if expected != (saved["path"], saved["shape"]) or list(value.shape) != saved["shape"]:
            raise ValueError(
                f"Weight {index} of {path} should be {expected}. Received: {saved['path']}, {list(value.shape)}. "
                "Export the model again with this version of kerasseq."
            )
        weight.assign(value)
    return TextGenerator(
        model,
        preprocessor,
        sampler=keras.saving.deserialize_keras_object(config["sampler"]),
        max_length=config["max_length"],
        long_sources=config.get("long_sources", "cut"),  # Earlier versions cut long sources.
        name=config["name"],
    )


def read_weights(path, count):
    """The exported weights of a version folder, a list of arrays."""
    try:
        reader = tf.train.load_checkpoint(os.path.join(path, "variables", "variables"))
        return [reader.get_tensor(f"weights/{index}/.ATTRIBUTES/VARIABLE_VALUE") for index in range(count)]
    except (tf.errors.OpError, IndexError, ValueError) as error:
        raise ValueError(
            f"The weights in {path} are damaged ({error}). Copy the version folder again, with all its files."
        ) from error
