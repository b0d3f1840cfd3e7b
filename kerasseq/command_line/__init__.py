"""The command `kerasseq`, a thin shell over the public API. Its packages are those of the extras `cli` and `serve`."""

import os
import signal
import sys
from typing import Any

INTERRUPTED = 130  # the exit code
# Packages of extras, as they are imported.
PACKAGES = {
    **dict.fromkeys(("pydantic", "tensorboard", "typer", "yaml"), "cli"),
    **dict.fromkeys(("starlette", "uvicorn"), "serve"),
}

__all__ = ["main"]


def main() -> None:
    """Runs the command with the arguments of the process, and exits."""
    # Unless the process was started with interruptions ignored, as by nohup.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and sys.stderr is not None:
        leave_when_interrupted()
    try:
        from kerasseq.command_line.application import app
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        print(f"Error: {missing_package(error.name)}", file=sys.stderr)
        sys.exit(1)
    app(prog_name="kerasseq")


def leave_when_interrupted() -> None:
    """Lets an interruption end the process at once, without a traceback: until a command begins, nothing is half done.

    In the middle of an import, `KeyboardInterrupt` could reach the user as another error.
    """
    standard_error = os.dup(2)  # which leads nowhere while TensorFlow starts

    def leave(signal_number: int, frame: Any) -> None:
        os.write(standard_error, b"Interrupted.\n")
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, leave)


def missing_package(name: str) -> str:
    """What to do where a package of an extra is not installed."""
    return (
        f"The command kerasseq needs the package {name}, which is not installed. Run: pip install "
        f'"kerasseq[{PACKAGES[name]}]"'
    )
