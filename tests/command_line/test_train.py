"""`kerasseq init` and `kerasseq train`."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from kerasseq import TextGenerator
from kerasseq.datasets import read_pairs, split_by_source


def rows_of(log):
    with open(log, newline="") as file:
        return list(csv.DictReader(file))


def test_run_folder(trained, dates):
    folder = trained["folder"]
    assert trained["stdout"] == f"{folder / 'best.keras'}\n"
    names = {
        "best.keras", "checkpoints", "config.yaml", "curves.png", "log.csv", "results.json", "run.json", "tensorboard",
        "test.jsonl", "validation.jsonl",
    }  # fmt: skip
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(folder.glob("tensorboard/train/events*")) and list(folder.glob("tensorboard/validation/events*"))
    assert sorted(path.name for path in folder.glob("checkpoints/*")) == ["0001.keras", "0002.keras"]
    used = yaml.safe_load((folder / "config.yaml").read_text())
    assert used["model"]["units"] == 12 and used["epochs"] == 2 and used["data"]["train"]["path"] == str(dates)
    # The pairs that are kept from the training.
    _, validation, test = split_by_source(read_pairs(dates))
    assert read_pairs(folder / "test.jsonl") == test and read_pairs(folder / "validation.jsonl") == validation
    rows, results = rows_of(folder / "log.csv"), json.loads((folder / "results.json").read_text())
    assert [row["epoch"] for row in rows] == ["0", "1"] and results["epochs"] == 2
    assert results["best"]["val_chrf"] == max(float(row["val_chrf"]) for row in rows)
    assert json.loads((folder / "run.json").read_text())["versions"]["keras"]


def test_what_is_printed(trained):
    assert "pairs for training" in trained["stderr"] and "Epoch 2/2" in trained["stderr"]
    assert trained["stderr"].count("source: ") == 2  # a sample after each epoch


def test_the_best_model_has_the_scores_of_its_epoch(trained):
    generator = TextGenerator.load(trained["folder"] / "best.keras")
    assert generator.sampler.beam_width == 4 and generator.max_length == 16
    results = json.loads((trained["folder"] / "results.json").read_text())
    validation = read_pairs(trained["folder"] / "validation.jsonl")
    few = validation[:: -(-len(validation) // 8)]
    scores = generator.evaluate_text(few, ["chrf"], sampler="greedy", resamples=0)
    assert scores["chrf"]["score"] == pytest.approx(results["best"]["val_chrf"], abs=0.01)


def test_a_finished_training_stays_as_it_is(kerasseq_command, trained, settings):
    before = (trained["folder"] / "best.keras").stat().st_mtime_ns
    stdout, stderr = kerasseq_command("train", trained["config"], *settings, "--resume", "--quiet")
    assert stdout == trained["stdout"] and stderr == ""
    _, stderr = kerasseq_command("train", trained["config"], *settings, "--resume")
    assert "is finished already" in stderr
    assert (trained["folder"] / "best.keras").stat().st_mtime_ns == before
    _, stderr = kerasseq_command("train", trained["config"], *settings, code=2)
    assert "has a training already. Pass --resume" in stderr
    _, stderr = kerasseq_command("train", trained["config"], *settings, "--set", "seed=9", "--resume", code=2)
    assert "which differs in 'seed: 9'" in stderr


def test_data_that_changed_is_refused(kerasseq_command, trained, settings, dates):
    text = dates.read_text(encoding="utf-8")
    try:
        dates.write_text(text + "5 May 2005\t2005-05-05\n", encoding="utf-8")
        _, stderr = kerasseq_command("train", trained["config"], *settings, "--resume", code=1)
    finally:
        dates.write_text(text, encoding="utf-8")
    assert "other pairs than" in stderr and "Traceback" not in stderr


def test_mistakes(kerasseq_command, tmp_path, dates, settings):
    _, stderr = kerasseq_command("train", tmp_path / "none.yaml", code=1)
    assert stderr == f"Error: {tmp_path / 'none.yaml'}: No such file or directory.\n"
    config = tmp_path / "config.yaml"
    kerasseq_command("init", dates, "--folder", tmp_path / "run", "-o", config)
    _, stderr = kerasseq_command("init", dates, "-o", config, code=2)
    assert "exists. Pass --overwrite" in stderr
    text = config.read_text()

    def error_of(old, new, code=2):
        assert old in text
        config.write_text(text.replace(old, new))
        _, stderr = kerasseq_command("train", config, *settings, code=code)
        assert "Traceback" not in stderr
        return stderr, 1 + text[: text.index(old)].count("\n")

    for old, new, message in (
        ("  cell: gru", "  cell: grü", "cell must be one of"),
        ("  tokens: subwords", "  tokens: sillables", "tokens must be"),
        ("  monitor: val_chrf", "  monitor: val_rouge", "monitor must be one of loss, "),
        ("  sampler: beam", "  sampler: bean", "expected 'greedy' or 'beam'"),
        ("  metrics: [bleu, chrf]", "  metrics: [blue, chrf]", "metrics must be"),
        ("  units: 128", "  unitz: 128", "Did you mean 'units'?"),
        ("  builder: AttentionSeq2Seq", "  builder: PointerGeneratorSeq2Seq", "Add `joint: true`"),
    ):
        stderr, line = error_of(old, new)
        assert f"config.yaml, line {line}: " in stderr and message in stderr, stderr
    stderr, _ = error_of(str(dates), "none.tsv", code=1)
    assert stderr == "Error: none.tsv: No such file or directory.\n"
    assert not (tmp_path / "run" / "log.csv").exists()


def test_init_writes_to_standard_output(kerasseq_command, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("question,answer\nhow,so\nwhy,because\n")
    stdout, _ = kerasseq_command("init", path, "--columns", "question,answer", "--validation", "v.tsv")
    assert yaml.safe_load(stdout)["data"]["train"] == {"path": str(path), "columns": ["question", "answer"]}
    _, stderr = kerasseq_command("init", path, code=1)
    assert "looks like names of columns" in stderr
    _, stderr = kerasseq_command("init", path, "--columns", "question", code=2)
    assert "--columns must be two names" in stderr


def command_line(*arguments):
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    return subprocess.Popen(
        [sys.executable, "-m", "kerasseq", *map(str, arguments)], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process):
    stdout, stderr = process.communicate(timeout=900)
    assert process.returncode == 0, stderr
    return stdout, stderr


@pytest.mark.exports
def test_a_killed_training_goes_on_as_if_nothing_had_happened(kerasseq_command, tmp_path, dates):
    """Batches, subwords, dropout, the schedule, averages, the best model, early stopping and the log."""
    config = tmp_path / "config.yaml"
    kerasseq_command("init", dates, "-o", config)
    settings = [
        "epochs=8", "model.units=12", "model.embedding_dim=8", "dataset.batch_size=16", "scores.pairs=8",
        "scores.samples=0", "optimizer.use_ema=true", "optimizer.ema_momentum=0.9", "dataset.subword_sampling=0.3",
        "preprocessor.vocabulary_size=400", "preprocessor.max_target_length=16", "tensorboard=false",
        "checkpoint.monitor=val_loss", "checkpoint.mode=min", "early_stopping.min_delta=0.6",
        "early_stopping.patience=3",
    ]  # fmt: skip
    settings = [part for setting in settings for part in ("--set", setting)]
    folders = {name: tmp_path / name for name in ("whole", "killed")}
    runs = {name: ["train", config, *settings, "--set", f"folder={folder}"] for name, folder in folders.items()}
    finished(command_line(*runs["whole"]))

    killed = command_line(*runs["killed"])
    while not (folders["killed"] / "backup" / "000002.weights.h5").exists():
        assert killed.poll() is None, killed.communicate()[1]
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL and not (folders["killed"] / "results.json").exists()
    with open(folders["killed"] / "log.csv", "a") as file:
        file.write("2" + ",0.0" * 6 + "\n")  # Of an epoch that is done again.
    stdout, stderr = finished(command_line(*runs["killed"], "--resume"))
    assert stdout == f"{folders['killed'] / 'best.keras'}\n"
    assert "Epoch 1/8" not in stderr and "Epoch 2/8" not in stderr and "Epoch 8/8" not in stderr

    expected, found = (rows_of(folder / "log.csv") for folder in folders.values())
    assert len(expected) == 7  # It stopped early, after the kill, because of what was before.
    assert [row["epoch"] for row in found] == [row["epoch"] for row in expected]
    for row, other in zip(expected, found, strict=True):
        assert {name: float(value) for name, value in other.items()} == pytest.approx(
            {name: float(value) for name, value in row.items()}, abs=1e-3
        )
    models = [TextGenerator.load(folder / "best.keras") for folder in folders.values()]
    test = read_pairs(folders["whole"] / "test.jsonl")
    assert models[0].score(test) == pytest.approx(models[1].score(test), abs=1e-2)
