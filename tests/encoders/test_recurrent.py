import keras
import numpy as np
import pytest
from helpers import output_of, randomized

from kerasseq.encoders import RecurrentEncoder
from kerasseq.layers.cells import CELLS

VOCABULARY, EMBEDDING, UNITS = 9, 3, 2

IDS = np.array([[4, 7, 2, 3], [5, 3, 0, 0]], dtype="int32")


def encoder_of(cell="lstm", **options):
    return randomized(RecurrentEncoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, **options), scale=1.0)


def assert_same(states, expected):
    keras.tree.map_structure(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), states, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_both_directions_layer_by_layer(cell):
    """The same numbers from the encoder's layers called one by one."""
    encoder = encoder_of(cell, num_layers=2, bidirectional=True)
    mask = IDS != 0
    memory = encoder.get_layer("embedding")(IDS)
    expected = []
    for index in range(2):
        layers = [encoder.get_layer(f"{direction}_{index}") for direction in ("forward", "backward")]
        assert [layer.reverse for layer in layers] == [False, True]
        (forward, state), (backward, backward_state) = (layer(memory, sequence_mask=mask) for layer in layers)
        memory = np.concatenate([forward, backward], axis=-1)
        expected.append({name: np.concatenate([state[name], backward_state[name]], axis=-1) for name in state})
    encoded = encoder({"encoder_token_ids": IDS})
    np.testing.assert_allclose(encoded["memory"], memory, atol=1e-6)
    assert_same(encoded["states"], expected)
    # The final states of the top layer give the last outputs of each direction: at the end, and at the beginning.
    hidden = output_of(cell, [encoded["states"][1][name].numpy() for name in CELLS[cell].state_names])
    np.testing.assert_allclose(hidden[:, :UNITS], memory[[0, 1], [3, 1], :UNITS], atol=1e-6)
    np.testing.assert_allclose(hidden[:, UNITS:], memory[:, 0, UNITS:], atol=1e-6)


@pytest.mark.parametrize("residual", [False, True])
def test_one_direction_layer_by_layer(residual):
    """With residual connections each layer from the second on adds its input to its output; states are the cells'."""
    encoder = encoder_of("gru", num_layers=3, residual=residual)
    memory = encoder.get_layer("embedding")(IDS)
    expected = []
    for index in range(3):
        outputs, state = encoder.get_layer(f"forward_{index}")(memory, sequence_mask=IDS != 0)
        memory = memory + outputs if index and residual else outputs
        expected.append(state)
    encoded = encoder({"encoder_token_ids": IDS})
    np.testing.assert_allclose(encoded["memory"], memory, atol=1e-6)
    assert_same(encoded["states"], expected)
    assert not any("backward" in layer.name for layer in encoder.layers)


@pytest.mark.parametrize("cell", CELLS)
def test_pyramid(cell):
    """Each layer above the first reads pairs of steps, `[h_2i; h_2i+1]` (Chan et al. 2016, equation 5)."""
    encoder = encoder_of(cell, num_layers=3, pyramidal=True)
    ids = np.array([[4, 7, 2, 5, 6, 8, 3], [5, 4, 6, 3, 0, 0, 0]], dtype="int32")
    encoded = encoder({"encoder_token_ids": ids})
    assert encoded["memory"].shape == (2, 2, UNITS)
    assert encoded["memory_mask"].numpy().tolist() == [[True, True], [True, False]]
    for row, length in enumerate([7, 4]):
        memory = encoder.get_layer("embedding")(ids[row : row + 1, :length]).numpy()
        for index in range(3):
            if index:
                memory = np.pad(memory, ((0, 0), (0, memory.shape[1] % 2), (0, 0)))
                memory = np.concatenate([memory[:, ::2], memory[:, 1::2]], axis=-1)
            memory, _ = encoder.get_layer(f"forward_{index}")(memory)
            memory = memory.numpy()
        np.testing.assert_allclose(encoded["memory"][row, : memory.shape[1]], memory[0], atol=1e-5)


def test_dropout_only_in_training():
    encoder = encoder_of(dropout=0.5)
    calls = [encoder({"encoder_token_ids": IDS}, training=training)["memory"].numpy() for training in (0, 0, 1, 1)]
    np.testing.assert_array_equal(calls[0], calls[1])
    assert (calls[2] == 0).any() and not np.array_equal(calls[2], calls[3])
