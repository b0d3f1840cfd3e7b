"""Functions shared by tests of several folders; `pythonpath` in setup.cfg puts this module on their path."""

import base64
import contextlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

C_API = pathlib.Path(__file__).resolve().parents[1] / "serving" / "c_api.py"
START, END = 2, 3


def load_script(path):
    """The module of a script that is no part of the package."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def randomized(model, seed=0, scale=0.7):
    """A model or layer, with random weights now, large enough that outputs differ from input to input."""
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(size=weight.shape, scale=scale) for weight in model.get_weights()])
    return model


def output_of(cell, states):
    """The output of a cell for the list of its states, as arrays."""
    return np.maximum(states[0], 0) if cell == "ssru" else states[0]


def softmax(logits):
    """Over the last axis, in float64."""
    exponentials = np.exp(np.float64(logits) - np.max(logits, axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def ids_of(generation, generator):
    """Target ids of the best hypothesis, looked up piece by piece."""
    tokenizer = generator.preprocessor.target_tokenizer
    return [int(tokenizer.string_to_id(token)) if token else 0 for token in generation.target_tokens]


def log_probabilities(logits, ids):
    """Of the ids of one output, from the logits `(target, vocabulary)`."""
    return np.log(softmax(logits))[np.arange(len(ids)), ids]


def assert_same_outputs(loaded, generator, sources):
    """Of a generator that was saved: with details, because other tests have traced that graph of the original."""
    expected = generator.generate(sources, details=True)
    for one, other in zip(loaded.generate(sources, details=True), expected, strict=True):
        assert one.text == other.text and one.score == pytest.approx(other.score, abs=1e-4)


def teacher_forced(generator, source, ids):
    """Log-probabilities of the target tokens of one source, and their attention, in float64; None without attention."""
    inputs = dict(generator.preprocessor.encode_source([source]))
    outputs = generator.model.decoder_outputs({**inputs, "decoder_token_ids": np.array([[START, *ids[:-1]]], "int32")})
    attention = outputs.get("attention")
    return log_probabilities(outputs["logits"][0], ids), None if attention is None else np.float64(attention[0])


def check_greedy(generator, generation, inputs, run=None):
    """A greedy output: each token is the likeliest one after those before it, up to END or the longest length.

    Args:
        inputs: those of the encoder, for this one source.
        run: function of the inputs of a model to logits. Default: calls the model.

    Returns:
        what the decoder returns under teacher forcing, or with `run` nothing.
    """
    ids = ids_of(generation, generator)
    inputs = {**inputs, "decoder_token_ids": np.array([[START, *ids[:-1]]], "int32")}
    outputs = generator.model.decoder_outputs(inputs) if run is None else {"logits": run(inputs)}
    logits = np.asarray(outputs["logits"][0])
    assert np.argmax(logits, axis=-1).tolist() == ids
    assert END not in ids[:-1] and (ids[-1] == END or len(ids) == generator.max_length)
    assert generation.text == generator.preprocessor.decode([ids]).numpy()[0].decode().replace("\ufffd", "")
    assert generation.score == pytest.approx(log_probabilities(logits, ids).sum(), abs=1e-3)
    return outputs


@contextlib.contextmanager
def dtype_policy(name):
    """A context in which layers are built with another policy of dtypes."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def ask_served(folder, requests, input_name="text"):
    """The answers of an exported model in TensorFlow's C++ loader, in a process without our code.

    Args:
        folder: path of the version.
        requests: list of (signature, list of bytes).
        input_name: str, the name of the input of all signatures.

    Returns:
        for each request a dict from the outputs to arrays, those of strings with str.
    """
    lines = [
        {"signature": signature, "inputs": {input_name: [base64.b64encode(source).decode() for source in sources]}}
        for signature, sources in requests
    ]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, str(C_API), str(folder)]
    run = subprocess.run(command, input=json.dumps(lines), capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3_000:]
    reply = json.loads(run.stdout)
    assert not {"kerasseq", "tensorflow_text"} & set(reply["imported"])

    def array(answer):
        if answer["dtype"] != "string":
            return np.array(answer["values"], answer["dtype"])
        strings = np.array(answer["values"], object)
        decoded = [base64.b64decode(string).decode("utf-8") for string in strings.ravel()]
        return np.array(decoded, object).reshape(strings.shape)

    return [{name: array(answer) for name, answer in answers.items()} for answers in reply["answers"]]
