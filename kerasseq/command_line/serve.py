"""`kerasseq serve`."""

import ipaddress
import pathlib
import socket
import sys
from typing import Annotated

import typer

from kerasseq.command_line import options, shell


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="A released model by name, an exported model, a folder of these, a models.config."
        ),
    ],
    host: Annotated[str, typer.Option(help="The address to listen at. Default: this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free one.")] = 8501,
    max_megabytes: Annotated[float, typer.Option(min=0, help="The largest body of a request.")] = 16.0,
    max_rows: Annotated[int, typer.Option(min=1, help="Requests that wait run together, up to so many sources.")] = 32,
    max_waiting: Annotated[int, typer.Option(min=1, help="Further requests are answered with 503.")] = 100,
    quiet: options.Quiet = False,
) -> None:
    """Answer as TensorFlow Serving's REST API does, for development. Prints the address when it is ready.

    Of an exported model, the newest version is served; with a models.config, versions and labels are those that it
    says. Versions that appear are loaded, and those that go are ended, while it runs.

    \b
    Examples:
      kerasseq serve translation_en_fr
      kerasseq serve exported/pairs --port 8600
      kerasseq serve saved_models
      curl -d '{"instances": ["How are you?"]}' localhost:8501/v1/models/translation_en_fr:predict
    """
    with shell.command(quiet, interrupted="Stopped.") as stdout:
        paths = [path_of(model) for model in models]
        shell.load_library()
        from kerasseq.serving.server import application
        from kerasseq.serving.server.models import ServedModels

        served = ServedModels(paths, max_rows, max_waiting)
        try:
            listening = application.listen(host, port)
        except (OSError, OverflowError) as error:
            raise shell.UsageError(
                f"--host and --port must be free on this machine. Received: {host}:{port}, {error}."
            ) from None
        with listening:
            print("Loading ...", file=sys.stderr)
            served.update()
            if not served.available():
                raise ValueError(f"No model could be loaded of {', '.join(models)}, see the warnings above.")
            for name, number in served.available():
                print(f"Serving {name}, version {number}.", file=sys.stderr)
            print(
                "This server is for development. In production, use TensorFlow Serving, with the same folders.",
                file=sys.stderr,
            )
            if not is_loopback(listening):
                print("Warning: other machines can reach it, and it asks nobody who they are.", file=sys.stderr)
            address, number = listening.getsockname()[:2]
            print(f"http://{f'[{address}]' if ':' in address else address}:{number}", file=stdout, flush=True)
            application.run(served, listening, int(max_megabytes * 1e6))


def path_of(model: str) -> pathlib.Path:
    """Where a MODEL is: that of a name or an address, or else a path."""
    from kerasseq.zoo import fetch, released

    path = pathlib.Path(model).expanduser()
    return path if path.exists() and not released.split(model) else fetch(model)


def is_loopback(listening: socket.socket) -> bool:
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback
