"""Sizes of models by the number of pairs: BLEU and chrF on validation of what `kerasseq init` writes, and of changes.

For each number of pairs, as many are drawn from English-French ones: Tatoeba's, and for 500,000 those of Europarl.
`kerasseq init` writes a configuration, and `kerasseq train` trains it with each of the changes below. Scores are those
of the best epoch by chrF, on 500 validation pairs, from log.csv of each run. `kerasseq.command_line.sizes` is chosen by
these. One seed; the test is not read. `python benchmarks/tables.py` writes the table of docs/guides/sizes.md.

    python benchmarks/sizes.py --pairs 2000 5000
"""

import argparse
import csv
import json
import pathlib
import random
import subprocess
import sys

import timing

import kerasseq

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "saved_models" / "translation_en_fr"))
import data  # noqa: E402

RESULTS = timing.RESULTS / "sizes.json"
SEED = 1
# By number of pairs: names and values that replace those of `kerasseq init`.
VOCABULARY, UNITS = "preprocessor.vocabulary_size", ("model.units", "model.embedding_dim")
CHANGES = {
    2_000: [
        {VOCABULARY: None},  # by the data
        {VOCABULARY: 2_000},
        {VOCABULARY: 4_000},
        {VOCABULARY: 4_000, **dict.fromkeys(UNITS, 256)},
    ],
    5_000: [{VOCABULARY: None}, {VOCABULARY: 4_000}, {VOCABULARY: 8_000}],
    20_000: [{VOCABULARY: None}, {VOCABULARY: 8_000}],
    100_000: [{}],
    500_000: [{}],
}


def draw(number):
    """Training and validation pairs, at random but the same in every call."""
    train, validation, _ = kerasseq.datasets.load_anki("fra")
    choose = random.Random(SEED)
    if number > len(train):
        train = data.load_corpus("europarl", repaired=False)
        validation = choose.sample(train, 2_000)
        known = {source for source, _ in validation}
        train = [pair for pair in train if pair[0] not in known]
    return choose.sample(train, number), choose.sample(validation, 500)


def write_tsv(path, pairs):
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")


def command(*arguments):
    subprocess.run([sys.executable, "-m", "kerasseq", *map(str, arguments)], check=True)


def text(value):
    """A value as YAML reads it."""
    return value if isinstance(value, pathlib.Path) else json.dumps(value)


def measure(work, number, changes):
    """Trains, or goes on, and returns scores, epochs and the number of parameters."""
    name = "_".join(f"{key.rpartition('.')[2]}_{value}" for key, value in changes.items()) or "as_written"
    folder = work / f"{number}" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    train, validation = folder.parent / "train.tsv", folder.parent / "validation.tsv"
    if not validation.exists():
        for path, pairs in zip((train, validation), draw(number), strict=True):
            write_tsv(path, pairs)
    config = folder.parent / "config.yaml"
    command("init", train, "--validation", validation, "-o", config, "--overwrite")
    settings = {"folder": folder, "scores.pairs": 500, "scores.samples": 0, "tensorboard": False, **changes}
    command("train", config, "--resume", "--quiet", *(f"--set={key}={text(value)}" for key, value in settings.items()))
    with open(folder / "log.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["val_chrf"]))
    parameters = kerasseq.TextGenerator.load(folder / "best.keras").model.count_params()
    return {
        "bleu": round(float(best["val_bleu"]), 2), "chrf": round(float(best["val_chrf"]), 2),
        "epochs": len(rows), "best_epoch": rows.index(best) + 1, "parameters": parameters,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", type=int, choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/sizes"))
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8"))["results"] if RESULTS.exists() else []
    for number in arguments.pairs:
        for changes in CHANGES[number]:
            row = {"pairs": number, "changes": changes, **measure(arguments.work, number, changes)}
            results = [old for old in results if (old["pairs"], old["changes"]) != (number, changes)] + [row]
            results.sort(key=lambda old: old["pairs"])
            RESULTS.write_text(json.dumps({"seed": SEED, "results": results}, indent=1) + "\n", encoding="utf-8")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
