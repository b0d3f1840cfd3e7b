"""Models and servers shared by the tests of serving: each is exported or started once per session."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import tensorflow as tf

from kerasseq.serving import Client, ServingError

FOLDER = pathlib.Path(__file__).parent
PROJECT = FOLDER.parents[1]
MODEL_SERVER = os.environ.get("KERASSEQ_MODEL_SERVER") or shutil.which("tensorflow_model_server")
NO_MODEL_SERVER = "no tensorflow_model_server on the PATH or named by KERASSEQ_MODEL_SERVER"


# === Models ===


def save(folder, functions):
    """Saves functions of strings `(batch,)`, named by their arguments, as signatures."""
    module = tf.Module()
    module.functions = {name: tf.function(function) for name, function in functions.items()}
    signatures = {}
    for name, function in functions.items():
        arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
        specs = [tf.TensorSpec([None], tf.string, name=argument) for argument in arguments]
        signatures[name] = module.functions[name].get_concrete_function(*specs)
    tf.saved_model.save(module, str(folder), signatures=signatures)


RULES = {
    "serving_default": lambda text: {"reply": tf.strings.upper(text)},
    "same": lambda text: {"text": tf.identity(text), "raw_bytes": tf.identity(text)},
    "numbers": lambda text: {
        "float": tf.tile([[0.5, 3.0, 1e-7, 123_456_789.0]], [tf.size(text), 1]),
        "odd": tf.tile([[np.nan, np.inf, -np.inf]], [tf.size(text), 1]),
        "int": tf.strings.length(text),
        "bool": tf.strings.length(text) > 1,
    },
    "unequal": lambda text: {"reply": text, "twice": tf.concat([text, text], axis=0)},
    "scalar": lambda text: {"reply": text, "size": tf.size(text)},
    "failing": lambda text: {"reply": tf.strings.as_string(tf.strings.to_number(text))},
    "joined": lambda text, other: {"reply": text + other},
    "greedy": lambda text: {"text": tf.strings.upper(text), "score": tf.cast(tf.strings.length(text), tf.float32)},
}
DOUBLED = {"serving_default": lambda text: {"reply": tf.strings.upper(text + text)}}


@pytest.fixture(scope="session")
def rules(tmp_path_factory):
    """The folder of a model with outputs known by hand: version 1 returns capitals, version 2 doubles them."""
    folder = tmp_path_factory.mktemp("rules")
    save(folder / "1", RULES)
    save(folder / "2", DOUBLED)
    return folder


@pytest.fixture(scope="session")
def numbers(exported):
    """The folder of the exported `generator`."""
    return exported.parent


# === Servers ===


@contextlib.contextmanager
def running(command, **arguments):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, **arguments) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextlib.contextmanager
def double(script, folders, labels=()):
    """Runs `grpc_double.py` with all versions of the models, by name."""
    versions = [f"{name}={path}" for name, folder in folders.items() for path in sorted(folder.glob("[0-9]*"))]
    command = [sys.executable, str(FOLDER / script), "--port", "0"]
    command += [argument for version in versions for argument in ("--model", version)]
    command += [argument for label in labels for argument in ("--label", label)]
    with running(command, stdout=subprocess.PIPE, text=True) as process:
        ready = json.loads(process.stdout.readline())
        assert ready["imported"] == []
        yield types.SimpleNamespace(port=ready["port"], process=process)


def write_config(folders, config):
    """Writes a `models.config` with all versions of models, by name, and the label `stable` for version 1."""
    entry = (
        'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" model_version_policy {{ all {{}} }} '
        'version_labels {{ key: "stable" value: 1 }} }}'
    )
    entries = " ".join(entry.format(name, folder) for name, folder in folders.items())
    config.write_text(f"model_config_list {{ {entries} }}", encoding="utf-8")


@contextlib.contextmanager
def kerasseq_serve(*arguments):
    """Runs `kerasseq serve` at a free port."""
    command = [sys.executable, "-m", "kerasseq", "serve", *map(str, arguments), "--port", "0", "--quiet"]
    with running(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        yield types.SimpleNamespace(url=process.stdout.readline().strip(), process=process)


@contextlib.contextmanager
def model_server(folders, config):
    """Runs a real `tensorflow_model_server`."""
    with socket.socket() as grpc, socket.socket() as rest:
        for unused in (grpc, rest):
            unused.bind(("127.0.0.1", 0))
        grpc_port, port = grpc.getsockname()[1], rest.getsockname()[1]
    command = [
        MODEL_SERVER, f"--port={grpc_port}", f"--rest_api_port={port}", f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models=true",
    ]  # fmt: skip
    with running(command, stdout=subprocess.DEVNULL) as process:
        server = types.SimpleNamespace(url=f"http://127.0.0.1:{port}", process=process)
        end = time.monotonic() + 60
        while not all(is_available(server.url, name, folder) for name, folder in folders.items()):
            assert process.poll() is None and time.monotonic() < end, "The model server does not start."
            time.sleep(0.1)
        yield server


def is_available(url, name, folder):
    with Client(url, name) as client, contextlib.suppress(ServingError):
        available = {status.version for status in client.status() if status.state == "AVAILABLE"}
        return available == {int(path.name) for path in folder.glob("[0-9]*")}
    return False


EACH_SERVER = [
    "kerasseq_serve",
    pytest.param("model_server", marks=pytest.mark.skipif(not MODEL_SERVER, reason=NO_MODEL_SERVER)),
]


def serve(kind, folders, tmp_path_factory):
    """Runs a REST server: that of the command line, or the real one."""
    config = tmp_path_factory.mktemp("server") / "models.config"
    write_config(folders, config)
    return kerasseq_serve(config) if kind == "kerasseq_serve" else model_server(folders, config)


@pytest.fixture(scope="session", params=EACH_SERVER)
def rules_server(request, rules, tmp_path_factory):
    with serve(request.param, {"rules": rules}, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session", params=EACH_SERVER)
def numbers_server(request, numbers, tmp_path_factory):
    with serve(request.param, {"numbers": numbers}, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def start_double():
    """A function that starts a test double until the session ends."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(double(*arguments))


@pytest.fixture
def start_server():
    """A function that starts `kerasseq serve` until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(kerasseq_serve(*arguments))
