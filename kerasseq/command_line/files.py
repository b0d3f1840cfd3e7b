"""`kerasseq average`, `export` and `models`."""

import os
import pathlib
import sys
from typing import Annotated

import typer

from kerasseq.command_line import options, shell
from kerasseq.command_line.shell import UsageError


def average(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Checkpoints of one training.")],
    output: Annotated[str, typer.Option("--output", "-o", help="The .keras file to write.")],
    quiet: options.Quiet = False,
) -> None:
    """Write a model with the mean of the weights of several checkpoints.

    Tokens, search and limits are those of the first one.

    \b
    Example, for a training with `last: 5` in the section `checkpoint`:
      kerasseq average runs/pairs/checkpoints/*.keras -o averaged.keras
    """
    with shell.command(quiet) as stdout:
        if pathlib.Path(output).suffix != ".keras":
            raise UsageError(f"--output must be a .keras file. Received: {output!r}.")
        path = shell.output_path(output)
        shell.load_library()
        from kerasseq.command_line.zoo import load_generator
        from kerasseq.generator import TextGenerator
        from kerasseq.models import average_weights

        first = load_generator(models[0])
        others = (load_generator(other).model for other in models[1:])
        mean = average_weights(model for group in ([first.model], others) for model in group)
        TextGenerator(
            mean,
            first.preprocessor,
            sampler=first.sampler,
            max_length=first.max_length,
            long_sources=first.long_sources,
        ).save(path)
        print(path, file=stdout)


def export(
    model: options.Model,
    model_folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Of the exported model; gets the version.")],
    version: Annotated[int | None, typer.Option(min=1, help="Default: one more than the highest one there.")] = None,
    verify: Annotated[bool, typer.Option(help="Compare the answers with those of the model.")] = True,
    score: Annotated[bool, typer.Option(help="Add the signature that scores given targets.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a SavedModel for TensorFlow Serving. Prints its folder.

    \b
    Example:
      kerasseq export runs/pairs exported/pairs
    """
    with shell.command(quiet) as stdout:
        shell.load_library()
        from kerasseq.command_line.zoo import load_generator

        folder = load_generator(model).export(model_folder, version=version, verify=verify, score=score)
        print(folder, file=stdout)


def models(
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH", help="A folder, a model, or a released one by name. Default: all released ones."
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """List the released models by name, or those at a path, each with what it is behind a tab.

    What it is: a file (.keras), a run of `kerasseq train`, a preset, or an exported model with its versions. Of a
    released model, by its name, the card.

    \b
    Examples:
      kerasseq models
      kerasseq models translation_en_fr
      kerasseq models runs
      kerasseq models runs/pairs
    """
    with shell.command(quiet) as stdout:
        from kerasseq import zoo
        from kerasseq.command_line.listing import models_at, released_models
        from kerasseq.zoo import released

        if path is not None and not os.path.exists(path) and released.split(path):
            print(zoo.card(path), file=stdout)
            return
        found = released_models() if path is None else models_at(path)
        for model, kind in found:
            print(model, kind, sep="\t", file=stdout)
        if not found:
            print(f"There are no models in {path}.", file=sys.stderr)
