import keras
import numpy as np
import pytest

from kerasseq.bridges import attention_bridge, state_bridge
from kerasseq.decoders import attention_decoder, recurrent_decoder
from kerasseq.encoders import recurrent_encoder
from kerasseq.joining import connect
from kerasseq.layers import CELLS

VOCABULARY, EMBEDDING, UNITS = 9, 3, 2


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


@pytest.mark.parametrize("cell", CELLS)
def test_bridge_copies_states_of_the_same_size(cell):
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=2)
    bridge = state_bridge(encoder, UNITS, cell)
    assert bridge.name == "bridge"
    assert signature(bridge.input) == {"states": [((None, UNITS), "float32")] * 2 * CELLS[cell].num_states}
    assert bridge.weights == []
    states = random_states(cell, 2)
    for start, state in zip(bridge({"states": states})["states"], states, strict=True):
        np.testing.assert_array_equal(start, state)


@pytest.mark.parametrize("cell", CELLS)
def test_bridge_projects_states_of_another_size(cell):
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=2, bidirectional=True)
    bridge = randomized(state_bridge(encoder, UNITS, cell))
    states = random_states(cell, 2, units=2 * UNITS)
    start = bridge({"states": states})["states"]
    assert len(start) == len(states)
    for index, state in enumerate(states):
        kernel, bias = bridge.get_layer(f"start_state_{index}").get_weights()
        expected = state @ kernel + bias
        memory_cell = cell == "lstm" and index % 2 == 1
        np.testing.assert_allclose(start[index], expected if memory_cell else np.tanh(expected), atol=1e-6)


def test_attention_bridge():
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell="gru", bidirectional=True)
    bridge = randomized(attention_bridge(encoder, 3, "gru"))
    assert signature(bridge.input) == {
        "memory": ((None, None, 2 * UNITS), "float32"),
        "states": [((None, 2 * UNITS), "float32")],
    }
    assert signature(bridge.output) == {"keys": ((None, None, 3), "float32"), "states": [((None, 3), "float32")]}
    memory = random(2, 4, 2 * UNITS)
    keys = bridge({"memory": memory, "states": [random(2, 2 * UNITS)]})["keys"]
    (kernel,) = bridge.get_layer("attention_keys").get_weights()
    np.testing.assert_allclose(keys, memory @ kernel, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers_of_encoder, layers_of_decoder", [(1, 1), (1, 2), (3, 1), (2, 3)])
def test_dense_bridge_between_depths(cell, layers_of_encoder, layers_of_decoder):
    """From another depth every layer of the decoder starts from all hidden states, or all memory cells, together."""
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=layers_of_encoder)
    bridge = randomized(state_bridge(encoder, 4, cell, num_layers=layers_of_decoder, bridge="dense"))
    states, each = random_states(cell, layers_of_encoder), CELLS[cell].num_states
    start = bridge({"states": states})["states"]
    assert [state.shape for state in start] == [(2, 4)] * layers_of_decoder * each
    for index, state in enumerate(start):
        which = index % each
        same_depth = layers_of_encoder == layers_of_decoder
        known = states[index] if same_depth else np.concatenate(states[which::each], axis=-1)
        kernel, bias = bridge.get_layer(f"start_state_{index}").get_weights()
        expected = known @ kernel + bias
        np.testing.assert_allclose(state, expected if which else np.tanh(expected), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_zero_bridge(cell):
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=2)
    bridge = state_bridge(encoder, 5, cell, num_layers=3, bridge="zero")
    start = bridge({"states": random_states(cell, 2)})["states"]
    assert bridge.weights == [] and len(start) == 3 * CELLS[cell].num_states
    for state in start:
        np.testing.assert_array_equal(state, np.zeros((2, 5)))


def test_dense_bridge_where_a_copy_would_do():
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell="gru")
    bridge = randomized(state_bridge(encoder, UNITS, "gru", bridge="dense"))
    (state,) = random_states("gru", 1)
    kernel, bias = bridge.get_layer("start_state_0").get_weights()
    np.testing.assert_allclose(bridge({"states": [state]})["states"][0], np.tanh(state @ kernel + bias), atol=1e-6)


def test_attention_bridge_of_a_location_with_input_feeding():
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell="gru")
    bridge = attention_bridge(
        encoder, 4, "gru", attention="location", placement="input_feeding", attentional_units=3, bridge="dense"
    )
    memory_mask = np.array([[True, True, False], [False, True, True]])
    given = {"memory": random(2, 3, UNITS), "states": random_states("gru", 1), "memory_mask": memory_mask}
    outputs = bridge(given)
    assert set(outputs) == {"keys", "states"}
    _, attentional, alignment = outputs["states"]
    np.testing.assert_array_equal(attentional, np.zeros((2, 3)))
    np.testing.assert_array_equal(alignment, [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("attention, given", [("luong", {"keys"}), ("dot", set()), ("multi_head", {"keys", "values"})])
def test_attention_bridge_projects_what_the_attention_needs(attention, given):
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS)
    assert set(attention_bridge(encoder, UNITS, "lstm", attention=attention).output) == {"states", *given}


def test_models_of_parts_with_other_depths_and_a_pyramid():
    """Three encoder layers, the length halved twice; one decoder layer; a dense bridge between."""
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, num_layers=3, bidirectional=True, pyramidal=True)
    bridge = attention_bridge(encoder, 4, "lstm", attention="location", num_layers=1)
    decoder = attention_decoder(8, EMBEDDING, 4, memory_dim=2 * UNITS, attention="location")
    model = connect(encoder, bridge, decoder, name="pyramid")
    ids = np.array([[4, 5, 6, 7, 3], [5, 3, 0, 0, 0]], "int32")
    logits = model({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :2]})
    assert logits.shape == (2, 2, 8)
    padded = model({"encoder_token_ids": np.pad(ids, ((0, 0), (0, 4))), "decoder_token_ids": ids[:, :2]})
    np.testing.assert_allclose(padded, logits, atol=1e-5)
    shallow = connect(
        encoder,
        state_bridge(encoder, 4, "lstm", num_layers=2, bridge="dense"),
        recurrent_decoder(8, EMBEDDING, 4, num_layers=2),
        name="shallow",
    )
    assert shallow({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :2]}).shape == (2, 2, 8)


@pytest.mark.parametrize("cell", CELLS)
def test_encoder_without_such_cells(cell):
    """One state of an encoder without recurrence: a dense layer over it for each state of the decoder."""
    memory = keras.Input((None, 5), name="features")
    outputs = {"memory": memory, "states": [keras.layers.GlobalAveragePooling1D()(memory)]}
    encoder = keras.Model({"features": memory}, outputs, name="encoder")
    bridge = randomized(state_bridge(encoder, UNITS, cell, num_layers=2, bridge="dense"))
    state = random(2, 5)
    started = bridge({"states": [state]})["states"]
    assert len(started) == 2 * CELLS[cell].num_states
    for index, received in enumerate(started):
        kernel, bias = bridge.get_layer(f"start_state_{index}").get_weights()
        expected = state @ kernel + bias
        if cell != "lstm" or index % 2 == 0:
            expected = np.tanh(expected)
        np.testing.assert_allclose(received, expected, atol=1e-5)
    assert len(state_bridge(encoder, UNITS, cell).output["states"]) == CELLS[cell].num_states
    if cell == "lstm":
        with pytest.raises(ValueError, match="bridge='copy' needs an encoder with .*Received: 1 encoder states, 2 a"):
            state_bridge(encoder, 5, cell, bridge="copy")


def test_three_states_for_pairs():
    memory = keras.Input((None, 5), name="features")
    states = [keras.layers.GlobalAveragePooling1D()(memory) for _ in range(3)]
    encoder = keras.Model({"features": memory}, {"memory": memory, "states": states}, name="encoder")
    bridge = state_bridge(encoder, UNITS, "lstm")
    values = [random(2, 5, seed=seed) for seed in range(3)]
    kernel, bias = bridge.get_layer("start_state_1").get_weights()
    expected = np.concatenate(values, axis=1) @ kernel + bias
    np.testing.assert_allclose(bridge({"states": values})["states"][1], expected, atol=1e-5)


def test_errors():
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, num_layers=2, bidirectional=True)
    with pytest.raises(
        ValueError, match="as many layers in the decoder as in the encoder. Received: 1 .* for 2 encoder"
    ):
        state_bridge(encoder, 2 * UNITS, "lstm", num_layers=1, bridge="copy")
    with pytest.raises(
        ValueError, match="needs encoder states of the decoder's size. Received: states of 4 for 3 units"
    ):
        state_bridge(encoder, 3, "lstm", bridge="copy")
    with pytest.raises(ValueError, match="bridge must be one of 'zero', 'copy', 'dense', or None"):
        state_bridge(encoder, 3, "lstm", bridge="none")
