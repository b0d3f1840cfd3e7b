"""The command `kerasseq`, a thin shell over the public API. Its packages are those of `pip install kerasseq[cli]`."""

import sys

PACKAGES = {"typer": "typer", "pydantic": "pydantic", "yaml": "PyYAML"}  # as imported, and as pip knows them

__all__ = ["main"]


def main() -> None:
    """Runs the command with the arguments of the process, and exits."""
    try:
        from kerasseq.command_line.application import app
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        print(
            f"Error: the command kerasseq needs the package {PACKAGES[error.name]}, which is not installed. Run: "
            f"pip install {' '.join(PACKAGES.values())}",
            file=sys.stderr,
        )
        sys.exit(1)
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    app(prog_name="kerasseq")
