"""Writes the tables of the documentation that stand between `<!-- table NAME -->` and `<!-- /table -->`.

They are made of the results in results/; that of the released models is made of kerasseq/zoo/models.json.

python benchmarks/tables.py
"""

import json
import pathlib
import re

RESULTS = pathlib.Path(__file__).parent / "results"
ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / path
    for path in (
        "README.md",
        "docs/benchmarks.md",
        "docs/zoo/index.md",
        "docs/guides/sizes.md",
        "docs/guides/attention.md",
    )
]


def table(header, rows):
    """Lines of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def results(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["results"]


def interval(bleu):
    """A score with half the width of its confidence interval."""
    low, high = bleu["intervals"]["score"]
    return f"{bleu['score']:.1f} ± {(high - low) / 2:.1f}"


def shown(p):
    return "" if p is None else f"{p:.3f}"


def on_device():
    header = ["", "MB", "ms a sentence", "to the SavedModel", "peak memory, MB", "BLEU", "chrF", "same texts"]
    return table(header, [
        [
            name, row["megabytes"], f"{row['ms_a_sentence']['median']:.1f}",
            f"{row['time_to_saved_model']['median']:.2f}", row["peak_megabytes"],
            f"{row['bleu']['score']:.1f}", f"{row['chrf']['score']:.1f}", row["same_texts"],
        ]
        for name, row in results("on_device").items()
    ])  # fmt: skip


def ladder():
    header = ["", "parameters", "minutes", "tokens/s", "sentences/s", "validation BLEU", "test BLEU", "p", "test chrF"]
    return table(header, [
        [
            name, f"{row['parameters'] / 1e6:.1f} M", f"{row['minutes']:.0f}", f"{row['tokens_a_second']:,}",
            f"{row['test']['sentences_a_second']:.0f}", f"{row['validation']['bleu']['score']:.1f}",
            interval(row["test"]["bleu"]), shown(row["test"].get("p")), f"{row['test']['chrf']['score']:.1f}",
        ]
        for name, row in results("translation_ladder").items()
    ])  # fmt: skip


def multi30k():
    header = ["", "parameters", "minutes", "search", "validation BLEU", "test BLEU", "test chrF"]
    rows = []
    for path in sorted(RESULTS.glob("multi30k_??-??*.json")):
        if path.stem.endswith("_changes"):
            continue
        for name, row in results(path.stem).items():
            search = row["test"]["search"]
            validation = row["validation"][search]["bleu"]["score"]
            rows.append([
                name.replace("_", ", "), f"{row['parameters'] / 1e6:.1f} M", f"{row['minutes']:.0f}", search,
                f"{validation:.1f}", interval(row["test"]["bleu"]), f"{row['test']['chrf']['score']:.1f}",
            ])  # fmt: skip
    return table(header, rows)


def changes():
    header = ["", "parameters", "minutes", "greedy", "beam 5", "p", "chrF, beam 5"]
    return table(header, [
        [
            name, f"{row['parameters'] / 1e6:.1f} M", f"{row['minutes']:.0f}",
            *(f"{row['validation'][search]['bleu']['score']:.1f}" for search in ("greedy", "beam 5")),
            shown(row.get("p")), f"{row['validation']['beam 5']['chrf']['score']:.1f}",
        ]
        for name, row in results("multi30k_en-de_changes").items()
    ])  # fmt: skip


def median(row, what, key):
    """The median of a measurement, with the extremes of its rounds if they differ; nothing if it is missing."""
    values = row.get(what, {}).get(key)
    if values is None:
        return ""
    middle, *extremes = (f"{values[name]:.3g}" if values[name] < 100 else f"{values[name]:,.0f}" for name in
                         ("median", "least", "most"))  # fmt: skip
    return middle if len(set(extremes)) == 1 else f"{middle} ({extremes[0]} to {extremes[1]})"


def peers_training():
    header = ["", "parameters", "target tokens/s", "peak memory, MB"]
    rows = [
        [name, f"{row['parameters'] / 1e6:.1f} M", median(row, "train", "tokens_per_second"),
         median(row, "train", "peak_memory_mb")]
        for name, row in results("peers").items() if "train" in row
    ]  # fmt: skip
    return table(header, rows)


def peers_decoding():
    header = ["", "greedy, sentences/s", "tokens/s", "beam 5, sentences/s", "tokens/s", "tokens a sentence",
              "one sentence, ms"]  # fmt: skip
    rows = [
        [name, *(median(row, what, key) for what in ("greedy", "beam") for key in
                 ("sentences_per_second", "tokens_per_second")),
         median(row, "beam", "mean_length"), median(row, "latency", "median_ms")]
        for name, row in results("peers").items() if "beam" in row
    ]  # fmt: skip
    return table(header, rows)


def cells():
    parts = ("training, tokens/s", "greedy, sentences/s", "beam 5, sentences/s", "greedy, one, ms")
    header = ["cell", "parameters", *(title for part in parts for title in (part, "to GRU"))]
    return table(header, [
        [
            f'`"{name}"`', f"{row['parameters'] / 1e6:.1f} M",
            *(f"{row[key]['median']:,.4g}" for part in parts for key in (part, f"{part}, to gru")),
        ]
        for name, row in results("cells").items()
    ])  # fmt: skip


def architectures():
    header = [
        "", "parameters", "epochs", "minutes", "validation BLEU, beam 5", "test BLEU, greedy", "test BLEU, beam 5",
        "sentences/s, greedy", "sentences/s, beam 5", "ms for one", "greedy outputs without END, of 1,000",
    ]  # fmt: skip
    return table(header, [
        [
            name, f"{row['parameters'] / 1e6:.1f} M", row["epochs"], f"{row['minutes']:.0f}",
            f"{row['validation']['score']:.1f}", interval(row["test_greedy"]), interval(row["test_beam"]),
            f"{row['sentences_a_second_greedy']:.0f}", f"{row['sentences_a_second_beam']:.0f}",
            row["milliseconds_for_one"], row["unfinished_greedy"],
        ]
        for name, row in results("architectures").items()
    ])  # fmt: skip


def models():
    """The newest version of each released model."""
    rows = []
    for name, versions in json.loads((ROOT / "kerasseq" / "zoo" / "models.json").read_text(encoding="utf-8")).items():
        model = versions[max(versions, key=int)]
        size = sum(file["size"] for file in model["files"].values())
        score, value = next(iter(model["scores"].items()))
        licence = re.split("[:;,]", model["licence"])[0]  # Whom to credit stands behind it.
        rows.append([f"`{name}`", model["title"], f"{size / 1e6:.0f} MB", f"{score}: {value}", licence])
    return table(["name", "", "size", "test score", "licence"], rows)


def joint_decoding():
    header = ["", "word error rate, %", "replaced", "left out", "added", "sounds/s"]
    kinds = ("substitutions", "deletions", "insertions", "sounds_a_second")
    return table(header, [
        [name, f"{row['wer']:.1f}", *(row[kind] for kind in kinds)] for name, row in results("joint_decoding").items()
    ])  # fmt: skip


def size_scores():
    names = {"preprocessor.vocabulary_size": "vocabulary", "model.units": "units", "model.embedding_dim": None}
    header = ["pairs", "changed", "BLEU", "chrF", "best epoch", "parameters"]
    return table(header, [
        [
            f"{row['pairs']:,}",
            ", ".join(
                f"{names[key]} {f'{value:,}' if value else 'by the data'}"
                for key, value in row["changes"].items()
                if names[key]
            ),
            f"{row['bleu']:.1f}", f"{row['chrf']:.1f}", f"{row['best_epoch']} of {row['epochs']}",
            f"{row['parameters'] / 1e6:.1f} M",
        ]
        for row in results("sizes")
    ])  # fmt: skip


def attention_alignment():
    header = [
        "task",
        "cell",
        "score",
        "accuracy, %",
        "highest weight on its characters, %",
        "weight on them, %",
        "entropy, nats",
    ]
    shares = ("accuracy", "highest_weight_on_its_characters", "weight_on_its_characters")
    return table(header, [
        [*name.split(", "), *(f"{100 * row[share]:.0f}" for share in shares), f"{row['entropy']:.2f}"]
        for name, row in results("attention_alignment").items()
    ])  # fmt: skip


TABLES = {
    "architectures": architectures, "cells": cells, "changes": changes, "ladder": ladder, "models": models,
    "multi30k": multi30k, "on_device": on_device,
    "joint_decoding": joint_decoding,
    "size_scores": size_scores,
    "attention_alignment": attention_alignment,
    "peers_training": peers_training,
    "peers_decoding": peers_decoding,
}  # fmt: skip


def updated(text):
    """A text whose tables are those of the results."""

    def replace(match):
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- table (\w+) -->)\n.*?(<!-- /table -->)", replace, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
