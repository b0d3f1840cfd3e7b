"""Trains, evaluates and exports the English-French model.

    python saved_models/translation_en_fr/train.py

Resumes at the last finished epoch when it is called again. Writes `metrics.json` and the next version here.
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import time

import everyday
import keras
import rapidfuzz
import tensorflow as tf

import kerasseq

HERE = pathlib.Path(__file__).parent
SEED = 1
BATCH_SIZE = 128
AVERAGE = 0.999  # of what the weights were before, in their average over the steps
# The last epochs see texts as they will be cut when served, and more of what is in no collection of sentences.
STAGES = {
    "first": {
        "epochs": 12, "learning_rate": 2e-3, "warmup_steps": 1_000, "subword_sampling": 0.5,
        "shares": everyday.SHARES,
    },
    "last": {
        "epochs": 6, "learning_rate": 1e-3, "warmup_steps": 500, "subword_sampling": None,
        "shares": everyday.LAST_SHARES,
    },
}  # fmt: skip
BEAM_WIDTH = 5
LENGTH_PENALTIES = (0.8, 1.0, 1.2, 1.4, 1.6)
TOLERANCE = 0.1  # of BLEU, which the smallest of these may lack: larger ones prefer babble where the model is at a loss


def build(preprocessor):
    return kerasseq.models.AttentionSeq2Seq(
        source_vocabulary_size=preprocessor.source_vocabulary_size,
        target_vocabulary_size=preprocessor.target_vocabulary_size,
        cell="gru",
        units=320,
        embedding_dim=256,
        bidirectional=True,
        attention="multi_head",
        dropout=0.2,
        tie_embeddings=True,
    )


class EpochSeconds(keras.callbacks.Callback):
    """Adds the duration of each epoch, validation included, to the logs."""

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.monotonic() - self.begin


def foreign_sentences():
    """Training sentences in French, German and Spanish, each once."""
    languages = [kerasseq.datasets.load_anki(language)[0] for language in ("fra", "deu", "spa")]
    return list(dict.fromkeys(foreign for pairs in languages for _, foreign in pairs))


def train_model(work, train, validation):
    """Goes through the stages, but those that an earlier call has finished; returns a `TextGenerator`."""
    settings, known = json.dumps({"seed": SEED, "batch_size": BATCH_SIZE, "stages": STAGES}), work / "settings.json"
    if known.exists() and known.read_text(encoding="utf-8") != settings:
        raise SystemExit(f"{work} has a training by other settings. Remove it, or give another folder with --work.")
    known.write_text(settings, encoding="utf-8")
    keras.utils.set_random_seed(SEED)
    foreign = foreign_sentences()
    generator = None
    for name, stage in STAGES.items():
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "finished.keras").exists():
            generator = kerasseq.TextGenerator.load(folder / "finished.keras")
            continue
        pairs = train + everyday.everyday(train, foreign, SEED, stage["shares"])
        if generator is None:
            preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
                pairs, vocabulary_size=6_000, max_source_length=64, max_target_length=80
            )
            generator = kerasseq.TextGenerator(build(preprocessor), preprocessor, long_sources="sentences")
        fit(generator, folder, stage, pairs, validation)
    return generator


def fit(generator, work, stage, train, validation):
    """Fits the model of a generator as a stage says, and saves it."""
    model, preprocessor, epochs = generator.model, generator.preprocessor, stage["epochs"]
    shuffle = kerasseq.preprocessing.EpochShuffle(SEED)
    batches = preprocessor.dataset(
        train, BATCH_SIZE, shuffle=shuffle, pad_to_multiple=2, subword_sampling=stage["subword_sampling"]
    )
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0, decay_steps=epochs * len(batches) - stage["warmup_steps"],
        warmup_target=stage["learning_rate"], warmup_steps=stage["warmup_steps"],
    )  # fmt: skip
    model.compile(
        keras.optimizers.Adam(schedule, global_clipnorm=1.0, use_ema=True, ema_momentum=AVERAGE),
        kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1),
    )
    model.fit(
        batches,
        validation_data=preprocessor.dataset(sorted(validation, key=lambda pair: len(pair[1])), BATCH_SIZE),
        epochs=epochs,
        shuffle=False,  # The data set shuffles itself.
        callbacks=[
            shuffle,
            keras.callbacks.BackupAndRestore(work / "backup", delete_checkpoint=False),
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            kerasseq.callbacks.GenerationScores(preprocessor, validation[::10], metrics=["bleu"], samples=3),
            EpochSeconds(),
            keras.callbacks.CSVLogger(work / "log.csv", append=True),
        ],
    )
    generator.save(work / "unfinished.keras")
    os.replace(work / "unfinished.keras", work / "finished.keras")
    shutil.rmtree(work / "backup")


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
    known = [source for source, _ in train]
    return [train[rapidfuzz.process.extractOne(source, known, scorer=rapidfuzz.fuzz.ratio)[2]][1] for source in sources]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/translation_en_fr"))
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)

    train, validation, test = kerasseq.datasets.load_anki("fra")
    generator = train_model(work, train, validation)

    # === The length penalty is chosen on validation ===
    sources, first, _ = first_references(validation)
    outputs, on_validation = {}, {}
    for length_penalty in LENGTH_PENALTIES:
        sampler = kerasseq.search.BeamSampler(BEAM_WIDTH, length_penalty)
        outputs[length_penalty] = generator.generate(sources, sampler)
        on_validation[length_penalty] = kerasseq.evaluation.bleu(outputs[length_penalty], first)["score"]
    best = max(on_validation.values())
    length_penalty = min(penalty for penalty, bleu in on_validation.items() if bleu >= best - TOLERANCE)
    generator.sampler = kerasseq.search.BeamSampler(BEAM_WIDTH, length_penalty)
    # What it does well and what it doesn't is read here, so that the test stays unseen.
    with open(work / "validation.tsv", "w", encoding="utf-8") as file:
        for row in zip(sources, first, outputs[length_penalty], strict=True):
            print(*row, sep="\t", file=file)
    choose = random.Random(SEED)
    pairs = list(zip(sources, first, strict=True))
    typed = {
        "with_slips": [(everyday.slip(source, choose), target) for source, target in pairs],
        "in_small_letters_without_punctuation": [everyday.careless(pair) for pair in pairs],
        "in_capitals": [everyday.capitals(pair) for pair in pairs],
    }
    typed = {
        name: generator.evaluate_text(others, ["bleu"], resamples=0)["bleu"]["score"] for name, others in typed.items()
    }
    generator.model.compile(metrics=[kerasseq.metrics.Perplexity()], loss=kerasseq.losses.MaskedCrossentropy())
    batches = generator.preprocessor.dataset(validation, BATCH_SIZE)
    perplexity = generator.model.evaluate(batches, return_dict=True)["perplexity"]

    # === Test, once ===
    sources, first, every = first_references(test)
    beam = generator.generate(sources)
    greedy = generator.generate(sources, sampler="greedy")
    training_targets = {target for _, target in train}
    minutes = 0
    for name, stage in STAGES.items():
        with open(work / name / "log.csv", encoding="utf-8") as file:
            minutes += stage["epochs"] * statistics.median(float(row["seconds"]) for row in csv.DictReader(file)) / 60
    metrics = {
        "command": "python saved_models/translation_en_fr/train.py",
        "data": "Tatoeba English-French pairs of manythings.org/anki, release of 2019-04-07",
        "split": "test: int(sha256(source), 16) % 100 < 5; distinct sources, first reference in file order",
        "seed": SEED,
        "parameters": generator.model.count_params(),
        "training_minutes": round(minutes, 1),  # of epochs that take as long as the median one
        "cpus": len(os.sched_getaffinity(0)),
        "validation_perplexity": round(perplexity, 3),
        "validation_bleu_by_length_penalty": on_validation,
        **{f"validation_bleu_{name}": bleu for name, bleu in typed.items()},
        "test_sources": len(sources),
        "test_sources_in_training": len(set(sources) & {source for source, _ in train}),
        "test_references_among_training_targets": len([text for text in first if text in training_targets]),
        f"beam_{BEAM_WIDTH}": {"length_penalty": length_penalty, **scores(beam, first, every)},
        "greedy": scores(greedy, first, every),
        "copy_nearest_training_sentence": scores(nearest_training_targets(sources, train), first, every),
        "versions": {
            "python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
            "kerasseq": kerasseq.__version__,
        },
    }  # fmt: skip
    (HERE / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(metrics, indent=1, ensure_ascii=False))
    print("Exported to", generator.export(HERE))


if __name__ == "__main__":
    main()
