"""A test double of TensorFlow Serving's `tensorflow_model_server`: its REST API, over TensorFlow's C++ loader.

Usage: python rest_double.py --port 0 --model NAME=VERSION_FOLDER ... [--label NAME:LABEL=VERSION ...]

For tests on machines without the real server. The process never imports kerasseq. When ready, it prints a line
`{"port": ...}`. It follows the server's documentation (`g3doc/api_rest.md`) and source: predict in rows
(`instances`) and columns (`inputs`), status and metadata, and errors with their codes and messages. Not implemented:
classify and regress, batching, inputs other than strings. White space in messages that quote JSON may differ.
"""

import argparse
import base64
import binascii
import http.server
import json
import re
import sys
import urllib.parse

import c_api
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from served_models import INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, Refusal, ServedModels

CHOICE = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
PREDICT = re.compile(rf"/v1/models/(?P<name>[^/:]+){CHOICE}:(?P<method>classify|regress|predict)", re.IGNORECASE)
STATUS = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{CHOICE}(?:/(?P<metadata>metadata))?", re.IGNORECASE)

# JSON escapes; the group matches lone surrogates.
ESCAPE = re.compile(r"\\(?:ud[89ab]..\\ud[c-f]..|u(?P<lone>d[89a-f]..)|.)", re.IGNORECASE | re.DOTALL)

# HTTP status codes by status code of TensorFlow; 500 for all others.
HTTP_CODES = {
    1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 14: 503, 16: 401,
}  # fmt: skip
JSON_TYPES = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
QUOTED = 256  # characters of JSON in an error message


def invalid(text):
    return Refusal(INVALID_ARGUMENT, text)


def quoted(value):
    """The beginning of a value, for an error message."""
    return json.dumps(value, ensure_ascii=False)[:QUOTED]


# === From JSON to inputs ===


def parse(body):
    """Returns the JSON object of a request. Bytes that are not UTF-8 become surrogate escapes."""
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    text = body.decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
    if lone := next((escape for escape in ESCAPE.finditer(text) if escape["lone"]), None):
        raise invalid(f"JSON Parse error: The surrogate pair in string is invalid. at offset: {lone.start()}")
    try:
        document, _ = json.JSONDecoder().raw_decode(text)  # The server ignores what follows the object.
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode("utf-8", "surrogateescape"))
        raise invalid(f"JSON Parse error: {error.msg} at offset: {offset}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {quoted(document)} Is not object")
    return document


def is_base64(value):
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def is_object(value):
    return isinstance(value, dict) and not is_base64(value)


def string(value):
    """Returns the bytes of a JSON value."""
    if isinstance(value, dict):
        if not is_base64(value):
            raise invalid(f"JSON Value: {quoted(value)} not formatted correctly for base64 data")
        encoded = "".join(value["b64"].split()).rstrip("=")
        try:
            return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise invalid("Unable to base64 decode") from None
    if not isinstance(value, str):
        kind = str(value) if isinstance(value, bool) else JSON_TYPES[type(value)]
        raise invalid(f"JSON Value: {quoted(value)} Type: {kind} is not of expected type: string")
    return value.encode("utf-8", "surrogateescape")


def tensor(value):
    """Returns (shape, list of bytes) of nested lists. The first elements determine the shape."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    strings = []

    def fill(value, level):
        if not isinstance(value, list):
            if level != len(shape):
                raise invalid(
                    f"JSON Value: {quoted(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                    f"level: {len(shape)}"
                )
            strings.append(string(value))
            return
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        for item in value:
            fill(item, level + 1)

    fill(value, 0)
    return shape, strings


def array(shape, strings):
    values = np.empty(len(strings), dtype=object)
    values[:] = strings
    return values.reshape(shape)


def inputs_of_rows(rows, names):
    """Returns arrays by name from `instances`: values of a single input, or objects with a value per input."""
    if not isinstance(rows[0], dict) and len(names) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    in_objects = is_object(rows[0])
    columns = {}
    for number, row in enumerate(rows):
        if is_object(row) != in_objects:
            expected, received = ("object", "list") if in_objects else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {received} at item {number} of input list")
        for name, value in row.items() if in_objects else [(names[0], row)]:
            try:
                if name not in names:
                    raise invalid(f"JSON object: does not have named input: {name}")
                shape, strings = tensor(value)
                expected_shape, column = columns.setdefault(name, (shape, []))
                if len(strings) != np.prod(expected_shape, dtype=int):
                    expected = np.prod(expected_shape, dtype=int)
                    raise invalid(f"Expecting tensor size: {expected} but got: {len(strings)}")
                if shape != expected_shape:
                    shapes = [f"[{','.join(map(str, sizes))}]" for sizes in (expected_shape, shape)]
                    raise invalid(f"Expecting shape {shapes[0]} but got: {shapes[1]}")
            except Refusal as error:
                key = f" key: {name}" if in_objects else ""
                raise invalid(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: INVALID_ARGUMENT: {error}"
                ) from None
            column.extend(strings)
        if in_objects and set(row) != set(names):
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {quoted(row)} keys must be "
                f"equal to: {','.join(names)}"
            )
    return {name: array([len(rows), *shape], strings) for name, (shape, strings) in columns.items()}


def inputs_of_columns(value, names):
    """Returns arrays by name from `inputs`: the values of a single input, or an object with the values of each."""
    if not is_object(value):
        if len(names) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        value = {names[0]: value}
    for name in names:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: array(*tensor(value[name])) for name in names}


# === From outputs to JSON ===


def plain(value, as_bytes):
    """Returns an output value as JSON. The server does not check that strings are UTF-8."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()} if as_bytes else value.decode("utf-8", "surrogateescape")
    if isinstance(value, np.floating):  # The fewest digits that identify it.
        return next(number for digits in (6, 9, 17) if same(number := float(f"{value:.{digits}g}"), value))
    return value.item()


def same(number, value):
    return np.isnan(value) or type(value)(number) == value


def nested(name, values):
    """Returns an array as nested lists."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [nested(name, inner) for inner in values]
    return plain(values[()] if isinstance(values, np.ndarray) else values, name.endswith("_bytes"))


def rows_of_outputs(outputs):
    batch = None
    for name, values in outputs.items():
        if not values.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch not in (None, len(values)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(values)} expecting: {batch}")
        batch = len(values)
    columns = {name: [nested(name, value) for value in values] for name, values in outputs.items()}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def columns_of_outputs(outputs):
    columns = {name: nested(name, values) for name, values in outputs.items()}
    return {"outputs": next(iter(columns.values())) if len(columns) == 1 else columns}


# === Methods ===


def predict(models, choice, body):
    document = parse(body)
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(
            f"JSON Value: {quoted(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    signature = signature or "serving_default"
    _, model = models.find(**choice)
    if signature not in model.signatures:
        raise invalid(f'Serving signature name: "{signature}" not found in signature def')
    inputs = model.signatures[signature].inputs
    names = sorted(inputs)
    if not names:
        raise invalid(f"Failed to get input map for signature: {signature}")
    if any(inputs[name].dtype != tf.string.as_datatype_enum for name in names):
        raise Refusal(UNIMPLEMENTED, "This test double takes strings only")
    in_rows = "instances" in document
    if in_rows and "inputs" in document:
        raise invalid(
            f"JSON Value: {quoted(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if in_rows:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {quoted(document)} Expecting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {quoted(document)} No values in 'instances' array")
        values = inputs_of_rows(rows, names)
    elif "inputs" in document:
        values = inputs_of_columns(document["inputs"], names)
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    outputs = model.run(signature, values)
    return rows_of_outputs(outputs) if in_rows else columns_of_outputs(outputs)


def status(models, name, version=None, label=None):
    """Returns the state of one version or of all. The server ignores labels here."""
    versions = models.versions.get(name, {})
    if version is None and not versions:
        raise Refusal(NOT_FOUND, f"Could not find any versions of model {name}")
    if version is not None and version not in versions:
        raise Refusal(NOT_FOUND, f"Could not find version {version} of model {name}")
    chosen = sorted(versions) if version is None else [version]
    health = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [
            {"version": str(version), "state": "AVAILABLE", "status": health} for version in chosen
        ]
    }


def metadata(models, name, version=None, label=None):
    version, model = models.find(name, version, label)
    signatures = {
        signature: json_format.MessageToDict(
            definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for signature, definition in model.signatures.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def answer(models, verb, path, body):
    """Returns (HTTP status code, JSON) for a request."""
    match = {"POST": PREDICT, "GET": STATUS}[verb].fullmatch(path)
    try:
        if match is None:
            raise invalid(f"Malformed request: {verb} {path}")
        choice = {
            "name": urllib.parse.unquote(match["name"] or ""),
            "version": int(match["version"]) if match["version"] else None,
            "label": urllib.parse.unquote(match["label"]) if match["label"] else None,
        }
        if verb == "POST":
            if match["method"] != "predict":
                raise Refusal(UNIMPLEMENTED, "This test double knows predict only")
            return 200, predict(models, choice, body)
        if not choice["name"]:
            raise invalid("Missing model name in request.")
        return 200, (metadata if match["metadata"] else status)(models, **choice)
    except (Refusal, c_api.StatusError) as error:
        return HTTP_CODES.get(error.code, 500), {"error": str(error)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    wbufsize = -1  # sends head and body together

    def reply(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.split("?")[0]
        if not path.lower().startswith("/v1/"):
            self.send_error(404)
            return
        code, document = answer(self.server.models, self.command, path, body)
        content = json.dumps(document, ensure_ascii=False, indent=4).encode("utf-8", "surrogateescape")
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = reply

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser(description="A test double of tensorflow_model_server's REST API.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=VERSION_FOLDER")
    parser.add_argument("--label", action="append", default=[], metavar="NAME:LABEL=VERSION")
    arguments = parser.parse_args()
    models = ServedModels(arguments.model, arguments.label)
    with Server(("127.0.0.1", arguments.port), Handler) as server:
        server.models = models
        imported = sorted({"kerasseq", "keras_hub", "tensorflow_text"} & set(sys.modules))
        print(json.dumps({"port": server.server_port, "imported": imported}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
