"""Trains, evaluates and exports a translator of everyday sentences, from Tatoeba's pairs of English and a language.

Called by the `train.py` of each model. Resumes at the last finished epoch when it is called again.
"""

import argparse
import json
import os
import pathlib
import random
import shutil

import everyday
import first_words
import keras
import reports

import kerasseq

SEED = 1
BATCH_SIZE = 128
AVERAGE = 0.999  # of what the weights were before, in their average over the steps
# The last epochs see texts as they will be cut when served, and more of what is in no collection of sentences.
STAGES = {
    "first": {
        "epochs": 4, "learning_rate": 2e-3, "warmup_steps": 500, "subword_sampling": 0.5,
        "shares": everyday.SHARES,
    },
    "last": {
        "epochs": 2, "learning_rate": 1e-3, "warmup_steps": 200, "subword_sampling": None,
        "shares": everyday.LAST_SHARES,
    },
}  # fmt: skip
FIRST_WORDS_COPIES = 40
VOCABULARY_SIZE = 6_000
BEAM_WIDTH = 5
LENGTH_PENALTIES = (0.8, 1.0, 1.2)
TOLERANCE = 0.1  # BLEU. The smallest penalty this near to the best wins: larger ones favour long, repetitive outputs.
CODES = {"fr": "fra", "de": "deu", "es": "spa"}  # of the files
NAMES = {"en": "English", "fr": "French", "de": "German", "es": "Spanish"}


def build(preprocessor):
    return kerasseq.models.AttentionSeq2Seq(
        source_vocabulary_size=preprocessor.source_vocabulary_size,
        target_vocabulary_size=preprocessor.target_vocabulary_size,
        cell="gru",
        units=256,
        embedding_dim=256,
        bidirectional=True,
        attention="multi_head",
        dropout=0.2,
        tie_embeddings=True,
    )


def load_pairs(source, target):
    """Training, validation and test pairs in the order of the languages, no source in two of them."""
    (language,) = {source, target} - {"en"}
    splits = kerasseq.datasets.load_anki(CODES[language])
    if source == "en":
        return splits
    return kerasseq.datasets.split_by_source([pair[::-1] for split in splits for pair in split])


def other_sentences(source):
    """Training sentences in the languages other than the source's, each once: they stay as they are."""
    sides = [
        (side, [pair[index] for pair in kerasseq.datasets.load_anki(code)[0]])
        for language, code in CODES.items()
        for index, side in ((0, "en"), (1, language))
    ]
    return list(dict.fromkeys(text for language, texts in sides if language != source for text in texts))


def training_pairs(train, source, target, shares):
    """The pairs of a stage: the data, everyday English made of it, and first words."""
    (language,) = {source, target} - {"en"}
    from_english = source == "en"
    pairs = train if from_english else [pair[::-1] for pair in train]
    added = everyday.everyday(pairs, other_sentences(source), SEED, shares, language, from_english)
    added = added if from_english else [pair[::-1] for pair in added]
    return train + added + first_words.pairs(source, target) * FIRST_WORDS_COPIES


def train_model(work, source, target, train, validation):
    """Goes through the stages, but those that an earlier call has finished; returns a `TextGenerator`."""
    reports.check_settings(work, {
        "seed": SEED, "batch_size": BATCH_SIZE, "average": AVERAGE, "vocabulary_size": VOCABULARY_SIZE,
        "first_words_copies": FIRST_WORDS_COPIES, "stages": STAGES,
    })  # fmt: skip

    def pairs_of(stage):
        return training_pairs(train, source, target, stage["shares"])

    return through_stages(work, STAGES, pairs_of, build, VOCABULARY_SIZE, validation)


def through_stages(work, stages, pairs_of, build, vocabulary_size, validation):
    """Trains stage by stage, but for those that an earlier call has finished.

    Args:
        work: `pathlib.Path`, the folder of the training.
        stages: dict of dicts, as `STAGES`.
        pairs_of: function of a stage that returns its training pairs.
        build: function of a preprocessor that returns a model.
        vocabulary_size: int, of each side; the vocabularies are those of the first stage's pairs.
        validation: list of pairs.

    Returns:
        the `TextGenerator` of the last stage.
    """
    keras.utils.set_random_seed(SEED)
    generator = None
    for name, stage in stages.items():
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "finished.keras").exists():
            generator = kerasseq.TextGenerator.load(folder / "finished.keras")
            continue
        pairs = pairs_of(stage)
        if generator is None:
            preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
                pairs, vocabulary_size=vocabulary_size, max_source_length=64, max_target_length=80
            )
            generator = kerasseq.TextGenerator(build(preprocessor), preprocessor, long_sources="sentences")
        fit(generator, folder, stage, pairs, validation)
    return generator


def fit(generator, work, stage, train, validation):
    """Fits the model of a generator as a stage says, and saves it."""
    model, preprocessor, epochs = generator.model, generator.preprocessor, stage["epochs"]
    shuffle = kerasseq.preprocessing.EpochShuffle(SEED)
    batches = preprocessor.dataset(train, BATCH_SIZE, shuffle=shuffle, subword_sampling=stage["subword_sampling"])
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0, decay_steps=epochs * len(batches) - stage["warmup_steps"],
        warmup_target=stage["learning_rate"], warmup_steps=stage["warmup_steps"],
    )  # fmt: skip
    model.compile(
        kerasseq.optimizers.Adam(schedule, global_clipnorm=1.0, use_ema=True, ema_momentum=AVERAGE),
        kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1),
    )
    model.fit(
        batches,
        validation_data=preprocessor.dataset(sorted(validation, key=lambda pair: len(pair[1])), BATCH_SIZE),
        epochs=epochs,
        shuffle=False,  # The data set shuffles itself.
        verbose=2,
        callbacks=[
            shuffle,
            keras.callbacks.BackupAndRestore(work / "backup", delete_checkpoint=False),
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            kerasseq.callbacks.GenerationScores(preprocessor, validation[::10], metrics=["bleu"], samples=3),
            reports.EpochSeconds(),
            keras.callbacks.CSVLogger(work / "log.csv", append=True),
        ],
    )
    generator.save(work / "unfinished.keras")
    os.replace(work / "unfinished.keras", work / "finished.keras")
    shutil.rmtree(work / "backup")


def choose_length_penalty(generator, work, sources, first, length_penalties):
    """Sets the sampler by validation, whose outputs are kept to be read; returns BLEU by length penalty."""
    outputs, on_validation = {}, {}
    for length_penalty in length_penalties:
        sampler = kerasseq.search.BeamSampler(BEAM_WIDTH, length_penalty)
        outputs[length_penalty] = generator.generate(sources, sampler)
        on_validation[length_penalty] = kerasseq.evaluation.bleu(outputs[length_penalty], first)["score"]
    best = max(on_validation.values())
    length_penalty = min(penalty for penalty, bleu in on_validation.items() if bleu >= best - TOLERANCE)
    generator.sampler = kerasseq.search.BeamSampler(BEAM_WIDTH, length_penalty)
    with open(work / "validation.tsv", "w", encoding="utf-8") as file:
        for row in zip(sources, first, outputs[length_penalty], strict=True):
            print(*row, sep="\t", file=file)
    return on_validation


def typed_otherwise(generator, pairs):
    """BLEU on validation for sources with slips of the fingers, without punctuation, and in capitals."""
    choose = random.Random(SEED)
    typed = {
        "with_slips": [(everyday.slip(source, choose), target) for source, target in pairs],
        "in_small_letters_without_punctuation": [everyday.careless(pair) for pair in pairs],
        "in_capitals": [everyday.capitals(pair) for pair in pairs],
    }
    return {
        name: generator.evaluate_text(others, ["bleu"], resamples=0)["bleu"]["score"] for name, others in typed.items()
    }


def main(folder, source, target):
    """Trains, evaluates and exports a model, see the top of this file.

    Args:
        folder: `pathlib.Path`, of the model; gets `metrics.json` and the next version.
        source, target: str, the languages, one of them "en".
    """
    parser = argparse.ArgumentParser(description=f"Trains {NAMES[source]} to {NAMES[target]}, evaluates and exports.")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs") / folder.name)
    parser.add_argument("--train-only", action="store_true", help="leaves the scores and the export to another call")
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)

    train, validation, test = load_pairs(source, target)
    generator = train_model(work, source, target, train, validation)
    if arguments.train_only:
        return

    (language,) = {source, target} - {"en"}
    metrics = {
        "command": f"python saved_models/{folder.name}/train.py",
        "data": f"Tatoeba English-{NAMES[language]} pairs of manythings.org/anki, the release of load_anki",
        **measure(generator, work, (train, validation, test), STAGES),
    }
    finish(generator, folder, metrics)


def measure(generator, work, splits, stages, length_penalties=LENGTH_PENALTIES):
    """Chooses the length penalty on validation, scores the test once, and returns what `metrics.json` says of both.

    Args:
        generator: `kerasseq.TextGenerator`; gets the sampler.
        work: `pathlib.Path`, the folder of the training, with a log.csv for each stage.
        splits: training, validation and test pairs.
        stages: dict of dicts, as `STAGES`.
        length_penalties: tuple of float, to choose from.
    """
    train, validation, test = splits

    # === Validation: the length penalty is chosen, and what the card says is read ===
    sources, first, _ = reports.first_references(validation)
    on_validation = choose_length_penalty(generator, work, sources, first, length_penalties)
    typed = typed_otherwise(generator, list(zip(sources, first, strict=True)))
    generator.model.compile(metrics=[kerasseq.metrics.Perplexity()], loss=kerasseq.losses.MaskedCrossentropy())
    batches = generator.preprocessor.dataset(validation, BATCH_SIZE)
    perplexity = generator.model.evaluate(batches, return_dict=True)["perplexity"]

    # === Test, once ===
    sources, first, every = reports.first_references(test)
    beam = generator.generate(sources)
    greedy = generator.generate(sources, sampler="greedy")
    nearest = reports.nearest_training_targets(sources, train)
    training_targets = {target for _, target in train}
    minutes = sum(reports.minutes(work / name / "log.csv", stage["epochs"]) for name, stage in stages.items())
    return {
        "split": "test: int(sha256(source), 16) % 100 < 5; distinct sources, first reference in file order",
        "seed": SEED,
        "parameters": generator.model.count_params(),
        "training_pairs": len(train),
        "training_minutes": round(minutes, 1),  # of epochs that take as long as the median one
        "validation_perplexity": round(perplexity, 3),
        "validation_bleu_by_length_penalty": on_validation,
        **{f"validation_bleu_{name}": bleu for name, bleu in typed.items()},
        "test_sources": len(sources),
        "test_sources_in_training": len(set(sources) & {source for source, _ in train}),
        "test_references_among_training_targets": len([text for text in first if text in training_targets]),
        f"beam_{BEAM_WIDTH}": {
            "length_penalty": generator.sampler.length_penalty, **reports.scores(beam, first, every),
        },
        "greedy": reports.scores(greedy, first, every),
        "copy_nearest_training_sentence": reports.scores(nearest, first, every),
        **reports.environment(),
    }  # fmt: skip


def finish(generator, folder, metrics):
    """Writes `metrics.json`, and exports the next version."""
    text = json.dumps(metrics, indent=1, ensure_ascii=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    print("Exported to", generator.export(folder))
