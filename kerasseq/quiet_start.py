"""Hides what TensorFlow says when it starts, where kerasseq is run as a command. Imported before TensorFlow."""

import os
import pathlib
import sys


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow while the standard error of the process leads nowhere: its C++ code writes there, unasked."""
    sys.stderr.flush()
    standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)


def is_command() -> bool:
    """Whether this process is the command `kerasseq` or `python -m kerasseq`."""
    program, original = sys.argv[0] if sys.argv else "", sys.orig_argv
    if program == "-m":  # Python is looking for the module.
        return original[original.index("-m") + 1] == "kerasseq"
    return pathlib.PurePath(program).name == "kerasseq"


if is_command():
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # as generation and export need it
    # "0" asks for all that TensorFlow says.
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "0" and sys.stderr is not None:
        import_tensorflow_quietly()
