"""A training by the command line, in process, which the tests of the other commands share."""

import pathlib

import pytest
from typer.testing import CliRunner

import kerasseq
from kerasseq.command_line.application import app
from kerasseq.command_line.zoo import load_generator

TINY = [
    "model.units=12", "model.embedding_dim=8", "epochs=2", "scores.pairs=8", "scores.samples=1", "checkpoint.last=2",
     "checkpoint.beam_width=4", "preprocessor.max_target_length=16",
]  # fmt: skip


@pytest.fixture(scope="session")
def kerasseq_command():
    """A function of arguments that runs the command, checks its exit code, and returns standard output and error.

    A model is loaded once, so that its graphs are traced once.
    """
    loaded = {}

    def load_once(model):
        path = pathlib.Path(model)
        key = path.resolve(), (path / "best.keras" if (path / "best.keras").exists() else path).stat().st_mtime_ns
        if key not in loaded:
            loaded[key] = load_generator(model)
        return loaded[key]

    def load(model):
        return load_once(model) if pathlib.Path(model).exists() else load_generator(model)

    def run(*arguments, input=None, code=0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("kerasseq.command_line.zoo.load_generator", load)
            result = CliRunner().invoke(app, list(map(str, arguments)), input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.stderr
        return result.stdout, result.stderr

    return run


@pytest.fixture(scope="session")
def settings():
    """The options by which a training is tiny."""
    return [part for setting in TINY for part in ("--set", setting)]


@pytest.fixture(scope="session")
def dates(tmp_path_factory):
    """A TSV file of 300 dates."""
    path = tmp_path_factory.mktemp("data") / "dates.tsv"
    pairs = [pair for split in kerasseq.datasets.load_dates(300) for pair in split]
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(kerasseq_command, dates, settings, tmp_path_factory):
    """The run folder of a tiny training, its configuration, and what the command printed."""
    folder = tmp_path_factory.mktemp("training")
    config, run = folder / "config.yaml", folder / "run"
    kerasseq_command("init", dates, "--tokens", "characters", "--folder", run, "-o", config)
    stdout, stderr = kerasseq_command("train", config, *settings)
    return {"folder": run, "config": config, "stdout": stdout, "stderr": stderr}
