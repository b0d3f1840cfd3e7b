"""A test double of TensorFlow Serving's `tensorflow_model_server`: Predict in gRPC, over TensorFlow's C++ loader.

Usage: python grpc_double.py --port 0 --model NAME=VERSION_FOLDER ... [--label NAME:LABEL=VERSION ...]

The process never imports kerasseq, and prints a line `{"port": ...}` when it is ready.
"""

import argparse
import concurrent.futures
import json
import sys

import c_api
import grpc
import tensorflow as tf
from served_models import INVALID_ARGUMENT, Refusal, ServedModels
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}
FAILED_PRECONDITION = 9


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models):
        self.models = models

    def Predict(self, request, context):
        try:
            return self.answer(request)
        except (Refusal, c_api.StatusError) as error:
            context.abort(CODES[error.code], str(error))

    def answer(self, request):
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        version, model = self.models.find(spec.name, version, spec.version_label or None)
        name = spec.signature_name or "serving_default"
        if name not in model.signatures:
            raise Refusal(FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        expected, received = set(model.signatures[name].inputs), set(request.inputs)
        if expected != received:
            raise Refusal(INVALID_ARGUMENT, f"input size does not match signature: {received} != {expected}")
        wanted = set(request.output_filter) or set(model.signatures[name].outputs)
        if unknown := wanted - set(model.signatures[name].outputs):
            raise Refusal(INVALID_ARGUMENT, f"output tensor alias not found in signature: {min(unknown)}")
        outputs = model.run(name, {key: tf.make_ndarray(value) for key, value in request.inputs.items()})
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = spec.name, name
        response.model_spec.version.value = version
        for key in wanted:
            response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
        return response


def main():
    parser = argparse.ArgumentParser(description="A test double of tensorflow_model_server's gRPC API.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=VERSION_FOLDER")
    parser.add_argument("--label", action="append", default=[], metavar="NAME:LABEL=VERSION")
    arguments = parser.parse_args()
    models = ServedModels(arguments.model, arguments.label)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(models), server)
    port = server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    server.start()
    imported = sorted({"kerasseq", "keras_hub", "tensorflow_text"} & set(sys.modules))
    print(json.dumps({"port": port, "imported": imported}), flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
