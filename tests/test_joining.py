import doctest
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import joining
from kerasseq.bridges import attention_bridge, state_bridge
from kerasseq.decoders import attention_decoder
from kerasseq.encoders import recurrent_encoder
from kerasseq.joining import connect, decoder_outputs, same_sizes, select_inputs
from kerasseq.models import AttentionSeq2Seq

VOCABULARY, EMBEDDING, UNITS = 9, 3, 2

IDS = np.array([[2, 7, 4], [2, 5, 0]], dtype="int32")
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=bool)


def model_with_inputs(*names):
    tensors = {name: keras.Input((2,), name=name) for name in names}
    return keras.Model(tensors, keras.layers.Add()(list(tensors.values())), name="reader")


def test_select_inputs_takes_exactly_the_declared_names():
    available = {"a": 1, "c": 3, "memory": 5, "b": 2}
    assert select_inputs(model_with_inputs("b", "memory"), available) == {"b": 2, "memory": 5}


def test_select_inputs_names_what_is_missing():
    message = (
        "The 'reader' model declares inputs that nothing provides: ['coverage', 'keys']. "
        "Available: ['memory', 'states']. Let the encoder or the bridge return them under these names."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        select_inputs(model_with_inputs("keys", "memory", "coverage"), {"states": 0, "memory": 1})


def test_connect_refuses_a_decoder_without_its_keys():
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS)
    decoder = attention_decoder(VOCABULARY, EMBEDDING, UNITS, memory_dim=UNITS)
    with pytest.raises(ValueError, match=r"'decoder' model declares inputs that nothing provides: \['keys'\]"):
        connect(encoder, state_bridge(encoder, UNITS, "lstm"), decoder, name="incomplete")


def test_parts_that_do_not_fit():
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, bidirectional=True)
    bridge = attention_bridge(encoder, 4, "lstm")
    for decoder in (
        attention_decoder(8, EMBEDDING, 6, memory_dim=2 * UNITS),
        attention_decoder(8, EMBEDDING, 4, memory_dim=2 * UNITS, num_layers=2),
        attention_decoder(8, EMBEDDING, 4, memory_dim=2 * UNITS, placement="input_feeding"),
        attention_decoder(8, EMBEDDING, 4, memory_dim=2 * UNITS, cell="gru"),
        attention_decoder(8, EMBEDDING, 4, memory_dim=UNITS),
    ):
        with pytest.raises(ValueError, match="The decoder's input .* with the same cell, units, num_layers, attention"):
            connect(encoder, bridge, decoder, name="unfit")


def test_sizes_that_only_one_part_knows_fit():
    assert same_sizes((None, None, 5), (None, 9, 5)) and same_sizes((2, None), (None, 3))
    assert not same_sizes((None, 4), (None, 5)) and not same_sizes((None, 4), (None, None, 4))


@pytest.mark.parametrize("attention", ["luong", "multi_head"])
def test_decoder_outputs(attention):
    """In training mode too, and a loss on the attention reaches the weights that are shared with the model."""
    model = AttentionSeq2Seq(VOCABULARY, VOCABULARY, units=4, embedding_dim=3, attention=attention)
    batch = {"encoder_token_ids": np.where(MASK, 5, 0), "decoder_token_ids": IDS}
    outputs = decoder_outputs(model)(batch)
    np.testing.assert_allclose(outputs["logits"], model(batch), atol=1e-6)
    with tf.GradientTape() as tape:
        outputs = decoder_outputs(model)(batch, training=True)
        entropy = -tf.reduce_sum(outputs["attention"] * tf.math.log(outputs["attention"] + 1e-9))
    assert outputs["attention"].shape == (2, 3, 4)
    assert ("attention_heads" in outputs) is (attention == "multi_head")
    kernel = model.get_layer("bridge").get_layer("attention_keys").kernel
    assert np.abs(tape.gradient(entropy, kernel.value)).max() > 0


def test_example():
    result = doctest.testmod(joining)
    assert result.attempted and not result.failed
