"""Exported models shared by the tests: a real one, and one whose graph is traced and written in a moment."""

import json
import pathlib
import shutil

import pytest
import tensorflow as tf

from kerasseq.export.description import digest


@pytest.fixture(scope="session")
def quick_signatures():
    """A function of a generator that returns the usual signatures with trivial answers: upper case, and the length."""

    def signatures(generator):
        source = generator.preprocessor.source_signature

        def best(text):
            return {"text": tf.strings.upper(text), "score": -tf.cast(tf.strings.length(text), tf.float32)}

        def nbest(text):
            answer = best(text)
            return {
                "text": tf.stack([answer["text"], text], axis=1),
                "score": tf.stack([answer["score"], answer["score"] - 1], axis=1),
            }

        functions = {"serving_default": best, "greedy": best, "nbest": nbest, "attention": best}
        return {
            name: tf.function(function).get_concrete_function(tf.TensorSpec([None], tf.string, source.name))
            for name, function in functions.items()
        }

    return signatures


@pytest.fixture
def quick(quick_signatures, monkeypatch):
    """Replaces the signatures, where tests are about the files around them."""
    monkeypatch.setattr("kerasseq.export.writing.signatures", quick_signatures)


@pytest.fixture(scope="session")
def quick_export(generator, quick_signatures, tmp_path_factory):
    """The folder of version 1 with the weights, vocabularies and description of `generator`, and trivial answers."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("kerasseq.export.writing.signatures", quick_signatures)
        return pathlib.Path(generator.export(tmp_path_factory.mktemp("quick") / "numbers", verify=False))


@pytest.fixture
def copy(quick_export, tmp_path):
    """A copy of `quick_export`, to be damaged."""
    return pathlib.Path(shutil.copytree(quick_export, tmp_path / "copy" / "1"))


@pytest.fixture(scope="session")
def save_module():
    """A function that saves a function of strings as a SavedModel."""

    def save(folder, function):
        module = tf.Module()
        module.serve = tf.function(function, input_signature=[tf.TensorSpec([None], tf.string, "text")])
        signatures = {"serving_default": module.serve.get_concrete_function()}
        tf.saved_model.save(module, str(folder), signatures=signatures)
        return folder

    return save


@pytest.fixture(scope="session")
def change_description():
    """A function that changes the description of a version so that it still has the right digest."""

    def change(folder, edit):
        path = folder / "assets.extra" / "kerasseq.json"
        description = json.loads(path.read_text(encoding="utf-8"))
        del description["digest"]
        edit(description)
        path.write_text(json.dumps({**description, "digest": digest(description)}), encoding="utf-8")

    return change
