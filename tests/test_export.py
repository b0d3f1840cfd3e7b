import base64
import concurrent.futures
import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

import kerasseq
from kerasseq import TextGenerator
from kerasseq.export import check_answers, renew, temporary_folder
from kerasseq.exported import digest, load_exported, sha256, versions
from kerasseq.servable import TEXT_OPERATIONS, refusal, unservable
from kerasseq.warmup import read_warm_up

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

    def write(generator, folder, model_name):
        save_module(folder, lambda text: tf.strings.upper(text))

    monkeypatch.setattr("kerasseq.export.write", write)


@pytest.fixture
def quick_renewal(exported, monkeypatch):
    """Takes the files of version 1 for those that a renewal writes, which they are."""

    def write(generator, folder, model_name, variables):
        shutil.copytree(exported, folder)

    monkeypatch.setattr("kerasseq.export.write", write)


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
    def signatures(generator):
        serve = tf.function(lambda text: {"text": tf.py_function(lambda text: text, [text], tf.string)})
        return {"serving_default": serve.get_concrete_function(tf.TensorSpec([None], tf.string, "text"))}

    monkeypatch.setattr("kerasseq.export.signatures", signatures)
    with pytest.raises(ValueError, match=r"cannot run: EagerPyFunc \(calls Python\). Nothing was written"):
        generator.export(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_failure_midway_leaves_nothing(generator, tmp_path, monkeypatch, error):
    seen = []

    def write(generator, folder, model_name):
        pathlib.Path(folder).mkdir()
        (pathlib.Path(folder) / "saved_model.pb").write_text("half of it")
        seen.extend([os.listdir(tmp_path), versions(tmp_path)])
        raise error

    monkeypatch.setattr("kerasseq.export.write", write)
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
    assert found["good"] == []
    assert found["python"] == ["PyFunc (calls Python)"] and found["eager"] == ["EagerPyFunc (calls Python)"]


def test_unservable_finds_text_operations_that_servers_do_not_link(tmp_path):
    save_module(str(tmp_path / "linked"), lambda text: tensorflow_text.normalize_utf8(text))
    save_module(str(tmp_path / "unlinked"), lambda text: tensorflow_text.utf8_binarize(text))
    assert unservable(tmp_path / "linked") == []
    assert unservable(tmp_path / "unlinked") == ["TFText>Utf8Binarize (is not linked into servers)"]


def test_unservable_finds_devices(tmp_path):
    def on_a_gpu(text):
        with tf.device("/GPU:0"):
            return tf.strings.length(text)

    save_module(str(tmp_path / "gpu"), on_a_gpu)
    (problem,) = [problem for problem in unservable(tmp_path / "gpu") if problem.startswith("StringLength")]
    assert "GPU:0" in problem and "a CPU server has no such device" in problem


def test_reasons_of_refusals():
    """And no operation in the table of TensorFlow Text's is TensorFlow's own."""
    assert refusal("MatMul") is None and refusal("SentencepieceTokenizeOp") is None
    assert refusal("CudnnRNNV3") == "needs cuDNN, which is for GPUs"
    assert refusal("XlaLaunch") == refusal("XlaCallModule") == "needs XLA, which servers switch off"
    assert refusal("TFText>RoundRobinTrim") == refusal("MyOwnOperation") == "is not linked into servers"
    assert not [name for name in TEXT_OPERATIONS if hasattr(tf.raw_ops, name)]


@pytest.fixture
def generator_with_keras_layers(preprocessor):
    """An encoder with Keras's own recurrent layer, which uses cuDNN where Keras sees a GPU."""
    ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    embedded = keras.layers.Embedding(preprocessor.source_vocabulary_size, 8, name="embedding")(ids)
    memory = keras.layers.Bidirectional(keras.layers.GRU(8, return_sequences=True))(embedded)
    mask = kerasseq.layers.PaddingMask(name="memory_mask")(ids)
    outputs = {"memory": memory, "memory_mask": mask, "states": [keras.layers.Dense(8)(memory[:, 0])]}
    encoder = keras.Model({"encoder_token_ids": ids}, outputs, name="encoder")
    bridge = kerasseq.bridges.attention_bridge(encoder, 8, "gru", num_layers=1)
    decoder = kerasseq.decoders.attention_decoder(
        preprocessor.target_vocabulary_size, 8, 8, cell="gru", memory_dim=encoder.output["memory"].shape[-1]
    )
    model = kerasseq.joining.connect(encoder, bridge, decoder, name="with_keras_layers")
    return TextGenerator(model, preprocessor, sampler="greedy", max_length=4)


def test_a_model_from_a_gpu_machine_runs_on_a_cpu(generator_with_keras_layers, monkeypatch, tmp_path):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["GPU"])
    folder = generator_with_keras_layers.export(tmp_path / "safe")
    assert unservable(folder) == []
    monkeypatch.setattr("kerasseq.export.without_cudnn", contextlib.nullcontext)
    with pytest.raises(ValueError, match=r"cannot run: CudnnRNNV3 \(needs cuDNN, which is for GPUs\). Nothing was"):
        generator_with_keras_layers.export(tmp_path / "unsafe")
    assert os.listdir(tmp_path / "unsafe") == []


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


@pytest.mark.slow
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
    """Changes a description so that it still has the right digest."""
    path = folder / "assets.extra" / "kerasseq.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    del description["digest"]
    change(description)
    path.write_text(json.dumps({**description, "digest": digest(description)}), encoding="utf-8")


def forget_digests(folder):
    """Makes of an export one of kerasseq 0.2, which knew the digests of its vocabularies alone."""

    def change(description):
        files = description.pop("files")
        names = ("source.spm", "target.spm")
        description["assets"] = {name: files[f"assets.extra/{name}"] for name in names}

    damage_description(folder, change)


def test_folder_that_is_no_export(tmp_path):
    with pytest.raises(ValueError, match="Expected a version folder written by kerasseq's export.*which has none"):
        load_exported(str(tmp_path))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"generator": {}}', "\udcff"])
def test_damaged_description(copy, content):
    (copy / "assets.extra" / "kerasseq.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="kerasseq.json is damaged: .*export it again"):
        TextGenerator.load(copy)


@pytest.mark.parametrize("name", ["assets.extra/source.spm", "saved_model.pb", "variables/variables.index"])
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


FILES = ["saved_model.pb", "assets.extra/source.spm", "variables/variables.data-00000-of-00001"]


@pytest.mark.parametrize("name", [*FILES, "assets.extra/kerasseq.json", "assets.extra/tf_serving_warmup_requests"])
@pytest.mark.parametrize("damage", ["truncated", "a bit"])
def test_damaged_file(copy, name, damage):
    path = copy / name
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(copy))}.* damaged.*Copy the version folder again"):
        TextGenerator.load(copy)


def test_own_warm_up_requests_are_no_damage(copy):
    """Users may replace them by requests that are like theirs, or do without."""
    path = copy / "assets.extra" / "tf_serving_warmup_requests"
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "greedy"
    log.predict_log.request.inputs["text"].CopyFrom(tf.make_tensor_proto(["one two"]))
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())
    assert TextGenerator.load(copy).max_length
    path.unlink()
    assert TextGenerator.load(copy).max_length


def test_an_older_export_is_loaded(copy, generator):
    forget_digests(copy)
    assert TextGenerator.load(copy).generate(SOURCES) == generator.generate(SOURCES)


@pytest.mark.parametrize("name", ["variables.index", "variables.data-00000-of-00001"])
def test_damaged_weights_of_an_older_export(copy, name):
    forget_digests(copy)
    path = copy / "variables" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="The weights in .* are damaged .*Copy the version folder again"):
        TextGenerator.load(copy)


def test_exchanged_vocabularies(copy):
    shutil.copy(copy / "assets.extra" / "target.spm", copy / "assets.extra" / "source.spm")
    with pytest.raises(ValueError, match="assets.extra/source.spm is not what was exported"):
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


@pytest.mark.parametrize("which", ["text", pytest.param("score", marks=pytest.mark.slow)])
def test_an_export_that_answers_otherwise_is_refused(generator, exported, which):
    functions = tf.saved_model.load(exported).signatures
    check_answers(functions, exported, generator.preprocessor)

    def other(text):
        answer = functions["serving_default"](text=text)
        return {**answer, which: tf.fill(tf.shape(text), {"text": "no", "score": 0.0}[which])}

    with pytest.raises(ValueError, match="'serving_default' of the SavedModel answers otherwise"):
        check_answers({**functions, "serving_default": other}, exported, generator.preprocessor)


# === Warm-up, renewal, what killed exports leave ===


def test_warm_up_requests(exported):
    """Every signature gets requests of several sizes, in the form that servers read."""
    path = os.path.join(exported, "assets.extra", "tf_serving_warmup_requests")
    logs = [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(path)]
    assert {log.WhichOneof("log_type") for log in logs} == {"predict_log"} and len(logs) <= 1_000
    requests = [log.predict_log.request for log in logs]
    assert {request.model_spec.name for request in requests} == {"numbers"}
    for signature in SIGNATURES:
        sources = [
            tf.make_ndarray(request.inputs["text"])
            for request in requests
            if request.model_spec.signature_name == signature
        ]
        assert {len(batch) for batch in sources} == {1, 8, 32}
        assert len({len(batch[0]) for batch in sources}) > 1


@pytest.mark.slow
def test_a_warm_up_request_that_fails_is_no_export(generator, monkeypatch, tmp_path):
    monkeypatch.setattr("kerasseq.export.read_warm_up", lambda folder: [("greedy", {"text": tf.constant([1.0])})])
    with pytest.raises((TypeError, ValueError)):
        generator.export(tmp_path)
    assert os.listdir(tmp_path) == []


def test_renewed_export_keeps_its_weights(copy, generator):
    """An export without the signature `nbest` gets it; the files of its weights stay, byte for byte."""
    variables = {path.name: (path.read_bytes(), path.stat().st_ino) for path in (copy / "variables").iterdir()}
    module = tf.Module()
    module.weights = [weight.value for weight in generator.model.weights]
    serve = tf.function(lambda text: {"text": text})
    function = serve.get_concrete_function(tf.TensorSpec([None], tf.string, "text"))
    tf.saved_model.save(module, str(copy.parent / "old"), signatures={"serving_default": function})
    (copy.parent / "old" / "saved_model.pb").replace(copy / "saved_model.pb")
    shutil.rmtree(copy.parent / "old")
    forget_digests(copy)
    (copy / "fingerprint.pb").touch()  # Of the old graph.
    renew(copy)
    assert not (copy / "fingerprint.pb").exists()
    assert {path.name: (path.read_bytes(), path.stat().st_ino) for path in (copy / "variables").iterdir()} == variables
    assert os.listdir(copy.parent) == ["1"]
    loaded = tf.saved_model.load(str(copy))
    assert set(loaded.signatures) == set(SIGNATURES)
    served = loaded.signatures["serving_default"](text=tf.constant(SOURCES))["text"].numpy()
    assert [text.decode() for text in served] == generator.generate(SOURCES)
    assert TextGenerator.load(copy).generate(SOURCES) == generator.generate(SOURCES)


def forget_nbest(folder):
    """Makes of an export one whose graph and warm-up requests know no `nbest`."""
    path = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    del saved_model.meta_graphs[0].signature_def["nbest"]
    path.write_bytes(saved_model.SerializeToString())
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    logs = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            request = prediction_log_pb2.PredictionLog.FromString(log).predict_log.request
            if request.model_spec.signature_name != "nbest":
                writer.write(log)

    def change(description):
        description["files"]["saved_model.pb"] = sha256(folder / "saved_model.pb")

    damage_description(folder, change)


def warm_up_signatures(folder):
    return {name for name, _ in read_warm_up(folder / "assets.extra")}


@pytest.mark.parametrize("survived", [0, 3, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2, 4))])
def test_a_killed_renewal_can_be_repeated(copy, quick_renewal, survived):
    """Killed after any number of files, the version can be loaded, warmed up and renewed again."""
    forget_nbest(copy)
    assert TextGenerator.load(copy).max_length and warm_up_signatures(copy) == set(SIGNATURES) - {"nbest"}
    replace, done = os.replace, []

    def fail(source, destination):
        if "version" in str(source) and not str(source).endswith(".part"):
            if len(done) == survived:
                raise KeyboardInterrupt
            done.append(destination)
        replace(source, destination)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("kerasseq.export.os.replace", fail)
        renew(copy)
    assert TextGenerator.load(copy).max_length
    assert warm_up_signatures(copy) <= set(tf.saved_model.load(str(copy)).signatures)
    renew(copy)
    assert warm_up_signatures(copy) == set(SIGNATURES)
    assert set(tf.saved_model.load(str(copy)).signatures) == set(SIGNATURES)


def test_renewed_through_a_link(copy, quick_renewal):
    """Files are exchanged where they are, and the model keeps the name under which it is known."""
    models = copy.parents[1] / "numbers"
    models.mkdir()
    (models / "1").symlink_to(copy)
    renew(models / "1")
    assert TextGenerator.load(models).max_length
    assert os.listdir(copy.parent) == ["1"] and os.listdir(models) == ["1"] and (models / "1").is_symlink()


def test_renewals_of_a_version_wait_for_each_other(copy, monkeypatch):
    order = []

    def write(*arguments):
        order.append("begin")
        time.sleep(0.3)
        order.append("end")
        raise KeyError("enough")

    monkeypatch.setattr("kerasseq.export.write", write)
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        tries = [threads.submit(renew, copy) for _ in range(2)]
    assert all(isinstance(one.exception(), KeyError) for one in tries)
    assert order == ["begin", "end", "begin", "end"]


def test_a_damaged_export_is_not_renewed(copy):
    (copy / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="saved_model.pb is not what was exported"):
        renew(copy)
    assert os.listdir(copy.parent) == ["1"]


def test_what_killed_exports_leave_is_swept(generator, quick, tmp_path):
    for name in ("killed", "killed-early", "living"):
        (tmp_path / f".export-{name}").mkdir()
        if name != "killed-early":
            (tmp_path / f".export-{name}" / "lock").touch()
    with open(tmp_path / ".export-living" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        generator.export(tmp_path)
        assert sorted(os.listdir(tmp_path)) == [".export-living", "1"]
    generator.export(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_exports_do_not_sweep_each_other(generator, monkeypatch, tmp_path):
    """A second export that begins while the first one writes, and a third between making and locking a folder."""
    third = []
    real = tempfile.TemporaryDirectory

    def made(**arguments):
        folder = real(**arguments)
        if not third:  # Once.
            third.append(None)
            third[0] = threads.submit(sweep)
            time.sleep(0.3)
        return folder

    def sweep():
        with temporary_folder(str(tmp_path)):
            pass

    def write(generator, folder, model_name):
        sweep()
        save_module(folder, lambda text: tf.strings.upper(text))

    monkeypatch.setattr("kerasseq.export.write", write)
    monkeypatch.setattr("kerasseq.export.tempfile.TemporaryDirectory", made)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        assert generator.export(tmp_path) == str(tmp_path / "1")
    third[0].result()
    assert os.listdir(tmp_path) == ["1"] and os.listdir(tmp_path / "1")


def test_folders_that_are_no_versions(tmp_path):
    for name in ("1", "12", "01", "0", "-1", "1.5", "\u0663", "9" * 30, "notes"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == [1, 12]


def test_two_exports_at_once_take_two_numbers(generator, monkeypatch, tmp_path):
    def write(generator, folder, model_name):
        save_module(folder, lambda text: tf.strings.upper(text))
        if not (tmp_path / "1").exists():
            (tmp_path / "1").mkdir()
            (tmp_path / "1" / "saved_model.pb").touch()

    monkeypatch.setattr("kerasseq.export.write", write)
    assert generator.export(tmp_path) == str(tmp_path / "2")


def test_weights_of_another_shape(copy, generator):
    forget_digests(copy)
    weights = [tf.Variable(weight.value) for weight in generator.model.weights]
    weights[3] = tf.Variable(tf.zeros([2, 5]))
    checkpoint = tf.train.Checkpoint(weights=weights)
    checkpoint.write(str(copy / "variables" / "variables"))
    shape = ", ".join(map(str, generator.model.weights[3].shape))
    with pytest.raises(ValueError, match=rf"should be \('forward_0/bias', \[{shape}\]\). Received: .*, \[2, 5\]"):
        TextGenerator.load(copy)


@pytest.mark.slow
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


SIGNATURES = {"serving_default": None, "greedy": "greedy", "nbest": None, "attention": None}  # and their samplers
DETAILS = ("source_tokens", "target_tokens", "attention", "ignored_tokens")


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
    assert set(answer) == {"text", "score", *(DETAILS if signature == "attention" else ())}
    assert (answer["text"]["dtype"], answer["score"]["dtype"]) == ("string", "float32")
    texts, scores = np.array(answer["text"]["values"], object), np.array(answer["score"]["values"])
    assert texts.shape == scores.shape == ((len(REQUESTS[kind]), 3) if signature == "nbest" else (len(REQUESTS[kind]),))
    if kind == "long" and signature != "attention":  # In parts, of which there are no details in process.
        assert_parts_are_joined(generator, REQUESTS[kind], SIGNATURES[signature], texts, scores)
        return
    for row, generation in enumerate(generator.generate(REQUESTS[kind], SIGNATURES[signature], details=True)):
        expected = generation.alternatives if signature == "nbest" else generation.alternatives[:1]
        np.testing.assert_allclose(np.ravel(scores[row]), [score for _, score in expected], atol=1e-3)
        for rank, (text, encoded) in enumerate(zip([text for text, _ in expected], np.ravel(texts[row]), strict=True)):
            if not near_tie(generation, rank):
                assert base64.b64decode(encoded).decode("utf-8") == text


def near_tie(generation, rank):
    """Whether the hypothesis of a rank could be exchanged with one beside it by rounding."""
    scores = [score for _, score in generation.alternatives]
    return any(abs(scores[rank] - scores[other]) <= 1e-3 for other in (rank - 1, rank + 1) if 0 <= other < len(scores))


def assert_parts_are_joined(generator, sources, sampler, texts, scores):
    """The answers are those of `generate`, and the score is the sum of the scores of the parts."""
    encoder_inputs, owners = generator.preprocessor.encode_parts(tf.constant(sources))
    ids = encoder_inputs["encoder_token_ids"].numpy().tolist()
    ids = tf.ragged.constant([[token_id for token_id in row if token_id > 3] for row in ids], tf.int32)
    parts = generator.preprocessor.tokenizers[0].detokenize(ids)
    generations = generator.generate(parts.numpy().tolist(), sampler, details=True)
    for row in range(len(sources)):
        own = [generation for generation, owner in zip(generations, owners.numpy(), strict=True) if owner == row]
        ranks = range(np.size(texts[row]))
        expected = [sum(generation.alternatives[rank][1] for generation in own) for rank in ranks]
        np.testing.assert_allclose(np.ravel(scores[row]), expected, atol=1e-3 * len(own))
        if not any(near_tie(generation, rank) for generation in own for rank in ranks):
            joined = [" ".join(generation.alternatives[rank][0] for generation in own) for rank in ranks]
            assert [base64.b64decode(text).decode() for text in np.ravel(texts[row])] == joined


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
        "ignored_tokens": (tf.int32, [None]),
    }
    several = {"text": (tf.string, [None, 3]), "score": (tf.float32, [None, 3])}
    for signature, function in loaded.signatures.items():
        _, inputs = function.structured_input_signature
        assert inputs == {"text": tf.TensorSpec([None], tf.string, name="text")}
        outputs = function.structured_outputs
        expected = {"attention": {**texts, **details}, "nbest": several}.get(signature, texts)
        assert {name: (tensor.dtype, tensor.shape.as_list()) for name, tensor in outputs.items()} == expected


def test_a_model_without_attention_has_no_such_signature(preprocessor, tmp_path):
    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=8, embedding_dim=8
    )
    folder = TextGenerator(model, preprocessor, max_length=4).export(tmp_path)
    assert set(tf.saved_model.load(folder).signatures) == {"serving_default", "greedy", "nbest"}
