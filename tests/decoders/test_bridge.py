import keras
import numpy as np
import pytest
from helpers import randomized

import kerasseq
from kerasseq.decoders import Bridge, RecurrentDecoder
from kerasseq.encoders import RecurrentEncoder
from kerasseq.layers.cells import CELLS

VOCABULARY, EMBEDDING, UNITS = 9, 3, 2


@pytest.fixture
def states_of(random):
    """A function of a cell, a number of layers and a size to the states of an encoder."""

    def states(cell, num_layers, units=UNITS):
        return [
            {name: random(2, units, seed=7 + 2 * layer + index) for index, name in enumerate(CELLS[cell].state_names)}
            for layer in range(num_layers)
        ]

    return states


def built(bridge, states):
    bridge.build(keras.tree.map_structure(np.shape, states))
    return randomized(bridge)


def dense(bridge, key, state):
    """The dense layer of a state, with its activation."""
    kernel, bias = bridge.dense[key].get_weights()
    outputs = state @ kernel + bias
    linear = CELLS[bridge.cell].state_activations.get(key.rpartition("_")[0]) == "linear"
    return outputs if linear else np.tanh(outputs)


def test_only_the_cell_state_of_an_lstm_is_unbounded():
    activations = {name: CELLS[name].state_activations for name in ("simple_rnn", "lstm", "gru")}
    assert activations == {"simple_rnn": {}, "lstm": {"cell": "linear"}, "gru": {}}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", [None, "copy"])
def test_states_of_the_same_size_are_copied(cell, name, states_of):
    states = states_of(cell, 2)
    bridge = built(Bridge(UNITS, cell, 2, name), states)
    assert bridge.weights == []
    for initial, state in zip(bridge(states), states, strict=True):
        assert set(initial) == set(state)
        for name in state:
            np.testing.assert_array_equal(initial[name], state[name])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size, name", [(2 * UNITS, None), (2 * UNITS, "dense"), (UNITS, "dense")])
def test_a_dense_layer_for_each_state(cell, size, name, states_of):
    states = states_of(cell, 2, size)
    bridge = built(Bridge(UNITS, cell, 2, name), states)
    assert bridge.count_params() == 2 * len(CELLS[cell].state_names) * (size * UNITS + UNITS)
    for index, (initial, state) in enumerate(zip(bridge(states), states, strict=True)):
        for name in state:
            np.testing.assert_allclose(initial[name], dense(bridge, f"{name}_{index}", state[name]), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("encoder_layers, decoder_layers", [(1, 2), (3, 1), (2, 3)])
def test_between_depths(cell, encoder_layers, decoder_layers, states_of):
    """Each layer of the decoder starts from all hidden states, or all cell states, side by side."""
    states = states_of(cell, encoder_layers)
    bridge = built(Bridge(4, cell, decoder_layers), states)
    initial_states = bridge(states)
    assert len(initial_states) == decoder_layers
    for index, initial in enumerate(initial_states):
        for name in CELLS[cell].state_names:
            everything = np.concatenate([state[name] for state in states], axis=-1)
            np.testing.assert_allclose(initial[name], dense(bridge, f"{name}_{index}", everything), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_zeros(cell, states_of):
    states = states_of(cell, 2)
    bridge = built(Bridge(5, cell, 3, "zero"), states)
    assert bridge.weights == []
    initial_states = bridge(states)
    assert [set(initial) for initial in initial_states] == [set(CELLS[cell].state_names)] * 3
    for value in keras.tree.flatten(initial_states):
        np.testing.assert_array_equal(value, np.zeros((2, 5)))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_states", [1, 3])
@pytest.mark.parametrize("name", [None, "dense"])
def test_an_encoder_without_such_cells(cell, num_states, name, random):
    """Every state of the decoder starts from all there is, as from the mean of an image."""
    states = [{"summary": random(2, 5, seed=index)} for index in range(num_states)]
    bridge = built(Bridge(UNITS, cell, 2, name), states)
    everything = np.concatenate([state["summary"] for state in states], axis=-1)
    for index, initial in enumerate(bridge(states)):
        for name in CELLS[cell].state_names:
            np.testing.assert_allclose(initial[name], dense(bridge, f"{name}_{index}", everything), atol=1e-5)


def test_a_hidden_state_alone_for_an_lstm(random):
    states = [{"hidden": random(2, UNITS)}]
    bridge = built(Bridge(UNITS, "lstm"), states)
    assert set(bridge.dense) == {"hidden_0", "cell_0"}
    for name in ("hidden", "cell"):
        expected = dense(bridge, f"{name}_0", states[0]["hidden"])
        np.testing.assert_allclose(bridge(states)[0][name], expected, atol=1e-6)


def test_parts_of_other_depths():
    """Three encoder layers, the length halved twice; one decoder layer, or two."""
    ids = np.array([[4, 5, 6, 7, 3], [5, 3, 0, 0, 0]], "int32")
    batch = {"encoder_token_ids": ids, "decoder_token_ids": ids[:, :2]}
    options = {"bidirectional": True, "pyramidal": True}
    for decoder in (
        RecurrentDecoder(8, EMBEDDING, 4, attention="location"),
        RecurrentDecoder(8, EMBEDDING, 4, num_layers=2, bridge="dense"),
    ):
        model = kerasseq.Seq2Seq(RecurrentEncoder(VOCABULARY, EMBEDDING, UNITS, num_layers=3, **options), decoder)
        logits = model(batch)
        assert logits.shape == (2, 2, 8)
        padded = model({**batch, "encoder_token_ids": np.pad(ids, ((0, 0), (0, 4)))})
        np.testing.assert_allclose(padded, logits, atol=1e-5)


def test_errors(states_of):
    with pytest.raises(ValueError, match="bridge must be one of 'zero', 'copy', 'dense', or None"):
        Bridge(3, "lstm", bridge="none")
    for bridge, states, message in (
        (Bridge(4, "lstm", 1, "copy"), states_of("lstm", 2, 4), "as many layers .* Received: 1 .* for 2 encoder"),
        (Bridge(3, "lstm", 1, "copy"), states_of("lstm", 1, 4), "of the decoder's size. Received: states of 4 for 3 u"),
        (Bridge(2, "lstm", 1, "copy"), states_of("gru", 1), r"with the states of .* \[\['hidden'\]\] for cell='lstm'"),
    ):
        with pytest.raises(ValueError, match=f"bridge='copy' needs .*{message}"):
            built(bridge, states)
