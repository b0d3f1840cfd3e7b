"""What all commands share: results on standard output, all else on standard error, and exit codes."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import IO

import typer

FAILURE = 1  # of data, files and models
USAGE = 2  # of arguments and configurations
INTERRUPTED = 130

logger = logging.getLogger("kerasseq")
shown = {"tracebacks": False}


class UsageError(ValueError):
    """A mistake in the arguments or the configuration."""


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
