"""Command line: `python -m kerasseq.serving configure FOLDER`."""

import argparse
import sys
from collections.abc import Sequence

from kerasseq.serving.deployment import LABELS, configure

DESCRIPTION = """\
Writes models.config and the files around it, to serve a folder of exported models with TensorFlow Serving.

Labels move only on request. After the export of version 2:
  configure saved_models --canary translation_en_fr=2   try it, while `stable` stays
  configure saved_models --stable translation_en_fr=2   roll forward
  configure saved_models --stable translation_en_fr=1   roll back
"""
EDITED = "edited, kept (replace it with --overwrite)"


def name_and_version(text: str) -> tuple[str, int]:
    name, separator, version = text.rpartition("=")
    if not separator or not name or not (version.isascii() and version.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected NAME=VERSION, such as translation_en_fr=2, received {text!r}")
    return name, int(version)


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m kerasseq.serving", description="Models in TensorFlow Serving.")
    commands = main.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "configure",
        help="write the files that serve a folder of models, and move labels",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", help="folder of models, each a folder of numbered versions")
    for label in LABELS:
        command.add_argument(
            f"--{label}",
            action="append",
            default=[],
            type=name_and_version,
            metavar="NAME=VERSION",
            help=f"move the label `{label}` of a model to a version; can be repeated",
        )
    command.add_argument("--overwrite", action="store_true", help="replace edited files, except models.config")
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    moves = {}
    for label in LABELS:
        pairs = getattr(options, label)
        moves[label] = dict(pairs)
        if len(moves[label]) < len(pairs):
            parser().error(f"--{label} names a model more than once")
    try:
        deployment = configure(options.folder, **moves, overwrite=options.overwrite)
    except ValueError as error:
        print(f"{error}\nNothing was written.", file=sys.stderr)
        return 1
    for name, labels in deployment.labels.items():
        unlabeled = sorted(set(deployment.versions[name]) - set(labels.values()))
        print(f"{name}: {', '.join(f'{label} = {version}' for label, version in labels.items())}", end="")
        print(f"; without a label: {', '.join(map(str, unlabeled))}" if unlabeled else "")
    for name, state in sorted(deployment.files.items()):
        print(f"{name}: {EDITED if state == 'edited' else state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
