"""`kerasseq init` and `kerasseq train`."""

import shlex
import sys
from typing import Annotated, Any

import typer

from kerasseq.command_line import options, shell
from kerasseq.command_line.shell import UsageError

TOKENS = ("subwords", "characters", "words")


def init(
    pairs: options.Pairs,
    target_path: options.TargetPath = None,
    columns: options.Columns = None,
    kind: options.Kind = None,
    quotes: options.Quotes = None,
    encoding: options.Encoding = "utf-8",
    empty: options.Empty = "error",
    validation: Annotated[
        str | None, typer.Option(help="A file of validation pairs, read as PAIRS is. Default: some of PAIRS.")
    ] = None,
    validation_target_path: Annotated[
        str | None, typer.Option(help="The validation targets, if --validation has the sources.")
    ] = None,
    folder: Annotated[str | None, typer.Option(help="The run folder. Default: runs/ and the name of PAIRS.")] = None,
    tokens: Annotated[
        str | None, typer.Option(help="subwords, characters or words. Default: by the texts of each side.")
    ] = None,
    output: options.Output = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --output.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a commented configuration for a file of pairs, with sizes chosen by its size.

    Says on standard error what it chose, and why.

    \b
    Examples:
      kerasseq init pairs.tsv -o config.yaml
      kerasseq init train.en --target-path train.de > config.yaml
      kerasseq init train.csv --columns question,answer --validation validation.csv -o config.yaml
      kerasseq init data.csv --columns question,answer -o config.yaml
    """
    with shell.command(quiet) as stdout:
        shell.check_choice("--tokens", tokens, TOKENS)
        options.check_pairs_options(columns, kind, encoding, empty)
        if validation_target_path is not None and validation is None:
            raise UsageError("--validation-target-path needs --validation, the sources. Received: none.")
        path = None if output is None else shell.output_path(output)
        if path is not None and path.is_file() and not overwrite:
            raise UsageError(f"{output} exists. Pass --overwrite to replace it.")
        shell.load_library()
        from kerasseq.command_line.sizes import choose, configuration_text

        found = options.pairs_of(pairs, target_path, columns, kind, quotes, encoding, empty)
        if validation is not None:  # Read only so that mistakes appear here.
            options.pairs_of(validation, validation_target_path, columns, kind, quotes, encoding, empty)
        given = {
            "path": pairs, "target_path": target_path, "columns": options.columns_of(columns), "kind": kind,
            "quotes": quotes, "encoding": encoding, "empty": empty,
        }  # fmt: skip
        file = without_defaults(given)
        validation_file = None
        if validation is not None:
            validation_file = without_defaults({**given, "path": validation, "target_path": validation_target_path})
        choice = choose(found, tokens)
        text = configuration_text(choice, file, validation_file, folder)
        if path is None:
            stdout.write(text)
        else:
            path.write_text(text, encoding="utf-8")
        print(choice.described(), file=sys.stderr)
        source, target = (text[:60] for text in found[0])
        header = (
            "" if columns else " If this is a header, or these are not the two columns that you mean, pass --columns."
        )
        print(f"First pair: {source!r} -> {target!r}.{header}", file=sys.stderr)
        if path is not None:
            print(f"Written: {path}. Next: kerasseq train {shlex.quote(str(path))}", file=sys.stderr)


def without_defaults(file: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `read_pairs` that differ from its defaults."""
    defaults = {"encoding": "utf-8", "empty": "error"}
    return {name: value for name, value in file.items() if value != defaults.get(name)}


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
        shell.load_library()
        from kerasseq.command_line.configuration import Configuration
        from kerasseq.command_line.fitting import fit

        configuration = Configuration(config, set_values or ())
        verbose = 0 if quiet else 1 if sys.stderr.isatty() else 2
        run = fit(configuration, resume, verbose)
        print(run.summary(configuration.values["checkpoint"]["monitor"]), file=sys.stderr)
        print(run.best, file=stdout)
