"""The commands, put together."""

from typing import Annotated

import typer

from kerasseq import __version__
from kerasseq.command_line import evaluate, files, generate, serve, shell, train

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Plain help, which keeps the lines of examples.
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"kerasseq {__version__}")
        raise typer.Exit()


@app.callback()
def kerasseq_command(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the traceback of an error, for reports of bugs.")
    ] = False,
) -> None:
    """Encoder-decoder models: train, decode, evaluate and export.

    \b
    Example, from a file of pairs to a model for TensorFlow Serving:
      kerasseq init pairs.tsv -o config.yaml
      kerasseq train config.yaml
      kerasseq evaluate runs/pairs runs/pairs/test.jsonl
      kerasseq export runs/pairs exported/pairs
    """
    shell.show_tracebacks(traceback)


for command in (
    train.init,
    train.train,
    generate.generate,
    generate.score,
    evaluate.evaluate,
    files.average,
    files.export,
    serve.serve,
    files.models,
):
    app.command()(command)
