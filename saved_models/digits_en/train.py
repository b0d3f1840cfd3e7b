"""Trains, evaluates and exports the recognizer of spoken English digits.

    python saved_models/digits_en/train.py

Resumes at the last finished epoch when it is called again. Writes `metrics.json` and the next version here.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys

import keras

import kerasseq
from kerasseq import layers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "recipes"))
import reports  # noqa: E402

SEED = 1
STRINGS = 5_000
BATCH_SIZE = 32
EPOCHS = 20
PEAK_LEARNING_RATE, WARMUP = 2e-3, 0.1
SAMPLERS = ("greedy", "beam")


def build(preprocessor):
    return kerasseq.models.SpeechSeq2Seq(
        preprocessor.target_vocabulary_size, num_bins=preprocessor.num_bins, units=128, num_layers=2, embedding_dim=64,
        dropout=0.2, spec_augment={"frequency_width": 6, "time_share": 0.05},
    )  # fmt: skip


def train_model(work, train, validation):
    """Fits a model, or loads what an earlier call has fitted; returns a `TextGenerator`."""
    reports.check_settings(work, {
        "seed": SEED, "strings": STRINGS, "batch_size": BATCH_SIZE, "epochs": EPOCHS,
        "peak_learning_rate": PEAK_LEARNING_RATE, "warmup": WARMUP,
    })  # fmt: skip
    if (work / "finished.keras").exists():
        return kerasseq.TextGenerator.load(work / "finished.keras")
    keras.utils.set_random_seed(SEED)
    preprocessor = kerasseq.preprocessing.AudioPreprocessor.from_pairs(
        train, vocabulary_size=300, sample_rate=8_000, max_seconds=12, max_target_length=16
    )
    model, shuffle = build(preprocessor), kerasseq.preprocessing.EpochShuffle(SEED)
    batches = preprocessor.dataset(
        train, BATCH_SIZE, shuffle=shuffle, pad_to_multiple=16, too_long="truncate",
        augmentation=[layers.SpeedPerturbation(seed=SEED), layers.AdditiveNoise(seed=SEED)],
    )  # fmt: skip
    steps = EPOCHS * len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        PEAK_LEARNING_RATE / 10, round((1 - WARMUP) * steps), 0.01, warmup_target=PEAK_LEARNING_RATE,
        warmup_steps=round(WARMUP * steps),
    )  # fmt: skip
    model.compile(
        kerasseq.optimizers.Adam(schedule, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1)
    )
    model.fit(
        batches,
        validation_data=preprocessor.dataset(validation, BATCH_SIZE),
        epochs=EPOCHS,
        shuffle=False,  # The data set shuffles itself.
        verbose=2,
        callbacks=[
            shuffle,
            keras.callbacks.BackupAndRestore(work / "backup", delete_checkpoint=False),
            reports.EpochSeconds(),
            keras.callbacks.CSVLogger(work / "log.csv", append=True),
        ],
    )
    generator = kerasseq.TextGenerator(model, preprocessor)
    generator.save(work / "unfinished.keras")
    os.replace(work / "unfinished.keras", work / "finished.keras")
    shutil.rmtree(work / "backup")
    return generator


def errors(generator, pairs, sampler=None):
    sounds, words = zip(*pairs, strict=True)
    outputs = generator.generate(sounds, sampler)
    right = sum(output == reference for output, reference in zip(outputs, words, strict=True))
    return {**kerasseq.evaluation.word_error_rate(outputs, words), "strings": len(words), "strings_right": right}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/digits_en"))
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    train, validation, test = kerasseq.datasets.load_spoken_digits(num_train=STRINGS)
    generator = train_model(work, train, validation)
    on_validation = {sampler: errors(generator, validation, sampler) for sampler in SAMPLERS}
    generator.sampler = kerasseq.search.get(min(SAMPLERS, key=lambda name: on_validation[name]["wer"]))
    minutes = reports.minutes(work / "log.csv", EPOCHS)
    metrics = {
        "command": "python saved_models/digits_en/train.py",
        "data": "Free Spoken Digit Dataset, strings of 1 to 8 digits by load_spoken_digits()",
        "split": "test: recordings 0 to 4 of each digit and speaker, in 500 strings",
        "seed": SEED,
        "parameters": generator.model.count_params(),
        "training_minutes": round(minutes, 1),  # of epochs that take as long as the median one
        "validation": on_validation,
        "search": type(generator.sampler).__name__,
        "test": errors(generator, test),
        **reports.environment(),
    }  # fmt: skip
    (HERE / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(metrics, indent=1, ensure_ascii=False))
    print("Exported to", generator.export(HERE))


if __name__ == "__main__":
    main()
