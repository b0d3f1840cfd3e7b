"""The gRPC example of `saved_models/README.md`, against the test double `grpc_double.py`."""

import json
import os
import pathlib
import re
import subprocess
import sys

import grpc
import pytest
import tensorflow as tf

DOUBLE = pathlib.Path(__file__).parent / "grpc_double.py"
README = pathlib.Path(__file__).resolve().parents[2] / "saved_models" / "README.md"


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """The address of a server whose model turns texts into capitals, and scores them by their lengths."""
    folder = tmp_path_factory.mktemp("models") / "1"
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.string, name="text")
    module.serve = tf.function(
        lambda text: {"text": tf.strings.upper(text), "score": tf.cast(tf.strings.length(text), tf.float32)}
    ).get_concrete_function(spec)
    tf.saved_model.save(module, str(folder), signatures={"greedy": module.serve})
    command = [sys.executable, str(DOUBLE), "--model", f"translation_en_fr={folder}"]
    command += ["--label", "translation_en_fr:stable=1"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        try:
            yield f"localhost:{json.loads(running.stdout.readline())['port']}"
        finally:
            running.terminate()


@pytest.fixture
def example(target):
    """The code of the example, for the address of the double."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    blocks = [block for block in blocks if "import grpc" in block]
    (block,) = blocks
    assert "localhost:8500" in block
    return block.replace("localhost:8500", target)


def test_the_example(example, capsys):
    names = {}
    exec(example, names)
    assert capsys.readouterr().out == "HOW ARE YOU? 12.0\nTHANK YOU. 10.0\n"


@pytest.mark.parametrize(
    ("change", "code", "details"),
    [
        (("translation_en_fr", "nobody"), grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label"),
        (('"greedy"', '"no"'), grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "no" not found'),
        (('inputs["text"]', 'inputs["source"]'), grpc.StatusCode.INVALID_ARGUMENT, "does not match signature"),
    ],
)
def test_refusals(example, change, code, details):
    old, new = change
    assert old in example
    with pytest.raises(grpc.RpcError) as raised:
        exec(example.replace(old, new), {})
    assert raised.value.code() == code and details in raised.value.details()
