"""Requests and replies of TensorFlow Serving's REST API.

Each test runs against `kerasseq serve`, and against a real `tensorflow_model_server` on the PATH or named by the
environment variable KERASSEQ_MODEL_SERVER.
"""

import base64
import concurrent.futures
import json
import pathlib
import re

import numpy as np
import pytest
import requests

RULES = "/v1/models/rules/versions/1:predict"

pytestmark = pytest.mark.exports  # The server loads exported models.


@pytest.fixture(scope="module")
def call(rules_server):
    """Calls the server: (HTTP code, JSON)."""
    with requests.Session() as session:

        def call(path, document=None):
            body = document if isinstance(document, (bytes, type(None))) else json.dumps(document).encode()
            reply = session.request("POST" if body else "GET", rules_server.url + path, data=body, timeout=60)
            assert reply.headers["Content-Type"] == "application/json"
            return reply.status_code, json.loads(reply.content.decode("utf-8", "replace"))

        yield call


def refusal(call, document, path=RULES):
    """The status code and the error, which is the whole reply."""
    code, reply = call(path, document)
    assert set(reply) == {"error"}, reply
    return code, reply["error"]


# === Forms of requests and replies ===


BASE64_ROWS = [{"text": "a", "raw_bytes": {"b64": "YQ=="}}, {"text": "", "raw_bytes": {"b64": ""}}]
BASE64_COLUMNS = {"text": ["a", ""], "raw_bytes": [{"b64": "YQ=="}, {"b64": ""}]}


@pytest.mark.parametrize(
    ("document", "reply"),
    [
        ({"instances": ["a", "bé"]}, {"predictions": ["A", "Bé"]}),
        ({"inputs": ["a", "b"]}, {"outputs": ["A", "B"]}),
        ({"instances": [{"text": "a"}, {"text": "b"}]}, {"predictions": ["A", "B"]}),
        ({"inputs": {"text": ["a", "b"]}}, {"outputs": ["A", "B"]}),
        ({"instances": ["a"], "signature_name": ""}, {"predictions": ["A"]}),
        (b' {"instances": ["a"]} ignored', {"predictions": ["A"]}),
        ({"signature_name": "same", "instances": ["a", ""]}, {"predictions": BASE64_ROWS}),
        ({"signature_name": "same", "inputs": ["a", ""]}, {"outputs": BASE64_COLUMNS}),
        ({"signature_name": "unequal", "inputs": ["a"]}, {"outputs": {"reply": ["a"], "twice": ["a", "a"]}}),
        (
            {"signature_name": "joined",
             "instances": [{"text": "a", "other": "b"}, {"other": {"b64": "ZA=="}, "text": "c"}]},
            {"predictions": ["ab", "cd"]},
        ),
        ({"signature_name": "joined", "inputs": {"text": ["a", "c"], "other": ["b", "d"]}}, {"outputs": ["ab", "cd"]}),
    ],
)  # fmt: skip
def test_rows_and_columns(call, document, reply):
    assert call(RULES, document) == (200, reply)


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
    ("verb", "path", "code", "error"),
    [
        ("POST", "/nobody:predict", 404, "Servable not found for request: Latest(nobody)"),
        ("POST", "/rules/versions/9:predict", 404, "Servable not found for request: Specific(rules, 9)"),
        ("POST", "/rules/labels/canary:predict", 400, "Unrecognized servable version label: canary"),
        ("POST", "/rules:forget", 400, "Malformed request: POST /v1/models/rules:forget"),
        ("GET", "/nobody", 404, "Could not find any versions of model nobody"),
        ("GET", "/rules/versions/9", 404, "Could not find version 9 of model rules"),
        ("GET", "", 400, "Missing model name in request."),
        ("GET", "/nobody/metadata", 404, "Servable not found for request: Latest(nobody)"),
        ("GET", "/rules:predict", 400, "Malformed request: GET /v1/models/rules:predict"),
    ],
)
def test_unknown_models(call, verb, path, code, error):
    assert refusal(call, {"instances": ["a"]} if verb == "POST" else None, f"/v1/models{path}") == (code, error)


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


def test_what_is_no_request_of_the_api(rules_server):
    with requests.Session() as session:
        assert session.get(rules_server.url, timeout=60).status_code == 404
        assert session.get(rules_server.url + "/v2/models/rules", timeout=60).status_code == 404
        assert session.put(rules_server.url + RULES, timeout=60).status_code == 405
    assert rules_server.process.poll() is None


@pytest.mark.parametrize("document", [b'{"instances": ' + b"[" * 900 + b'"a"', b"[" * 100_000, b"9" * 10_000])
def test_deep_documents_and_long_numbers(call, document):
    code, error = refusal(call, document)
    assert code == 400 and error.startswith("JSON Parse error: ")


def test_callers_at_once_get_their_own_answers(call):
    def ask(number):
        texts = [f"{number}-{row}" for row in range(number % 5 + 1)]
        document = {"signature_name": "greedy", "instances": texts}
        return call(RULES, document) == (
            200, {"predictions": [{"text": text, "score": len(text)} for text in texts]},
        )  # fmt: skip

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(200)))


def test_strings_do_not_stay_in_memory(rules_server, call):
    def resident():
        status = pathlib.Path(f"/proc/{rules_server.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])

    document = json.dumps({"signature_name": "same", "inputs": ["x" * 100_000] * 10}).encode()
    for _ in range(15):
        call(RULES, document)
    before = resident()
    for _ in range(40):  # 40 MB in, twice as much out
        call(RULES, document)
    assert resident() - before < 25_000
