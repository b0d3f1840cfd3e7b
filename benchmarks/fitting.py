"""Fits a model once: what was fitted before is loaded, what was cut off goes on at its last epoch."""

import os
import time

import keras

import kerasseq


def fit(folder, build, make_data, epochs, peak_learning_rate, seed, warmup=0.05):
    """Fits by Adam, its rate warmed up and brought down along a cosine, or loads what an earlier call has fitted.

    Args:
        folder: pathlib.Path, for the backup of a fit and for its result.
        build: function that returns the model.
        make_data: function of an `EpochShuffle` that returns the data sets of training and validation.
        epochs: int.
        peak_learning_rate: float.
        seed: int.
        warmup: float, share of the steps.

    Returns:
        the model, and the minutes that it took, float.
    """
    finished, minutes = folder / "finished.keras", folder / "minutes.txt"
    if finished.exists():
        return keras.models.load_model(finished), float(minutes.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    shuffle = kerasseq.preprocessing.EpochShuffle(seed)
    batches, validation = make_data(shuffle)
    steps = epochs * len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        peak_learning_rate / 10, steps, warmup_target=peak_learning_rate, warmup_steps=int(warmup * steps), alpha=0.01
    )
    model = build()
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1),
        metrics=[kerasseq.metrics.TokenAccuracy()],
    )
    begin = time.perf_counter()
    model.fit(
        batches,
        validation_data=validation,
        epochs=epochs,
        shuffle=False,  # The data set shuffles itself.
        verbose=2,
        callbacks=[shuffle, keras.callbacks.BackupAndRestore(folder / "backup")],
    )
    minutes.write_text(f"{(time.perf_counter() - begin) / 60:.1f}")
    model.save(folder / "unfinished.keras")
    os.replace(folder / "unfinished.keras", finished)
    return model, float(minutes.read_text())
