"""Multi30k by one recurrent model, tuned; by one that also learns from translations; and what single changes are worth.

Data and references are the authors' lowercased and tokenised files, and BLEU is over their tokens, as in the papers
that docs/benchmarks.md quotes. The search is chosen on validation; the test is scored once a model.

    python benchmarks/multi30k.py                     # English to German
    python benchmarks/multi30k.py --pair en-fr
    python benchmarks/multi30k.py --diversify         # the training texts in models' words, too
    python benchmarks/multi30k.py --changes           # of the ladder's top, on validation alone
    python benchmarks/multi30k.py --score SOURCE REFERENCE     # other files, by the model that is fitted already
"""

import copy
import hashlib
import json
import pathlib
import time

import timing
from fitting import fit
from significance import p_value

import kerasseq

SEED = 1
PAIRS = ("en-de", "en-fr", "de-en")
BASE = {
    "vocabulary_size": 6_000,
    "model": {
        "cell": "gru", "units": 256, "embedding_dim": 256, "attention": "multi_head", "dropout": 0.2,
        "tie_embeddings": True,
    },
    "data": {"batch_size": 64, "subword_sampling": 0.4},
    "fitting": {"epochs": 10, "peak_learning_rate": 2e-3, "label_smoothing": 0.1, "ema_momentum": 0.998},
}  # fmt: skip
TUNED = {"model": {"units": 320, "dropout": 0.25}, "fitting": {"epochs": 22, "ema_momentum": 0.999}}
# Of the top of the ladder in translation_ladder.py.
CHANGES = {
    "the top of the ladder": {},
    "LSTM": {"model": {"cell": "lstm"}},
    "two layers, residual": {"model": {"num_layers": 2, "residual": True}},
    "R-Drop, dropout 0.25, 20 epochs": {
        "model": {"dropout": 0.25},
        "data": {"copies": 2, "batch_size": 32},
        "fitting": {"r_drop": 5.0, "epochs": 20, "ema_momentum": 0.999},
    },
    "320 units, dropout 0.25, 22 epochs": TUNED,
    "the same without subword sampling": {**TUNED, "data": {"subword_sampling": 0.0}},
    "that with two layers, residual, dropout 0.3": {
        "model": {"units": 320, "dropout": 0.3, "num_layers": 2, "residual": True},
        "data": {"subword_sampling": 0.0},
        "fitting": TUNED["fitting"],
    },
}
BEAM_WIDTH = 12
LENGTH_PENALTIES = (0.6, 1.0, 1.4, 1.8)
# One is chosen on validation; of equal ones, the first.
SEARCHES = {
    **{
        f"beam {BEAM_WIDTH}, length penalty {penalty}": kerasseq.search.BeamSampler(BEAM_WIDTH, penalty)
        for penalty in LENGTH_PENALTIES
    },
    "beam 5": "beam",
    "greedy": "greedy",
}


def changed(recipe, changes):
    """A recipe with other settings in some places."""
    recipe = copy.deepcopy(recipe)
    for key, value in changes.items():
        recipe[key] = {**recipe[key], **value} if isinstance(value, dict) else value
    return recipe


# Of the results that are published.
RECIPE = changed(BASE, TUNED)
# Of `--diversify`, which has nearly three times the pairs.
DIVERSIFIED = changed(RECIPE, {"fitting": {"epochs": 11}})


def train_model(work, recipe, train, validation, load_only=False):
    """Fits by a recipe, or loads what an earlier call has fitted: a `TextGenerator`, and its minutes."""
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
        train, vocabulary_size=recipe["vocabulary_size"], max_source_length=80, max_target_length=80,
        normalization="identity",
    )  # fmt: skip
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    data = {name: value for name, value in recipe["data"].items() if value}

    def build():
        return kerasseq.models.AttentionSeq2Seq(*sizes, **recipe["model"])

    def make_data(shuffle):
        batches = preprocessor.dataset(train, shuffle=shuffle, pad_to_multiple=2, **data)
        return batches, preprocessor.dataset(validation, data["batch_size"])

    watch = kerasseq.callbacks.GenerationScores(preprocessor, validation, max_length=80, samples=2)
    model, minutes = fit(
        work, build, make_data, seed=SEED, data_settings=[sizes, data, digest(train)], callbacks=[watch],
        load_only=load_only, **recipe["fitting"],
    )  # fmt: skip
    return kerasseq.TextGenerator(model, preprocessor, max_length=80), minutes


def digest(pairs):
    """A str that other pairs do not have."""
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def translated(work, recipe, train, validation, load_only=False):
    """The training sources in the words of the recipe's model, and the minutes that it took, its training included.

    They are kept in a file: a training on them that is resumed needs the same again, its vocabulary above all.
    """
    generator, minutes = train_model(work, recipe, train, validation, load_only)
    path, sources = work / "translated.json", [source for source, _ in train]
    made_by = {"recipe": recipe, "pairs": digest(train)}
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if kept.get("made_by") != made_by:
        if load_only:
            raise FileNotFoundError(f"No translations of the training texts in {path}.")
        begin = time.perf_counter()
        outputs = generator.generate(sources, "beam")
        kept = {"made_by": made_by, "minutes": (time.perf_counter() - begin) / 60, "outputs": outputs}
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(kept), encoding="utf-8")
        unfinished.replace(path)
    return kept["outputs"], minutes + kept["minutes"]


def diversified(works, recipe, train, validation, load_only=False):
    """The training pairs and those with one side in the words of a model, each once; and the minutes that this took.

    Nguyen et al. 2020, "Data Diversification: A Simple Strategy For Neural Machine Translation", with one round and
    one model a direction.

    Args:
        works: folders of the model that translates sources, and of the one that translates targets.
        recipe: dict, of both models.
        train: list of (source, target).
        validation: the same.
        load_only: bool, whether nothing is fitted or translated; a `FileNotFoundError` says what is missing.
    """

    def reversed_pairs(pairs):
        return [(target, source) for source, target in pairs]

    targets, minutes = translated(works[0], recipe, train, validation, load_only)
    back = reversed_pairs(train), reversed_pairs(validation)
    sources, more_minutes = translated(works[1], recipe, *back, load_only)
    pairs = [(source, output) for (source, _), output in zip(train, targets, strict=True)]
    pairs += [(output, target) for output, (_, target) in zip(sources, train, strict=True)]
    return list(dict.fromkeys([*train, *pairs])), minutes + more_minutes


def scores(generator, pairs, sampler):
    """The outputs, and their BLEU and chrF."""
    sources, references = zip(*pairs, strict=True)
    outputs = generator.generate(sources, sampler)
    return outputs, {
        "bleu": kerasseq.evaluation.bleu(outputs, references, tokenize="none", resamples=1_000),
        "chrf": kerasseq.evaluation.chrf(outputs, references),
    }


def measure(name, recipe, work, train, validation):
    """A `TextGenerator`, its results on validation by greedy search and beam search, and the outputs of the latter."""
    generator, minutes = train_model(work, recipe, train, validation)
    _, greedy = scores(generator, validation, "greedy")
    outputs, beam = scores(generator, validation, "beam")
    result = {
        "minutes": minutes,
        "parameters": generator.model.count_params(),
        "validation": {"greedy": greedy, "beam 5": beam},
    }
    print(name, minutes, {search: row["bleu"]["score"] for search, row in result["validation"].items()}, flush=True)
    return generator, result, outputs


def ablate(arguments, work, data, recipe):
    """What each change is worth, on validation."""
    train, validation, _ = data
    results, rows, baseline = {}, [], None
    for name in arguments.changes:
        _, result, outputs = measure(name, changed(recipe, CHANGES[name]), work, train, validation)
        if name == next(iter(CHANGES)):
            baseline = outputs
        elif baseline is not None:
            result["p"] = p_value(outputs, baseline, [target for _, target in validation])
        results[name] = result
        bleu = {search: row["bleu"]["score"] for search, row in result["validation"].items()}
        rows.append([name, result["minutes"], result["parameters"] / 1e6, *bleu.values(), result.get("p", "")])
        settings = {"seed": SEED, "pair": arguments.pair, "recipe": recipe}
        timing.report(arguments, settings, results, ["", "minutes", "M parameters", *bleu, "p"], rows)


def tune(arguments, name, work, data, recipe, minutes_before=0.0, baseline=None):
    """The recipe's model: the search is chosen on validation, and the test is scored once.

    `minutes_before` are those that the data took; `baseline` are another model's outputs of beam search on validation.
    """
    train, validation, test = data
    generator, result, outputs = measure(name, recipe, work, train, validation)
    result["training_pairs"] = len(train)
    result["minutes"] = round(result["minutes"] + minutes_before, 1)
    if baseline is not None:
        result["p"] = p_value(outputs, baseline, [target for _, target in validation])
    for search, sampler in SEARCHES.items():
        if search not in result["validation"]:
            _, result["validation"][search] = scores(generator, validation, sampler)
    best = max(SEARCHES, key=lambda search: result["validation"][search]["bleu"]["score"])
    result["test"] = {"search": best, **scores(generator, test, SEARCHES[best])[1]}
    sources = {source for source, _ in train}
    targets = {target for _, target in train}
    result["overlap"] = {
        "test_sources_in_training": sum(source in sources for source, _ in test),
        "test_targets_in_training": sum(target in targets for _, target in test),
    }
    rows = [[search, row["bleu"]["score"], row["chrf"]["score"]] for search, row in result["validation"].items()]
    rows.append([f"test: {best}", result["test"]["bleu"]["score"], result["test"]["chrf"]["score"]])
    settings = {"seed": SEED, "pair": arguments.pair, "recipe": recipe}
    timing.report(arguments, settings, {name: result}, [name, "BLEU", "chrF"], rows)


def read_pairs(source_path, reference_path):
    """Pairs of two files of as many lines."""
    sides = [path.read_text(encoding="utf-8").removesuffix("\n").split("\n") for path in (source_path, reference_path)]
    if len(sides[0]) != len(sides[1]):
        raise SystemExit(
            f"The files of --score must have as many lines. Received: {source_path} with {len(sides[0]):,}, "
            f"{reference_path} with {len(sides[1]):,}."
        )
    return list(zip(*sides, strict=True))


def chosen_search(name, recipe, generator, validation):
    """The search that was, or else is now, chosen on validation."""
    path = timing.RESULTS / f"multi30k_{name}.json"
    published = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if published.get("settings", {}).get("recipe") == recipe:
        return published["results"][name]["test"]["search"]
    return max(SEARCHES, key=lambda search: scores(generator, validation, SEARCHES[search])[1]["bleu"]["score"])


def score(arguments, name, pairs, work, data, recipe):
    """Scores pairs by the model that is fitted already."""
    train, validation, _ = data
    generator, _ = train_model(work, recipe, train, validation, load_only=True)
    search = chosen_search(name, recipe, generator, validation)
    _, result = scores(generator, pairs, SEARCHES[search])
    settings = {"pair": arguments.pair, "recipe": recipe, "files": [str(path) for path in arguments.score]}
    results = {name: {"pairs": len(pairs), "search": search, **result}}
    row = [f"{len(pairs):,} pairs: {search}", result["bleu"]["score"], result["chrf"]["score"]]
    timing.report(arguments, settings, results, [name, "BLEU", "chrF"], [row])


def main():
    options = {
        "pair": {"choices": PAIRS, "default": PAIRS[0], "help": "source and target language"},
        "changes": {
            "nargs": "*",
            "choices": list(CHANGES),
            "help": "what each of these is worth; the results of all alone are written",
        },
        "diversify": {"action": "store_true", "help": "learn from translations by models of both directions, too"},
        "score": {
            "nargs": 2,
            "type": pathlib.Path,
            "metavar": ("SOURCE", "REFERENCE"),
            "help": "fit nothing, and score the model on these files, a sentence a line, lowercased and tokenised",
        },
    }
    arguments = timing.parse_arguments(__file__, __doc__, **options)
    ablation = arguments.changes is not None
    if ablation and arguments.diversify:
        raise SystemExit("--changes and --diversify are two experiments: give one of them.")
    if ablation and arguments.score:
        raise SystemExit("--score is for the tuned model, or with --diversify for that one. Leave out --changes.")
    pairs = read_pairs(*arguments.score) if arguments.score else None
    source, target = arguments.pair.split("-")
    work, back = (
        pathlib.Path("runs") / f"multi30k_{pair}{'_quick' * arguments.quick}"
        for pair in (arguments.pair, f"{target}-{source}")
    )
    data = kerasseq.datasets.load_multi30k(source, target, tokenized=True)
    recipes = {"base": BASE, "tuned": RECIPE, "diversified": DIVERSIFIED}
    if arguments.quick:
        data = [side[:size] for side, size in zip(data, (200, 20, 20), strict=True)]
        tiny = {"vocabulary_size": 500, "fitting": {"epochs": 1}}
        recipes = {name: changed(recipe, tiny) for name, recipe in recipes.items()}
    name = arguments.pair + "_changes" * ablation + "_diversified" * arguments.diversify
    some = arguments.changes and arguments.changes != list(CHANGES)
    if (some or pairs) and arguments.output == timing.RESULTS / "multi30k.json":
        arguments.output = None  # Results of all changes are not replaced by those of some, nor those of the test.
    if arguments.output and not pairs:
        arguments.output = arguments.output.with_stem(f"{arguments.output.stem}_{name}")
    if pairs:
        try:
            if arguments.diversify:
                train, validation, test = data
                more, _ = diversified([work, back], recipes["tuned"], train, validation, load_only=True)
                score(arguments, name, pairs, work / "diversified", [more, validation, test], recipes["diversified"])
            else:
                score(arguments, name, pairs, work, data, recipes["tuned"])
        except FileNotFoundError as error:
            raise SystemExit(f"{error} Run the same command without --score first.") from error
    elif ablation:
        arguments.changes = arguments.changes or list(CHANGES)
        ablate(arguments, work, data, recipes["base"])
    elif arguments.diversify:
        train, validation, test = data
        more, minutes = diversified([work, back], recipes["tuned"], train, validation)
        baseline, _ = scores(train_model(work, recipes["tuned"], train, validation)[0], validation, "beam")
        folder = work / "diversified"
        tune(arguments, name, folder, [more, validation, test], recipes["diversified"], minutes, baseline)
    else:
        tune(arguments, name, work, data, recipes["tuned"])


if __name__ == "__main__":
    main()
