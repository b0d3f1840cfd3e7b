"""Runs a SavedModel as a stock CPU model server does, in a process without Keras.

Usage: python c_api.py VERSION_FOLDER < requests.json > answers.json

TensorFlow's C++ loader reads the model through the C API, XLA compilation is switched off, and of TF Text's operations
only those of `TEXT_LIBRARIES` are known, which released servers link in. Requests are a list of
`{"signature": name, "inputs": {name: [base64, ...]}}` with string inputs; answers are lists of
`{name: {"dtype": ..., "values": [...]}}`, with strings in base64.
"""

import base64
import ctypes
import glob
import importlib.util
import json
import os
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

TEXT_LIBRARIES = ("_sentencepiece_tokenizer.so",)
BYTES_OF_STRING = 24  # sizeof(TF_TString)

Pointer, Size, Text, Int, Int64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_int, ctypes.c_int64


class Output(ctypes.Structure):
    _fields_ = [("operation", Pointer), ("index", Int)]


class Buffer(ctypes.Structure):
    _fields_ = [("data", Pointer), ("length", Size), ("deallocator", Pointer)]


# Name -> type of the result, types of the arguments.
FUNCTIONS = {
    "TF_NewStatus": (Pointer,),
    "TF_GetCode": (Int, Pointer),
    "TF_Message": (Text, Pointer),
    "TF_LoadLibrary": (Pointer, Text, Pointer),
    "TF_NewGraph": (Pointer,),
    "TF_NewSessionOptions": (Pointer,),
    "TF_NewBuffer": (ctypes.POINTER(Buffer),),
    "TF_LoadSessionFromSavedModel": (
        Pointer, Pointer, Pointer, Text, ctypes.POINTER(Text), Int, Pointer, ctypes.POINTER(Buffer), Pointer,
    ),
    "TF_GraphOperationByName": (Pointer, Pointer, Text),
    "TF_SessionRun": (
        None, Pointer, Pointer, ctypes.POINTER(Output), ctypes.POINTER(Pointer), Int, ctypes.POINTER(Output),
        ctypes.POINTER(Pointer), Int, Pointer, Int, Pointer, Pointer,
    ),
    "TF_AllocateTensor": (Pointer, Int, ctypes.POINTER(Int64), Int, Size),
    "TF_TensorData": (Pointer, Pointer),
    "TF_TensorType": (Int, Pointer),
    "TF_TensorByteSize": (Size, Pointer),
    "TF_NumDims": (Int, Pointer),
    "TF_Dim": (Int64, Pointer, Int),
    "TF_StringInit": (None, Pointer),
    "TF_StringCopy": (None, Pointer, Text, Size),
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


def checked(function, *arguments):
    """Calls a function whose last argument is a status."""
    status = LIBRARY.TF_NewStatus()
    result = function(*arguments, status)
    if LIBRARY.TF_GetCode(status):
        raise RuntimeError(LIBRARY.TF_Message(status).decode("utf-8", "replace"))
    return result


class ServedModel:
    """A SavedModel in a session of its own."""

    def __init__(self, folder):
        # `tensorflow::DisableXlaCompilation()`, as the server's main function calls it.
        LIBRARY._ZN10tensorflow21DisableXlaCompilationEv()
        text_folder = os.path.dirname(importlib.util.find_spec("tensorflow_text").origin)
        for name in TEXT_LIBRARIES:
            checked(LIBRARY.TF_LoadLibrary, os.path.join(text_folder, "python", "ops", name).encode())
        self.graph = LIBRARY.TF_NewGraph()
        meta_graph = LIBRARY.TF_NewBuffer()
        tags = (Text * 1)(b"serve")
        self.session = checked(
            LIBRARY.TF_LoadSessionFromSavedModel,
            LIBRARY.TF_NewSessionOptions(), None, os.fsencode(folder), tags, 1, self.graph, meta_graph,
        )  # fmt: skip
        serialized = ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
        self.signatures = meta_graph_pb2.MetaGraphDef.FromString(serialized).signature_def

    def run(self, signature, inputs):
        """Inputs: lists of bytes by name. Returns arrays by name."""
        signature = self.signatures[signature]
        assert set(inputs) == set(signature.inputs), (sorted(inputs), sorted(signature.inputs))
        sources = (Output * len(inputs))(*(self.output(signature.inputs[name].name) for name in inputs))
        values = (Pointer * len(inputs))(*map(string_tensor, inputs.values()))
        names = sorted(signature.outputs)
        wanted = (Output * len(names))(*(self.output(signature.outputs[name].name) for name in names))
        results = (Pointer * len(names))()
        checked(
            LIBRARY.TF_SessionRun,
            self.session, None, sources, values, len(inputs), wanted, results, len(names), None, 0, None,
        )  # fmt: skip
        return {name: array(result) for name, result in zip(names, results, strict=True)}

    def output(self, name):
        operation, index = name.split(":")
        return Output(LIBRARY.TF_GraphOperationByName(self.graph, operation.encode()), int(index))


def string_tensor(values):
    tensor = LIBRARY.TF_AllocateTensor(
        tf.string.as_datatype_enum, (Int64 * 1)(len(values)), 1, len(values) * BYTES_OF_STRING
    )
    start = LIBRARY.TF_TensorData(tensor)
    for index, value in enumerate(values):
        LIBRARY.TF_StringInit(start + index * BYTES_OF_STRING)
        LIBRARY.TF_StringCopy(start + index * BYTES_OF_STRING, value, len(value))
    return tensor


def array(tensor):
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
    """An array as JSON: nested lists, strings in base64."""
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
