import keras
import numpy as np
import pytest

from kerasseq.decoders import attention_decoder, recurrent_decoder
from kerasseq.joining import select_inputs
from kerasseq.layers import CELLS

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
    "attention, placement", [("luong", "after"), ("bahdanau", "inside"), ("luong", "input_feeding")]
)
def test_copying_decoder_by_its_layers(attention, placement):
    """The readout is linear, and all of it and the token decide between the two; h~ where that is fed back."""
    decoder = randomized(
        attention_decoder(
            VOCABULARY, EMBEDDING, UNITS, MEMORY, attention=attention, placement=placement, num_layers=2, copy=True
        )
    )
    given = {**inputs("lstm", 2), "source_token_ids": np.array([[5, 8, 5, 3], [5, 3, 0, 0]])}
    layer, keys, memory, states = decoder.get_layer, given["keys"], given["memory"], given["states"]
    embedded = layer("embedding")(IDS)
    if placement == "after":
        hidden, _ = layer("recurrent_0")(embedded, initial_states=states[:2])
        hidden, _ = layer("recurrent_1")(hidden, initial_states=states[2:])
        context, weights = layer("attention")(hidden, keys, memory, source_mask=MASK)
        readout = [context, hidden]
        features = [*readout, embedded]
    elif placement == "inside":
        hidden, context, weights, _ = layer("recurrent_0")(embedded, states[:2], keys, memory, source_mask=MASK)
        hidden, _ = layer("recurrent_1")(hidden, initial_states=states[2:])
        readout = features = [hidden, context, embedded]
    else:
        given["states"] = [*states, random(2, UNITS)]
        attentional, weights, _ = layer("input_feeding")(embedded, given["states"], keys, memory, source_mask=MASK)
        features = [attentional, embedded]
    if placement != "input_feeding":
        kernel, bias = layer("attentional").get_weights()
        attentional = np.concatenate(readout, axis=-1) @ kernel + bias
    kernel, bias = layer("logits").get_weights()
    p_vocab = np.exp(attentional @ kernel + bias)
    p_vocab /= p_vocab.sum(axis=-1, keepdims=True)
    kernel, bias = layer("pointer_generator").get_weights()
    p_gen = 1 / (1 + np.exp(-(np.concatenate(features, axis=-1) @ kernel + bias)))  # (batch, target, 1)
    copied = np.einsum("bts,bsv->btv", weights, np.eye(VOCABULARY)[given["source_token_ids"]])
    outputs = decoder(select_inputs(decoder, given))
    np.testing.assert_allclose(outputs["generation_probability"], p_gen[:, :, 0], atol=1e-5)
    np.testing.assert_allclose(np.exp(outputs["logits"]), p_gen * p_vocab + (1 - p_gen) * copied, atol=1e-5)
    np.testing.assert_allclose(outputs["attention"], weights, atol=1e-6)


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
