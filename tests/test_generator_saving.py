"""`.keras` files of a `TextGenerator`: what they keep, training after loading, and files that are refused."""

import json
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import kerasseq
from kerasseq import TextGenerator

SOURCES = ["one two three", "four", "four three two one"]

FRESH_PROCESS = """
import json, sys
import kerasseq
generator = kerasseq.TextGenerator.load(sys.argv[1])
results = generator.generate(json.loads(sys.argv[2]), details=True)
optimizer = generator.model.optimizer
print("RESULT" + json.dumps({
    "texts": [result.text for result in results],
    "scores": [result.score for result in results],
    "max_length": generator.max_length,
    "sampler": generator.sampler.get_config(),
    "iterations": int(optimizer.iterations),
    "slots": [float(abs(variable.numpy()).sum()) for variable in optimizer.variables],
}))
"""


@pytest.fixture(scope="module")
def saved(generator, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "numbers.keras"
    generator.save(path)
    return path


@pytest.mark.exports
def test_a_fresh_process_gives_the_same(generator, trained_model, saved):
    command = [sys.executable, "-c", FRESH_PROCESS, str(saved), json.dumps(SOURCES)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = json.loads(re.search("RESULT(.*)", output)[1])
    expected = generator.generate(SOURCES, details=True)
    assert result["texts"] == [generation.text for generation in expected]
    np.testing.assert_allclose(result["scores"], [generation.score for generation in expected], atol=1e-3)
    assert result["max_length"] == generator.max_length and result["sampler"] == generator.sampler.get_config()
    optimizer = trained_model.optimizer
    assert result["iterations"] == int(optimizer.iterations) > 0
    np.testing.assert_allclose(result["slots"], [np.abs(slot.numpy()).sum() for slot in optimizer.variables], rtol=1e-4)


@pytest.mark.parametrize("load", [TextGenerator.load, keras.models.load_model])
def test_load(generator, trained_model, saved, load):
    loaded = load(saved)
    assert isinstance(loaded, TextGenerator)
    for name in ("name", "max_length", "long_sources"):
        assert getattr(loaded, name) == getattr(generator, name)
    assert loaded.sampler.get_config() == generator.sampler.get_config()
    for ours, theirs in zip(loaded.model.weights, trained_model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(loaded.model.optimizer.variables, trained_model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    texts = [generator.preprocessor.encode_source(SOURCES), loaded.preprocessor.encode_source(SOURCES)]
    np.testing.assert_array_equal(*(text["encoder_token_ids"] for text in texts))


def test_continued_fit_after_load(preprocessor, number_pairs, tmp_path):
    """A model that is saved, loaded and trained on has the weights that it has without the detour."""
    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=8, units=8
    )
    model.compile(keras.optimizers.Adam(0.01), kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    dataset = preprocessor.dataset(number_pairs[:8], batch_size=4)
    model.fit(dataset, verbose=0, shuffle=False)
    TextGenerator(model, preprocessor, "greedy", max_length=5).save(tmp_path / "half.keras")
    loaded = TextGenerator.load(tmp_path / "half.keras")
    before = loaded.generate("one two", details=True).score
    ours = loaded.model.fit(dataset, verbose=0, shuffle=False).history["loss"]
    theirs = model.fit(dataset, verbose=0, shuffle=False).history["loss"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert int(loaded.model.optimizer.iterations) == int(model.optimizer.iterations) == 4
    for one, other in zip(loaded.model.weights, model.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    # The trained weights generate.
    assert loaded.generate("one two", details=True).score != before


def test_load_of_a_plain_model(trained_model, tmp_path):
    trained_model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="Expected a TextGenerator in .*Received: a Seq2Seq.*give it to TextGenerator"):
        TextGenerator.load(tmp_path / "model.keras")


@pytest.mark.parametrize("name", ["missing.keras", "missing", "missing/1"])
def test_load_of_a_missing_path(tmp_path, name):
    with pytest.raises(
        ValueError, match="written by TextGenerator.save.*Received: .*missing.*does not exist. Check the path"
    ):
        TextGenerator.load(tmp_path / name)


@pytest.mark.parametrize("found", [None, 3])
def test_other_formats(saved, tmp_path, found):
    """kerasseq 0.2 wrote files without a format."""
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(saved) as ours, zipfile.ZipFile(path, "w") as other:
        for name in ours.namelist():
            content = ours.read(name)
            if name == "config.json":
                description = json.loads(content)
                assert description["config"].pop("format") == 2
                if found:
                    description["config"]["format"] = found
                content = json.dumps(description)
            other.writestr(name, content)
    message = f"format 2, as this release.*Received: format {found or 1}. kerasseq 0.2 reads format 1; a higher format"
    with pytest.raises(ValueError, match=message):
        TextGenerator.load(path)
