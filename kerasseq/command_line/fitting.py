"""A training as its configuration says."""

import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping
from typing import Any

import keras

from kerasseq.callbacks import GenerationScores, GeneratorCheckpoint
from kerasseq.command_line.configuration import CHOICES, Configuration
from kerasseq.command_line.run_folder import (
    KEPT,
    Backup,
    LastCheckpoints,
    Log,
    RunEarlyStopping,
    RunFolder,
    RunTensorBoard,
    write_pairs,
)
from kerasseq.command_line.shell import UsageError
from kerasseq.datasets import drop_near_duplicates, read_pairs, split_by_source
from kerasseq.datasets.splits import TextPairs
from kerasseq.file_writing import replacing
from kerasseq.generator import TextGenerator
from kerasseq.metrics import TokenAccuracy
from kerasseq.preprocessing import EpochShuffle, TextPreprocessor
from kerasseq.search import BeamSampler

BEST_OF: dict[str, Any] = {"min": min, "max": max}


def fit(configuration: Configuration, resume: bool, verbose: int) -> RunFolder:
    """Trains, or goes on where a training was cut off, and repeats what it would have done without the cut.

    Args:
        configuration: a checked configuration.
        resume: bool, whether a training in the folder goes on.
        verbose: int, as of `keras.Model.fit`.

    Returns:
        the folder, with the best model in it.
    """
    values = configuration.values
    run = RunFolder(values["folder"], configuration.path)
    if values["tensorboard"] and importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            "Logs for TensorBoard need the package tensorboard, which is not installed. Run: pip install "
            '"kerasseq[cli]"; or pass --set tensorboard=false.'
        )
    run.check(values, resume)
    check_early(configuration)
    train, validation, test = read_data(configuration)
    run.begin(configuration.dump(), values, [train, validation])
    if run.results.exists():
        print(f"The training in {run.folder} is finished already.", file=sys.stderr)
        return run
    for name, pairs in zip(KEPT, (validation, test), strict=True):
        if pairs:
            write_pairs(run.pairs_file(name), pairs)

    # === Model ===
    keras.utils.set_random_seed(values["seed"])
    if not run.start.exists():
        generator = build(configuration, train)
        with replacing(run.start) as unfinished:
            generator.save(unfinished)
    # Loaded in every case, so that a training that goes on begins with the same vocabularies and weights.
    generator = TextGenerator.load(run.start)
    model, preprocessor = generator.model, generator.preprocessor

    # === Data sets ===
    shuffle = EpochShuffle(values["seed"])
    options = values["dataset"]
    with configuration.reporting("dataset"):
        batches = preprocessor.dataset(train, shuffle=shuffle, seed=values["seed"], **options)
        fixed = {name: options[name] for name in ("batch_size", "batch_tokens", "copies")}
        validation_batches = preprocessor.dataset(validation, **fixed)

    # === Optimizer ===
    optimizer = build_optimizer(configuration, values["epochs"] * len(batches))
    with configuration.reporting("loss"):
        loss = make("loss", values["loss"])
    model.compile(optimizer, loss, weighted_metrics=[TokenAccuracy()])
    epochs_done = run.epochs_done()
    if epochs_done:
        optimizer.build(model.trainable_variables)
        try:
            model.load_weights(run.backup(epochs_done))
        except (KeyError, OSError) as error:
            raise ValueError(
                f"Expected the weights and the optimizer of the last epoch in {run.backup(epochs_done)}. Received: a "
                f"damaged file ({type(error).__name__}). Restore it, or begin in another folder: --set folder=..."
            ) from error

    model.fit(
        batches,
        validation_data=validation_batches,
        initial_epoch=epochs_done,
        epochs=values["epochs"],
        shuffle=False,  # The data set shuffles itself.
        verbose=verbose,
        callbacks=callbacks(configuration, run, preprocessor, shuffle, validation, epochs_done),
    )
    run.finish(results(run, values))
    return run


def read_data(configuration: Configuration) -> tuple[TextPairs, TextPairs, TextPairs]:
    """Training, validation and test pairs; without a test where there is a validation file."""
    data = configuration.values["data"]
    with configuration.reporting("data"):
        train = list(dict.fromkeys(read_file(data["train"])))
        test: TextPairs = []
        if data["validation"] is not None:
            validation = read_file(data["validation"])
        else:
            train, validation, test = split_by_source(train)
        if not (train and validation):
            raise ValueError(
                f"train must have pairs with many sources, which are split into training, validation and test. "
                f"Received: {len(train)} pairs for training and {len(validation)} for validation. Name a file of "
                "validation pairs: `validation:`."
            )
        if data["drop_near_duplicates"]:
            train = drop_near_duplicates(train, [*validation, *test])
        if not train:
            raise ValueError(
                "train must have sources that validation does not have. Received: only near duplicates of validation "
                "and test, which were dropped. Name another file, or leave out `validation`, so that train is split; "
                "`drop_near_duplicates: false` keeps them."
            )
    print(
        f"{len(train):,} pairs for training, {len(validation):,} for validation, {len(test):,} for the test",
        file=sys.stderr,
    )
    return train, validation, test


def read_file(file: Mapping[str, Any]) -> TextPairs:
    """The pairs of a file that the configuration describes, `~` expanded."""
    paths = {name: os.path.expanduser(file[name]) for name in ("path", "target_path") if file[name] is not None}
    return read_pairs(**{**file, **paths})


def build(configuration: Configuration, train: TextPairs) -> TextGenerator:
    """The model before the training, with its vocabularies."""
    values = configuration.values
    with configuration.reporting("preprocessor"):
        preprocessor = TextPreprocessor.from_pairs(train, **values["preprocessor"])
    sizes = {
        "source_vocabulary_size": preprocessor.source_vocabulary_size,
        "target_vocabulary_size": preprocessor.target_vocabulary_size,
        "vocabulary_size": preprocessor.target_vocabulary_size,
    }
    with configuration.reporting("model"):
        builder = values["model"]["builder"]
        taken = inspect.signature(CHOICES["model"].functions[builder]).parameters
        if "vocabulary_size" in taken and not preprocessor.joint:
            raise UsageError(
                f"{configuration.place(('model', 'builder'))}: builder {builder} needs one vocabulary for sources and "
                "targets. Add `joint: true` to the section `preprocessor`."
            )
        model = make("model", values["model"], {name: size for name, size in sizes.items() if name in taken})
    with configuration.reporting("checkpoint"):
        return TextGenerator(model, preprocessor, **generator_options(values))


def make(section: str, values: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> Any:
    """Calls the function that a section chooses."""
    choice = CHOICES[section]
    arguments = {name: value for name, value in values.items() if name != choice.key}
    return choice.functions[values[choice.key]](**arguments, **(more or {}))


def build_optimizer(configuration: Configuration, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer, with its schedule: `warmup_steps` below 1 are a share of all steps."""
    values = configuration.values
    rate = values["optimizer"]["learning_rate"]
    schedule = values["schedule"]
    if schedule is not None:
        derived = {"initial_learning_rate": rate, "decay_steps": steps, "first_decay_steps": steps}
        given = dict(schedule)
        if given.get("warmup_steps"):
            warmup = given["warmup_steps"]
            given["warmup_steps"] = int(warmup * steps if warmup < 1 else warmup)
            derived |= {
                "initial_learning_rate": rate / 10,
                "decay_steps": max(1, steps - given["warmup_steps"]),
                "warmup_target": rate,
            }
        given |= {name: derived.get(name) for name, value in given.items() if value is None}
        with configuration.reporting("schedule"):
            rate = make("schedule", given)
    with configuration.reporting("optimizer"):
        return make("optimizer", {**values["optimizer"], "learning_rate": rate})


def generator_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `TextGenerator` in the section `checkpoint`."""
    checkpoint = values["checkpoint"]
    found = {name: checkpoint[name] for name in ("sampler", "max_length", "long_sources")}
    settings = {name: checkpoint[name] for name in ("beam_width", "length_penalty") if checkpoint[name] is not None}
    if settings:
        if checkpoint["sampler"] != "beam":
            raise ValueError(
                f"{' and '.join(settings)} set up beam search. Received: sampler={checkpoint['sampler']!r}. Set "
                "`sampler: beam`."
            )
        found["sampler"] = BeamSampler(**settings)
    return found


def check_early(configuration: Configuration) -> None:
    """Builds what needs no data, so that its mistakes are reported before data are read."""
    with configuration.reporting("loss"):
        make("loss", configuration.values["loss"])
    build_optimizer(configuration, steps=1)
    with configuration.reporting("checkpoint"):
        generator_options(configuration.values)


def callbacks(
    configuration: Configuration,
    run: RunFolder,
    preprocessor: TextPreprocessor,
    shuffle: EpochShuffle,
    validation: TextPairs,
    epochs_done: int,
) -> list[keras.callbacks.Callback]:
    """In the order in which they must see the end of an epoch."""
    values = configuration.values
    checkpoint, past = values["checkpoint"], run.rows(epochs_done)
    watched = {name: checkpoint[name] for name in ("monitor", "mode")}
    found: list[keras.callbacks.Callback] = [shuffle]
    if values["optimizer"].get("use_ema"):
        found.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    found.append(Backup(run, epochs_done))
    if values["scores"] is not None:
        options = {name: value for name, value in values["scores"].items() if name != "pairs"}
        # Files may be sorted: every n-th.
        few = validation[:: -(-len(validation) // values["scores"]["pairs"])]
        with configuration.reporting("scores"):
            found.append(GenerationScores(preprocessor, few, **options))
    seen = [row[checkpoint["monitor"]] for row in past if checkpoint["monitor"] in row]
    found.append(
        GeneratorCheckpoint(
            run.best,
            preprocessor,
            **generator_options(values),
            **watched,
            save_best_only=True,
            initial_value_threshold=BEST_OF[checkpoint["mode"]](seen) if seen else None,
        )
    )
    if checkpoint["last"]:
        found.append(LastCheckpoints(run, checkpoint["last"], preprocessor, **generator_options(values)))
    if values["early_stopping"] is not None:
        found.append(RunEarlyStopping(past, **watched, **values["early_stopping"]))
    if values["tensorboard"]:
        found.append(RunTensorBoard(run.tensorboard, write_graph=False))
    return [*found, Log(run, epochs_done)]


def results(run: RunFolder, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the training has reached."""
    monitor, mode = values["checkpoint"]["monitor"], values["checkpoint"]["mode"]
    rows = run.rows(values["epochs"])
    best = BEST_OF[mode](rows, key=lambda row: row[monitor])
    return {"epochs": len(rows), "best": {**best, "epoch": int(best["epoch"])}}
