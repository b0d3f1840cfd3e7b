"""Command line: `python -m kerasseq.zoo list`."""

import argparse
import contextlib
import json
import pathlib
import sys
from collections.abc import Sequence

from kerasseq import zoo
from kerasseq.zoo.presets import describe


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m kerasseq.zoo", description="Released models, and others by address.")
    commands = main.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names of the released models")
    command = commands.add_parser("card", help="languages, size, licence and scores of a model, and what it is not for")
    command.add_argument("name", help="such as translation_en_fr, or translation_en_fr/2")
    command = commands.add_parser("fetch", help="download a model unless it is there, and print where it is")
    command.add_argument("preset", help="a name, or an address: https://..., hf://owner/name")
    command = commands.add_parser("describe", help="print the preset.json of a folder with a model")
    command.add_argument("folder", type=pathlib.Path)
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.command == "list":
            for card in map(zoo.card, zoo.list()):
                print(f"{card.name}/{card.version}  {card.size / 1e6:.0f} MB  {card.title}")
        elif options.command == "card":
            print(zoo.card(options.name))
        elif options.command == "fetch":
            with contextlib.redirect_stdout(sys.stderr):  # Standard output is the path alone.
                path = zoo.fetch(options.preset)
            print(path)
        else:
            print(json.dumps(describe(options.folder), indent=1))
    except (OSError, ImportError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. What has arrived is kept for the next call.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
