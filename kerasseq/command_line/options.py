"""Arguments and options that several commands have, with the names of the public API."""

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasseq.command_line import shell
from kerasseq.command_line.shell import UsageError

if TYPE_CHECKING:  # Help and mistakes in the arguments need nothing of the library.
    from kerasseq.datasets.splits import TextPairs

KINDS = ("tsv", "csv", "jsonl", "parquet")
SAMPLERS = ("greedy", "beam")

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A released model by name, a run folder, a .keras file, an address, ...")
]
Pairs = Annotated[
    str, typer.Argument(metavar="PAIRS", help="A file of pairs: TSV, CSV, JSON lines or Parquet; or the sources.")
]
TargetPath = Annotated[str | None, typer.Option(help="The targets, if PAIRS has the sources: a text on each line.")]
Columns = Annotated[
    str | None, typer.Option(help="Names or positions of the columns of sources and targets: 'en,de' or '0,1'.")
]
Kind = Annotated[str | None, typer.Option(help="tsv, csv, jsonl or parquet. Default: by the file's name, else tsv.")]
Quotes = Annotated[bool | None, typer.Option(help="Whether the fields of a table are quoted.")]
Encoding = Annotated[str, typer.Option(help="Of the file.")]
Empty = Annotated[str, typer.Option(help="'drop' leaves pairs with an empty side out.")]

Sampler = Annotated[str | None, typer.Option(help="greedy or beam. Default: the model's own.")]
BeamWidth = Annotated[int | None, typer.Option(min=1, help="Hypotheses that beam search keeps.")]
LengthPenalty = Annotated[float | None, typer.Option(min=0, help="Of beam search; 0 for none.")]
MaxLength = Annotated[int | None, typer.Option(min=1, help="The most tokens of an output.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Sources at once.")]

Output = Annotated[str | None, typer.Option("--output", "-o", help="A file instead of standard output.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]


def check_pairs_options(columns: str | None, kind: str | None, encoding: str, empty: str = "error") -> None:
    """Raises a `UsageError` for options of files of pairs that no file could fit."""
    columns_of(columns)
    shell.check_choice("--kind", kind, KINDS)
    shell.check_encoding(encoding)
    shell.check_choice("--empty", empty, ("error", "drop"))


def pairs_of(
    path: str,
    target_path: str | None,
    columns: str | None,
    kind: str | None,
    quotes: bool | None,
    encoding: str,
    empty: str = "error",
) -> "TextPairs":
    """`read_pairs` with the columns as the option has them, and `~` expanded."""
    from kerasseq.datasets import read_pairs

    try:
        return read_pairs(
            os.path.expanduser(path), None if target_path is None else os.path.expanduser(target_path),
            columns=columns_of(columns), kind=kind, quotes=quotes, encoding=encoding, empty=empty,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(with_options(str(error))) from error


def with_options(message: str) -> str:
    """A message of `read_pairs`, with the options of the command in the place of its arguments."""
    message = re.sub(r"\bquotes=(True|False)", lambda match: f"--{'no-' * (match[1] == 'False')}quotes", message)

    def option(match: re.Match[str]) -> str:
        values = [value.strip(" '\"") for value in match[2].strip("()").split(",")]
        return f"--{match[1]} {','.join(values)}"

    return re.sub(r"\b(columns|encoding|kind|empty)=(\([^()]*\)|'[^']*')", option, message)


def columns_of(text: str | None) -> Sequence[str | int] | None:
    """The columns that an option names, `"en,de"` or `"0,1"`."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise UsageError(f"--columns must be two names or positions, such as 'en,de' or '0,1'. Received: {text!r}.")
    return [int(name) for name in names] if all(name.isdecimal() for name in names) else names


def check_search_options(sampler: str | None, beam_width: int | None, length_penalty: float | None) -> None:
    """Raises a `UsageError` for a search that no model could run."""
    shell.check_choice("--sampler", sampler, SAMPLERS)
    if sampler == "greedy" and (names := search_settings(beam_width, length_penalty)):
        raise no_beam_search(names, "--sampler greedy")


def sampler_of(generator: Any, sampler: str | None, beam_width: int | None, length_penalty: float | None) -> Any:
    """The sampler of the options: that of a generator, or another one, with their settings; `None` for its own."""
    from kerasseq import search

    settings = search_settings(beam_width, length_penalty)
    if not settings:
        return sampler
    chosen = generator.sampler if sampler is None else search.get(sampler)
    if not isinstance(chosen, search.BeamSampler):
        raise no_beam_search(settings, type(chosen).__name__)
    with shell.arguments():
        return search.BeamSampler.from_config({**chosen.get_config(), **settings})


def search_settings(beam_width: int | None, length_penalty: float | None) -> dict[str, Any]:
    """The settings of beam search that are given, by the names of their arguments."""
    settings = {"beam_width": beam_width, "length_penalty": length_penalty}
    return {name: value for name, value in settings.items() if value is not None}


def no_beam_search(settings: dict[str, Any], received: str) -> UsageError:
    names = " and ".join(f"--{name.replace('_', '-')}" for name in settings)
    return UsageError(f"{names} set up beam search. Received: {received}. Add --sampler beam.")
