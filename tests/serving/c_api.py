"""Runs a SavedModel as a stock CPU model server does, in a process without Keras.

Usage: python c_api.py VERSION_FOLDER < requests.json > answers.json

TensorFlow's C++ loader reads the model through the C API, without XLA compilation and with those operations of TF Text
that released servers link (`TEXT_LIBRARIES`). Requests are a list of `{"signature": name, "inputs": {name: [base64,
...]}}` with string inputs; answers a list of `{name: {"dtype": ..., "values": [...]}}`, with strings in base64.
"""

import base64
import contextlib
import ctypes
import functools
import glob
import importlib.util
import json
import os
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

TEXT_LIBRARIES = (
    "_sentencepiece_tokenizer.so", "_regex_split_ops.so", "_normalize_ops.so", "_fast_wordpiece_tokenizer.so",
)  # fmt: skip
BYTES_OF_STRING = 24  # sizeof(TF_TString)

Pointer, Size, Text, Int, Int64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_int, ctypes.c_int64


class Output(ctypes.Structure):
    _fields_ = [("operation", Pointer), ("index", Int)]


class Buffer(ctypes.Structure):
    _fields_ = [("data", Pointer), ("length", Size), ("deallocator", Pointer)]


# Types of the result and the arguments, by function.
FUNCTIONS = {
    "TF_NewStatus": (Pointer,),
    "TF_DeleteStatus": (None, Pointer),
    "TF_GetCode": (Int, Pointer),
    "TF_Message": (Text, Pointer),
    "TF_LoadLibrary": (Pointer, Text, Pointer),
    "TF_NewGraph": (Pointer,),
    "TF_DeleteGraph": (None, Pointer),
    "TF_NewSessionOptions": (Pointer,),
    "TF_DeleteSessionOptions": (None, Pointer),
    "TF_NewBuffer": (ctypes.POINTER(Buffer),),
    "TF_DeleteBuffer": (None, ctypes.POINTER(Buffer)),
    "TF_LoadSessionFromSavedModel": (
        Pointer, Pointer, Pointer, Text, ctypes.POINTER(Text), Int, Pointer, ctypes.POINTER(Buffer), Pointer,
    ),
    "TF_GraphOperationByName": (Pointer, Pointer, Text),
    "TF_SessionRun": (
        None, Pointer, Pointer, ctypes.POINTER(Output), ctypes.POINTER(Pointer), Int, ctypes.POINTER(Output),
        ctypes.POINTER(Pointer), Int, Pointer, Int, Pointer, Pointer,
    ),
    "TF_CloseSession": (None, Pointer, Pointer),
    "TF_DeleteSession": (None, Pointer, Pointer),
    "TF_AllocateTensor": (Pointer, Int, ctypes.POINTER(Int64), Int, Size),
    "TF_DeleteTensor": (None, Pointer),
    "TF_TensorData": (Pointer, Pointer),
    "TF_TensorType": (Int, Pointer),
    "TF_TensorByteSize": (Size, Pointer),
    "TF_NumDims": (Int, Pointer),
    "TF_Dim": (Int64, Pointer, Int),
    "TF_StringInit": (None, Pointer),
    "TF_StringCopy": (None, Pointer, Text, Size),
    "TF_StringDealloc": (None, Pointer),
    "TF_StringGetDataPointer": (Pointer, Pointer),
    "TF_StringGetSize": (Size, Pointer),
}  # fmt: skip


def load_tensorflow():
    (path,) = glob.glob(os.path.join(os.path.dirname(tf.__file__), "libtensorflow_cc.so.?"))
    library = ctypes.CDLL(path)
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = load_tensorflow()


class StatusError(RuntimeError):
    """An error of TensorFlow with its status code."""

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


def checked(function, *arguments):
    """Calls a function with a status as its last argument, and raises a `StatusError` if it fails."""
    status = LIBRARY.TF_NewStatus()
    try:
        result = function(*arguments, status)
        if code := LIBRARY.TF_GetCode(status):
            raise StatusError(LIBRARY.TF_Message(status).decode("utf-8", "replace"), code)
        return result
    finally:
        LIBRARY.TF_DeleteStatus(status)


@functools.cache
def prepare_process():
    """Prepares the process as the server's main function does."""
    LIBRARY._ZN10tensorflow21DisableXlaCompilationEv()  # `tensorflow::DisableXlaCompilation()`
    text_folder = os.path.dirname(importlib.util.find_spec("tensorflow_text").origin)
    for name in TEXT_LIBRARIES:
        checked(LIBRARY.TF_LoadLibrary, os.path.join(text_folder, "python", "ops", name).encode())


class ServedModel:
    """A SavedModel in its own session. `run` is thread-safe until `close`."""

    def __init__(self, folder):
        prepare_process()
        self.graph = LIBRARY.TF_NewGraph()
        with contextlib.ExitStack() as stack:
            options, meta_graph = LIBRARY.TF_NewSessionOptions(), LIBRARY.TF_NewBuffer()
            stack.callback(LIBRARY.TF_DeleteSessionOptions, options)
            stack.callback(LIBRARY.TF_DeleteBuffer, meta_graph)
            tags = (Text * 1)(b"serve")
            self.session = checked(
                LIBRARY.TF_LoadSessionFromSavedModel,
                options, None, os.fsencode(folder), tags, 1, self.graph, meta_graph,
            )  # fmt: skip
            serialized = ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
        self.signatures = meta_graph_pb2.MetaGraphDef.FromString(serialized).signature_def

    def run(self, signature, inputs):
        """Maps lists or object arrays of bytes by name to arrays by name."""
        signature = self.signatures[signature]
        assert set(inputs) == set(signature.inputs), (sorted(inputs), sorted(signature.inputs))
        sources = (Output * len(inputs))(*(self.output(signature.inputs[name].name) for name in inputs))
        names = sorted(signature.outputs)
        wanted = (Output * len(names))(*(self.output(signature.outputs[name].name) for name in names))
        results = (Pointer * len(names))()
        with contextlib.ExitStack() as stack:
            # Outputs may share strings with inputs, so the stack frees them first.
            values = (Pointer * len(inputs))(*(stack.enter_context(string_tensor(value)) for value in inputs.values()))
            checked(
                LIBRARY.TF_SessionRun,
                self.session, None, sources, values, len(inputs), wanted, results, len(names), None, 0, None,
            )  # fmt: skip
            for result in results:
                stack.callback(LIBRARY.TF_DeleteTensor, result)
            return {name: array(result) for name, result in zip(names, results, strict=True)}

    def output(self, name):
        operation, index = name.split(":")
        return Output(LIBRARY.TF_GraphOperationByName(self.graph, operation.encode()), int(index))

    def close(self):
        """Frees the session."""
        if self.session is not None:
            session, self.session = self.session, None
            checked(LIBRARY.TF_CloseSession, session)
            checked(LIBRARY.TF_DeleteSession, session)
            LIBRARY.TF_DeleteGraph(self.graph)


@contextlib.contextmanager
def string_tensor(values):
    """A context with a tensor of bytes."""
    values = np.array(values, dtype=object)
    tensor = LIBRARY.TF_AllocateTensor(
        tf.string.as_datatype_enum, (Int64 * values.ndim)(*values.shape), values.ndim, values.size * BYTES_OF_STRING
    )
    start = LIBRARY.TF_TensorData(tensor)
    strings = [start + index * BYTES_OF_STRING for index in range(values.size)]
    for string, value in zip(strings, values.ravel(), strict=True):
        LIBRARY.TF_StringInit(string)
        LIBRARY.TF_StringCopy(string, value, len(value))
    try:
        yield tensor
    finally:
        for string in strings:  # TF_DeleteTensor frees the array of strings, but not their contents.
            LIBRARY.TF_StringDealloc(string)
        LIBRARY.TF_DeleteTensor(tensor)


def array(tensor):
    """Copies a tensor that TensorFlow owns."""
    shape = [LIBRARY.TF_Dim(tensor, axis) for axis in range(LIBRARY.TF_NumDims(tensor))]
    dtype = tf.as_dtype(LIBRARY.TF_TensorType(tensor))
    start = LIBRARY.TF_TensorData(tensor)
    if dtype != tf.string:
        flat = np.frombuffer(ctypes.string_at(start, LIBRARY.TF_TensorByteSize(tensor)), dtype.as_numpy_dtype)
        return flat.reshape(shape)
    flat = np.empty(int(np.prod(shape)), dtype=object)
    for index in range(flat.size):
        string = start + index * BYTES_OF_STRING
        flat[index] = ctypes.string_at(LIBRARY.TF_StringGetDataPointer(string), LIBRARY.TF_StringGetSize(string))
    return flat.reshape(shape)


def plain(values):
    """Converts an array to JSON: nested lists, with strings in base64."""
    if values.dtype != object:
        return {"dtype": values.dtype.name, "values": values.tolist()}
    encoded = [base64.b64encode(value).decode() for value in values.ravel()]
    return {"dtype": "string", "values": np.array(encoded, dtype=object).reshape(values.shape).tolist()}


def main():
    model = ServedModel(sys.argv[1])
    answers = []
    for request in json.load(sys.stdin):
        inputs = {name: [base64.b64decode(value) for value in values] for name, values in request["inputs"].items()}
        answers.append({name: plain(values) for name, values in model.run(request["signature"], inputs).items()})
    imported = sorted({"kerasseq", "keras", "keras_hub", "tensorflow_text"} & set(sys.modules))
    json.dump({"answers": answers, "imported": imported, "signatures": sorted(model.signatures)}, sys.stdout)


if __name__ == "__main__":
    main()
