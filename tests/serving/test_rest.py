"""The forms and replies of TensorFlow Serving's REST API, and exported models behind it.

Each test runs against the test double `rest_double.py`, and against a real `tensorflow_model_server` where there is
one: on the PATH, or where the environment variable KERASSEQ_MODEL_SERVER says.
"""

import base64
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import requests
import tensorflow as tf

from kerasseq.serving import Client, RequestRefused, VersionStatus

DOUBLE = pathlib.Path(__file__).parent / "rest_double.py"
MODEL_SERVER = os.environ.get("KERASSEQ_MODEL_SERVER") or shutil.which("tensorflow_model_server")
SOURCES = ["one two three", "four", "four three", "two two one"]
TOLERANCE = 1e-3  # of scores; closer ones are near ties, which another build of TensorFlow may decide otherwise


# === Models ===


def save_rules(folder):
    """A model for the API's rules, whose replies can be told by hand: version 1 shouts, version 2 doubles."""
    numbers = [0.5, 3.0, 1e-7, 123_456_789.0]
    signatures = {
        "serving_default": lambda text: {"reply": tf.strings.upper(text)},
        "same": lambda text: {"text": tf.identity(text), "raw_bytes": tf.identity(text)},
        "numbers": lambda text: {
            "float": tf.tile([numbers], [tf.size(text), 1]),
            "odd": tf.tile([[np.nan, np.inf, -np.inf]], [tf.size(text), 1]),
            "int": tf.strings.length(text),
            "bool": tf.strings.length(text) > 1,
        },
        "unequal": lambda text: {"reply": text, "twice": tf.concat([text, text], axis=0)},
        "scalar": lambda text: {"reply": text, "size": tf.size(text)},
        "failing": lambda text: {"reply": tf.strings.as_string(tf.strings.to_number(text))},
    }
    text = tf.TensorSpec([None], tf.string, name="text")
    other = tf.TensorSpec([None], tf.string, name="other")
    doubled = {"serving_default": lambda text: {"reply": tf.strings.upper(text + text)}}
    for version, functions in {1: signatures, 2: doubled}.items():
        module = tf.Module()
        module.functions = {name: tf.function(function) for name, function in functions.items()}
        module.joined = tf.function(lambda text, other: {"reply": text + other})
        traced = {name: function.get_concrete_function(text) for name, function in module.functions.items()}
        traced["joined"] = module.joined.get_concrete_function(text, other)
        tf.saved_model.save(module, str(folder / str(version)), signatures=traced)


@pytest.fixture(scope="module")
def folders(generator, tmp_path_factory):
    """The folders of the served models, by name."""
    models = tmp_path_factory.mktemp("models")
    save_rules(models / "rules")
    generator.export(models / "numbers")
    return {"rules": models / "rules", "numbers": models / "numbers"}


# === Servers ===


@contextlib.contextmanager
def process(command, **arguments):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(command, env=environment, **arguments) as running:
        try:
            yield running
        finally:
            running.terminate()


@contextlib.contextmanager
def double(folders, tmp_path):
    versions = [f"{name}={path}" for name, folder in folders.items() for path in sorted(folder.glob("[0-9]*"))]
    arguments = [argument for version in versions for argument in ("--model", version)]
    command = [sys.executable, str(DOUBLE), "--port", "0", *arguments, "--label", "rules:stable=1"]
    with process(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        ready = json.loads(running.stdout.readline())
        assert ready["imported"] == []
        yield types.SimpleNamespace(url=f"http://127.0.0.1:{ready['port']}", process=running)


@contextlib.contextmanager
def model_server(folders, tmp_path):
    entries = "\n".join(
        f'config {{ name: "{name}" base_path: "{folder}" model_platform: "tensorflow" '
        "model_version_policy { all {} } "
        + ('version_labels { key: "stable" value: 1 } ' if name == "rules" else "")
        + "}"
        for name, folder in folders.items()
    )
    config = tmp_path / "models.config"
    config.write_text(f"model_config_list {{ {entries} }}", encoding="utf-8")
    with socket.socket() as grpc, socket.socket() as rest:
        for unused in (grpc, rest):
            unused.bind(("127.0.0.1", 0))
        grpc_port, port = grpc.getsockname()[1], rest.getsockname()[1]
    command = [
        MODEL_SERVER, f"--port={grpc_port}", f"--rest_api_port={port}", f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models=true",
    ]  # fmt: skip
    with process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        url = f"http://127.0.0.1:{port}"
        wait_until_available(url, folders, running)
        yield types.SimpleNamespace(url=url, process=running)


def wait_until_available(url, folders, running, seconds=60):
    end = time.monotonic() + seconds
    for name, folder in folders.items():
        expected = {int(path.name) for path in folder.glob("[0-9]*")}
        with Client(url, name, retries=100, deadline=seconds) as client:
            while True:
                with contextlib.suppress(RequestRefused):
                    if {status.version for status in client.status() if status.state == "AVAILABLE"} == expected:
                        break
                assert running.poll() is None and time.monotonic() < end, "The model server does not start."
                time.sleep(0.1)


SERVERS = {"double": double, "model_server": model_server}
NO_MODEL_SERVER = "no tensorflow_model_server on the PATH or named by KERASSEQ_MODEL_SERVER"


@pytest.fixture(
    scope="module",
    params=[
        "double",
        pytest.param("model_server", marks=pytest.mark.skipif(not MODEL_SERVER, reason=NO_MODEL_SERVER)),
    ],
)
def server(request, folders, tmp_path_factory):
    with SERVERS[request.param](folders, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def call(server):
    """Calls the server: (HTTP code, JSON)."""
    with requests.Session() as session:

        def call(path, document=None, method=None):
            body = document if isinstance(document, (bytes, type(None))) else json.dumps(document).encode()
            reply = session.request(method or ("POST" if body else "GET"), server.url + path, data=body, timeout=60)
            assert reply.headers["Content-Type"] == "application/json"
            return reply.status_code, json.loads(reply.content.decode("utf-8", "replace"))

        yield call


RULES = "/v1/models/rules/versions/1:predict"


def refusal(call, document, path=RULES):
    """The code and the text of an error; nothing but them is in the reply."""
    code, reply = call(path, document)
    assert set(reply) == {"error"}, reply
    return code, reply["error"]


# === Forms of requests and replies ===


def test_rows_and_columns_of_one_output(call):
    assert call(RULES, {"instances": ["a", "bé"]}) == (200, {"predictions": ["A", "Bé"]})
    assert call(RULES, {"inputs": ["a", "b"]}) == (200, {"outputs": ["A", "B"]})
    assert call(RULES, {"instances": [{"text": "a"}, {"text": "b"}]}) == (200, {"predictions": ["A", "B"]})
    assert call(RULES, {"inputs": {"text": ["a", "b"]}}) == (200, {"outputs": ["A", "B"]})
    assert call(RULES, {"instances": ["a"], "signature_name": ""}) == (200, {"predictions": ["A"]})


def test_rows_and_columns_of_several_outputs(call):
    rows = [{"text": "a", "raw_bytes": {"b64": "YQ=="}}, {"text": "", "raw_bytes": {"b64": ""}}]
    columns = {"text": ["a", ""], "raw_bytes": [{"b64": "YQ=="}, {"b64": ""}]}
    request = {"signature_name": "same"}
    assert call(RULES, {**request, "instances": ["a", ""]}) == (200, {"predictions": rows})
    assert call(RULES, {**request, "inputs": ["a", ""]}) == (200, {"outputs": columns})


def test_several_inputs(call):
    request = {"signature_name": "joined"}
    rows = [{"text": "a", "other": "b"}, {"other": {"b64": "ZA=="}, "text": "c"}]
    assert call(RULES, {**request, "instances": rows}) == (200, {"predictions": ["ab", "cd"]})
    columns = {"text": ["a", "c"], "other": ["b", "d"]}
    assert call(RULES, {**request, "inputs": columns}) == (200, {"outputs": ["ab", "cd"]})


@pytest.mark.parametrize("text", [b"", b"a\0b", b"\xff\xfe \xc3", "👍🏽 ж".encode(), b"x" * 100_000, b"\xed\xa0\xbd"])
def test_any_bytes_pass_through(call, text):
    encoded = {"b64": base64.b64encode(text).decode()}
    code, reply = call(RULES, {"signature_name": "same", "instances": [encoded]})
    assert code == 200
    assert reply["predictions"] == [{"text": text.decode("utf-8", "replace"), "raw_bytes": encoded}]


def test_strings_that_are_no_utf8_are_taken_as_they_are(call):
    body = b'{"signature_name": "same", "instances": ["\xff\xc3 \\u0000"]}'
    code, reply = call(RULES, body)
    assert (code, reply["predictions"][0]["raw_bytes"]) == (200, {"b64": base64.b64encode(b"\xff\xc3 \0").decode()})


def test_numbers(call):
    code, reply = call(RULES, {"signature_name": "numbers", "instances": ["abc"]})
    (row,) = reply["predictions"]
    assert code == 200 and row["int"] == 3 and row["bool"] is True
    assert row["float"] == [0.5, 3.0, 1e-7, pytest.approx(123_456_789.0, abs=4)]
    np.testing.assert_array_equal(row["odd"], [np.nan, np.inf, -np.inf])


def test_versions_and_labels(call):
    for choice, expected in {"": "AA", "/versions/1": "A", "/versions/2": "AA", "/labels/stable": "A"}.items():
        assert call(f"/v1/models/rules{choice}:predict", {"instances": ["a"]}) == (200, {"predictions": [expected]})


def test_status_and_metadata(call):
    entries = [
        {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        for version in ("1", "2")
    ]
    code, reply = call("/v1/models/rules")
    by_version = {entry["version"]: entry for entry in reply["model_version_status"]}
    assert code == 200 and by_version == {"1": entries[0], "2": entries[1]}
    assert call("/v1/models/rules/versions/2") == (200, {"model_version_status": entries[1:]})
    code, reply = call("/v1/models/rules/labels/stable/metadata")
    assert code == 200
    assert (reply["model_spec"]["name"], reply["model_spec"]["version"]) == ("rules", "1")
    signatures = reply["metadata"]["signature_def"]["signature_def"]
    assert set(signatures["joined"]["inputs"]) == {"text", "other"}
    assert signatures["numbers"]["outputs"]["float"]["dtype"] == "DT_FLOAT"
    sizes = [entry["size"] for entry in signatures["numbers"]["outputs"]["float"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "4"]


# === Refusals ===


@pytest.mark.parametrize(
    ("path", "code", "error"),
    [
        ("/v1/models/nobody:predict", 404, "Servable not found for request: Latest(nobody)"),
        ("/v1/models/rules/versions/9:predict", 404, "Servable not found for request: Specific(rules, 9)"),
        ("/v1/models/rules/labels/canary:predict", 400, "Unrecognized servable version label: canary"),
        ("/v1/models/rules:forget", 400, "Malformed request: POST /v1/models/rules:forget"),
    ],
)
def test_unknown_models(call, path, code, error):
    assert refusal(call, {"instances": ["a"]}, path) == (code, error)


@pytest.mark.parametrize(
    ("path", "code", "error"),
    [
        ("/v1/models/nobody", 404, "Could not find any versions of model nobody"),
        ("/v1/models/rules/versions/9", 404, "Could not find version 9 of model rules"),
        ("/v1/models", 400, "Missing model name in request."),
        ("/v1/models/nobody/metadata", 404, "Servable not found for request: Latest(nobody)"),
        ("/v1/models/rules:predict", 400, "Malformed request: GET /v1/models/rules:predict"),
    ],
)
def test_status_of_unknown_models(call, path, code, error):
    assert refusal(call, None, path) == (code, error)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b"{", "JSON Parse error: "),
        (b'{"instances": ["a"', "JSON Parse error: "),
        (b'{"instances": ["\\ud800"]}', "JSON Parse error: "),
        (b"[]", "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": ["a"], "inputs": ["a"]}, "expecting only one of 'inputs' or 'instances' keys to exist"),
        ({"instances": "a"}, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": ["a"], "signature_name": 3}, "'signature_name' key must be a string value."),
        ({"instances": ["a"], "signature_name": "no"}, 'Serving signature name: "no" not found in signature def'),
        ({"instances": [1]}, "Type: Number is not of expected type: string"),
        ({"instances": [None]}, "Type: Null is not of expected type: string"),
        ({"instances": ["a", {"b64": 1}]}, "Expecting value/list but got object at item 1 of input list"),
        ({"instances": [{"text": {"b64": 1}}]}, "not formatted correctly for base64 data"),
        ({"instances": [{"b64": "=?"}]}, "Unable to base64 decode"),
        ({"instances": [["a"], ["b", "c"]]}, "Expecting tensor size: 1 but got: 2"),
        ({"instances": ["a", ["b"]]}, "Expecting shape [] but got: [1]"),
        ({"instances": [["a", ["b"]]]}, "Encountered list at unexpected level: 1 expected < 1"),
        ({"instances": [[["a", "b"], ["c"]]]}, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ({"instances": [{"source": "a"}]}, "JSON object: does not have named input: source"),
        ({"instances": [{"text": "a"}, "b"]}, "Expecting object but got list at item 1 of input list"),
        ({"inputs": {"source": ["a"]}}, "Missing named input: text in 'inputs' object."),
        ({"instances": ["a"], "signature_name": "joined"}, "expecting list of objects as multiple input tensors"),
        ({"instances": [{"text": "a"}], "signature_name": "joined"}, "keys must be equal to: other,text"),
        ({"inputs": ["a"], "signature_name": "joined"}, "expecting an object as multiple input tensors"),
        ({"instances": ["a"], "signature_name": "unequal"}, "has inconsistent batch size: "),
        ({"instances": ["a"], "signature_name": "scalar"}, "Tensor name: size has no shape information"),
        ({"instances": ["no number"], "signature_name": "failing"}, "StringToNumberOp could not correctly convert"),
    ],
)
def test_refused_requests(call, document, error):
    code, text = refusal(call, document)
    assert code == 400 and error in text


def test_columns_may_have_unequal_batches(call):
    code, reply = call(RULES, {"inputs": ["a"], "signature_name": "unequal"})
    assert (code, reply) == (200, {"outputs": {"reply": ["a"], "twice": ["a", "a"]}})


def test_what_follows_the_object_is_ignored(call):
    assert call(RULES, b' {"instances": ["a"]} and so on') == (200, {"predictions": ["A"]})


def test_strings_do_not_stay_in_memory(server, call):
    def resident():
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])

    document = json.dumps({"signature_name": "same", "inputs": ["x" * 100_000] * 10}).encode()
    for _ in range(20):
        call(RULES, document)
    before = resident()
    for _ in range(100):  # 100 MB in, twice as much out
        call(RULES, document)
    assert resident() - before < 50_000


# === Exported models ===


@pytest.fixture(scope="module")
def signatures(folders):
    """The outputs of each signature, by name."""
    (folder,) = (path for path in folders["numbers"].iterdir() if path.name.isdigit())
    return {
        name: set(function.structured_outputs) for name, function in tf.saved_model.load(str(folder)).signatures.items()
    }


@pytest.fixture(scope="module")
def client(server):
    with Client(server.url, "numbers") as client:
        yield client


@pytest.fixture(scope="module")
def expected(generator):
    """What the generator itself gives for `SOURCES`, by signature."""
    return {
        "serving_default": generator.generate(SOURCES, details=True),
        "greedy": generator.generate(SOURCES, "greedy", details=True),
    }


def same_text(text, generation):
    """Whether a text is the expected one; where two hypotheses score alike, it may be the other."""
    rivals = [text for text, score in generation.alternatives if generation.score - score < TOLERANCE]
    return text in rivals


@pytest.mark.parametrize("signature", ["serving_default", "greedy"])
def test_answers_as_in_process(client, expected, signature):
    answers = client.answers(SOURCES, signature)
    for answer, generation in zip(answers, expected[signature], strict=True):
        assert same_text(answer.text, generation)
        assert answer.score == pytest.approx(generation.score, abs=TOLERANCE)
    assert client.generate(SOURCES, signature) == [answer.text for answer in answers]
    assert client.generate([source.encode() for source in SOURCES], signature) == [answer.text for answer in answers]


def test_nbest_as_in_process(client, expected, signatures):
    if "nbest" not in signatures:
        pytest.skip("the export has no nbest signature")
    for hypotheses, generation in zip(client.nbest(SOURCES), expected["serving_default"], strict=True):
        scores = [score for _, score in generation.alternatives]
        assert [score for _, score in hypotheses] == pytest.approx(scores, abs=TOLERANCE)
        assert {text for text, _ in hypotheses} == {text for text, _ in generation.alternatives}


def test_attention_as_in_process(client, expected):
    compared = 0
    for answer, generation in zip(client.attention(SOURCES), expected["serving_default"], strict=True):
        if answer.text == generation.text:
            compared += 1
            assert answer.score == pytest.approx(generation.score, abs=TOLERANCE)
            assert (answer.source_tokens, answer.target_tokens) == (generation.source_tokens, generation.target_tokens)
            np.testing.assert_allclose(answer.attention, generation.attention, atol=TOLERANCE)
            assert answer.attention_heads is None and answer.generation_probability is None
            assert answer.ignored_tokens in (None, generation.ignored_tokens)
    assert compared


def test_every_signature_in_rows_and_columns(call, signatures):
    """Each output is there, batch first, and columns are the rows on their side."""
    assert {"serving_default", "greedy", "attention"} <= set(signatures)
    for name, outputs in signatures.items():
        request = {"signature_name": name}
        code, rows = call("/v1/models/numbers:predict", {**request, "instances": SOURCES})
        assert code == 200 and [set(row) for row in rows["predictions"]] == [outputs] * len(SOURCES)
        code, columns = call("/v1/models/numbers:predict", {**request, "inputs": {"text": SOURCES}})
        columns = columns["outputs"]
        assert code == 200 and set(columns) == outputs
        assert [{key: columns[key][row] for key in columns} for row in range(len(SOURCES))] == rows["predictions"]


def test_odd_sources(client, generator):
    sources = ["", " \t\n", "👍🏽 two", "a\0b", b"\xff\xfe one \xc3", "\ud83d one", "مرحبا"]
    as_bytes = [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in sources]
    for text, generation in zip(client.generate(sources), generator.generate(as_bytes, details=True), strict=True):
        assert same_text(text, generation)


def test_long_sources(client, generator):
    """They are split on the server as in process, and none is lost among the short ones."""
    sources = ["three", "one two. three four. " * 20, "two"]
    assert client.generate(sources, "greedy") == generator.generate(sources, "greedy")


def test_status_of_an_exported_model(server, client):
    assert client.status() == [VersionStatus(1, "AVAILABLE", "")]
    with Client(server.url, "nobody") as stranger, pytest.raises(RequestRefused, match="any versions of model nobody"):
        stranger.status()


def test_threads(client, expected):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(client.generate, SOURCES * 4))
    assert all(
        same_text(text, generation) for text, generation in zip(replies, expected["serving_default"] * 4, strict=True)
    )
