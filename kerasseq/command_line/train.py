"""`kerasseq init` and `kerasseq train`."""

import pathlib
import sys
from typing import Annotated

import typer

from kerasseq.command_line import options, shell
from kerasseq.command_line.shell import UsageError


def init(
    pairs: options.Pairs,
    target_path: options.TargetPath = None,
    columns: options.Columns = None,
    kind: options.Kind = None,
    quotes: options.Quotes = None,
    encoding: options.Encoding = "utf-8",
    empty: options.Empty = "error",
    validation: Annotated[str | None, typer.Option(help="A file of validation pairs. Default: some of PAIRS.")] = None,
    folder: Annotated[str | None, typer.Option(help="The run folder. Default: runs/ and the name of PAIRS.")] = None,
    tokens: Annotated[str, typer.Option(help="subwords, characters or words.")] = "subwords",
    output: options.Output = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --output.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a commented configuration for a file of pairs, with sizes chosen by its size.

    \b
    Examples:
      kerasseq init pairs.tsv -o config.yaml
      kerasseq init train.en --target-path train.de > config.yaml
      kerasseq init data.csv --columns question,answer -o config.yaml
    """
    with shell.command(quiet) as stdout:
        from kerasseq.command_line.sizes import configuration_text

        if tokens not in ("subwords", "characters", "words"):
            raise UsageError(f"--tokens must be subwords, characters or words. Received: {tokens!r}.")
        if output is not None and pathlib.Path(output).exists() and not overwrite:
            raise UsageError(f"{output} exists. Pass --overwrite to replace it.")
        found = options.pairs_of(pairs, target_path, columns, kind, quotes, encoding, empty)
        file = {
            "path": pairs, "target_path": target_path, "columns": options.columns_of(columns), "kind": kind,
            "quotes": quotes, "encoding": encoding, "empty": empty,
        }  # fmt: skip
        defaults = {"encoding": "utf-8", "empty": "error"}
        file = {name: value for name, value in file.items() if value != defaults.get(name)}
        text = configuration_text(found, file, validation, folder, tokens)
        if output is None:
            stdout.write(text)
        else:
            pathlib.Path(output).write_text(text, encoding="utf-8")


def train(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file, as `kerasseq init` writes.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on at the last finished epoch, if there is one.")
    ] = False,
    set_values: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value, such as model.units=64.")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Train as a configuration says. Prints the path of the best model.

    The run folder gets the configuration as used, log.csv, curves.png, logs for TensorBoard, and the best model with
    its vocabularies. A training that was killed repeats with --resume what it would have done.

    \b
    Examples:
      kerasseq train config.yaml
      kerasseq train config.yaml --resume
      kerasseq train config.yaml --set folder=runs/small --set model.units=64
    """
    with shell.command(quiet, interrupted="Interrupted. Go on with --resume.") as stdout:
        from kerasseq.command_line.configuration import Configuration
        from kerasseq.command_line.fitting import fit

        configuration = Configuration(config, set_values or ())
        verbose = 0 if quiet else 1 if sys.stderr.isatty() else 2
        print(fit(configuration, resume, verbose).best, file=stdout)
