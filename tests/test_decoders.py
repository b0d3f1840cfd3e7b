import doctest
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import decoders
from kerasseq.bridges import state_bridge
from kerasseq.decoders import attention_decoder, connect, decoder_outputs, recurrent_decoder, select_inputs
from kerasseq.encoders import recurrent_encoder
from kerasseq.layers import CELLS
from kerasseq.models import AttentionSeq2Seq

VOCABULARY, EMBEDDING, UNITS, MEMORY = 9, 3, 2, 5

IDS = np.array([[2, 7, 4], [2, 5, 0]], dtype="int32")
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=bool)


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def randomized(model):
    for index, weight in enumerate(model.trainable_weights):
        weight.assign(random(*weight.shape, seed=index))
    return model


def random_states(cell, num_layers, units=UNITS):
    return [random(2, units, seed=7 + index) for index in range(num_layers * CELLS[cell].num_states)]


def signature(tensors):
    return keras.tree.map_structure(lambda tensor: (tensor.shape, str(tensor.dtype)), tensors)


def inputs(cell, num_layers):
    return {
        "decoder_token_ids": IDS,
        "states": random_states(cell, num_layers),
        "keys": random(2, 4, UNITS),
        "memory": random(2, 4, MEMORY),
        "memory_mask": MASK,
    }


# === select_inputs ===


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


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_decoder_contract(cell):
    decoder = recurrent_decoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=2)
    states = [((None, UNITS), "float32")] * 2 * CELLS[cell].num_states
    assert decoder.name == "decoder"
    assert signature(decoder.input) == {"decoder_token_ids": ((None, None), "int32"), "states": states}
    assert signature(decoder.output) == {"logits": ((None, None, VOCABULARY), "float32"), "states": states}
    outputs = decoder(select_inputs(decoder, inputs(cell, 2)))
    assert outputs["logits"].shape == (2, 3, VOCABULARY)


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
@pytest.mark.parametrize("cell", CELLS)
def test_attention_decoder_contract(cell, attention):
    decoder = randomized(
        attention_decoder(VOCABULARY, EMBEDDING, UNITS, MEMORY, cell=cell, attention=attention, num_layers=2)
    )
    states = [((None, UNITS), "float32")] * 2 * CELLS[cell].num_states
    assert signature(decoder.input) == {
        "decoder_token_ids": ((None, None), "int32"),
        "states": states,
        "keys": ((None, None, UNITS), "float32"),
        "memory": ((None, None, MEMORY), "float32"),
        "memory_mask": ((None, None), "bool"),
    }
    assert signature(decoder.output) == {
        "logits": ((None, None, VOCABULARY), "float32"),
        "states": states,
        "attention": ((None, None, None), "float32"),
    }
    outputs = decoder(inputs(cell, 2))
    assert outputs["logits"].shape == (2, 3, VOCABULARY)
    np.testing.assert_allclose(np.sum(outputs["attention"], axis=-1), np.ones((2, 3)), atol=1e-6)
    assert not outputs["attention"].numpy()[~np.broadcast_to(MASK[:, None], (2, 3, 4))].any()


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_decoder_by_its_layers(cell):
    """Layer upon layer, each from its own states, which come back in the same order."""
    decoder = randomized(recurrent_decoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=2))
    states, each = random_states(cell, 2), CELLS[cell].num_states
    hidden = decoder.get_layer("embedding")(IDS)
    hidden, first = decoder.get_layer("recurrent_0")(hidden, initial_states=states[:each])
    hidden, second = decoder.get_layer("recurrent_1")(hidden, initial_states=states[each:])
    outputs = decoder({"decoder_token_ids": IDS, "states": states})
    kernel, bias = decoder.get_layer("logits").get_weights()
    np.testing.assert_allclose(outputs["logits"], hidden.numpy() @ kernel + bias, atol=1e-5)
    for state, expected in zip(outputs["states"], first + second, strict=True):
        np.testing.assert_allclose(state, expected, atol=1e-6)


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
def test_attention_decoder_by_its_layers(attention):
    """`tanh(W_c [c; h])` of Luong et al. 2015, equation 5; and the readout `tanh(W [h; c; y])` for Bahdanau."""
    decoder = randomized(
        attention_decoder(VOCABULARY, EMBEDDING, UNITS, MEMORY, cell="lstm", attention=attention, num_layers=2)
    )
    given = inputs("lstm", 2)
    keys, memory, states = given["keys"], given["memory"], given["states"]
    embedded = decoder.get_layer("embedding")(IDS)
    if attention == "luong":
        hidden, first = decoder.get_layer("recurrent_0")(embedded, initial_states=states[:2])
        hidden, second = decoder.get_layer("recurrent_1")(hidden, initial_states=states[2:])
        scores = np.where(MASK[:, None], np.einsum("btu,bsu->bts", hidden, keys), -np.inf)
        weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        context = np.einsum("bts,bsd->btd", weights, memory)
        readout = np.concatenate([context, hidden], axis=-1)
    else:
        inside = decoder.get_layer("recurrent_0")
        hidden, context, weights, first = inside(embedded, states[:2], keys, memory, source_mask=MASK)
        hidden, second = decoder.get_layer("recurrent_1")(hidden, initial_states=states[2:])
        readout = np.concatenate([hidden, context, embedded], axis=-1)
    kernel, bias = decoder.get_layer("attentional").get_weights()
    attentional = np.tanh(readout @ kernel + bias)
    kernel, bias = decoder.get_layer("logits").get_weights()
    outputs = decoder(given)
    np.testing.assert_allclose(outputs["logits"], attentional @ kernel + bias, atol=1e-5)
    np.testing.assert_allclose(outputs["attention"], weights, atol=1e-6)
    for state, expected in zip(outputs["states"], first + second, strict=True):
        np.testing.assert_allclose(state, expected, atol=1e-6)


@pytest.mark.parametrize(
    "decoder, features",
    [
        (lambda: recurrent_decoder(VOCABULARY, EMBEDDING, EMBEDDING, tie_embeddings=True), "dropout_0"),
        (lambda: recurrent_decoder(VOCABULARY, EMBEDDING, UNITS, tie_embeddings=True), "to_embedding"),
        (lambda: attention_decoder(VOCABULARY, EMBEDDING, UNITS, MEMORY, tie_embeddings=True), "attentional_dropout"),
    ],
    ids=["equal sizes", "projected", "attention"],
)
def test_tied_embeddings_share_the_matrix(decoder, features):
    decoder = randomized(decoder())
    assert decoder.get_layer("logits").weights == []
    (matrix,) = [weight for weight in decoder.weights if VOCABULARY in weight.shape]
    assert matrix.shape == (VOCABULARY, EMBEDDING)
    assert ("to_embedding" in [layer.name for layer in decoder.layers]) == (features == "to_embedding")
    given = select_inputs(decoder, inputs("lstm", 1))
    given["states"] = random_states("lstm", 1, units=decoder.input["states"][0].shape[-1])
    opened = keras.Model(decoder.input, decoder.get_layer(features).output)
    np.testing.assert_allclose(decoder(given)["logits"], opened(given).numpy() @ matrix.numpy().T, atol=1e-5)
    np.testing.assert_array_equal(decoder.get_layer("embedding")(IDS), matrix.numpy()[IDS])


def test_untied_embeddings_have_their_own_projection():
    decoder = recurrent_decoder(VOCABULARY, EMBEDDING, UNITS)
    assert [weight.shape for weight in decoder.weights if VOCABULARY in weight.shape] == [
        (VOCABULARY, EMBEDDING),
        (UNITS, VOCABULARY),
        (VOCABULARY,),
    ]


def test_tied_logits_start_small():
    """The embedding's rows have length 1 on average, so tied logits start near the scale of untied ones."""
    decoder = recurrent_decoder(2_000, 64, 64, tie_embeddings=True)
    lengths = np.linalg.norm(decoder.get_layer("embedding").embeddings.numpy(), axis=-1)
    np.testing.assert_allclose(lengths.mean(), 1, atol=0.02)


def test_unknown_attention():
    with pytest.raises(ValueError, match="attention must be one of 'luong', 'dot', .* Received: attention='self'."):
        attention_decoder(VOCABULARY, EMBEDDING, UNITS, MEMORY, attention="self")


def test_dropout_only_in_training():
    decoder = recurrent_decoder(VOCABULARY, EMBEDDING, UNITS, dropout=0.5)
    given = {"decoder_token_ids": IDS, "states": random_states("lstm", 1)}
    logits = [decoder(given, training=training)["logits"].numpy() for training in (0, 0, 1, 1)]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[2], logits[3])


@pytest.mark.parametrize("attention", ["luong", "multi_head"])
def test_decoder_outputs(attention):
    """In training mode too, and a loss on the attention reaches the weights that are shared with the model."""
    model = randomized(AttentionSeq2Seq(VOCABULARY, VOCABULARY, units=4, embedding_dim=3, attention=attention))
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
    result = doctest.testmod(decoders)
    assert result.attempted and not result.failed
