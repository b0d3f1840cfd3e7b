"""What is special where kerasseq is run as a command: TensorFlow starts only if it is needed, and silently."""

import os
import re
import sys

COMMANDS = ("kerasseq", "kerasseq.serving", "kerasseq.zoo")  # of `python -m`
MODULE_OPTION = re.compile("-[bBdEhiIOPqsSuvx?]*m(.*)")  # Of Python: "-m", also behind others, as in "-Im".


def command() -> str | None:
    """The name by which `python -m` runs the command that this process is; `None` for other programs."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # Python is looking for the module.
        module = module_option(sys.orig_argv)
        return module if module in COMMANDS else None
    return "kerasseq" if os.path.basename(program) == "kerasseq" else None


def module_option(arguments: list[str]) -> str | None:
    """The module that the options of Python name.

    >>> module_option(["python", "-Im", "kerasseq.zoo", "list"])
    'kerasseq.zoo'
    """
    for index, argument in enumerate(arguments):
        if found := MODULE_OPTION.fullmatch(argument):
            return found[1] or arguments[index + 1]
    return None


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow while the standard error of the process leads nowhere: its C++ code writes there, unasked.

    `TF_CPP_MIN_LOG_LEVEL=0` asks for all that TensorFlow says.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0" or sys.stderr is None:
        return
    sys.stderr.flush()
    standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)


COMMAND = command()
if COMMAND is not None:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # as generation and export need it
if COMMAND == "kerasseq.serving":  # It reads exported versions.
    import_tensorflow_quietly()
