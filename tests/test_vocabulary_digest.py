"""Models know the vocabularies that they were trained with, and refuse others of the same sizes."""

import keras
import numpy as np
import pytest

import kerasseq
from kerasseq import TextGenerator
from kerasseq.callbacks import GeneratorCheckpoint
from kerasseq.preprocessing import TextPreprocessor, WordTokenizer

PAIRS = [("one two", "eins zwei"), ("two", "zwei"), ("one", "eins")]
REFUSED = "trained with another vocabulary, .*TextGenerator.load returns it.*model.vocabulary_digest = None"


def make(source=("one", "two"), target=("eins", "zwei"), **options):
    return TextPreprocessor(WordTokenizer(source), WordTokenizer(target), **options)


def build(preprocessor):
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    return kerasseq.models.VanillaSeq2Seq(*sizes, embedding_dim=4, units=4)


def compiled(preprocessor):
    model = build(preprocessor)
    model.compile("adam", kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def own():
    return make()


@pytest.fixture(scope="module", params=["source", "target"])
def other(request):
    return make(**{request.param: ("two", "one") if request.param == "source" else ("zwei", "eins")})


@pytest.fixture(scope="module")
def model(own):
    model = compiled(own)
    model.fit(own.dataset(PAIRS, 2), verbose=0, shuffle=False)
    return model


def test_fitted_models(model, own, other, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for known in (model, loaded, kerasseq.models.Ensemble([model, build(own)])):
        TextGenerator(known, own)
        TextGenerator(known, make(max_source_length=9))
        with pytest.raises(ValueError, match=REFUSED):
            TextGenerator(known, other)
    with pytest.raises(ValueError, match=REFUSED):
        loaded.fit(other.dataset(PAIRS, 2), verbose=0)
    for fresh in (loaded, compiled(own)):
        with pytest.raises(ValueError, match="validation_data has other vocabularies than the model or its training"):
            fresh.fit(own.dataset(PAIRS, 2), validation_data=other.dataset(PAIRS, 2), verbose=0)
    assert fresh.vocabulary_digest is None
    # What `repeat` makes of a data set has vocabularies that nobody knows.
    batches, validation = own.dataset(PAIRS, 2).repeat(), own.dataset(PAIRS, 2)
    fresh.fit(batches, validation_data=validation, steps_per_epoch=1, verbose=0, shuffle=False)
    assert fresh.vocabulary_digest is None
    with pytest.raises(ValueError, match=REFUSED):
        loaded.evaluate(other.dataset(PAIRS, 2), verbose=0)
    loaded.vocabulary_digest = None
    loaded.fit(other.dataset(PAIRS, 2), verbose=0, shuffle=False)
    with pytest.raises(ValueError, match=REFUSED):
        TextGenerator(loaded, own)
    with pytest.raises(ValueError, match="members of an ensemble must have been trained with one vocabulary"):
        kerasseq.models.Ensemble([model, loaded])


def test_saved_generators(own, other, tmp_path):
    """Whether or not `fit` has seen a data set of the preprocessor."""
    model = build(own)
    TextGenerator(model, other)
    TextGenerator(model, own).save(tmp_path / "generator.keras")
    loaded = TextGenerator.load(tmp_path / "generator.keras")
    TextGenerator(loaded.model, own)
    with pytest.raises(ValueError, match=REFUSED):
        TextGenerator(loaded.model, other)


def test_checkpoints_have_their_vocabularies(own, tmp_path):
    model, data = compiled(own), own.dataset(PAIRS, 2)
    checkpoint = GeneratorCheckpoint(
        tmp_path / "{epoch}.keras", own, "greedy", monitor="loss", mode="max", save_best_only=True
    )
    losses = model.fit(data, epochs=2, verbose=0, shuffle=False, callbacks=[checkpoint]).history["loss"]
    assert losses[1] < losses[0]  # So that the first one is kept, alone.
    assert [path.name for path in tmp_path.iterdir()] == ["1.keras"]
    loaded = TextGenerator.load(tmp_path / "1.keras")
    assert loaded.preprocessor.vocabulary_digest == own.vocabulary_digest
    assert int(loaded.model.optimizer.iterations) == 2
    loaded.model.fit(data, verbose=0, shuffle=False)
    for resumed, uninterrupted in zip(loaded.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(resumed, uninterrupted, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), [("best.h5", {}), ("best.keras", {"save_weights_only": True})])
def test_checkpoints_of_other_kinds(name, options, own):
    with pytest.raises(ValueError, match="GeneratorCheckpoint saves whole generators to a .keras file. Received: file"):
        GeneratorCheckpoint(name, own, **options)


@pytest.mark.parametrize("name", ["generator.h5", "generator", "generator.keras.zip"])
def test_names_of_files(name, own, tmp_path):
    generator = TextGenerator(build(own), own)
    with pytest.raises(ValueError, match=r"saved to a .keras file.*Received: filepath=.*Pass '.*\.keras'"):
        generator.save(tmp_path / name)
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ValueError, match="saved to a file. Received: .*which is a folder"):
        generator.save(tmp_path / "folder.keras")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="exported to a folder.*Received: .*file, which is a file"):
        generator.export(tmp_path / "file")


def test_home_folders(own, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    generator = TextGenerator(build(own), own)
    generator.save("~/generator.keras")
    assert (tmp_path / "generator.keras").is_file()
    assert TextGenerator.load("~/generator.keras").max_length == generator.max_length
    assert GeneratorCheckpoint("~/best.keras", own).filepath == str(tmp_path / "best.keras")
