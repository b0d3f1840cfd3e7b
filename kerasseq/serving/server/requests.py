"""Predict, status and metadata: from a path and a body to an answer, without HTTP."""

import concurrent.futures
import dataclasses
import re
import urllib.parse
from typing import Any

import tensorflow as tf
from google.protobuf import json_format

from kerasseq.serving.server.documents import Arrays, inputs_of, parse, quoted
from kerasseq.serving.server.models import ServedModels
from kerasseq.serving.server.refusals import NOT_FOUND, UNIMPLEMENTED, Refusal, invalid

CHOICE = r"(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
PREDICT = re.compile(rf"/v1/models/(?P<name>[^/:]+){CHOICE}:(?P<method>classify|regress|predict)", re.IGNORECASE)
STATUS = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{CHOICE}(?:/(?P<metadata>metadata))?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Outputs to come, and whether the reply has rows."""

    outputs: concurrent.futures.Future[Arrays]
    in_rows: bool


def post(models: ServedModels, path: str, body: bytes) -> Prediction:
    """Starts what a POST request asks for.

    Args:
        models: the `ServedModels`.
        path: str, as in the request, percent-encoded.
        body: bytes.

    Raises:
        Refusal: if there is no such method, model, version or signature, or the body does not fit it.
    """
    match = PREDICT.fullmatch(path)
    if match is None:
        raise invalid(f"Malformed request: POST {path}")
    if match["method"].lower() != "predict":
        raise Refusal(UNIMPLEMENTED, "kerasseq serve answers predict alone.")
    document = parse(body)
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(
            f"JSON Value: {quoted(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    signature = signature or "serving_default"
    _, version = models.find(*choice(match))
    signatures = version.signatures
    if signature not in signatures:
        raise invalid(f'Serving signature name: "{signature}" not found in signature def')
    inputs = signatures[signature].inputs
    if not inputs:
        raise invalid(f"Failed to get input map for signature: {signature}")
    if any(tensor.dtype != tf.string.as_datatype_enum for tensor in inputs.values()):
        raise Refusal(UNIMPLEMENTED, "kerasseq serve takes inputs of strings alone.")
    values, in_rows = inputs_of(document, sorted(inputs))
    return Prediction(version.submit(signature, values), in_rows)


def get(models: ServedModels, path: str) -> dict[str, Any]:
    """The status or the metadata that a GET request asks for.

    Raises:
        Refusal: if there is no such model or version.
    """
    match = STATUS.fullmatch(path)
    if match is None:
        raise invalid(f"Malformed request: GET {path}")
    if not match["name"]:
        raise invalid("Missing model name in request.")
    name, number, label = choice(match)
    return metadata(models, name, number, label) if match["metadata"] else status(models, name, number)


def choice(match: re.Match[str]) -> tuple[str, int | None, str | None]:
    """The name, version and label of a path."""
    number, label = match["version"], match["label"]
    return (
        urllib.parse.unquote(match["name"]),
        None if number is None else int(number),
        None if label is None else urllib.parse.unquote(label),
    )


def status(models: ServedModels, name: str, number: int | None) -> dict[str, Any]:
    """The state of one version or of all. The real server ignores labels here."""
    versions = models.versions(name)
    if number is None and not versions:
        raise Refusal(NOT_FOUND, f"Could not find any versions of model {name}")
    if number is not None and number not in versions:
        raise Refusal(NOT_FOUND, f"Could not find version {number} of model {name}")
    chosen = {number: versions[number]} if number is not None else versions
    return {
        "model_version_status": [
            {
                "version": str(key),
                "state": version.state,
                "status": {"error_code": version.code, "error_message": version.message},
            }
            for key, version in sorted(chosen.items())
        ]
    }


def metadata(models: ServedModels, name: str, number: int | None, label: str | None) -> dict[str, Any]:
    number, version = models.find(name, number, label)
    signatures = {
        signature: json_format.MessageToDict(
            definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for signature, definition in version.signatures.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(number)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }
