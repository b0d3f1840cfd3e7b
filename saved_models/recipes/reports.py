"""What the recipes of released models share: the clock of epochs, references, scores, versions."""

import collections
import csv
import json
import os
import platform
import statistics
import time

import keras
import tensorflow as tf

import kerasseq


class EpochSeconds(keras.callbacks.Callback):
    """Adds the duration of each epoch, validation included, to the logs."""

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.monotonic() - self.begin


def check_settings(work, settings):
    """Keeps the settings of a training in its folder, and refuses others where a training has begun."""
    text, known = json.dumps(settings, indent=1), work / "settings.json"
    if known.exists() and known.read_text(encoding="utf-8") != text:
        raise SystemExit(f"{work} has a training by other settings. Remove it, or give another folder with --work.")
    known.write_text(text, encoding="utf-8")


def minutes(log, epochs):
    """The minutes of a training, float: as many epochs as long as the median one of its log.csv."""
    with open(log, encoding="utf-8", newline="") as file:
        return epochs * statistics.median(float(row["seconds"]) for row in csv.DictReader(file)) / 60


def environment():
    """The processors and versions of a run."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "versions": {
            "python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
            "kerasseq": kerasseq.__version__,
        },
    }  # fmt: skip


def first_references(pairs):
    """Distinct sources in file order, the first reference of each, and all references of each."""
    references = collections.defaultdict(list)
    for source, target in pairs:
        references[source].append(target)
    return list(references), [targets[0] for targets in references.values()], list(references.values())


def scores(predictions, first, every):
    return {
        "bleu": kerasseq.evaluation.bleu(predictions, first, resamples=1_000),
        "chrf": kerasseq.evaluation.chrf(predictions, first),
        "bleu_all_references": kerasseq.evaluation.bleu(predictions, every),
    }


def nearest_training_targets(sources, train):
    """For each source the target of the nearest training source, by the share of characters in common order."""
    import rapidfuzz  # Deferred: other recipes do without.

    known = [source for source, _ in train]
    return [train[rapidfuzz.process.extractOne(source, known, scorer=rapidfuzz.fuzz.ratio)[2]][1] for source in sources]
