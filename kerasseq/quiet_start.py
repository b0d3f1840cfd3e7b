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


# While Python looks for the module of `python -m kerasseq`, "-m" is its first argument.
if pathlib.PurePath(sys.argv[0] if sys.argv else "").name in ("-m", "kerasseq"):
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # as generation and export need it
    # "0" asks for all that TensorFlow says.
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "0" and sys.stderr is not None:
        import_tensorflow_quietly()
