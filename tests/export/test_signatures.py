"""The signatures of an exported model, and graphs that run on machines without a GPU."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq import TextGenerator
from kerasseq.export.signatures import inner_layers, without_cudnn


@pytest.fixture
def model_with_keras_layers(preprocessor):
    """Its encoder has Keras's own recurrent layer, which uses cuDNN where Keras sees a GPU."""
    ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    embedded = keras.layers.Embedding(preprocessor.source_vocabulary_size, 8, name="embedding")(ids)
    mask = kerasseq.layers.PaddingMask(name="memory_mask")(ids)
    memory = keras.layers.Bidirectional(keras.layers.GRU(8, return_sequences=True))(embedded, mask=mask)
    outputs = {
        "memory": memory,
        "memory_mask": mask,
        "states": [{"hidden": keras.layers.Dense(8)(memory[:, 0])}],
    }
    size = preprocessor.source_vocabulary_size
    encoder = kerasseq.encoders.Encoder({"encoder_token_ids": ids}, outputs, vocabulary_size=size)
    decoder = kerasseq.decoders.RecurrentDecoder(
        preprocessor.target_vocabulary_size, 8, 8, cell="gru", attention="luong"
    )
    return kerasseq.Seq2Seq(encoder, decoder)


@pytest.fixture
def gpu_machine(monkeypatch):
    """Keras sees a GPU."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["GPU"])


def operations(function, *signature):
    graph = tf.function(function).get_concrete_function(*signature).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return collections.Counter(node.op for node in nodes)


def test_keras_layers_do_not_use_cudnn(model_with_keras_layers, gpu_machine):
    encoder = model_with_keras_layers.encoder
    signature = {"encoder_token_ids": tf.TensorSpec([None, None], tf.int32)}
    with without_cudnn(model_with_keras_layers):
        assert not operations(lambda inputs: encoder(inputs)["memory"], signature)["CudnnRNNV3"]
    # Afterwards they train as before.
    assert operations(lambda inputs: encoder(inputs)["memory"], signature)["CudnnRNNV3"]


def test_layers_are_found_at_any_depth():
    class Holder(keras.layers.Layer):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

    gru = keras.layers.GRU(2)
    for holder in (Holder(gru), Holder([gru]), Holder({"a": gru}), Holder([Holder(gru)]), keras.Sequential([gru])):
        assert gru in inner_layers(keras.Sequential([holder]))


@pytest.mark.exports
def test_a_model_from_a_gpu_machine_is_exported_for_cpus(model_with_keras_layers, preprocessor, gpu_machine, tmp_path):
    generator = TextGenerator(model_with_keras_layers, preprocessor, sampler="greedy", max_length=4)
    folder = generator.export(tmp_path, verify=False)  # Refuses operations of cuDNN.
    loaded = TextGenerator.load(folder)
    for ours, theirs in zip(loaded.model.weights, generator.model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.exports
def test_outputs_have_the_batch_first(exported):
    loaded = tf.saved_model.load(str(exported))
    texts = {"text": (tf.string, [None]), "score": (tf.float32, [None])}
    details = {
        "source_tokens": (tf.string, [None, None]),
        "target_tokens": (tf.string, [None, None]),
        "attention": (tf.float32, [None, None, None]),
        "ignored_tokens": (tf.int32, [None]),
    }
    several = {"text": (tf.string, [None, 3]), "score": (tf.float32, [None, 3])}
    expected = {"serving_default": texts, "greedy": texts, "nbest": several, "attention": {**texts, **details}}
    assert set(loaded.signatures) == set(expected)
    for signature, function in loaded.signatures.items():
        _, inputs = function.structured_input_signature
        assert inputs == {"text": tf.TensorSpec([None], tf.string, name="text")}
        outputs = function.structured_outputs
        found = {name: (tensor.dtype, tensor.shape.as_list()) for name, tensor in outputs.items()}
        assert found == expected[signature]


@pytest.mark.exports
def test_scores_of_given_targets(quick, generator, tmp_path):
    folder = generator.export(tmp_path / "model", score=True)
    served = tf.saved_model.load(folder).signatures["score"]
    pairs = [("one two", "zwei eins"), ("four", ""), ("", "drei drei drei")]
    sources, targets = (tf.constant(side) for side in zip(*pairs, strict=True))
    outputs = served(text=sources, target=targets)
    np.testing.assert_allclose(outputs["score"], generator.score(pairs), atol=1e-4)
    assert outputs["tokens"].numpy().tolist() == [len(row) for row in generator.score(pairs, per_token=True)]
    assert TextGenerator.load(folder).score(pairs) == pytest.approx(generator.score(pairs), abs=1e-4)
