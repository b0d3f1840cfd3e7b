"""Fits a model once: what was fitted before is loaded, what was cut off goes on at its last epoch."""

import csv
import hashlib
import os
import re
import shutil
import statistics
import time

import keras

import kerasseq


def fit(
    folder, build, make_data, epochs, peak_learning_rate, seed, data_settings, warmup=0.05, label_smoothing=0.1,
    r_drop=None, ema_momentum=None, callbacks=(), load_only=False,
):  # fmt: skip
    """Fits by Adam, its rate warmed up and brought down along a cosine, or loads what an earlier call has fitted.

    Args:
        folder: pathlib.Path, for the backups of fits and for their results: in a folder of its own for each
            architecture, each setting and `data_settings`.
        build: function that returns the model.
        make_data: function of an `EpochShuffle` that returns the data sets of training and validation.
        epochs: int.
        peak_learning_rate: float.
        seed: int.
        data_settings: anything with a `repr` that says by which settings the data sets are made, and what else the
            results depend on, such as how weights were trained before.
        warmup: float, share of the steps.
        label_smoothing: float.
        r_drop: float, the weight of `RDropCrossentropy`; the data must have two copies of each pair. Default: without.
        ema_momentum: float, of an average of the weights over time, which the model has in the end. Default: none.
        callbacks: list of `keras.callbacks.Callback`, which see the averages.
        load_only: bool, whether nothing is fitted.

    Returns:
        the model, and the minutes that it took one core, float: as many median epochs.

    Raises:
        FileNotFoundError: with `load_only`, if there is no fitted model.
    """
    keras.utils.set_random_seed(seed)
    model = build()
    loss = kerasseq.losses.MaskedCrossentropy(label_smoothing)
    if r_drop is not None:
        loss = kerasseq.losses.RDropCrossentropy(r_drop, label_smoothing)
    # Without the numbers that Keras gives to layers of one kind as they come in a process.
    architecture = re.sub(r"_\d+", "", model.to_json())
    training = [epochs, peak_learning_rate, seed, warmup, loss.get_config(), ema_momentum]
    settings = f"{architecture} {training} {data_settings}"
    folder = folder / hashlib.sha256(settings.encode()).hexdigest()[:12]
    finished, log = folder / "finished.keras", folder / "epochs.csv"
    if finished.exists():
        return keras.models.load_model(finished), minutes(log, epochs)
    if load_only:
        raise FileNotFoundError(f"No fitted model: {finished} does not exist.")
    folder.mkdir(parents=True, exist_ok=True)
    shuffle = kerasseq.preprocessing.EpochShuffle(seed)
    batches, validation = make_data(shuffle)
    steps = epochs * len(batches)
    warmup_steps = int(warmup * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        peak_learning_rate / 10, steps - warmup_steps, 0.01, warmup_target=peak_learning_rate, warmup_steps=warmup_steps
    )
    model.compile(
        kerasseq.optimizers.Adam(
            schedule, clipnorm=1.0, use_ema=ema_momentum is not None, ema_momentum=ema_momentum or 0.99
        ),
        loss,
        metrics=[kerasseq.metrics.TokenAccuracy()],
    )
    swap = [] if ema_momentum is None else [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
    logger = keras.callbacks.CSVLogger(log, append=True)
    backup = keras.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False)
    model.fit(
        batches,
        validation_data=validation,
        epochs=epochs,
        shuffle=False,  # The data set shuffles itself.
        verbose=2,
        callbacks=[shuffle, backup, *swap, *callbacks, Seconds(), logger],
    )
    model.save(folder / "unfinished.keras")
    os.replace(folder / "unfinished.keras", finished)
    shutil.rmtree(folder / "backup")
    # Not the fitted model: where a backup was restored, Keras begins its next fit at that epoch too.
    return keras.models.load_model(finished), minutes(log, epochs)


class Seconds(keras.callbacks.Callback):
    """Puts into the logs the processor time of each epoch, validation included: the seconds that one core takes."""

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = round(time.process_time() - self.begin, 1)


def minutes(log, epochs):
    """The minutes of all epochs, each as long as the median of those in a log, which may lack interrupted ones."""
    with open(log, newline="", encoding="utf-8") as file:
        return round(epochs * statistics.median(float(row["seconds"]) for row in csv.DictReader(file)) / 60, 1)
