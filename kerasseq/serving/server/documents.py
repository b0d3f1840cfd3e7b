"""From JSON to arrays of bytes, and from arrays to JSON, by the rules of TensorFlow Serving's REST API.

The server's documentation (`g3doc/api_rest.md`) and source say what is accepted, and what errors say. White space in
messages that quote JSON may differ.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasseq.serving.server.refusals import Refusal, invalid

# JSON escapes; the group matches lone surrogates.
ESCAPE = re.compile(r"\\(?:ud[89ab]..\\ud[c-f]..|u(?P<lone>d[89a-f]..)|.)", re.IGNORECASE | re.DOTALL)
JSON_TYPES = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
QUOTED = 256  # characters of JSON in an error message

Arrays = dict[str, np.ndarray]


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a request. Bytes that are not UTF-8 become surrogate escapes.

    Raises:
        Refusal: if it is no JSON object.
    """
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
    except (RecursionError, ValueError) as error:  # Python refuses integers of thousands of digits.
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {quoted(document)} Is not object")
    return document


def serialize(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=4).encode("utf-8", "surrogateescape")


def quoted(value: Any) -> str:
    """The beginning of a value, for an error message."""
    return json.dumps(value, ensure_ascii=False)[:QUOTED]


# === From JSON to inputs ===


def is_base64(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def string(value: Any) -> bytes:
    """The bytes of a JSON string, or of an object `{"b64": ...}`."""
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


def strings(value: Any) -> tuple[list[int], list[bytes]]:
    """The shape and the strings of nested lists. The first elements determine the shape."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    found: list[bytes] = []

    def fill(value: Any, level: int) -> None:
        if not isinstance(value, list):
            if level != len(shape):
                raise invalid(
                    f"JSON Value: {quoted(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                    f"level: {len(shape)}"
                )
            found.append(string(value))
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
    return shape, found


def array(shape: Sequence[int], values: list[bytes]) -> np.ndarray:
    filled = np.empty(len(values), dtype=object)
    filled[:] = values
    return filled.reshape(shape)


def inputs_of(document: dict[str, Any], names: Sequence[str]) -> tuple[Arrays, bool]:
    """The inputs of a request by name, and whether they came in rows.

    Args:
        document: dict with rows (`instances`) or columns (`inputs`).
        names: list of str, the inputs of the signature, at least one.

    Raises:
        Refusal: if the document does not fit the signature.
    """
    if "instances" in document:
        if "inputs" in document:
            raise invalid(
                f"JSON Value: {quoted(document)} Not formatted correctly expecting only one of 'inputs' or "
                "'instances' keys to exist "
            )
        return inputs_of_rows(document, names), True
    if "inputs" in document:
        return inputs_of_columns(document["inputs"], names), False
    raise invalid("Missing 'inputs' or 'instances' key")


def inputs_of_rows(document: dict[str, Any], names: Sequence[str]) -> Arrays:
    """Inputs from `instances`: values of a single input, or objects with a value of each input."""
    rows = document["instances"]
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {quoted(document)} Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid(f"JSON Value: {quoted(document)} No values in 'instances' array")
    in_objects = is_object(rows[0])
    if not isinstance(rows[0], dict) and len(names) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    columns: dict[str, tuple[list[int], list[bytes]]] = {}
    for number, row in enumerate(rows):
        if is_object(row) != in_objects:
            expected, received = ("object", "list") if in_objects else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {received} at item {number} of input list")
        for name, value in row.items() if in_objects else [(names[0], row)]:
            try:
                add_to_column(columns, name, value, names)
            except Refusal as error:
                key = f" key: {name}" if in_objects else ""
                raise invalid(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: INVALID_ARGUMENT: {error}"
                ) from None
        if in_objects and set(row) != set(names):
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {quoted(row)} keys must be "
                f"equal to: {','.join(names)}"
            )
    return {name: array([len(rows), *shape], values) for name, (shape, values) in columns.items()}


def add_to_column(
    columns: dict[str, tuple[list[int], list[bytes]]], name: str, value: Any, names: Sequence[str]
) -> None:
    """Adds a row to the column of an input. All rows have the shape of the first one."""
    if name not in names:
        raise invalid(f"JSON object: does not have named input: {name}")
    shape, found = strings(value)
    expected, column = columns.setdefault(name, (shape, []))
    if len(found) != np.prod(expected, dtype=int):
        raise invalid(f"Expecting tensor size: {np.prod(expected, dtype=int)} but got: {len(found)}")
    if shape != expected:
        shapes = [f"[{','.join(map(str, sizes))}]" for sizes in (expected, shape)]
        raise invalid(f"Expecting shape {shapes[0]} but got: {shapes[1]}")
    column.extend(found)


def inputs_of_columns(value: Any, names: Sequence[str]) -> Arrays:
    """Inputs from `inputs`: the values of a single input, or an object with the values of each."""
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
    return {name: array(*strings(value[name])) for name in names}


# === From outputs to JSON ===


def document_of(outputs: Arrays, in_rows: bool) -> dict[str, Any]:
    """The reply to a request, in the form of its inputs."""
    if in_rows:
        return {"predictions": rows_of(outputs)}
    columns = {name: nested(name, values) for name, values in outputs.items()}
    return {"outputs": next(iter(columns.values())) if len(columns) == 1 else columns}


def rows_of(outputs: Arrays) -> list[Any]:
    batch = None
    for name, values in outputs.items():
        if not values.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch not in (None, len(values)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(values)} expecting: {batch}")
        batch = len(values)
    columns = {name: [nested(name, value) for value in values] for name, values in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def nested(name: str, values: Any) -> Any:
    """An output as nested lists."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [nested(name, inner) for inner in values]
    return plain(values[()] if isinstance(values, np.ndarray) else values, name.endswith("_bytes"))


def plain(value: Any, as_bytes: bool) -> Any:
    """A value of an output as JSON. The server does not check that strings are UTF-8."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()} if as_bytes else value.decode("utf-8", "surrogateescape")
    if isinstance(value, np.floating):  # The fewest digits that identify it.
        candidates = (float(f"{value:.{digits}g}") for digits in (6, 9, 17))
        return next(number for number in candidates if np.isnan(value) or type(value)(number) == value)
    return value.item()
