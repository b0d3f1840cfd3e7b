"""Warm-up requests, which a model server runs through a version before it answers its first caller.

A server replays the records of `assets.extra/tf_serving_warmup_requests` when it loads a version, at most 1,000 of
them, and refuses the version if one fails. The first callers then do not wait while TensorFlow prepares each function
of the graph and allocates memory.
"""

import os

import tensorflow as tf

from kerasseq.preprocessing import Preprocessor

WARM_UP_FILE = "tf_serving_warmup_requests"
# Rows of a request, and their length as a share of the longest source; longer ones are split.
REQUESTS = ((1, 0.1), (1, 0.5), (1, 1.5), (8, 0.25), (32, 0.25))


def write_warm_up(folder: str, model_name: str, signatures: list[str], preprocessor: Preprocessor) -> None:
    """Writes a request of each size in `REQUESTS` to each signature, as `PredictionLog` records.

    `folder` is that of `assets.extra`, `model_name` the name under which the model will be served.
    """
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2  # Deferred, as in `read_warm_up`.

    source = preprocessor.source_signature
    with tf.io.TFRecordWriter(os.path.join(folder, WARM_UP_FILE)) as writer:
        for signature in signatures:
            for rows, share in REQUESTS:
                sources = preprocessor.example_sources(rows, share)
                request = predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(name=model_name, signature_name=signature),
                    inputs={source.name: tf.make_tensor_proto(sources, source.dtype)},
                )
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                writer.write(log.SerializeToString())


def read_warm_up(folder: str) -> list[tuple[str, dict]]:
    """The warm-up requests in `assets.extra`: a list of signatures and their inputs, a dict of tensors by name.

    Raises:
        ValueError: if the file is damaged.
    """
    from google.protobuf.message import DecodeError  # Deferred: importing kerasseq stays cheap.
    from tensorflow_serving.apis import prediction_log_pb2

    path = os.path.join(folder, WARM_UP_FILE)
    requests = []
    try:
        for record in tf.data.TFRecordDataset(path):
            request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
            inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
            requests.append((request.model_spec.signature_name, inputs))
    except (tf.errors.OpError, DecodeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged ({error}), and a model server would refuse the version. Copy the version folder again, "
            "or delete this file: the server then starts without warm-up."
        ) from error
    return requests
