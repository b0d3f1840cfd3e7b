"""Loads `.keras` files, and says which of them are damaged."""

import json
import os
import zipfile
import zlib
from typing import Any

import keras

# What Keras raises for archives that are cut off, have lost a part, or hold something else.
DAMAGES = (
    AttributeError, EOFError, KeyError, NotImplementedError, OSError, UnicodeDecodeError, json.JSONDecodeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load_file(path: str) -> Any:
    """Loads what `keras.Model.save` wrote.

    Args:
        path: str, of a `.keras` file.

    Raises:
        ValueError: if the file is no `.keras` file, or a damaged one.
        OSError: if it cannot be read.
    """
    with open(path, "rb"):
        pass  # An error of the system names the file, where `zipfile` and Keras would not.
    if not (path.endswith(".keras") and zipfile.is_zipfile(path)):
        raise damaged(path, f"a file of {os.path.getsize(path):,} bytes that is not a .keras archive, or is truncated")
    try:
        check_parts(path)
        return keras.models.load_model(path)
    except DAMAGES as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise damaged(path, f"one that is damaged ({type(error).__name__}: {first_line[:100]})") from error


def check_parts(path: str) -> None:
    """Raises a `KeyError` unless an archive has a configuration and weights: Keras's errors do not name the file."""
    with zipfile.ZipFile(path) as archive:
        configuration = json.loads(archive.read("config.json"))
        if not isinstance(configuration, dict) or not {"class_name", "config"} <= configuration.keys():
            raise KeyError("no model in config.json")
        if not any(name.startswith("model.weights.") for name in archive.namelist()):
            raise KeyError("no model.weights.h5")


def damaged(path: str, received: str) -> ValueError:
    return ValueError(
        f"Expected a .keras file, as TextGenerator.save writes it, at {path}. Received: {received}. Copy the file "
        "again, or save the model again."
    )
