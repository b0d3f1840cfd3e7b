"""`kerasseq evaluate`."""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from kerasseq.command_line import options, shell
from kerasseq.command_line.shell import UsageError


def evaluate(
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", help="A model, or a file of its outputs: a text, or JSON, on each line.")
    ],
    pairs: options.Pairs,
    target_path: options.TargetPath = None,
    columns: options.Columns = None,
    kind: options.Kind = None,
    quotes: options.Quotes = None,
    encoding: options.Encoding = "utf-8",
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="Such as bleu,chrf (the default), rouge, word_error_rate, exact_match. Repeatable."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Another SYSTEM: adds the difference, and its p-value by paired bootstrap, where there is one."
        ),
    ] = None,
    single_reference: Annotated[
        bool,
        typer.Option("--single-reference", help="Each pair by itself, where a source stands in several of them."),
    ] = False,
    language: Annotated[str | None, typer.Option(help="Code of the targets' language, such as zh.")] = None,
    resamples: Annotated[int, typer.Option(help="For 95 % intervals and p-values; 0 for no intervals.")] = 1_000,
    sampler: options.Sampler = None,
    beam_width: options.BeamWidth = None,
    length_penalty: options.LengthPenalty = None,
    max_length: options.MaxLength = None,
    batch_size: options.BatchSize = 64,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a model, or a file of outputs, against references.

    Sources that stand in several pairs count once, with all their targets as references. Prints metric, score and
    interval behind tabs.

    \b
    Examples:
      kerasseq evaluate runs/pairs runs/pairs/test.jsonl
      kerasseq evaluate out.txt test.tsv --metrics bleu,chrf --baseline other.txt
      kerasseq evaluate runs/pairs test.en --target-path test.de --json
    """
    with shell.command(quiet) as stdout:
        from kerasseq.evaluation import paired_bootstrap, score_texts
        from kerasseq.evaluation.scores import METRICS, check_scorable
        from kerasseq.evaluation.significance import TESTS

        names = [name for text in metrics or ["bleu,chrf"] for name in text.split(",")]
        found = options.pairs_of(pairs, target_path, columns, kind, quotes, encoding)
        rows, references = references_of([source for source, _ in found], [target for _, target in found])
        if single_reference:
            rows, references = list(range(len(found))), [[target] for _, target in found]
        entries: list[Any] = list(references)
        if all(len(entry) == 1 for entry in references):
            entries = [entry[0] for entry in references]
        check_scorable(entries, names, resamples, language)
        tested = [name for name in names if name in TESTS] if baseline is not None else []
        decoding = {
            "sampler": sampler, "beam_width": beam_width, "length_penalty": length_penalty, "max_length": max_length,
            "batch_size": batch_size,
        }  # fmt: skip
        sources = [source for source, _ in found]
        outputs = {
            name: outputs_of(path, sources, rows, decoding)
            for name, path in (("system", system), ("baseline", baseline))
            if path is not None
        }
        results = {name: score_texts(texts, entries, names, resamples, language) for name, texts in outputs.items()}
        compared = {}
        if tested:
            compared = paired_bootstrap(
                outputs["system"], outputs["baseline"], entries, tested, resamples or 1_000, language
            )
        if as_json:
            if compared:
                results["paired_bootstrap"] = compared
            print(json.dumps(results, ensure_ascii=False, indent=2), file=stdout)
            return
        for name in names:
            for key, shown in METRICS[name].logged.items():
                result = results["system"][name]
                interval = result.get("intervals", {}).get(key, ["", ""])
                cells = [shown, result[key], *interval]
                if name in compared:
                    test = compared[name]
                    cells += [
                        f"baseline {test['baseline']}",
                        f"difference {test['difference']}",
                        f"p {test['p_value']}",
                    ]
                print(*cells, sep="\t", file=stdout)
            if "signature" in results["system"][name]:
                print(f"{name}: {results['system'][name]['signature']}", file=sys.stderr)


def references_of(sources: Sequence[str], targets: Sequence[str]) -> tuple[list[int], list[list[str]]]:
    """The row of each distinct source, and all its targets."""
    rows: dict[str, int] = {}
    references: dict[str, list[str]] = {}
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        rows.setdefault(source, row)
        references.setdefault(source, []).append(target)
    return list(rows.values()), list(references.values())


def outputs_of(system: str, sources: Sequence[str], rows: Sequence[int], decoding: dict[str, Any]) -> list[str]:
    """The outputs for some rows of the sources: those of a model, or of a file with a line for each source."""
    path = pathlib.Path(system).expanduser()
    if path.is_file() and path.suffix != ".keras":
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        if len(lines) != len(sources):
            raise ValueError(
                f"{system}: expected an output for each of {len(sources)} pairs. Received: {len(lines)} lines."
            )
        return [text_of(lines[row], path, row) for row in rows]
    from kerasseq.command_line.zoo import load_generator

    generator = load_generator(system)
    settings = {name: decoding[name] for name in ("sampler", "beam_width", "length_penalty")}
    return generator.generate(
        [sources[row] for row in rows],
        sampler=options.sampler_of(generator, **settings),
        max_length=decoding["max_length"],
        batch_size=decoding["batch_size"],
    )


def text_of(line: str, path: pathlib.Path, row: int) -> str:
    """The text of a line, which is JSON where the file's name says so."""
    if path.suffix not in (".json", ".jsonl"):
        return line
    try:
        text = json.loads(line)["text"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise UsageError(
            f"{path}, line {row + 1}: expected an object with a text, as of `kerasseq generate --json`. Received: "
            f"{line[:60]!r}."
        ) from None
    return text
