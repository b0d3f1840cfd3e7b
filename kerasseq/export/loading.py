"""Loads exported versions."""

import os
import re
from typing import Any

import keras
import tensorflow as tf

from kerasseq.export.description import EXTRA, read_description
from kerasseq.export.versions import versions
from kerasseq.seq2seq import Seq2Seq, weights_by_name

NUMBER = re.compile("_[0-9]+")


def load_parts(path: str) -> dict[str, Any]:
    """The parts of an exported generator, with the exported weights.

    Args:
        path: str, a version's folder, or a model's folder, whose highest version is loaded.

    Returns:
        dict of the arguments of `kerasseq.TextGenerator`.

    Raises:
        ValueError: if the folder is not an export of kerasseq, its format is not that of this release, a file is
            missing or damaged, or its weights do not fit its configuration.
    """
    if not os.path.exists(os.path.join(path, "saved_model.pb")) and versions(path):
        path = os.path.join(path, str(max(versions(path))))
    description = read_description(path)
    generator = description["generator"]
    parts = {name: keras.saving.deserialize_keras_object(generator[name]) for name in ("preprocessor", "sampler")}
    parts["preprocessor"].load_assets(os.path.join(path, EXTRA))
    model = keras.saving.deserialize_keras_object(generator["model"])
    load_weights(model, description["weights"], path)
    return {**generator, **parts, "model": model}


def load_weights(model: Seq2Seq, saved: list[dict], path: str) -> None:
    """Reads the weights of a version into a model, by name."""
    weights = weights_by_name(model)
    names = [entry["name"] for entry in saved]
    names = own_names(names, list(weights))
    expected = {name: list(weight.shape) for name, weight in weights.items()}
    received = {name: entry["shape"] for name, entry in zip(names, saved, strict=True)}
    if expected != received:
        name = next(name for name in sorted({*expected, *received}) if expected.get(name) != received.get(name))
        raise ValueError(
            f"The weights of {path} are not those of the model it describes. Expected for {name!r}: "
            f"{expected.get(name, 'no such weight')}. Received: {received.get(name, 'no such weight')}. Export the "
            "model again."
        )
    reader = tf.train.load_checkpoint(os.path.join(path, "variables", "variables"))
    for index, name in enumerate(names):
        weights[name].assign(reader.get_tensor(f"weights/{index}/.ATTRIBUTES/VARIABLE_VALUE"))


def own_names(saved: list[str], own: list[str]) -> list[str]:
    """The names by which a rebuilt model knows the saved weights.

    Keras numbers layers that have no name of their own anew, such as those in wrappers. They keep their order.
    """
    if set(saved) == set(own):
        return saved
    if [NUMBER.sub("", name) for name in saved] == [NUMBER.sub("", name) for name in own]:
        return own  # Other numbers alone, perhaps those of others before.
    others = zip((name for name in saved if name not in own), (name for name in own if name not in saved), strict=False)
    renamed = dict(others)
    return [renamed.get(name, name) for name in saved]
