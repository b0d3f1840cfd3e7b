"""Which models and versions there are, and how they are loaded."""

import concurrent.futures
import dataclasses
import logging
import os
import pathlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerasseq.export.description import EXTRA
from kerasseq.export.graphs import read_saved_model
from kerasseq.export.versions import versions
from kerasseq.export.warm_up import WARM_UP_FILE, read_warm_up
from kerasseq.serving.deployment import MODELS_CONFIG, loaded_versions, read_models_config
from kerasseq.serving.server.batching import Batcher
from kerasseq.serving.server.documents import Arrays
from kerasseq.serving.server.refusals import NOT_FOUND, Refusal, invalid

logger = logging.getLogger("kerasseq")

GRAPH = "saved_model.pb"


# === Which models there are ===


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model to serve: the folders of its versions by number, and versions by label."""

    versions: dict[int, pathlib.Path]
    labels: dict[str, int] = dataclasses.field(default_factory=dict)


def find_entries(paths: Iterable[str | os.PathLike]) -> dict[str, Entry]:
    """The models at paths, by name, as they are now.

    Args:
        paths: list of paths, each of
            - a `models.config`, or a folder with one: all models of it, their versions and labels;
            - a folder of models: of each its newest version;
            - a model's folder: its newest version, as a server does by default;
            - a version's folder.

    Raises:
        ValueError: if there is no model at a path, or a name stands twice.
    """
    found: dict[str, Entry] = {}
    for path in map(pathlib.Path, paths):
        for name, entry in entries_at(path.expanduser().resolve()).items():
            if name in found:
                raise ValueError(f"Each model must have a name of its own. Received: {name!r} twice. Rename a folder.")
            found[name] = entry
    return found


def entries_at(path: pathlib.Path) -> dict[str, Entry]:
    config = path / MODELS_CONFIG if (path / MODELS_CONFIG).is_file() else path
    if config.is_file():
        return entries_of_config(config)
    if (path / GRAPH).is_file():
        number = int(path.name) if versions(path.parent) and path.name.isdecimal() else 1
        return {path.parent.name: Entry({number: path})}
    if newest := numbered_versions(path)[-1:]:
        return {path.name: Entry({newest[0]: path / str(newest[0])})}
    folders = sorted(path.iterdir()) if path.is_dir() else []
    found = {folder.name: numbered_versions(folder) for folder in folders}
    if not any(found.values()):
        raise ValueError(
            f"Expected an exported model, a folder of such models, or a {MODELS_CONFIG}. Received: {path}, which is "
            "none of these. `kerasseq export MODEL FOLDER` writes an exported model."
        )
    return {name: Entry({numbers[-1]: path / name / str(numbers[-1])}) for name, numbers in found.items() if numbers}


def entries_of_config(path: pathlib.Path) -> dict[str, Entry]:
    """The models of a `models.config`. Folders that do not exist here, such as /models/NAME, are those beside it."""
    found = {}
    for entry in read_models_config(str(path)).model_config_list.config:
        folder = pathlib.Path(entry.base_path)
        folder = folder if folder.is_dir() else path.parent / folder.name
        chosen = loaded_versions(entry.model_version_policy, numbered_versions(folder))
        if not chosen:
            raise ValueError(f"{path}: expected versions of {entry.name} in {folder}. Received: none that it asks for.")
        found[entry.name] = Entry({number: folder / str(number) for number in chosen}, dict(entry.version_labels))
    return found


def numbered_versions(folder: pathlib.Path) -> list[int]:
    return [number for number in versions(folder) if (folder / str(number) / GRAPH).is_file()]


# === Loaded models ===


class LoadedModel:
    """The functions of a SavedModel.

    Args:
        folder: path of a version.

    Attributes:
        signatures: map from name to `SignatureDef`.
    """

    def __init__(self, folder: pathlib.Path):
        import tensorflow_text  # noqa: F401, registers the operations of tokenizers

        self._model = tf.saved_model.load(str(folder))  # Keeps the variables.
        (meta_graph,) = (graph for graph in read_saved_model(folder).meta_graphs if "serve" in graph.meta_info_def.tags)
        self.signatures = meta_graph.signature_def
        if (folder / EXTRA / WARM_UP_FILE).is_file():
            for signature, inputs in read_warm_up(str(folder / EXTRA)):
                self.run(signature, {name: value.numpy() for name, value in inputs.items()})

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """Outputs by name.

        Args:
            signature: str.
            inputs: dict from name to an array of bytes.

        Raises:
            Refusal: if the graph fails.
        """
        function = self._model.signatures[signature]
        specs = function.structured_input_signature[1]
        for name, values in inputs.items():
            if not specs[name].shape.is_compatible_with(values.shape):
                raise invalid(f"Input {name}: expected shape {specs[name].shape}. Received: {list(values.shape)}")
        try:
            outputs = function(**{name: tf.constant(values, tf.string) for name, values in inputs.items()})
        except tf.errors.OpError as error:
            raise Refusal(error.error_code, error.message) from error
        return {name: np.asarray(value) for name, value in sorted(outputs.items())}


class Version:
    """A version of a model.

    Args:
        folder: path of the version.

    Attributes:
        state: str, by its name in the real server: `"LOADING"`, `"AVAILABLE"` or `"END"`.
        code, message: str, why loading failed; `"OK"` and empty if it did not.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.state, self.code, self.message = "LOADING", "OK", ""

    def load(self, max_rows: int, max_waiting: int) -> None:
        try:
            self._model = LoadedModel(self.folder)
        except Exception as error:  # Whatever a damaged folder leads to: the others are served.
            logger.warning("%s was not loaded: %s", self.folder, error)
            self.state, self.code, self.message = "END", "INTERNAL", str(error)
        else:
            self._batcher = Batcher(self._model.run, max_rows, max_waiting)
            self.state = "AVAILABLE"

    @property
    def signatures(self) -> Mapping[str, Any]:
        """Of an available version: `SignatureDef` by name."""
        return self._model.signatures

    def submit(self, signature: str, inputs: Arrays) -> concurrent.futures.Future[Arrays]:
        """Of an available version: the outputs to come, see `Batcher.submit`."""
        return self._batcher.submit(signature, inputs)

    def close(self) -> None:
        """Ends when the requests that it has are answered."""
        if self.state == "AVAILABLE":
            self.state = "END"
            self._batcher.close()


class ServedModels:
    """The models at paths, loaded, and looked up as the real server does.

    Args:
        paths: list of paths, see `find_entries`.
        max_rows: int, the most sources of a run of the graph.
        max_waiting: int, the most requests that wait for a model.
    """

    def __init__(self, paths: Sequence[str | os.PathLike], max_rows: int = 32, max_waiting: int = 100):
        self.paths = list(paths)
        self._limits = max_rows, max_waiting
        self._versions: dict[str, dict[int, Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()  # of the two maps

    def update(self) -> None:
        """Loads the versions that have appeared, then moves labels, then ends the versions that have gone.

        Raises:
            ValueError: see `find_entries`; what is loaded stays.
        """
        entries = find_entries(self.paths)
        wanted = {
            (name, number): folder for name, entry in entries.items() for number, folder in entry.versions.items()
        }
        for (name, number), folder in wanted.items():
            if number not in self._versions.get(name, {}):
                version = Version(folder)
                with self._lock:
                    self._versions.setdefault(name, {})[number] = version
                version.load(*self._limits)
        with self._lock:
            self._labels = {name: entry.labels for name, entry in entries.items()}
            gone = [key for key in self.numbers() if key not in wanted]
            ended = [self._versions[name].pop(number) for name, number in gone]
        for version in ended:
            version.close()

    def numbers(self) -> list[tuple[str, int]]:
        """The names and numbers of all versions."""
        return [(name, number) for name, found in self._versions.items() for number in found]

    def available(self) -> list[tuple[str, int]]:
        return [key for key in self.numbers() if self._versions[key[0]][key[1]].state == "AVAILABLE"]

    def versions(self, name: str) -> dict[int, Version]:
        with self._lock:
            return dict(self._versions.get(name, {}))

    def find(self, name: str, number: int | None = None, label: str | None = None) -> tuple[int, Version]:
        """An available version, with its number: that of a number or a label, or else the latest one.

        Raises:
            Refusal: if there is none.
        """
        if label is not None:
            with self._lock:
                labels = self._labels.get(name, {})
            if label not in labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            number = labels[label]
        found = {key: value for key, value in self.versions(name).items() if value.state == "AVAILABLE"}
        asked = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        if number is None:
            number = max(found, default=None)
        if number is None or number not in found:
            raise Refusal(NOT_FOUND, f"Servable not found for request: {asked}")
        return number, found[number]

    def close(self) -> None:
        for name, number in self.numbers():
            self._versions[name][number].close()
