import numpy as np
import pytest

from kerasseq.encoders import image_encoder, recurrent_encoder, steps_per_position
from kerasseq.layers import CELLS

VOCABULARY, EMBEDDING, UNITS = 9, 3, 2

IDS = np.array([[4, 7, 2, 3], [5, 3, 0, 0]], dtype="int32")


def randomized(model, seed=0):
    generator = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(size=weight.shape))
    return model


@pytest.fixture(scope="module", params=CELLS)
def cell(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(cell):
    """Two layers in both directions."""
    return randomized(recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=2, bidirectional=True))


def test_contract(encoder, cell):
    assert encoder.name == "encoder"
    ((name, ids),) = encoder.input.items()
    assert (name, ids.name, ids.shape, ids.dtype) == ("encoder_token_ids", "encoder_token_ids", (None, None), "int32")
    output = encoder.output
    assert set(output) == {"memory", "memory_mask", "states"}
    assert (output["memory"].shape, output["memory"].dtype) == ((None, None, 2 * UNITS), "float32")
    assert (output["memory_mask"].shape, output["memory_mask"].dtype) == ((None, None), "bool")
    states = output["states"]
    assert [(state.shape, state.dtype) for state in states] == [((None, 2 * UNITS), "float32")] * len(states)
    assert len(states) == 2 * CELLS[cell].num_states
    encoded = encoder({"encoder_token_ids": IDS})
    assert encoded["memory"].shape == (2, 4, 2 * UNITS)
    assert encoded["memory_mask"].numpy().tolist() == (IDS != 0).tolist()


def test_one_direction(cell):
    encoder = randomized(recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=2, name="reader"))
    assert encoder.name == "reader"
    assert [layer.name for layer in encoder.layers if layer.name.startswith(("forward", "backward"))] == [
        "forward_0",
        "forward_1",
    ]
    encoded = encoder({"encoder_token_ids": IDS})
    memory, states = encoded["memory"].numpy(), encoded["states"]
    assert memory.shape == (2, 4, UNITS)
    last_real = [3, 1]
    top_hidden = states[CELLS[cell].num_states]
    np.testing.assert_array_equal(top_hidden, memory[[0, 1], last_real])


def test_order_of_layers_directions_and_states(encoder, cell):
    """The same numbers from the encoder's layers called one by one."""
    mask = IDS != 0
    memory = encoder.get_layer("embedding")(IDS)
    expected = []
    for index in range(2):
        forward, states_forward = encoder.get_layer(f"forward_{index}")(memory, sequence_mask=mask)
        backward, states_backward = encoder.get_layer(f"backward_{index}")(memory, sequence_mask=mask)
        assert not encoder.get_layer(f"forward_{index}").reverse and encoder.get_layer(f"backward_{index}").reverse
        memory = np.concatenate([forward, backward], axis=-1)
        expected += [np.concatenate(pair, axis=-1) for pair in zip(states_forward, states_backward, strict=True)]
    encoded = encoder({"encoder_token_ids": IDS})
    np.testing.assert_allclose(encoded["memory"], memory, atol=1e-6)
    assert len(encoded["states"]) == len(expected)
    for state, reference in zip(encoded["states"], expected, strict=True):
        np.testing.assert_allclose(state, reference, atol=1e-6)
    # The hidden states of the top layer are what each direction put out last: at the end, and at the beginning.
    top_hidden = encoded["states"][CELLS[cell].num_states].numpy()
    np.testing.assert_allclose(top_hidden[:, :UNITS], memory[[0, 1], [3, 1], :UNITS], atol=1e-6)
    np.testing.assert_allclose(top_hidden[:, UNITS:], memory[:, 0, UNITS:], atol=1e-6)


def test_padding_changes_nothing(encoder):
    plain = encoder({"encoder_token_ids": IDS[1:, :2]})
    padded = encoder({"encoder_token_ids": IDS[1:]})
    np.testing.assert_allclose(padded["memory"][:, :2], plain["memory"], atol=1e-6)
    for state, expected in zip(padded["states"], plain["states"], strict=True):
        np.testing.assert_allclose(state, expected, atol=1e-6)


def test_dropout_only_in_training():
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, dropout=0.5)
    calls = [encoder({"encoder_token_ids": IDS}, training=training)["memory"].numpy() for training in (0, 0, 1, 1)]
    np.testing.assert_array_equal(calls[0], calls[1])
    assert (calls[2] == 0).any() and not np.array_equal(calls[2], calls[3])


def test_residual_connections(cell):
    """From the second layer on the input is added to the output; states stay the cells' own."""
    encoder = randomized(recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=3, residual=True))
    memory = encoder.get_layer("embedding")(IDS)
    expected = []
    for index in range(3):
        outputs, states = encoder.get_layer(f"forward_{index}")(memory, sequence_mask=IDS != 0)
        memory = memory + outputs if index else outputs
        expected += states
    encoded = encoder({"encoder_token_ids": IDS})
    np.testing.assert_allclose(encoded["memory"], memory, atol=1e-6)
    for state, reference in zip(encoded["states"], expected, strict=True):
        np.testing.assert_allclose(state, reference, atol=1e-6)


def test_pyramid(cell):
    """Each layer above the first reads pairs of steps, `[h_2i; h_2i+1]` (Chan et al. 2016, equation 5)."""
    encoder = randomized(recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell=cell, num_layers=3, pyramidal=True))
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


def test_steps_of_a_high_pyramid():
    encoder = recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, cell="gru", num_layers=9, pyramidal=True)
    assert steps_per_position(encoder) == 256


def test_a_pyramid_has_no_residual_connections():
    with pytest.raises(ValueError, match="A pyramidal encoder has no residual connections.*Choose one of them"):
        recurrent_encoder(VOCABULARY, EMBEDDING, UNITS, residual=True, pyramidal=True)


def test_layer_normalization_is_passed_on():
    encoder = recurrent_encoder(
        VOCABULARY, EMBEDDING, UNITS, num_layers=2, bidirectional=True, layer_normalization=True
    )
    recurrent = [layer for layer in encoder.layers if layer.name.startswith(("forward", "backward"))]
    assert len(recurrent) == 4 and all(layer.layer_normalization for layer in recurrent)


@pytest.mark.parametrize("grid", [(1, 1), (4, 4), (8, 8), (9, 12)])
def test_places_of_images_are_no_steps(grid):
    encoder = image_encoder(feature_shape=(*grid, 5))
    assert steps_per_position(encoder) == 1
    assert encoder.output["memory"].shape == (None, grid[0] * grid[1], 5)
