import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq import TextGenerator
from kerasseq.export import load_exported, unservable, versions

C_API = pathlib.Path(__file__).parent / "serving" / "c_api.py"
SOURCES = ["one two three", "four", "four three", "two two one"]


@pytest.fixture(scope="module")
def exported(generator, tmp_path_factory):
    """The folder of version 1."""
    return generator.export(tmp_path_factory.mktemp("models") / "numbers")


@pytest.fixture
def copy(exported, tmp_path):
    """A copy of version 1, to be damaged."""
    return pathlib.Path(shutil.copytree(exported, tmp_path / "copy" / "1"))


@pytest.fixture
def quick(monkeypatch):
    """Writes next to nothing instead of a SavedModel, where only the folders matter."""

    def write(generator, folder):
        save_module(folder, lambda text: tf.strings.upper(text))

    monkeypatch.setattr("kerasseq.export.write", write)
    monkeypatch.setattr("kerasseq.export.check_answers", lambda generator, folder: None)


def save_module(folder, function, **kwargs):
    module = tf.Module()
    module.serve = tf.function(function, input_signature=[tf.TensorSpec([None], tf.string)], **kwargs)
    tf.saved_model.save(module, folder, signatures={"serving_default": module.serve.get_concrete_function()})


# === Versions ===


def test_versions_are_numbered(generator, quick, tmp_path):
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


def test_existing_version_is_refused(generator, exported):
    folder = pathlib.Path(exported)
    before = (folder / "saved_model.pb").read_bytes()
    with pytest.raises(FileExistsError, match="Version 1 exists.*never overwritten.*write version 2"):
        generator.export(folder.parent, version=1)
    assert (folder / "saved_model.pb").read_bytes() == before and os.listdir(folder.parent) == ["1"]


@pytest.mark.parametrize("version", [0, -1, 1.0, "1", True])
def test_bad_version(generator, tmp_path, version):
    with pytest.raises(ValueError, match="version must be a positive integer. Received: version="):
        generator.export(tmp_path / "numbers", version=version)
    assert not (tmp_path / "numbers").exists()


def test_random_sampler_is_refused(trained_model, preprocessor, tmp_path):
    generator = TextGenerator(trained_model, preprocessor, sampler=keras_hub.samplers.TopKSampler(k=2))
    with pytest.raises(ValueError, match="Received: a random sampler. Export .*sampler='beam'"):
        generator.export(tmp_path / "numbers")
    assert not (tmp_path / "numbers").exists()


# === Nothing half-written ===


def test_failed_check_leaves_nothing(generator, tmp_path, monkeypatch):
    def write(generator, folder):
        save_module(folder, lambda text: tf.py_function(lambda text: text, [text], tf.string))

    monkeypatch.setattr("kerasseq.export.write", write)
    monkeypatch.setattr("kerasseq.export.check_answers", lambda generator, folder: None)
    with pytest.raises(ValueError, match="a stock CPU model server cannot run: EagerPyFunc. Nothing was written"):
        generator.export(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_failure_midway_leaves_nothing(generator, tmp_path, monkeypatch, error):
    seen = []

    def write(generator, folder):
        pathlib.Path(folder).mkdir()
        (pathlib.Path(folder) / "saved_model.pb").write_text("half of it")
        seen.extend([os.listdir(tmp_path), versions(tmp_path)])
        raise error

    monkeypatch.setattr("kerasseq.export.write", write)
    monkeypatch.setattr("kerasseq.export.check_answers", lambda generator, folder: None)
    with pytest.raises(type(error)):
        generator.export(tmp_path)
    assert os.listdir(tmp_path) == []
    # While it was written, a model server would have seen no version.
    ((temporary,), found) = seen
    assert temporary.startswith(".") and found == []


# === What a server refuses ===


def test_unservable_finds_what_a_server_refuses(tmp_path):
    functions = {
        "good": (lambda text: tf.strings.upper(text), {}),
        "python": (lambda text: tf.numpy_function(lambda text: text, [text], tf.string), {}),
        "eager": (lambda text: tf.py_function(lambda text: text, [text], tf.string), {}),
    }
    found = {}
    for name, (function, kwargs) in functions.items():
        save_module(str(tmp_path / name), function, **kwargs)
        found[name] = unservable(tmp_path / name)
    assert found["good"] == [] and found["python"] == ["PyFunc"] and found["eager"] == ["EagerPyFunc"]


def test_unservable_finds_jit_compile(tmp_path):
    @tf.function(jit_compile=True)
    def inner(lengths):
        return lengths * 2

    save_module(str(tmp_path / "jit"), lambda text: inner(tf.strings.length(text)))
    problems = unservable(tmp_path / "jit")
    assert any(problem.startswith("jit_compile in __inference_inner") for problem in problems)


# === Back to a Keras model ===


@pytest.mark.parametrize("above", [False, True])
def test_load_is_the_generator(generator, exported, above):
    loaded = TextGenerator.load(os.path.dirname(exported) if above else exported)
    assert loaded.max_length == generator.max_length and loaded.name == generator.name
    assert loaded.sampler.get_config() == generator.sampler.get_config()
    for ours, theirs in zip(loaded.model.weights, generator.model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.generate(SOURCES) == generator.generate(SOURCES)


def test_highest_version_is_taken(exported, copy):
    (copy.parent / "9").mkdir()
    with pytest.raises(ValueError, match=r"Received: .*9, which has none"):
        TextGenerator.load(copy.parent)
    shutil.rmtree(copy.parent / "9")
    shutil.copytree(copy, copy.parent / "10")
    shutil.rmtree(copy)
    assert TextGenerator.load(copy.parent).max_length


def test_fit_and_export_again(exported, number_pairs):
    model_folder = os.path.dirname(exported)
    loaded = TextGenerator.load(exported)
    loaded.model.compile(keras.optimizers.SGD(0.1), kerasseq.losses.MaskedCrossentropy())
    loaded.model.fit(loaded.preprocessor.dataset(number_pairs, batch_size=16), verbose=0, shuffle=False)
    second = loaded.export(model_folder)
    try:
        assert second == os.path.join(model_folder, "2")
        again = TextGenerator.load(model_folder)
        for ours, theirs in zip(again.model.weights, loaded.model.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        first = TextGenerator.load(exported)
        assert any(
            not np.array_equal(ours, theirs)
            for ours, theirs in zip(again.model.weights, first.model.weights, strict=True)
        )
    finally:
        shutil.rmtree(second, ignore_errors=True)


# === Damage ===


def damage_description(folder, change):
    path = folder / "assets.extra" / "kerasseq.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    change(description)
    path.write_text(json.dumps(description), encoding="utf-8")


def test_folder_that_is_no_export(tmp_path):
    with pytest.raises(ValueError, match="Expected a version folder written by kerasseq's export.*which has none"):
        load_exported(str(tmp_path))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"generator": {}}', "\udcff"])
def test_damaged_description(copy, content):
    (copy / "assets.extra" / "kerasseq.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="kerasseq.json is damaged: .*export it again"):
        TextGenerator.load(copy)


@pytest.mark.parametrize("name", ["assets.extra/source.spm", "assets.extra/target.spm", "variables/variables.index"])
def test_missing_file(copy, name):
    (copy / name).unlink()
    with pytest.raises(ValueError, match=f"is incomplete. Missing: {name}. Copy the version folder again"):
        TextGenerator.load(copy)


def test_missing_variables(copy):
    (data,) = (copy / "variables").glob("variables.data*")
    data.unlink()
    with pytest.raises(ValueError, match="is incomplete. Missing: variables/variables.data"):
        TextGenerator.load(copy)


def test_weights_of_another_number(copy):
    damage_description(copy, lambda description: description["weights"].pop())
    with pytest.raises(ValueError, match=r"lists \d+ weights, the model it describes has \d+. Export the model again"):
        TextGenerator.load(copy)


@pytest.mark.parametrize("name", ["variables.index", "variables.data-00000-of-00001"])
def test_damaged_weights(copy, name):
    path = copy / "variables" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="The weights in .* are damaged .*Copy the version folder again"):
        TextGenerator.load(copy)


def test_exchanged_vocabularies(copy):
    shutil.copy(copy / "assets.extra" / "target.spm", copy / "assets.extra" / "source.spm")
    with pytest.raises(ValueError, match="source.spm in assets.extra is not what was exported"):
        TextGenerator.load(copy)


def test_weights_in_another_order(copy):
    def swap(description):
        paths = [weight["path"] for weight in description["weights"]]
        first, second = paths.index("forward_0/kernel"), paths.index("backward_0/kernel")
        weights = description["weights"]
        assert weights[first]["shape"] == weights[second]["shape"]
        weights[first], weights[second] = weights[second], weights[first]

    damage_description(copy, swap)
    with pytest.raises(ValueError, match="should be .*forward_0/kernel.* Received: backward_0/kernel"):
        TextGenerator.load(copy)


def test_an_export_that_answers_otherwise_is_refused(generator, monkeypatch, tmp_path):
    def other(generator, sampler, details):
        source = generator.preprocessor.source_signature
        serve = tf.function(lambda text: {"text": tf.fill(tf.shape(text), "no"), "score": tf.zeros(tf.shape(text))})
        return serve.get_concrete_function(text=source)

    monkeypatch.setattr("kerasseq.export.signature", other)
    with pytest.raises(ValueError, match="'serving_default' of the SavedModel answers otherwise"):
        generator.export(tmp_path)
    assert os.listdir(tmp_path) == []


def test_two_exports_at_once_take_two_numbers(generator, quick, monkeypatch, tmp_path):
    def meanwhile(generator, folder):
        if not (tmp_path / "1").exists():
            (tmp_path / "1").mkdir()
            (tmp_path / "1" / "saved_model.pb").touch()

    monkeypatch.setattr("kerasseq.export.check_answers", meanwhile)
    assert generator.export(tmp_path) == str(tmp_path / "2")


def test_weights_of_another_shape(copy, generator):
    weights = [tf.Variable(weight.value) for weight in generator.model.weights]
    weights[3] = tf.Variable(tf.zeros([2, 5]))
    checkpoint = tf.train.Checkpoint(weights=weights)
    checkpoint.write(str(copy / "variables" / "variables"))
    shape = ", ".join(map(str, generator.model.weights[3].shape))
    with pytest.raises(ValueError, match=rf"should be \('forward_0/bias', \[{shape}\]\). Received: .*, \[2, 5\]"):
        TextGenerator.load(copy)


def test_exports_loaded_together_keep_their_own_vocabularies(generator, exported, number_pairs, tmp_path):
    """TF Text's models share a name by default, and in one process the first one loaded serves for all."""
    swapped = [(target, source) for source, target in number_pairs]
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(swapped, vocabulary_size=285)
    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=8, embedding_dim=8
    )
    other = TextGenerator(model, preprocessor, max_length=12)
    folders = {exported: generator, other.export(tmp_path): other}
    loaded = {folder: tf.saved_model.load(folder) for folder in folders}
    for folder, expected in folders.items():
        for signature, sampler in {"serving_default": None, "greedy": "greedy"}.items():
            served = loaded[folder].signatures[signature](text=tf.constant(SOURCES))["text"].numpy()
            assert [text.decode() for text in served] == expected.generate(SOURCES, sampler)


# === In a model server ===

REQUESTS = {
    "plain": [b"one two three", b"four", b"four three two one"],
    "odd": [
        b"",
        b" \t\n",
        "👍🏽 two".encode(),
        b"\xff\xfe one \xc3",
        "مرحبا".encode(),
        b"a\0b",
        "一二三".encode(),
    ],
    "long": [b"one two " * 5_000, b"three"],
    "single": [b"two"],
}


SIGNATURES = {"serving_default": None, "greedy": "greedy", "attention": None}  # and the sampler of each


@pytest.fixture(scope="module")
def served(exported):
    """Answers of a fresh process that runs TensorFlow's C++ loader and none of our code."""
    requests = [
        {"signature": signature, "inputs": {"text": [base64.b64encode(text).decode() for text in texts]}}
        for signature in SIGNATURES
        for texts in REQUESTS.values()
    ]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, str(C_API), exported]
    run = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3_000:]
    return json.loads(run.stdout)


def test_the_process_knows_nothing_of_us(served):
    assert "kerasseq" not in served["imported"] and "tensorflow_text" not in served["imported"]
    assert set(SIGNATURES) <= set(served["signatures"])


def answer_of(served, signature, kind):
    return served["answers"][list(SIGNATURES).index(signature) * len(REQUESTS) + list(REQUESTS).index(kind)]


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("kind", REQUESTS)
def test_served_as_in_process(generator, served, signature, kind):
    answer = answer_of(served, signature, kind)
    details = {"source_tokens", "target_tokens", "attention"} if signature == "attention" else set()
    assert set(answer) == {"text", "score", *details}
    assert (answer["text"]["dtype"], answer["score"]["dtype"]) == ("string", "float32")
    texts = [base64.b64decode(text).decode("utf-8") for text in answer["text"]["values"]]
    expected = generator.generate(REQUESTS[kind], SIGNATURES[signature], details=True)
    np.testing.assert_allclose(answer["score"]["values"], [generation.score for generation in expected], atol=1e-3)
    assert len(texts) == len(REQUESTS[kind])
    for text, generation in zip(texts, expected, strict=True):
        others = [score for _, score in generation.alternatives[1:]]
        if not others or generation.score - others[0] > 1e-3:  # Not a near tie.
            assert text == generation.text


@pytest.mark.parametrize("kind", REQUESTS)
def test_served_attention(generator, served, kind):
    """Tokens and weights of each row are what `generate` gives, and all that is padded behind them is empty or 0."""
    answer = answer_of(served, "attention", kind)
    texts = [base64.b64decode(text).decode("utf-8") for text in answer["text"]["values"]]
    weights = np.array(answer["attention"]["values"])
    compared = 0
    for row, generation in enumerate(generator.generate(REQUESTS[kind], details=True)):
        if texts[row] != generation.text:
            continue  # A near tie, as the test above knows.
        compared += 1
        for side in ("source_tokens", "target_tokens"):
            tokens = [base64.b64decode(token).decode("utf-8") for token in answer[side]["values"][row]]
            expected = getattr(generation, side)
            assert tokens[: len(expected)] == expected and not any(tokens[len(expected) :])
        targets, sources = generation.attention.shape
        np.testing.assert_allclose(weights[row, :targets, :sources], generation.attention, atol=1e-4)
        assert not weights[row, :, sources:].any()
    assert compared


def test_signatures_have_the_batch_first(exported):
    loaded = tf.saved_model.load(exported)
    assert set(loaded.signatures) == set(SIGNATURES)
    texts = {"text": (tf.string, [None]), "score": (tf.float32, [None])}
    details = {
        "source_tokens": (tf.string, [None, None]),
        "target_tokens": (tf.string, [None, None]),
        "attention": (tf.float32, [None, None, None]),
    }
    for signature, function in loaded.signatures.items():
        _, inputs = function.structured_input_signature
        assert inputs == {"text": tf.TensorSpec([None], tf.string, name="text")}
        outputs = function.structured_outputs
        assert {name: (tensor.dtype, tensor.shape.as_list()) for name, tensor in outputs.items()} == (
            {**texts, **details} if signature == "attention" else texts
        )


def test_a_model_without_attention_has_no_such_signature(preprocessor, tmp_path):
    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=8, embedding_dim=8
    )
    folder = TextGenerator(model, preprocessor, max_length=4).export(tmp_path)
    assert set(tf.saved_model.load(folder).signatures) == {"serving_default", "greedy"}
