"""What all commands share: the library, imported late, checks, results on standard output, errors, and exit codes."""

import codecs
import contextlib
import importlib
import logging
import os
import pathlib
import signal
import stat
import sys
import warnings
from collections.abc import Collection, Iterator
from typing import IO

import typer

from kerasseq import quiet_start
from kerasseq.command_line import INTERRUPTED, PACKAGES, missing_package

FAILURE = 1  # of data, files and models
USAGE = 2  # of arguments and configurations
# The public modules, which `import kerasseq` imports in other programs.
MODULES = (
    "backbones", "callbacks", "datasets", "decoders", "encoders", "evaluation", "export", "layers", "losses", "metrics",
    "models", "optimizers", "plotting", "preprocessing", "pretraining", "search", "zoo",
)  # fmt: skip

logger = logging.getLogger("kerasseq")
shown = {"tracebacks": False}


class UsageError(ValueError):
    """A mistake in the arguments or the configuration."""


# === What a command begins with ===


def load_library() -> None:
    """Imports TensorFlow and the public modules of kerasseq. To be called after the checks that need none of it.

    Raises:
        UsageError: for another backend of Keras than TensorFlow.
    """
    if quiet_start.COMMAND is None:  # Another program, such as a test, has it.
        return
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UsageError(
            f"The command kerasseq runs on TensorFlow. Received: KERAS_BACKEND={backend}. Unset this variable, or set "
            "it to tensorflow."
        )
    if sys.stderr.isatty():
        print("Loading TensorFlow ...", file=sys.stderr)
    quiet_start.import_tensorflow_quietly()
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    for name in MODULES:
        importlib.import_module(f"kerasseq.{name}")
    if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # From here on, there may be something to tidy up.


def check_choice(option: str, value: str | None, choices: Collection[str]) -> None:
    """Raises a `UsageError` unless the value of an option is one of its choices, or not given."""
    if value is not None and value not in choices:
        raise UsageError(f"{option} must be one of {', '.join(choices)}. Received: {value!r}.")


def check_encoding(encoding: str) -> None:
    """Raises a `UsageError` unless Python knows an encoding."""
    try:
        codecs.lookup(encoding)
    except (LookupError, ValueError):
        raise UsageError(
            f"--encoding must be one that Python knows, such as utf-8, cp1252 or gb18030. Received: {encoding!r}."
        ) from None


def output_path(output: str, files_beside: bool = False) -> pathlib.Path:
    """The path of a file that a command will write, `~` expanded.

    Args:
        output: str, as the user gave it.
        files_beside: bool, whether other files are written beside it, such as the beginning of this one.

    Raises:
        UsageError: if it cannot be written there, before any work is done.
    """
    path = pathlib.Path(output).expanduser()
    folder = path.parent
    written = [path if path.exists() else folder]
    if files_beside and not is_device(path):
        written.append(folder)
    forbidden = [str(place) for place in written if not os.access(place, os.W_OK)]
    problem = (
        "which is a folder" if path.is_dir()
        else f"and there is no folder {folder}" if not folder.is_dir()
        else f"and write permission is missing for {forbidden[0]}" if forbidden
        else None
    )  # fmt: skip
    if problem:
        raise UsageError(f"--output must be a file that can be written. Received: {output}, {problem}.")
    return path


def is_device(path: pathlib.Path) -> bool:
    """Whether a path is a device or a pipe, such as /dev/null or /dev/stdout: written to, and never replaced."""
    try:
        return not stat.S_ISREG(path.stat().st_mode) or path.parent == pathlib.Path("/dev")
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def arguments() -> Iterator[None]:
    """Re-raises the library's errors about command arguments as `UsageError`."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error


# === Results and errors ===


def show_tracebacks(wanted: bool) -> None:
    """Whether errors of users end in a traceback, too."""
    shown["tracebacks"] = wanted


@contextlib.contextmanager
def command(quiet: bool = False, interrupted: str = "Interrupted.") -> Iterator[IO[str]]:
    """Runs the body of a command. Yields standard output, for results.

    What the library prints goes to standard error, with `quiet` only warnings and errors. A user's mistake is one
    message and an exit code, and so is an interruption, whose message is `interrupted`.
    """
    stdout, stderr = sys.stdout, sys.stderr
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(logging.Formatter("Warning: %(message)s"))
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with open(os.devnull, "w") as nowhere, warnings_to(stderr):
            progress = nowhere if quiet else stderr
            with contextlib.redirect_stdout(progress), contextlib.redirect_stderr(progress):
                yield stdout
        stdout.flush()
    except BrokenPipeError:
        # The reader has enough. Python must not complain when it flushes at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        raise typer.Exit(FAILURE) from None
    except KeyboardInterrupt:
        print(interrupted, file=stderr)
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, TypeError, OSError, ImportError) as error:
        if shown["tracebacks"]:
            raise
        print(f"Error: {described(error)}", file=stderr)
        raise typer.Exit(USAGE if isinstance(error, UsageError) else FAILURE) from None
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def described(error: Exception) -> str:
    """The message of an error."""
    if isinstance(error, ModuleNotFoundError) and error.name in PACKAGES:
        return missing_package(error.name)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return str(error) or type(error).__name__


@contextlib.contextmanager
def warnings_to(stream: IO[str]) -> Iterator[None]:
    """Python's warnings as messages without the place in the code."""

    def show(message, category, filename, lineno, file=None, line=None):
        print(f"Warning: {message}", file=stream)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
