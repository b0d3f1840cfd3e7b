"""Exit codes, help, and what a process prints."""

import configparser
import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest
import typer

from kerasseq.command_line import PACKAGES, shell
from kerasseq.command_line.application import app

COMMANDS = ["average", "evaluate", "export", "generate", "init", "models", "score", "train"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(kerasseq_command, command):
    stdout, _ = kerasseq_command(command, "--help")
    assert re.search(rf"Examples?.*:\n    kerasseq {command} ?", stdout)


def test_all_commands_are_known(kerasseq_command):
    names = sorted(command.callback.__name__ for command in app.registered_commands)
    assert names == COMMANDS
    stdout, _ = kerasseq_command("--help")
    assert "kerasseq train config.yaml" in stdout
    _, stderr = kerasseq_command("trian", "config.yaml", code=2)
    assert "Did you mean 'train'" in stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("wrong"), 1, "Error: wrong\n"),
        (shell.UsageError("wrong"), 2, "Error: wrong\n"),
        (FileNotFoundError(2, "No such file or directory", "a.txt"), 1, "Error: a.txt: No such file or directory.\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_exit_codes(error, code, message, capsys):
    with pytest.raises(typer.Exit) as exit_, shell.command():
        raise error
    assert exit_.value.exit_code == code and capsys.readouterr().err == message


def test_bugs_keep_their_traceback():
    with pytest.raises(KeyError), shell.command():
        raise KeyError("a bug")


def test_tracebacks_on_request(monkeypatch):
    monkeypatch.setitem(shell.shown, "tracebacks", True)
    with pytest.raises(ValueError, match="wrong"), shell.command():
        raise ValueError("wrong")


def test_quiet_hides_progress_but_no_warnings(capsys):
    for quiet in (False, True):
        with shell.command(quiet) as stdout:
            print("progress")
            print("more", file=sys.stderr)
            shell.logger.warning("look out")
            print("result", file=stdout)
        captured = capsys.readouterr()
        assert captured.out == "result\n"
        assert captured.err == ("" if quiet else "progress\nmore\n") + "Warning: look out\n"


def process(*arguments, code=""):
    """A process of its own, with nothing set that hides what TensorFlow prints."""
    kept = {name: value for name, value in os.environ.items() if name not in ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")}
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "kerasseq"]
    return subprocess.run([*command, *arguments], env=kept, capture_output=True, text=True, timeout=900)


def test_a_process_says_nothing_of_its_own():
    run = process("--version")
    assert (run.returncode, run.stderr) == (0, "") and run.stdout.startswith("kerasseq ")


def test_missing_packages_are_named():
    hidden = "import sys; sys.modules['typer'] = None; import kerasseq.command_line; kerasseq.command_line.main()"
    run = process(code=hidden)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "needs the package typer, which is not installed. Run: pip install typer pydantic PyYAML" in run.stderr


def test_setup_knows_the_command_and_its_packages():
    setup = configparser.ConfigParser()
    setup.read(pathlib.Path(__file__).resolve().parents[2] / "setup.cfg", encoding="utf-8")
    name, _, place = setup["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = place.partition(":")
    assert name == "kerasseq" and callable(getattr(importlib.import_module(module), function))
    assert set(PACKAGES.values()) <= set(re.findall(r"^[\w-]+", setup["options.extras_require"]["cli"], re.MULTILINE))
