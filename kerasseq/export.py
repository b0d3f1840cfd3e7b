"""SavedModels for TensorFlow Serving, and the way back from them to a Keras model."""

import hashlib
import json
import os
import tempfile

import keras
import numpy as np
import tensorflow as tf

from kerasseq import samplers
from kerasseq.arguments import check_positive_integer
from kerasseq.generation import TextGenerator

CONFIG_FILE = "kerasseq.json"
# Operations that a stock CPU model server cannot run.
FORBIDDEN_OPERATIONS = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "CudnnRNN", "XlaLaunch", "RoundRobin")


def export(generator, model_folder, version=None):
    """Writes a `TextGenerator` as a SavedModel: raw sources in, texts out.

    Signatures: `serving_default` decodes with the generator's own sampler, `greedy` greedily. Input: `text` (string
    `[batch]`), or what the preprocessor's `source_signature` names. Outputs: `text` (string `[batch]`) and `score`
    (float32 `[batch]`). A model with attention has the signature `attention` as well, which decodes as
    `serving_default` does and adds the axes and the weights of the attention: `source_tokens` (string `[batch,
    source]`) and `target_tokens` (string `[batch, target]`), padded with empty strings, `attention` (float32 `[batch,
    target, source]`), and where the model has them `attention_heads` (float32 `[batch, heads, target, source]`) and
    `generation_probability` (float32 `[batch, target]`).

    The version is written to a temporary folder beside its place, checked, and moved into place in one step: a crash
    leaves no half-written version that a model server could pick up.

    Args:
        generator: a `kerasseq.TextGenerator`.
        model_folder: path of the model's folder; created if needed.
        version: int, number of the version. Default: one more than the highest one there.

    Returns:
        str, path of the version's folder, `model_folder/version`.

    Raises:
        FileExistsError: if the version exists.
        ValueError: if the version is not a positive integer, the sampler is random, the graph holds what a CPU server
            cannot run, or the SavedModel answers otherwise than the generator.
    """
    if isinstance(generator.sampler, samplers.RandomSampler):
        raise ValueError(
            "A served model gives the same output for the same input. Received: a random sampler. Export "
            "TextGenerator(model, preprocessor, sampler='beam') instead."
        )
    model_folder = os.fspath(model_folder)
    if version is not None:
        check_positive_integer("version", version)
        if version in versions(model_folder):
            raise FileExistsError(
                f"Version {version} exists in {model_folder}. Served versions are never overwritten. Leave out "
                f"`version` to write version {next_version(model_folder)}."
            )
    os.makedirs(model_folder, exist_ok=True)
    # A leading dot: model servers and `versions` look at numbers only.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=model_folder) as temporary:
        folder = os.path.join(temporary, "version")
        write(generator, folder)
        if problems := unservable(folder):
            raise ValueError(
                f"The graph holds operations that a stock CPU model server cannot run: {', '.join(problems)}. Nothing "
                "was written. Look for cuDNN layers, jit_compile=True and Python functions in the model and the "
                "preprocessor."
            )
        check_answers(generator, folder)
        while True:
            destination = os.path.join(model_folder, str(version or next_version(model_folder)))
            try:
                os.replace(folder, destination)
                return destination
            except OSError:
                # Another export may have taken the next number in the meantime.
                if version is not None or not os.path.exists(destination):
                    raise


def next_version(model_folder):
    """One more than the highest version in a model's folder."""
    return max(versions(model_folder), default=0) + 1


def versions(model_folder):
    """The version numbers in a model's folder."""
    if not os.path.isdir(model_folder):
        return []
    return sorted(int(name) for name in os.listdir(model_folder) if name.isdecimal())


def write(generator, folder):
    """Writes the SavedModel and `assets.extra`."""
    module = tf.Module()
    # Raw variables: a tf.Module that tracks a Keras model loads in Python, but not in the C++ server.
    module.weights = [weight.value for weight in generator.model.weights]
    module.tokenizers = list(generator.preprocessor.tokenizers)
    module.functions = {name: signature(generator, *how) for name, how in decoding_by_signature(generator).items()}
    tf.saved_model.save(module, folder, signatures=module.functions)
    extra = os.path.join(folder, "assets.extra")
    os.makedirs(extra, exist_ok=True)
    generator.preprocessor.save_assets(extra)
    assets = {name: sha256(os.path.join(extra, name)) for name in sorted(os.listdir(extra))}
    configuration = keras.saving.serialize_keras_object(generator)
    # An export can be loaded without the losses and optimizers of its training, which may be the user's own.
    configuration["config"]["model"].pop("compile_config", None)
    description = {
        "generator": configuration,
        "weights": [{"path": weight.path, "shape": list(weight.shape)} for weight in generator.model.weights],
        "assets": assets,
    }
    with open(os.path.join(extra, CONFIG_FILE), "w", encoding="utf-8") as file:
        json.dump(description, file, indent=1)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decoding_by_signature(generator):
    """The sampler of each signature, and whether it gives details."""
    greedy = samplers.GreedySampler(**generator.sampler.rules())
    decoding = {"serving_default": (generator.sampler, False), "greedy": (greedy, False)}
    if "attention" in generator.model.get_layer("decoder").output:
        decoding["attention"] = (generator.sampler, True)
    return decoding


def signature(generator, sampler, details):
    """A serving function: raw sources `[batch]` -> `text` and `score`, `[batch]` each, and details of the best one."""
    source = generator.preprocessor.source_signature

    def serve(**inputs):
        decode = generator.decode_with_details if details else generator.decode
        outputs = decode(inputs[source.name], sampler, generator.max_length)
        return {**outputs, "text": outputs["text"][:, 0], "score": outputs["score"][:, 0]}

    return tf.function(serve).get_concrete_function(**{source.name: source})


def check_answers(generator, folder):
    """Loads a SavedModel and raises a `ValueError` unless it answers as the generator does."""
    loaded = tf.saved_model.load(folder)
    source = tf.constant([b"", b"a"])  # Raw sources of any kind must have an answer.
    for name, (sampler, details) in decoding_by_signature(generator).items():
        served = loaded.signatures[name](**{generator.preprocessor.source_signature.name: source})
        expected = generator.compiled_decode(sampler, generator.max_length, details)(source)
        expected = {**expected, "text": expected["text"][:, 0], "score": expected["score"][:, 0]}
        if set(served) != set(expected) or not all(same(served[key], expected[key]) for key in expected):
            raise ValueError(
                f"The signature {name!r} of the SavedModel answers otherwise than the generator. Expected: "
                f"{expected['text'].numpy()}, {expected['score'].numpy()}. Received: {served['text'].numpy()}, "
                f"{served['score'].numpy()}. Nothing was written."
            )


def same(served, expected):
    """Whether two tensors agree: strings exactly, numbers to 1e-3."""
    if served.shape != expected.shape:
        return False
    return np.array_equal(served, expected) if served.dtype == tf.string else np.allclose(served, expected, atol=1e-3)


def unservable(folder):
    """What in a SavedModel a stock CPU model server would refuse, as a list of names."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
        saved_model.ParseFromString(file.read())
    problems = set()
    for meta_graph in saved_model.meta_graphs:
        functions = meta_graph.graph_def.library.function
        nodes = [*meta_graph.graph_def.node, *(node for function in functions for node in function.node_def)]
        problems |= {node.op for node in nodes if node.op.startswith(FORBIDDEN_OPERATIONS)}
        problems |= {
            f"jit_compile in {function.signature.name}" for function in functions if function.attr["_XlaMustCompile"].b
        }
    return sorted(problems)


def load_exported(path):
    """Rebuilds a `TextGenerator` from a version folder written by `export`, or from the highest version of a model.

    Args:
        path: str, a version's folder or a model's folder.

    Returns:
        a `TextGenerator` with the exported weights.

    Raises:
        ValueError: if the folder is not an export of kerasseq, or its weights do not fit its configuration.
    """
    if not os.path.exists(os.path.join(path, "saved_model.pb")) and versions(path):
        path = os.path.join(path, str(max(versions(path))))
    extra = os.path.join(path, "assets.extra")
    config_file = os.path.join(extra, CONFIG_FILE)
    if not os.path.exists(config_file):
        raise ValueError(
            f"Expected a version folder written by kerasseq's export, with assets.extra/{CONFIG_FILE}, or the folder "
            f"above it. Received: {path}, which has none."
        )
    try:
        with open(config_file, encoding="utf-8") as file:
            description = json.load(file)
        config = description["generator"]["config"]
        weights = description["weights"]
        assets = description["assets"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{config_file} is damaged: {type(error).__name__}: {error}. Copy the version folder again, or export it "
            "again."
        ) from error
    needed = [os.path.join("assets.extra", name) for name in assets]
    needed += [os.path.join("variables", "variables.index"), os.path.join("variables", "variables.data-00000-of-00001")]
    if missing := [name for name in needed if not os.path.exists(os.path.join(path, name))]:
        raise ValueError(
            f"{path} is incomplete. Missing: {', '.join(missing)}. Copy the version folder again, with all its files."
        )
    if damaged := [name for name, digest in assets.items() if sha256(os.path.join(extra, name)) != digest]:
        raise ValueError(
            f"{path} is damaged: {', '.join(damaged)} in assets.extra is not what was exported. Copy the version "
            "folder again."
        )
    preprocessor = keras.saving.deserialize_keras_object(config["preprocessor"])
    preprocessor.load_assets(extra)
    model = keras.saving.deserialize_keras_object(config["model"])
    if len(model.weights) != len(weights):
        raise ValueError(
            f"{config_file} lists {len(weights)} weights, the model it describes has {len(model.weights)}. "
            "Export the model again with this version of kerasseq."
        )
    values = read_weights(path, len(weights))
    for index, (weight, saved, value) in enumerate(zip(model.weights, weights, values, strict=True)):
        expected = (weight.path, list(weight.shape))
        if expected != (saved["path"], saved["shape"]) or list(value.shape) != saved["shape"]:
            raise ValueError(
                f"Weight {index} of {path} should be {expected}. Received: {saved['path']}, {list(value.shape)}. "
                "Export the model again with this version of kerasseq."
            )
        weight.assign(value)
    return TextGenerator(
        model,
        preprocessor,
        sampler=keras.saving.deserialize_keras_object(config["sampler"]),
        max_length=config["max_length"],
        name=config["name"],
    )


def read_weights(path, count):
    """The exported weights of a version folder, a list of arrays."""
    try:
        reader = tf.train.load_checkpoint(os.path.join(path, "variables", "variables"))
        return [reader.get_tensor(f"weights/{index}/.ATTRIBUTES/VARIABLE_VALUE") for index in range(count)]
    except (tf.errors.OpError, IndexError, ValueError) as error:
        raise ValueError(
            f"The weights in {path} are damaged ({error}). Copy the version folder again, with all its files."
        ) from error
