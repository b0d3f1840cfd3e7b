"""The encoder of docs/contributing/adding_an_encoder.md holds the contract, and needs what the page says it needs."""

import importlib.util
import pathlib
import re
import textwrap

import keras
import numpy as np
import pytest

import kerasseq

PAGE = pathlib.Path(kerasseq.__file__).parents[1] / "docs" / "contributing" / "adding_an_encoder.md"


@pytest.fixture
def load(tmp_path):
    """A function that loads the first block of code of the page, with a text in it replaced."""

    def load(old="", new=""):
        code = re.search("```python\n(.*?)\n *```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
        assert old in code
        file = tmp_path / "convolutional.py"
        file.write_text(textwrap.dedent(code).replace(old, new), encoding="utf-8")
        specification = importlib.util.spec_from_file_location("convolutional", file)
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module.ConvolutionalEncoder

    return load


def difference(encoder):
    """The largest change of memory and states by padding."""
    for weight in encoder.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    ids = np.array([[5, 6, 7, 3]])
    plain = encoder({"encoder_token_ids": ids})
    padded = encoder({"encoder_token_ids": np.pad(ids, [(0, 0), (0, 3)])})
    state = np.asarray(padded["states"][0]["hidden"]) - np.asarray(plain["states"][0]["hidden"])
    memory = np.asarray(padded["memory"])[:, :4] - np.asarray(plain["memory"])
    return max(np.abs(state).max(), np.abs(memory).max())


def test_padding_changes_nothing(load):
    encoder = load()(9, units=5, num_layers=2)
    assert difference(encoder) < 1e-5
    again = type(encoder).from_config(encoder.get_config())
    assert again.get_arguments() == encoder.get_arguments() and again.count_params() == encoder.count_params()


def test_padding_changes_outputs_without_the_products(load):
    assert difference(load("([memory, real])", "([memory, keras.ops.ones_like(memory)])")(9, units=5)) > 0.1


def test_in_a_model(load, tmp_path):
    decoder = kerasseq.decoders.RecurrentDecoder(11, embedding_dim=4, units=6, attention="luong", cell="gru")
    model = kerasseq.Seq2Seq(load()(9, units=5, num_layers=2), decoder)
    inputs = {"encoder_token_ids": np.array([[5, 6, 3]]), "decoder_token_ids": np.array([[2, 5]])}
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(inputs), model(inputs))
