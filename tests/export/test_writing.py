"""Versions of an export: numbers, nothing overwritten, and nothing half-written."""

import os
import pathlib

import keras_hub
import pytest
import tensorflow as tf

import kerasseq
from kerasseq import TextGenerator
from kerasseq.export import versions


@pytest.fixture
def write(monkeypatch):
    """Writes an empty file instead of a SavedModel, where only the folders matter."""

    def write(generator, folder, *options):
        os.mkdir(folder)
        pathlib.Path(folder, "saved_model.pb").touch()

    monkeypatch.setattr("kerasseq.export.writing.write", write)


# === Versions ===


def test_versions_are_numbered(generator, write, tmp_path):
    model_folder = tmp_path / "deep" / "numbers"
    assert versions(model_folder) == []
    assert generator.export(model_folder) == str(model_folder / "1")
    assert generator.export(model_folder, version=7) == str(model_folder / "7")
    assert generator.export(str(model_folder)) == str(model_folder / "8")
    assert versions(model_folder) == [1, 7, 8]
    assert sorted(os.listdir(model_folder)) == ["1", "7", "8"]
    (model_folder / "notes.txt").touch()
    (model_folder / "10").mkdir()
    assert generator.export(model_folder) == str(model_folder / "11")


def test_existing_version_is_refused(generator, write, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("mine")
    with pytest.raises(FileExistsError, match="Version 1 exists.*never overwritten.*write version 2"):
        generator.export(tmp_path, version=1)
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "mine" and os.listdir(tmp_path) == ["1"]


@pytest.mark.parametrize("version", [0, -1, 1.0, "1", True])
def test_bad_version(generator, tmp_path, version):
    with pytest.raises(ValueError, match="version must be a positive integer. Received: version="):
        generator.export(tmp_path / "numbers", version=version)
    assert not (tmp_path / "numbers").exists()


def test_remote_folders_are_refused(generator):
    with pytest.raises(ValueError, match="exported to a local folder. Received: gs://bucket/model"):
        generator.export("gs://bucket/model")


def test_random_sampler_is_refused(trained_model, preprocessor, tmp_path):
    generator = TextGenerator(trained_model, preprocessor, sampler=keras_hub.samplers.TopKSampler(k=2))
    with pytest.raises(ValueError, match="Received: a random sampler. Export .*sampler='beam'"):
        generator.export(tmp_path / "numbers")
    assert not (tmp_path / "numbers").exists()


@pytest.mark.parametrize("version", [None, 1])
def test_a_number_that_is_taken_in_the_meantime(generator, monkeypatch, tmp_path, version):
    """An export takes the next number, but never another one than it was asked for."""

    def write(generator, folder, *options):
        for path in (pathlib.Path(folder), tmp_path / "1"):
            path.mkdir()
            (path / "saved_model.pb").write_text(path.name)

    monkeypatch.setattr("kerasseq.export.writing.write", write)
    if version is None:
        assert generator.export(tmp_path) == str(tmp_path / "2")
        assert sorted(os.listdir(tmp_path)) == ["1", "2"]
    else:
        with pytest.raises(OSError, match="not empty"):
            generator.export(tmp_path, version=version)
        assert os.listdir(tmp_path) == ["1"]
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "1"


# === Nothing half-written ===


def test_a_graph_that_servers_cannot_run_is_not_written(generator, quick_signatures, tmp_path, monkeypatch):
    def signatures(generator):
        serve = tf.function(lambda text: {"text": tf.py_function(lambda text: text, [text], tf.string)})
        greedy = serve.get_concrete_function(tf.TensorSpec([None], tf.string, "text"))
        return {**quick_signatures(generator), "greedy": greedy}

    monkeypatch.setattr("kerasseq.export.writing.signatures", signatures)
    with pytest.raises(ValueError, match=r"cannot run: EagerPyFunc \(calls Python\). Nothing was written"):
        generator.export(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_failure_midway_leaves_nothing(generator, tmp_path, monkeypatch, error):
    seen = []

    def write(generator, folder, *options):
        pathlib.Path(folder).mkdir()
        (pathlib.Path(folder) / "saved_model.pb").write_text("half of it")
        seen.extend([os.listdir(tmp_path), versions(tmp_path)])
        raise error

    monkeypatch.setattr("kerasseq.export.writing.write", write)
    with pytest.raises(type(error)):
        generator.export(tmp_path)
    assert os.listdir(tmp_path) == []
    # While it was written, a model server would have seen no version.
    ((temporary,), found) = seen
    assert temporary.startswith(".") and found == []


# === The files ===


@pytest.mark.parametrize("verify", [True, False])
def test_verification_is_optional(generator, quick, monkeypatch, tmp_path, verify):
    checked = []
    monkeypatch.setattr("kerasseq.export.writing.check_answers", lambda *arguments: checked.append(arguments))
    generator.export(tmp_path, verify=verify)
    assert len(checked) == verify


def test_an_export_that_answers_otherwise_is_not_written(generator, quick, monkeypatch, tmp_path):
    monkeypatch.setattr("kerasseq.export.checks.same", lambda *answers: False)
    with pytest.raises(ValueError, match="(?s)does not answer as the generator.*Nothing was written"):
        generator.export(tmp_path)
    assert os.listdir(tmp_path) == []


def test_files(quick_export):
    """What a server reads, without the fingerprint of the graph before it was rewritten."""
    files = {str(path.relative_to(quick_export)) for path in quick_export.rglob("*") if path.is_file()}
    assert files == {
        "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001",
        "assets.extra/kerasseq.json", "assets.extra/source.spm", "assets.extra/target.spm",
        "assets.extra/tf_serving_warmup_requests",
    }  # fmt: skip
    assert os.listdir(quick_export.parent) == ["1"]


def test_losses_of_the_training_are_not_needed_to_load(preprocessor, quick, tmp_path):
    """A user's own loss, which another process does not know."""

    def own_loss(y, logits):
        return 0.0 * logits[..., 0]

    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=4, units=4
    )
    model.compile("sgd", own_loss)
    loaded = TextGenerator.load(TextGenerator(model, preprocessor, max_length=4).export(tmp_path, verify=False))
    assert not loaded.model.compiled
