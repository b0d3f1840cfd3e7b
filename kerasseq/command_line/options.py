"""Arguments and options that several commands have, with the names of the public API."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from kerasseq.command_line.shell import UsageError
from kerasseq.datasets import read_pairs
from kerasseq.datasets.splits import TextPairs

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


def pairs_of(
    path: str,
    target_path: str | None,
    columns: str | None,
    kind: str | None,
    quotes: bool | None,
    encoding: str,
    empty: str = "error",
) -> TextPairs:
    """`read_pairs` with the columns as the option has them."""
    return read_pairs(
        path, target_path, columns=columns_of(columns), kind=kind, quotes=quotes, encoding=encoding, empty=empty
    )


def columns_of(text: str | None) -> Sequence[str | int] | None:
    """The columns that an option names, `"en,de"` or `"0,1"`."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise UsageError(f"--columns must be two names or positions, such as 'en,de' or '0,1'. Received: {text!r}.")
    return [int(name) for name in names] if all(name.isdecimal() for name in names) else names


def sampler_of(generator: Any, sampler: str | None, beam_width: int | None, length_penalty: float | None) -> Any:
    """The sampler of the options: that of a generator, or another one, with their settings; `None` for its own."""
    from kerasseq import search

    settings = {"beam_width": beam_width, "length_penalty": length_penalty}
    settings = {name: value for name, value in settings.items() if value is not None}
    if not settings:
        return sampler
    chosen = generator.sampler if sampler is None else search.get(sampler)
    if not isinstance(chosen, search.BeamSampler):
        names = " and ".join(f"--{name.replace('_', '-')}" for name in settings)
        raise UsageError(f"{names} set up beam search. Received: {type(chosen).__name__}. Add --sampler beam.")
    return search.BeamSampler.from_config({**chosen.get_config(), **settings})
