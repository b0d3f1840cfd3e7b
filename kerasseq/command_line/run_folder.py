"""The folder of a training: what is in it, and how a training that was cut off goes on."""

import csv
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import keras

from kerasseq import __version__
from kerasseq.callbacks import GeneratorCheckpoint
from kerasseq.command_line.shell import UsageError
from kerasseq.command_line.zoo import BEST
from kerasseq.datasets.splits import TextPairs
from kerasseq.plotting import plot_history

PACKAGES = ("keras", "tensorflow", "tensorflow-text", "numpy")


class RunFolder:
    """Paths in the folder of a training.

    Attributes:
        configuration: `config.yaml`, the configuration as used.
        beginning: `run.json`, versions of packages, and a digest of the data.
        start: `start.keras`, the model before the training, with its vocabularies.
        best: the best model so far, a `TextGenerator`.
        log: `log.csv`, as of `keras.callbacks.CSVLogger`.
        results: `results.json`, written when the training is finished.
    """

    def __init__(self, folder: str):
        self.folder = pathlib.Path(folder).expanduser()
        self.configuration = self.folder / "config.yaml"
        self.beginning = self.folder / "run.json"
        self.start = self.folder / "start.keras"
        self.best = self.folder / BEST
        self.log = self.folder / "log.csv"
        self.curves = self.folder / "curves.png"
        self.tensorboard = self.folder / "tensorboard"
        self.checkpoints = self.folder / "checkpoints"
        self.backups = self.folder / "backup"
        self.results = self.folder / "results.json"

    def begin(self, configuration: str, pairs: Sequence[TextPairs], resume: bool) -> None:
        """Writes the configuration, or checks that the training that goes on has the same one, and the same data.

        Where no epoch is finished, as after an error in the configuration, there is nothing to go on with.
        """
        beginning = {"data": digest(pairs), "versions": {"kerasseq": __version__, **versions()}}
        if self.log.exists():
            if not resume:
                raise UsageError(
                    f"{self.folder} has a training already. Pass --resume to go on with it, or another folder: --set "
                    "folder=..."
                )
            if self.configuration.read_text(encoding="utf-8") != configuration:
                raise UsageError(
                    f"A training goes on with the configuration that it began with, {self.configuration}. Received: "
                    f"another one, which differs in {self.changed_lines(configuration)}. Pass that file, or begin in "
                    "another folder: --set folder=..."
                )
            if json.loads(self.beginning.read_text(encoding="utf-8"))["data"] != beginning["data"]:
                raise ValueError(
                    f"A training goes on with the data that it began with. Received: other pairs than {self.folder} "
                    "has seen. Restore the files, or begin in another folder: --set folder=..."
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start.unlink(missing_ok=True)
        shutil.rmtree(self.backups, ignore_errors=True)
        write(self.beginning, json.dumps(beginning, indent=2) + "\n")
        write(self.configuration, configuration)

    def changed_lines(self, configuration: str) -> str:
        """The lines of a configuration that the one of the folder does not have."""
        known = self.configuration.read_text(encoding="utf-8").splitlines()
        changed = [line.strip() for line in configuration.splitlines() if line not in known]
        return ", ".join(map(repr, changed[:3])) or "a line that is missing"

    # === Going on ===

    def backup(self, epoch: int) -> pathlib.Path:
        """The file of the weights with which an epoch begins."""
        return self.backups / f"{epoch:06d}.weights.h5"

    def epochs_done(self) -> int:
        """How many epochs the newest backup has behind it."""
        return max((int(path.name.partition(".")[0]) for path in self.backups.glob("[0-9]*.weights.h5")), default=0)

    def rows(self, epochs: int) -> list[dict[str, float]]:
        """The logs of the first epochs."""
        if not self.log.exists():
            return []
        with open(self.log, encoding="utf-8", newline="") as file:
            rows = [{name: float(cell) for name, cell in row.items() if cell != "NA"} for row in csv.DictReader(file)]
        return [row for row in rows if row["epoch"] < epochs]

    def finish(self, results: dict[str, Any]) -> None:
        """Notes that the training is finished, and removes what is needed only to go on."""
        write(self.results, json.dumps(results, indent=2) + "\n")
        shutil.rmtree(self.backups, ignore_errors=True)
        self.start.unlink(missing_ok=True)


class Backup(keras.callbacks.Callback):
    """Saves weights and optimizer when an epoch begins: all callbacks have seen the end of the one before.

    Put it behind `SwapEMAWeights`, which has put the trained weights back by then.
    """

    def __init__(self, run: RunFolder, epochs_done: int):
        super().__init__()
        self.run, self.epochs_done = run, epochs_done

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epochs_done:
            return
        self.run.backups.mkdir(exist_ok=True)
        unfinished = self.run.backups / "unfinished.weights.h5"
        self.model.save_weights(unfinished)
        os.replace(unfinished, self.run.backup(epoch))
        for path in self.run.backups.glob("[0-9]*.weights.h5"):
            if path != self.run.backup(epoch):
                path.unlink()


class Log(keras.callbacks.Callback):
    """Writes `log.csv` and `curves.png` after each epoch, without what is done again."""

    def __init__(self, run: RunFolder, epochs_done: int):
        super().__init__()
        self.run, self.past = run, run.rows(epochs_done)

    def on_epoch_end(self, epoch, logs=None):
        self.past.append({"epoch": epoch, **{name: float(value) for name, value in (logs or {}).items()}})
        names = list(dict.fromkeys(name for row in self.past for name in row))
        unfinished = self.run.folder / "unfinished.csv"
        with open(unfinished, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names, restval="NA")
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in self.past)
        os.replace(unfinished, self.run.log)
        unfinished = self.run.folder / "unfinished.png"
        plot_history(self.run.log).savefig(unfinished)
        os.replace(unfinished, self.run.curves)


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


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Counts the epochs before an interruption, too."""

    def __init__(self, past: Sequence[dict[str, float]], **options: Any):
        super().__init__(**options)
        self.past = past

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        for row in self.past:
            self.on_epoch_end(int(row["epoch"]), row)


def digest(pairs: Sequence[TextPairs]) -> str:
    """A digest of lists of pairs."""
    return hashlib.sha256(json.dumps(pairs).encode("utf-8", "surrogatepass")).hexdigest()


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def write(path: pathlib.Path, text: str) -> None:
    """Writes a file at once."""
    unfinished = path.with_name(f"unfinished {path.name}")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def write_pairs(path: pathlib.Path, pairs: TextPairs) -> None:
    """Writes JSON lines, which `read_pairs` reads, whatever the texts."""
    lines = (json.dumps({"source": source, "target": target}, ensure_ascii=False) for source, target in pairs)
    write(path, "".join(f"{line}\n" for line in lines))
