"""`kerasseq init` and `kerasseq train`."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
import yaml

from kerasseq import TextGenerator
from kerasseq.datasets import read_pairs, split_by_source
from kerasseq.plotting.history import read_history


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
    assert [row["epoch"] for row in rows] == ["1", "2"] and results["epochs"] == 2
    best = rows[int(results["best"]["epoch"]) - 1]
    assert {name: float(value) for name, value in best.items()} == results["best"]
    # Files of TensorBoard and curves count in the same way.
    epochs, _ = read_history(folder / "log.csv")
    assert epochs.tolist() == [1, 2]
    (path,) = folder.glob("tensorboard/validation/events*")
    events = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    assert {event.step for event in events if any(value.tag == "epoch_loss" for value in event.summary.value)} == {1, 2}
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
    _, stderr = kerasseq_command("train", trained["config"], *settings, "--set", "model.units=9", "--resume", code=2)
    assert "which differs in 'model.units: 9'" in stderr


def test_a_moved_run_goes_on(kerasseq_command, trained, settings, dates, tmp_path):
    """From another place, with data at another place, and without TensorBoard."""
    shutil.copytree(trained["folder"], tmp_path / "moved")
    shutil.copy(dates, tmp_path / "same.tsv")
    moved = [f"folder={tmp_path / 'moved'}", f"data.train={tmp_path / 'same.tsv'}", "tensorboard=false"]
    options = [part for setting in moved for part in ("--set", setting)]
    stdout, stderr = kerasseq_command("train", trained["config"], *settings, *options, "--resume")
    assert stdout == f"{tmp_path / 'moved' / 'best.keras'}\n" and "is finished already" in stderr


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_of_others_stay(kerasseq_command, trained, settings, tmp_path):
    """Folders that a training did not begin, whatever the names of their files, are left alone."""
    for number, name in enumerate(("backup/thesis.txt", "test.jsonl", "log.csv", "run.json")):
        folder = tmp_path / str(number)
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text('{"mine": 1}')
        config = folder / "config.yaml"
        config.write_text("# Mine.\n" + trained["config"].read_text())
        before = contents(folder)
        for options in ([], ["--resume"]):
            arguments = ["train", config, *settings, "--set", f"folder={folder}", *options]
            _, stderr = kerasseq_command(*arguments, code=2)
            assert f"Received: {folder}, which has {name.partition('/')[0]}. Pass another folder" in stderr
            assert contents(folder) == before


def test_a_configuration_in_its_run_folder(kerasseq_command, trained, settings, tmp_path):
    """It stays as it is, and what a training removes are its own files."""
    config, folder = tmp_path / "config.yaml", tmp_path
    text = "# Mine.\n" + trained["config"].read_text().replace(str(trained["folder"]), str(folder))
    config.write_text(text)
    arguments = ["train", config, *settings, "--set", "epochs=1", "--set", "scores=null"]
    arguments += ["--set", "checkpoint.monitor=val_loss", "--quiet"]
    stdout, _ = kerasseq_command(*arguments)
    assert stdout == f"{folder / 'best.keras'}\n" and config.read_text() == text
    assert yaml.safe_load((folder / "config_used.yaml").read_text())["model"]["units"] == 12
    # Begun, but without a finished epoch: the next one begins anew.
    for name in ("log.csv", "results.json"):
        (folder / name).unlink()
    (folder / "backup").mkdir()
    for name in ("backup/000001.weights.h5", "start.keras", "backup/thesis.txt"):
        (folder / name).write_text("old")
    assert kerasseq_command(*arguments)[0] == stdout and config.read_text() == text
    assert contents(folder / "backup") == {"thesis.txt": b"old"} and not (folder / "start.keras").exists()
    _, stderr = kerasseq_command(*arguments[:-1], "--resume")
    assert "is finished already" in stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer.global_clipnorm=1.0", "Only one of"),
        ("loss.label_smoothing=2.0", "label_smoothing must be"),
        ("checkpoint.sampler=greedy", "Set `sampler: beam`"),
        ("scores.metrics=[bleuu]", "metrics must be"),
    ],
)
def test_mistakes_are_found_before_data_are_read(kerasseq_command, trained, settings, tmp_path, setting, message):
    options = ["--set", f"folder={tmp_path / 'run'}", "--set", "data.train=none.tsv", "--set", setting]
    _, stderr = kerasseq_command("train", trained["config"], *settings, *options, code=2)
    assert message in stderr and "Traceback" not in stderr and not (tmp_path / "run").exists()
    assert re.match(rf"Error: (--set \S+|{re.escape(str(trained['config']))}, line \d+): ", stderr)


def test_validation_that_is_the_training(kerasseq_command, trained, settings, dates, tmp_path):
    options = ["--set", f"folder={tmp_path / 'run'}", "--set", f"data.validation={dates}"]
    _, stderr = kerasseq_command("train", trained["config"], *settings, *options, code=2)
    assert "only near duplicates of validation" in stderr and "leave out `validation`" in stderr
    assert not (tmp_path / "run").exists()


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
    kerasseq_command("init", dates, "--tokens", "subwords", "--folder", tmp_path / "run", "-o", config)
    _, stderr = kerasseq_command("init", dates, "-o", config, code=2)
    assert "exists. Pass --overwrite" in stderr
    _, stderr = kerasseq_command("init", dates, "--tokens", "sillables", code=2)
    assert "--tokens must be one of subwords, characters, words" in stderr
    table = tmp_path / "table.csv"
    table.write_text("source,target\none,eins\n")
    _, stderr = kerasseq_command("init", table, code=1)
    assert "such as --columns source,target; or --columns 0,1 if the line is a pair" in stderr
    table.write_bytes("one,zw\xf6lf\n".encode("latin-1"))
    _, stderr = kerasseq_command("init", table, code=1)
    assert "such as --encoding cp1252 or " in stderr
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
        ("seed: 1", "seed: -1", "expected greater than or equal to 0"),
        ("  builder: AttentionSeq2Seq", "  builder: PointerGeneratorSeq2Seq", "Add `joint: true`"),
    ):
        stderr, line = error_of(old, new)
        assert f"config.yaml, line {line}: " in stderr and message in stderr, stderr
    stderr, _ = error_of(str(dates), "none.tsv", code=1)
    assert stderr == "Error: none.tsv: No such file or directory.\n"
    assert not (tmp_path / "run" / "log.csv").exists()


def test_a_training_in_the_folder_of_a_preset(kerasseq_command, trained, settings, tmp_path):
    TextGenerator.load(trained["folder"] / "best.keras").save_to_preset(tmp_path / "preset")
    arguments = [trained["config"], *settings, "--set", f"folder={tmp_path / 'preset'}"]
    _, stderr = kerasseq_command("train", *arguments, code=2)
    assert "which has a model that save_to_preset wrote. Pass another folder" in stderr
    assert not (tmp_path / "preset" / "run.json").exists()


@pytest.mark.parametrize(("name", "content"), [("run.json", "{}"), ("run.json", "{"), ("log.csv", "epoch,loss\n1,x\n"),
                                               ("log.csv", "loss\n1\n")])  # fmt: skip
def test_damaged_files_of_a_run(kerasseq_command, trained, settings, tmp_path, name, content):
    """A training that goes on names the file."""
    config = tmp_path / "config.yaml"
    folder = tmp_path / "run"
    shutil.copytree(trained["folder"], folder, ignore=shutil.ignore_patterns("results.json"))
    config.write_text((folder / "config.yaml").read_text().replace(str(trained["folder"]), str(folder)))
    (folder / "config.yaml").write_text(config.read_text())
    (folder / name).write_text(content)
    _, stderr = kerasseq_command("train", config, "--resume", code=1)
    assert f"Expected {folder / name} as `kerasseq train` wrote it. Received: a damaged file (" in stderr
    assert "Traceback" not in stderr


def test_init_says_what_it_chose(kerasseq_command, dates, tmp_path):
    config = tmp_path / "my config.yaml"
    stdout, stderr = kerasseq_command("init", dates, "-o", config)
    found = "Found 300 pairs. That is little: expect a model that repeats what it has seen. Sizes are those for about "
    assert stdout == "" and stderr.startswith(f"{found}2,000 pairs: 128 units, at most 60 epochs.\n")
    assert "Tokens of sources: characters (few words recur, or most are numbers), of targets: characters (" in stderr
    source, target = dates.read_text(encoding="utf-8").splitlines()[0].split("\t")
    assert f"First pair: {source!r} -> {target!r}. If this is a header, or these are not" in stderr
    assert stderr.endswith(f"Written: {config}. Next: kerasseq train '{config}'\n")
    assert yaml.safe_load(config.read_text())["preprocessor"]["tokens"] == "characters"
    stdout, stderr = kerasseq_command("init", dates, "--tokens", "words", "--quiet")
    assert yaml.safe_load(stdout)["preprocessor"]["tokens"] == "words" and stderr == ""
    _, stderr = kerasseq_command("init", tmp_path / "none.tsv", "-o", tmp_path / "none" / "config.yaml", code=2)
    assert "there is no folder" in stderr


def test_init_writes_to_standard_output(kerasseq_command, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("question,answer\nhow,so\nwhy,because\n")
    stdout, _ = kerasseq_command("init", path, "--columns", "question,answer")
    expected = {"path": str(path), "columns": ["question", "answer"]}
    assert yaml.safe_load(stdout)["data"]["train"] == expected and "validation" not in yaml.safe_load(stdout)["data"]
    _, stderr = kerasseq_command("init", path, code=1)
    assert "looks like names of columns" in stderr
    _, stderr = kerasseq_command("init", path, "--columns", "question", code=2)
    assert "--columns must be two names" in stderr


def test_init_reads_validation_as_it_reads_the_pairs(kerasseq_command, tmp_path):
    for name in ("train", "validation"):
        (tmp_path / f"{name}.csv").write_bytes("question,answer\nhöw,so\nwhy,because\n".encode("latin-1"))
    options = ["--columns", "question,answer", "--encoding", "latin-1", "--validation"]
    stdout, _ = kerasseq_command("init", tmp_path / "train.csv", *options, tmp_path / "validation.csv")
    data = yaml.safe_load(stdout)["data"]
    for name in ("train", "validation"):
        expected = {"path": str(tmp_path / f"{name}.csv"), "columns": ["question", "answer"], "encoding": "latin-1"}
        assert data[name] == expected and read_pairs(**data[name]) == [("höw", "so"), ("why", "because")]
    (tmp_path / "other.csv").write_text("question,reply\nhow,so\n")
    _, stderr = kerasseq_command("init", tmp_path / "train.csv", *options, tmp_path / "other.csv", code=1)
    assert "other.csv" in stderr and "answer" in stderr


def test_init_with_parallel_validation_files(kerasseq_command, tmp_path):
    names = ("train.en", "train.de", "validation.en", "validation.de")
    for name in names:
        (tmp_path / name).write_text(f"{name} one\n{name} two\n")
    train, train_target, validation, validation_target = (tmp_path / name for name in names)
    arguments = ["init", train, "--target-path", train_target, "--validation-target-path", validation_target]
    stdout, _ = kerasseq_command(*arguments, "--validation", validation)
    file = yaml.safe_load(stdout)["data"]["validation"]
    assert file == {"path": str(validation), "target_path": str(validation_target)}
    assert read_pairs(**file)[0] == ("validation.en one", "validation.de one")
    _, stderr = kerasseq_command(*arguments, code=2)
    assert "--validation-target-path needs --validation" in stderr


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
    kerasseq_command("init", dates, "--tokens", "subwords", "-o", config)
    settings = [
        "epochs=8", "model.units=12", "model.embedding_dim=8", "dataset.batch_size=16", "scores.pairs=8",
        "scores.samples=0", "optimizer.use_ema=true", "optimizer.ema_momentum=0.9", "dataset.subword_sampling=0.3",
        "preprocessor.vocabulary_size=400", "preprocessor.max_target_length=16", "tensorboard=false",
        "checkpoint.monitor=val_loss", "early_stopping.min_delta=9", "early_stopping.patience=4",
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
        file.write("3" + ",0.0" * 6 + "\n")  # Of an epoch that is done again.
    stdout, stderr = finished(command_line(*runs["killed"], "--resume"))
    assert stdout == f"{folders['killed'] / 'best.keras'}\n"
    assert re.findall(r"Epoch (\d)/8", stderr) == ["3", "4", "5"]

    expected, found = (rows_of(folder / "log.csv") for folder in folders.values())
    assert len(expected) == 5  # The first one and four without a better one, two of them before the kill.
    assert [row["epoch"] for row in found] == [row["epoch"] for row in expected]
    for row, other in zip(expected, found, strict=True):
        assert {name: float(value) for name, value in other.items()} == pytest.approx(
            {name: float(value) for name, value in row.items()}, abs=1e-3
        )
    models = [TextGenerator.load(folder / "best.keras") for folder in folders.values()]
    test = read_pairs(folders["whole"] / "test.jsonl")
    assert models[0].score(test) == pytest.approx(models[1].score(test), abs=1e-2)
