"""Warm-up requests: in the form that servers read, and answered by every signature."""

import os

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from kerasseq import TextGenerator

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")


def test_every_signature_gets_requests_of_several_sizes(quick_export):
    records = tf.data.TFRecordDataset(str(quick_export / FILE))
    logs = [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in records]
    assert {log.WhichOneof("log_type") for log in logs} == {"predict_log"} and len(logs) <= 1_000
    requests = [log.predict_log.request for log in logs]
    assert {request.model_spec.name for request in requests} == {"numbers"}
    for signature in ("serving_default", "greedy", "nbest", "attention"):
        sources = [
            tf.make_ndarray(request.inputs["text"])
            for request in requests
            if request.model_spec.signature_name == signature
        ]
        assert {len(batch) for batch in sources} == {1, 8, 32}
        assert len({len(batch[0]) for batch in sources}) > 1


def test_a_version_with_a_request_that_fails_is_not_written(generator, quick_signatures, monkeypatch, tmp_path):
    """A server would refuse it."""

    def signatures(generator):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
        def failing(text):
            tf.debugging.assert_less(tf.size(text), 32, "so many")
            return {"text": text, "score": tf.zeros(tf.shape(text))}

        return {**quick_signatures(generator), "greedy": failing.get_concrete_function()}

    monkeypatch.setattr("kerasseq.export.writing.signatures", signatures)
    with pytest.raises(ValueError, match="(?s)'greedy' fails on a warm-up request: .*so many.*Nothing was written"):
        generator.export(tmp_path)
    assert os.listdir(tmp_path) == []


def test_own_requests_are_no_damage(copy):
    """Users may replace the requests by their own, or do without."""
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "greedy"
    log.predict_log.request.inputs["text"].CopyFrom(tf.make_tensor_proto(["one two"]))
    with tf.io.TFRecordWriter(str(copy / FILE)) as writer:
        writer.write(log.SerializeToString())
    assert TextGenerator.load(copy).max_length
    (copy / FILE).unlink()
    assert TextGenerator.load(copy).max_length
