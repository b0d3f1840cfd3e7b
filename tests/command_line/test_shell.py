"""Exit codes, help, and what a process prints."""

import configparser
import importlib
import inspect
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys

import pytest
import typer

import kerasseq
from kerasseq import quiet_start
from kerasseq.command_line import PACKAGES, shell
from kerasseq.command_line.application import app

COMMANDS = ["average", "evaluate", "export", "generate", "init", "models", "score", "serve", "train"]


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


def environment(**variables):
    """That of the tests, with nothing set that hides what TensorFlow prints."""
    hidden = ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")
    return {**{name: value for name, value in os.environ.items() if name not in hidden}, **variables}


def process(*arguments, python=("-m", "kerasseq"), **variables):
    """A process of its own."""
    command = [sys.executable, *python, *map(str, arguments)]
    return subprocess.run(command, env=environment(**variables), capture_output=True, text=True, timeout=900)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--help"], 0, ""),
        (["--version"], 0, ""),
        (["train", "--help"], 0, ""),
        (["models"], 0, ""),
        (["trian"], 2, "Did you mean 'train'"),
        (["generate", "none", "--sampler", "foo"], 2, "--sampler must be one of greedy, beam. Received: 'foo'."),
        (["score", "none", "none.tsv", "--encoding", "utf-9"], 2, "--encoding must be one that Python knows"),
        (["evaluate", "none", "none.tsv", "--metrics", "nope"], 2, "--metrics must be one of bleu, chrf, "),
        (["serve", "none"], 1, "There is no file or folder none, and no released model of this name."),
        (["init", "none.tsv", "--kind", "xls"], 2, "--kind must be one of tsv, csv, jsonl, parquet."),
    ],
)
def test_help_and_mistakes_do_not_wait_for_tensorflow(arguments, code, message):
    """Less than a second of processor time, where TensorFlow alone takes several: the best of three processes."""
    seconds = []
    while len(seconds) < 3 and not (seconds and min(seconds) < 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = process(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run.returncode == code and message in run.stderr and "Traceback" not in run.stderr
        assert bool(run.stdout) == (code == 0) and (code or not run.stderr)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 1


def test_a_process_knows_the_whole_library_and_says_nothing_of_its_own(trained, kerasseq_command):
    """In a process of the command, `import kerasseq` imports nothing by itself: all that a model needs is there."""
    source = trained["folder"].parent / "in.txt"
    source.write_text("May 3, 1998\n\n6. Juni 2020\n")
    run = process("generate", trained["folder"], "-i", source, "--quiet")  # However slow it is.
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == kerasseq_command("generate", trained["folder"], "-i", source)[0]


def test_another_backend_is_refused():
    run = process("generate", "translation_en_fr", KERAS_BACKEND="jax")
    assert run.returncode == 2 and run.stderr.startswith("Error: The command kerasseq runs on TensorFlow. Received: ")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.skipif(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="started where interruptions are ignored")
def test_an_interruption_of_the_start():
    """Of the imports, one of which has just ended: no traceback, before a command has begun."""
    command = [sys.executable, "-X", "importtime", "-m", "kerasseq", "generate", "translation_en_fr"]
    pipes = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)  # It would wait for sources.
    running = subprocess.Popen(command, env=environment(), text=True, **pipes)
    while "kerasseq.command_line.generate" not in (line := running.stderr.readline()):
        assert line, "The process has ended."
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=300)
    said = [line for line in stderr.splitlines() if "import time:" not in line]
    assert (running.returncode, stdout, said) == (130, "", ["Interrupted."])


@pytest.mark.parametrize("package", ["zoo", "serving"])
def test_other_commands_hide_what_tensorflow_says(package, tmp_path):
    run = process("--help", python=("-m", f"kerasseq.{package}"))
    assert (run.returncode, run.stderr) == (0, "") and f"python -m kerasseq.{package}" in run.stdout
    arguments = {"zoo": ["card", "none"], "serving": ["configure", tmp_path / "none"]}[package]
    run = process(*arguments, python=("-Bm", f"kerasseq.{package}"))  # Options of Python may stand together.
    assert run.returncode == 1 and "Received" in run.stderr and "Traceback" not in run.stderr
    assert not re.search("cuda|oneDNN|tensorflow|WARNING", run.stderr)


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["python", "-m", "kerasseq"], "kerasseq"),
        (["python3.11", "-X", "dev", "-Wignore", "-Im", "kerasseq.zoo", "-m"], "kerasseq.zoo"),
        (["python", "-mkerasseq.serving"], "kerasseq.serving"),
    ],
)
def test_the_module_that_python_runs(arguments, module):
    assert quiet_start.module_option(arguments) == module


def test_missing_packages_are_named(capsys):
    hidden = "import sys; sys.modules['typer'] = None; import kerasseq.command_line; kerasseq.command_line.main()"
    run = process(python=("-c", hidden))
    message = 'needs the package {}, which is not installed. Run: pip install "kerasseq[cli]"\n'
    assert run.returncode == 1 and "Traceback" not in run.stderr and message.format("typer") in run.stderr
    with pytest.raises(typer.Exit), shell.command():
        raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
    assert capsys.readouterr().err == f"Error: The command kerasseq {message.format('yaml')}"


def test_setup_knows_the_command_and_its_packages():
    setup = configparser.ConfigParser()
    setup.read(pathlib.Path(__file__).resolve().parents[2] / "setup.cfg", encoding="utf-8")
    name, _, place = setup["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = place.partition(":")
    assert name == "kerasseq" and callable(getattr(importlib.import_module(module), function))
    extras = setup["options.extras_require"]
    packages = {extra: set(re.findall(r"^[\w-]+", extras[extra].lower(), re.MULTILINE)) for extra in ("cli", "serve")}
    named = {("pyyaml" if name == "yaml" else name, extra) for name, extra in PACKAGES.items()}
    assert {name for name, extra in named if extra == "cli"} == packages["cli"]
    # Of itself and a package that all users have, with another version.
    assert {name for name, extra in named if extra == "serve"} == packages["serve"] - {"kerasseq", "protobuf"}


# === Files that commands write ===


def test_outputs_are_checked_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shell.output_path("~/out.txt") == tmp_path / "out.txt"
    for output, problem in ((tmp_path, "which is a folder"), (tmp_path / "none" / "a", "there is no folder .*none")):
        with pytest.raises(shell.UsageError, match=f"--output must be a file.*Received: .*{problem}"):
            shell.output_path(str(output))


def test_files_beside_an_output_need_their_folder(tmp_path, monkeypatch):
    output = tmp_path / "out.txt"
    output.write_text("")
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    assert shell.output_path(str(output)) == output
    assert shell.output_path(os.devnull, files_beside=True) == pathlib.Path(os.devnull)
    message = f"Received: {output}, and write permission is missing for {tmp_path}."
    with pytest.raises(shell.UsageError, match=re.escape(message)):
        shell.output_path(str(output), files_beside=True)


def test_commands_import_all_public_modules():
    public = [name for name in kerasseq.__all__ if inspect.ismodule(getattr(kerasseq, name))]
    assert list(shell.MODULES) == public


def test_devices_are_not_replaced(tmp_path):
    (tmp_path / "file").write_text("")
    assert shell.is_device(pathlib.Path(os.devnull)) and shell.is_device(pathlib.Path("/dev/stdout"))
    assert not shell.is_device(tmp_path / "file") and not shell.is_device(tmp_path / "none")
