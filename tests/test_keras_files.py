"""Damaged `.keras` files: each is a `ValueError` that names the file and says what to do."""

import zipfile

import keras
import pytest

from kerasseq import TextGenerator


@pytest.fixture(scope="module")
def saved(generator, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    generator.save(path)
    return path


def cut(content):
    return content[: len(content) // 2]


def changed(content):
    """A byte of the weights is another one."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, changed, lambda content: b"", lambda content: b"no model"])
def test_damaged_bytes(saved, tmp_path, damage):
    path = tmp_path / "damaged.keras"
    path.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(ValueError, match="^Expected a .keras file, .* at .*damaged.keras. Received: .* Copy the file"):
        TextGenerator.load(path)


def rewritten(saved, path, change):
    """Writes the archive with the parts that a function of their names and contents returns."""
    with zipfile.ZipFile(saved) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in change(parts).items():
            archive.writestr(name, content)


def without(name):
    return lambda parts: {other: content for other, content in parts.items() if other != name}


def with_configuration(text):
    return lambda parts: {**parts, "config.json": text}


@pytest.mark.parametrize(
    "change",
    [
        without("config.json"),
        without("model.weights.h5"),
        with_configuration("{"),
        with_configuration("[]"),
        with_configuration("{}"),
        with_configuration('{"class_name": "TextGenerator"}'),
        with_configuration("\udcff".encode(errors="surrogateescape")),
        lambda parts: {**parts, "model.weights.h5": parts["model.weights.h5"][:1000]},
        lambda parts: {},
    ],
)
def test_damaged_parts(saved, tmp_path, change):
    path = tmp_path / "damaged.keras"
    rewritten(saved, path, change)
    with pytest.raises(ValueError, match="^Expected a .keras file, .* at .*damaged.keras. Received: .*") as error:
        TextGenerator.load(path)
    assert "\n" not in str(error.value)


def test_an_unchanged_copy_is_loaded(saved, tmp_path, generator):
    """Otherwise the test above would prove nothing."""
    rewritten(saved, tmp_path / "copy.keras", lambda parts: parts)
    assert TextGenerator.load(tmp_path / "copy.keras").generate("one") == generator.generate("one")


def test_files_of_other_formats(trained_model, tmp_path):
    path = tmp_path / "model.weights.h5"
    trained_model.save_weights(path)
    with pytest.raises(ValueError, match="Expected a .keras file, .*model.weights.h5. Received: a file of"):
        TextGenerator.load(path)


def test_models_that_are_no_generators_are_named(tmp_path):
    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "plain.keras")
    with pytest.raises(ValueError, match="Expected a TextGenerator in .*plain.keras. Received: a Functional"):
        TextGenerator.load(tmp_path / "plain.keras")
