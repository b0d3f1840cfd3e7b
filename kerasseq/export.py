"""SavedModels for TensorFlow Serving."""

import contextlib
import fcntl
import os
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf

from kerasseq import samplers
from kerasseq.arguments import check_positive_integer
from kerasseq.exported import (
    CONFIG_FILE,
    EXTRA,
    digests,
    load_exported,
    next_version,
    read_description,
    versions,
    write_description,
)
from kerasseq.graphs import without_onednn_batch_products
from kerasseq.servable import unservable
from kerasseq.warmup import WARM_UP_FILE, read_warm_up, write_warm_up

TEMPORARY = ".export-"  # A leading dot: model servers and `versions` look at numbers only.
LOCK_FILE = "lock"
FINGERPRINT = "fingerprint.pb"
TOLERANCE = 1e-3  # of scores


def export(generator, model_folder, version=None):
    """Writes a `TextGenerator` as a SavedModel: raw sources in, texts out.

    Input of every signature: `text` (string `[batch]`), or what the preprocessor's `source_signature` names. Outputs:

    - `serving_default`, with the generator's own sampler, and `greedy`, under the same rules: `text` (string `[batch]`)
      and `score` (float32 `[batch]`).
    - `nbest`: the same with `[batch, n]`, all hypotheses of the generator's own sampler, the best first; n is 1 for
      greedy search.
    - `attention`, for models with attention: decodes as `serving_default` does in one pass, and adds the axes and the
      weights of the attention: `source_tokens` (string `[batch, source]`) and `target_tokens` (string `[batch,
      target]`), padded with empty strings, `attention` (float32 `[batch, target, source]`), and where the model has
      them `attention_heads` (float32 `[batch, heads, target, source]`) and `generation_probability` (float32 `[batch,
      target]`).

    Long sources are split, as the generator's `long_sources` says; where a signature cuts them, as `attention` does,
    the output `ignored_tokens` (int32 `[batch]`) says how many tokens were not read. For sounds and images, every
    signature has the output `problem` (string `[batch]`), empty if there is none.

    The version also holds warm-up requests for the server, and what `TextGenerator.load` needs to go on training. It is
    written to a temporary folder beside its place, checked, and moved into place in one step: a crash leaves no
    half-written version that a model server could pick up.

    Args:
        generator: a `kerasseq.TextGenerator`.
        model_folder: path of the model's folder; created if needed. Its name is the model's name in the warm-up
            requests.
        version: int, number of the version. Default: one more than the highest one there.

    Returns:
        str, path of the version's folder, `model_folder/version`.

    Raises:
        FileExistsError: if the version exists.
        ValueError: if the version is not a positive integer, the sampler is random, the graph holds what a CPU server
            cannot run, or the SavedModel answers otherwise than the generator.
    """
    check_sampler(generator.sampler)
    model_folder = os.fspath(model_folder)
    if version is not None:
        check_positive_integer("version", version)
        if version in versions(model_folder):
            raise FileExistsError(
                f"Version {version} exists in {model_folder}. Served versions are never overwritten. Leave out "
                f"`version` to write version {next_version(model_folder)}."
            )
    os.makedirs(model_folder, exist_ok=True)
    with temporary_folder(model_folder) as temporary:
        folder = os.path.join(temporary, "version")
        write(generator, folder, os.path.basename(os.path.abspath(model_folder)))
        while True:
            destination = os.path.join(model_folder, str(version or next_version(model_folder)))
            try:
                os.replace(folder, destination)
                return destination
            except OSError:
                # Another export may have taken the next number in the meantime.
                if version is not None or not os.path.exists(destination):
                    raise


def renew(version_folder):
    """Writes the graph of an export anew, with the signatures of this version of kerasseq, over the same weights.

    `variables/` is not touched. The other files are replaced one by one, each in one step, in an order in which a
    server and `TextGenerator.load` can load the version at any time, and `renew` can be called again if it was killed.
    A server that has loaded the version sees the new signatures after its next start. Warm-up requests are written anew
    as well. A second renewal of the version waits for the first.

    Args:
        version_folder: path of a version's folder, written by `export`.

    Raises:
        ValueError: as `export` and `TextGenerator.load` do; nothing is changed then.
    """
    model_name = os.path.basename(os.path.dirname(os.path.abspath(version_folder)))
    # Files are exchanged beside where they lie, on the same file system, even if a link leads there.
    version_folder = os.path.realpath(version_folder)
    if not os.path.isdir(version_folder):
        raise ValueError(f"Expected a version's folder. Received: {version_folder}, which is no folder.")
    with locked_folder(version_folder), temporary_folder(os.path.dirname(version_folder)) as temporary:
        description = read_description(version_folder)
        generator = load_exported(version_folder)
        folder = os.path.join(temporary, "version")
        variables = os.path.join(version_folder, "variables")
        write(generator, folder, model_name, variables)
        written = [name for name in digests(folder) if not name.startswith("variables")]
        if "files" in description:  # For as long as files are exchanged, their digests are not known.
            kept = {name: value for name, value in description["files"].items() if name not in written}
            write_description(version_folder, {**description, "files": kept})
        # The graph before the warm-up requests, which may need its signatures, and the new digests last.
        written.sort(key=lambda name: name != "saved_model.pb")
        for name in [*written, os.path.join(EXTRA, WARM_UP_FILE), os.path.join(EXTRA, CONFIG_FILE)]:
            destination = os.path.join(version_folder, name)
            os.makedirs(os.path.dirname(destination), exist_ok=True)
            os.replace(os.path.join(folder, name), destination)
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(version_folder, FINGERPRINT))


def check_sampler(sampler):
    """Raises a `ValueError` for a random sampler."""
    if isinstance(sampler, samplers.RandomSampler):
        raise ValueError(
            "A served model gives the same output for the same input. Received: a random sampler. Export "
            "TextGenerator(model, preprocessor, sampler='beam') instead."
        )


@contextlib.contextmanager
def temporary_folder(model_folder):
    """A folder in the model's folder that is gone in the end; takes away those that killed exports have left."""
    with contextlib.ExitStack() as stack:
        with locked_folder(model_folder):  # So that no other export sees a folder without its lock.
            for name in os.listdir(model_folder):
                if name.startswith(TEMPORARY):
                    remove_unless_locked(os.path.join(model_folder, name))
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=model_folder))
            lock = stack.enter_context(open(os.path.join(temporary, LOCK_FILE), "w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield temporary


@contextlib.contextmanager
def locked_folder(folder):
    """Holds the lock of a folder, which the system gives back when a process dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_unless_locked(folder):
    """Removes a temporary folder whose export does not live any more."""
    try:
        with open(os.path.join(folder, LOCK_FILE), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    except OSError:  # It lives, or has just gone.
        pass


# === Writing ===


def write(generator, folder, model_name, variables=None):
    """Writes a whole version, and raises a `ValueError` unless a server can run it and it answers as it should.

    Args:
        generator: a `TextGenerator`.
        folder: path, not there yet.
        model_name: str.
        variables: path of the folder `variables` of another export of these weights, to be taken as it is. Default: a
            new one.
    """
    module = tf.Module()
    # Raw variables: a tf.Module that tracks a Keras model loads in Python, but not in the C++ server.
    module.weights = [weight.value for weight in generator.model.weights]
    module.tokenizers = list(generator.preprocessor.tokenizers)
    with without_cudnn(generator.model):
        module.functions = signatures(generator)
    tf.saved_model.save(module, folder, signatures=module.functions)
    without_onednn_batch_products(folder)
    os.remove(os.path.join(folder, FINGERPRINT))  # Of the graph as it was; loaders do without.
    if problems := unservable(folder):
        raise ValueError(
            f"The graph holds operations that a stock CPU model server cannot run: {', '.join(problems)}. Nothing "
            "was written. Look for cuDNN layers, jit_compile=True, devices and Python functions in the model and the "
            "preprocessor."
        )
    if variables is not None:
        shutil.rmtree(os.path.join(folder, "variables"))
        shutil.copytree(variables, os.path.join(folder, "variables"))

    extra = os.path.join(folder, EXTRA)
    os.makedirs(extra, exist_ok=True)
    generator.preprocessor.save_assets(extra)
    write_warm_up(extra, model_name, module.functions, generator.preprocessor)
    configuration = keras.saving.serialize_keras_object(generator)
    # An export can be loaded without the losses and optimizers of its training, which may be the user's own.
    configuration["config"]["model"].pop("compile_config", None)
    description = {
        "generator": configuration,
        "weights": [{"path": weight.path, "shape": list(weight.shape)} for weight in generator.model.weights],
        "files": digests(folder),
    }
    write_description(folder, description)
    check_answers(module.functions, folder, generator.preprocessor)
    for base, _, names in os.walk(folder):  # So that not even a power cut leaves a version with empty files.
        for name in names:
            with open(os.path.join(base, name), "rb") as file:
                os.fsync(file.fileno())


def signatures(generator):
    """The serving functions by name: raw sources `[batch]` to a dict of tensors, batch first."""
    source = generator.preprocessor.source_signature
    sampler, length = generator.sampler, generator.max_length
    greedy = samplers.GreedySampler(**sampler.rules())
    answers = {
        "serving_default": lambda raw: best(generator.decode(raw, sampler, length)),
        "greedy": lambda raw: best(generator.decode(raw, greedy, length)),
        "nbest": lambda raw: generator.decode(raw, sampler, length, hypotheses=sampler.rows_per_sequence),
    }
    if "attention" in generator.model.get_layer("decoder").output:
        answers["attention"] = lambda raw: best(generator.decode_with_details(raw, sampler, length))

    def trace(answer):
        serve = tf.function(lambda **inputs: answer(inputs[source.name]))
        return serve.get_concrete_function(**{source.name: source})

    return {name: trace(answer) for name, answer in progress(answers, "trace")}


def progress(by_signature, what):
    """The items of a dict by signature, with a progress bar if they take long."""
    import tqdm  # Deferred: only long work shows progress.

    return tqdm.tqdm(by_signature.items(), desc=what, unit="signature", delay=2)


def best(outputs):
    """Outputs with the best hypothesis alone: `text` and `score`, `[batch]`."""
    return {**outputs, "text": outputs["text"][:, 0], "score": outputs["score"][:, 0]}


@contextlib.contextmanager
def without_cudnn(model):
    """Lets the Keras layers in a model trace the graphs that run everywhere, on machines with a GPU too.

    Keras chooses cuDNN's kernels while it traces, if it sees a GPU, and a CPU server has none. kerasseq's own layers
    use no cuDNN.
    """
    chosen = {layer: layer.use_cudnn for layer in inner_layers(model) if hasattr(layer, "use_cudnn")}
    try:
        for layer in chosen:
            layer.use_cudnn = False
        yield
    finally:
        for layer, use_cudnn in chosen.items():
            layer.use_cudnn = use_cudnn


def inner_layers(layer):
    """A layer and all layers in it: those of models and those that wrappers hold."""
    wrapped = [getattr(layer, name, None) for name in ("layer", "forward_layer", "backward_layer", "cell")]
    for inner in [*getattr(layer, "layers", []), *wrapped]:
        if isinstance(inner, keras.layers.Layer):
            yield from inner_layers(inner)
    yield layer


# === Checking ===


def check_answers(functions, folder, preprocessor):
    """Loads a SavedModel and raises a `ValueError` unless it answers as the functions do that were saved in it."""
    loaded = tf.saved_model.load(folder)
    source = preprocessor.source_signature
    # Raw sources of any kind must have an answer, long ones too.
    examples = preprocessor.example_sources(1, 1.5) if hasattr(preprocessor, "example_sources") else []
    sources = tf.constant([b"", b"a", *examples])
    scores = functions["nbest"](**{source.name: sources})["score"].numpy()
    # Another kernel's rounding may exchange hypotheses that are as good as each other.
    decided = np.all(scores[:, :1] - scores[:, 1:2] > TOLERANCE, axis=1)
    for name, function in progress(functions, "check"):
        served = loaded.signatures[name](**{source.name: sources})
        expected = function(**{source.name: sources})
        if set(served) != set(expected) or not same(served, expected, decided):
            raise ValueError(
                f"The signature {name!r} of the SavedModel answers otherwise than the generator. Expected: "
                f"{expected['text'].numpy()}, {expected['score'].numpy()}. Received: {served['text'].numpy()}, "
                f"{served['score'].numpy()}. Nothing was written."
            )
    # A server refuses a version with a request that fails.
    for name, inputs in read_warm_up(os.path.join(folder, EXTRA)):
        try:
            loaded.signatures[name](**inputs)
        except tf.errors.OpError as error:
            raise ValueError(
                f"The signature {name!r} has no answer for a warm-up request: {error.message}. Nothing was written."
            ) from error


def same(served, expected, decided):
    """Whether the scores of two answers agree, and the best texts in the rows that are decided."""
    texts, others = (answer["text"].numpy().reshape(len(decided), -1)[decided, 0] for answer in (served, expected))
    return np.array_equal(texts, others) and np.allclose(served["score"], expected["score"], atol=TOLERANCE)
