"""`kerasseq evaluate`."""

import functools
import json
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from kerasseq.command_line import options, shell
from kerasseq.command_line.lines import lines_of_file
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
        typer.Option(
            help="Such as bleu,chrf, rouge, word_error_rate, exact_match. Repeatable. Default: those of a run folder, "
            "else bleu,chrf."
        ),
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
    resamples: Annotated[
        int, typer.Option(help="For 95 % intervals and p-values, at least 40; 0 for no intervals.")
    ] = 1_000,
    sampler: options.Sampler = None,
    beam_width: options.BeamWidth = None,
    length_penalty: options.LengthPenalty = None,
    max_length: options.MaxLength = None,
    batch_size: options.BatchSize = 64,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a model, or a file of outputs, against references.

    Sources that stand in several pairs count once, with all their targets as references. Prints a score on each line,
    with its 95 % interval: bleu 37.2 [35.8, 39.0].

    \b
    Examples:
      kerasseq evaluate runs/pairs runs/pairs/test.jsonl
      kerasseq evaluate out.txt test.tsv --metrics bleu,chrf --baseline other.txt
      kerasseq evaluate runs/pairs test.en --target-path test.de --json
    """
    with shell.command(quiet) as stdout:
        from kerasseq.evaluation import paired_bootstrap, score_texts
        from kerasseq.evaluation.scores import METRICS, check_scorable, metric_settings
        from kerasseq.evaluation.significance import TESTS

        names = list(dict.fromkeys(name.strip() for text in metrics or metrics_of(system) for name in text.split(",")))
        for name in names:
            shell.check_choice("--metrics", name, METRICS)
        if resamples != 0 and resamples < 40:
            raise UsageError(f"--resamples must be 0, or at least 40. Received: {resamples}.")
        with shell.arguments():
            metric_settings(names, language)
        options.check_search_options(sampler, beam_width, length_penalty)
        options.check_pairs_options(columns, kind, encoding)
        shell.load_library()
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
        # All systems are read and checked before the first one decodes.
        systems = {
            name: read_system(path, len(sources), rows, decoding)
            for name, path in (("system", system), ("baseline", baseline))
            if path is not None
        }
        outputs = {
            name: one if isinstance(one, list) else one([sources[row] for row in rows]) for name, one in systems.items()
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
            result, other = results["system"][name], results.get("baseline", {}).get(name)
            for key, shown in METRICS[name].logged.items():
                print(score_line(shown, key, result, other, compared.get(name)), file=stdout)
            if "signature" in result:
                print(f"{name}: {result['signature']}", file=sys.stderr)


def metrics_of(system: str) -> list[str]:
    """The metrics that a run folder was trained with; BLEU and chrF for all other systems."""
    from kerasseq.zoo.presets import RUN

    beginning = pathlib.Path(system).expanduser() / RUN
    default = ["bleu", "chrf"]
    try:
        scores = json.loads(beginning.read_text(encoding="utf-8"))["configuration"]["scores"] or {}
    except (OSError, ValueError, KeyError, TypeError):
        return default
    metrics = scores.get("metrics", default)
    return [metrics] if isinstance(metrics, str) else list(metrics)


def score_line(
    name: str,
    key: str,
    result: dict[str, Any],
    baseline: dict[str, Any] | None = None,
    compared: dict[str, float] | None = None,
) -> str:
    """A score as it is printed: its name, its value, its interval, and the comparison with a baseline.

    Args:
        name: str, of the score.
        key: str, its entry in a result.
        result, baseline: dict, results of a metric.
        compared: dict, of `paired_bootstrap`.

    >>> score_line("bleu", "score", {"score": 37.2, "intervals": {"score": [35.8, 39.0]}})
    'bleu 37.2 [35.8, 39.0]'
    """
    words = [name, str(result[key])]
    if key in result.get("intervals", {}):
        words.append("[{}, {}]".format(*result["intervals"][key]))
    if baseline is not None:
        words.append(f"baseline {baseline[key]}")
    if compared is not None:
        words.append(f"difference {compared['difference']} p {compared['p_value']}")
    return " ".join(words)


def references_of(sources: Sequence[str], targets: Sequence[str]) -> tuple[list[int], list[list[str]]]:
    """The row of each distinct source, and all its targets."""
    rows: dict[str, int] = {}
    references: dict[str, list[str]] = {}
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        rows.setdefault(source, row)
        references.setdefault(source, []).append(target)
    return list(rows.values()), list(references.values())


def read_system(
    system: str, pairs: int, rows: Sequence[int], decoding: dict[str, Any]
) -> list[str] | Callable[[list[str]], list[str]]:
    """The outputs of a file, or a function of sources that decodes them with a model.

    Args:
        system: str, a model or a file, as the user gave it.
        pairs: int, how many lines a file must have.
        rows: list of int, the lines that are scored.
        decoding: dict, the options of a search.
    """
    path = pathlib.Path(system).expanduser()
    if path.is_file() and path.suffix != ".keras":
        lines = lines_of_file(path)
        if len(lines) != pairs:
            raise ValueError(f"{system}: expected an output for each of {pairs} pairs. Received: {len(lines)} lines.")
        return [text_of(lines[row], path, row) for row in rows]
    from kerasseq.command_line.zoo import load_generator

    generator = load_generator(system)
    settings = {name: decoding[name] for name in ("sampler", "beam_width", "length_penalty")}
    return functools.partial(
        generator.generate,
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
        text = None
    if not isinstance(text, str):
        raise UsageError(
            f"{path}, line {row + 1}: expected an object with a text, as of `kerasseq generate --json`. Received: "
            f"{line[:60]!r}."
        )
    return text
