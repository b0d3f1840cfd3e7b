"""The folder of a training: what is in it, and how a training that was cut off goes on."""

import contextlib
import csv
import hashlib
import importlib.metadata
import json
import pathlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from kerasseq import __version__
from kerasseq.callbacks import GeneratorCheckpoint
from kerasseq.command_line.shell import UsageError
from kerasseq.datasets.splits import TextPairs
from kerasseq.file_writing import replacing, write_text
from kerasseq.plotting import plot_history
from kerasseq.zoo.presets import BEST, PRESET, RUN

PACKAGES = ("keras", "tensorflow", "tensorflow-text", "numpy")
KEPT = ("validation", "test")  # pairs that are kept from the training
# Sections that may change when a training goes on: a run may be moved, and a digest stands for the data.
CHANGEABLE = ("folder", "data", "tensorboard")


class RunFolder:
    """Paths in the folder of a training.

    Attributes:
        configuration: `config.yaml`, the configuration as used; `config_used.yaml` where `config.yaml` is the
            configuration that the user wrote.
        beginning: `run.json`, the values of the configuration, versions of packages, and a digest of the data.
        start: `start.keras`, the model before the training, with its vocabularies.
        best: the best model so far, a `TextGenerator`.
        log: `log.csv`, as of `keras.callbacks.CSVLogger`, but with epochs that count from 1.
        results: `results.json`, written when the training is finished.
    """

    def __init__(self, folder: str, configuration_path: str):
        self.folder = pathlib.Path(folder).expanduser()
        self.given = pathlib.Path(configuration_path).expanduser().resolve()
        self.configuration = self.folder / "config.yaml"
        if self.configuration.resolve() == self.given:
            self.configuration = self.folder / "config_used.yaml"
        self.beginning = self.folder / RUN
        self.start = self.folder / "start.keras"
        self.best = self.folder / BEST
        self.log = self.folder / "log.csv"
        self.curves = self.folder / "curves.png"
        self.tensorboard = self.folder / "tensorboard"
        self.checkpoints = self.folder / "checkpoints"
        self.backups = self.folder / "backup"
        self.results = self.folder / "results.json"

    # === Beginning ===

    def check(self, values: Mapping[str, Any], resume: bool) -> None:
        """Checks that the folder is new, or that its training can go on with these values of the configuration.

        Where no epoch is finished, as after an error in the configuration, there is nothing to go on with.
        """
        if (self.folder / PRESET).exists():
            raise UsageError(
                f"A training needs a folder of its own. Received: {self.folder}, which has a model that save_to_preset "
                "wrote. Pass another folder: --set folder=..."
            )
        if not (self.beginning.exists() and self.log.exists()):
            if others := self.files_of_others():
                raise UsageError(
                    "A training needs a folder that is new, empty but for its configuration, or begun by `kerasseq "
                    f"train`. Received: {self.folder}, which has {', '.join(others[:3])}. Pass another folder: --set "
                    "folder=..."
                )
            return
        if not resume:
            raise UsageError(
                f"{self.folder} has a training already. Pass --resume to go on with it, or another folder: --set "
                "folder=..."
            )
        known, own = settings_of(self.read_beginning()["configuration"]), settings_of(as_json(values))
        changed = [f"{name}: {own.get(name)}" for name in {**own, **known} if own.get(name) != known.get(name)]
        if changed:
            raise UsageError(
                f"A training goes on with the configuration that it began with, see {self.folder}. Received: another "
                f"one, which differs in {', '.join(map(repr, changed[:3]))}. Pass the same values, or begin in another "
                "folder: --set folder=..."
            )

    def begin(self, configuration: str, values: Mapping[str, Any], pairs: Sequence[TextPairs]) -> None:
        """Writes what a training begins with, or checks that the training that goes on has the same data.

        Args:
            configuration: str, YAML, the configuration as used.
            values: its values.
            pairs: the pairs for training and validation.
        """
        if self.log.exists():
            if self.read_beginning()["data"] != digest(pairs):
                raise ValueError(
                    f"A training goes on with the data that it began with. Received: other pairs than {self.folder} "
                    "has seen. Restore the files, or begin in another folder: --set folder=..."
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.remove_start()
        for name in KEPT:
            self.pairs_file(name).unlink(missing_ok=True)
        beginning = {
            "data": digest(pairs),
            "versions": {"kerasseq": __version__, **versions()},
            "configuration": as_json(values),
        }
        write_text(self.beginning, json.dumps(beginning, indent=2) + "\n")
        write_text(self.configuration, configuration)

    def files_of_others(self) -> list[str]:
        """What is in the folder if no training began there, without the configuration and hidden files."""
        if not self.folder.exists():
            return []
        with contextlib.suppress(FileNotFoundError, ValueError):
            self.read_beginning()
            return []
        paths = [path for path in self.folder.iterdir() if path.resolve() != self.given]
        return sorted(path.name for path in paths if not path.name.startswith("."))

    def read_beginning(self) -> dict[str, Any]:
        """What `begin` wrote.

        Raises:
            ValueError: if the file is damaged, or another program's.
        """
        with self.reading(self.beginning):
            content = json.loads(self.beginning.read_text(encoding="utf-8"))
            return {name: content[name] for name in ("data", "versions", "configuration")}

    def pairs_file(self, name: str) -> pathlib.Path:
        """`test.jsonl` or `validation.jsonl`."""
        return self.folder / f"{name}.jsonl"

    # === Going on ===

    def backup(self, epoch: int) -> pathlib.Path:
        """The file of the weights with which an epoch begins."""
        return self.backups / f"{epoch:06d}.weights.h5"

    def epochs_done(self) -> int:
        """How many epochs the newest backup has behind it."""
        return max((int(path.name.partition(".")[0]) for path in self.backup_files()), default=0)

    def backup_files(self) -> list[pathlib.Path]:
        return list(self.backups.glob("[0-9]" * 6 + ".weights.h5"))

    def rows(self, epochs: int) -> list[dict[str, float]]:
        """The logs of the first epochs."""
        if not self.log.exists():
            return []
        with self.reading(self.log), open(self.log, encoding="utf-8", newline="") as file:
            rows = [{name: float(cell) for name, cell in row.items() if cell != "NA"} for row in csv.DictReader(file)]
            return [row for row in rows if row["epoch"] <= epochs]

    @contextlib.contextmanager
    def reading(self, path: pathlib.Path) -> Iterator[None]:
        """Says which file of the folder is damaged."""
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"Expected {path} as `kerasseq train` wrote it. Received: a damaged file ({type(error).__name__}: "
                f"{error}). Restore it, or begin in another folder: --set folder=..."
            ) from error

    def summary(self, monitor: str) -> str:
        """The best epoch of a finished training, and a command that tests its model."""
        results = json.loads(self.results.read_text(encoding="utf-8"))
        best, test = results["best"], self.pairs_file("test")
        text = f"Best: epoch {best['epoch']} of {results['epochs']}, {monitor} {best[monitor]:.4g}."
        if test.exists():
            text += f" Next: kerasseq evaluate {shlex.quote(str(self.folder))} {shlex.quote(str(test))}"
        return text

    def finish(self, results: dict[str, Any]) -> None:
        """Notes that the training is finished, and removes what is needed only to go on."""
        write_text(self.results, json.dumps(results, indent=2) + "\n")
        self.remove_start()

    def remove_start(self) -> None:
        """Removes what a training needs only to go on, and nothing else."""
        self.start.unlink(missing_ok=True)
        for path in self.backup_files():
            path.unlink()
        with contextlib.suppress(OSError):  # There is no such folder, or it has other files.
            self.backups.rmdir()


class Backup(keras.callbacks.Callback):
    """Saves weights and optimizer state at the start of each epoch, after all callbacks of the previous one have run.

    Put it behind `SwapEMAWeights`, which has put the trained weights back by then.
    """

    def __init__(self, run: RunFolder, epochs_done: int):
        super().__init__()
        self.run, self.epochs_done = run, epochs_done

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epochs_done:
            return
        self.run.backups.mkdir(exist_ok=True)
        with replacing(self.run.backup(epoch)) as unfinished:
            self.model.save_weights(unfinished)
        for path in self.run.backup_files():
            if path != self.run.backup(epoch):
                path.unlink()


class Log(keras.callbacks.Callback):
    """Writes `log.csv` and `curves.png` after each epoch, without what is done again."""

    def __init__(self, run: RunFolder, epochs_done: int):
        super().__init__()
        self.run, self.past = run, run.rows(epochs_done)

    def on_epoch_end(self, epoch, logs=None):
        self.past.append({"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}})
        names = list(dict.fromkeys(name for row in self.past for name in row))
        with replacing(self.run.log) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names, restval="NA")
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in self.past)
        with replacing(self.run.curves) as unfinished:
            plot_history(self.run.log).savefig(unfinished)


class LastCheckpoints(GeneratorCheckpoint):
    """Keeps the generators of the last epochs, to be averaged."""

    def __init__(self, run: RunFolder, last: int, preprocessor: Any, **options: Any):
        run.checkpoints.mkdir(exist_ok=True)
        super().__init__(run.checkpoints / "{epoch:04d}.keras", preprocessor, **options)
        self.folder, self.last = run.checkpoints, last

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        for path in sorted(self.folder.glob("[0-9]*.keras"))[: -self.last]:
            path.unlink()


class RunEarlyStopping(keras.callbacks.EarlyStopping):
    """Counts the epochs before an interruption, too."""

    def __init__(self, past: Sequence[dict[str, float]], **options: Any):
        super().__init__(**options)
        self.past = past

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        for row in self.past:
            self.on_epoch_end(int(row["epoch"]) - 1, row)


class RunTensorBoard(keras.callbacks.TensorBoard):
    """Numbers epochs from 1, as the log does."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch + 1, logs)


def digest(pairs: Sequence[TextPairs]) -> str:
    """A digest of lists of pairs."""
    return hashlib.sha256(json.dumps(pairs).encode("utf-8", "surrogatepass")).hexdigest()


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them: tuples become lists."""
    return json.loads(json.dumps(values))


def settings_of(values: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """The values that a training must keep, by their names, such as `model.units`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{parent}{key}"
        if name not in CHANGEABLE:
            found |= settings_of(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def write_pairs(path: pathlib.Path, pairs: TextPairs) -> None:
    """Writes JSON lines, which `read_pairs` reads, whatever the texts."""
    lines = (json.dumps({"source": source, "target": target}, ensure_ascii=False) for source, target in pairs)
    write_text(path, "".join(f"{line}\n" for line in lines))
