"""Writes the tables of the README that stand between `<!-- table NAME -->` and `<!-- /table -->`, from results/.

python benchmarks/tables.py
"""

import json
import pathlib
import re

RESULTS = pathlib.Path(__file__).parent / "results"
README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


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


TABLES = {"cells": cells, "architectures": architectures, "ladder": ladder, "multi30k": multi30k, "changes": changes}


def updated(text):
    """A text whose tables are those of the results."""

    def replace(match):
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- table (\w+) -->)\n.*?(<!-- /table -->)", replace, text, flags=re.DOTALL)


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
