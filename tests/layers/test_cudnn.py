"""The road to cuDNN on a pretended GPU: `CudnnRNNV3` is replaced by the equations of its documentation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq.layers import Recurrent

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5
MASKS = {
    "none": None,
    "right-padded": np.arange(TIME) < np.array([[6], [1], [4], [5]]),
    "left-padded": np.arange(TIME) >= np.array([[0], [5], [2], [1]]),
    "an empty row": np.arange(TIME) < np.array([[6], [0], [4], [5]]),
}


class Cudnn:
    """Counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, input, input_h, input_c, params, is_training, rnn_mode, sequence_lengths, time_major):  # noqa: A002
        """Parameters: kernels of the inputs by gate, kernels of the state, then both biases, as row-major matrices."""
        self.calls += 1
        assert is_training and not time_major
        gates = {"lstm": 4, "gru": 3}[rnn_mode]
        sizes = [UNITS * FEATURES] * gates + [UNITS * UNITS] * gates + [UNITS] * 2 * gates
        parts = tf.split(params, sizes)
        kernels = [tf.reshape(part, (UNITS, -1)) for part in parts[: 2 * gates]]
        of_inputs, of_state = kernels[:gates], kernels[gates:]
        input_biases, state_biases = parts[2 * gates : 3 * gates], parts[3 * gates :]
        hidden, cell, outputs = input_h[:, 0], input_c[:, 0] if rnn_mode == "lstm" else None, []
        for step in range(TIME):
            x = [input[:, step] @ tf.transpose(w) + b for w, b in zip(of_inputs, input_biases, strict=True)]
            h = [hidden @ tf.transpose(r) + b for r, b in zip(of_state, state_biases, strict=True)]
            real = (step < sequence_lengths)[:, None]
            if rnn_mode == "lstm":
                i, f, o = (tf.sigmoid(x[gate] + h[gate]) for gate in (0, 1, 3))
                after = f * cell + i * tf.tanh(x[2] + h[2])
                cell = tf.where(real, after, cell)
                after = o * tf.tanh(after)
            else:
                r, i = tf.sigmoid(x[0] + h[0]), tf.sigmoid(x[1] + h[1])
                after = (1 - i) * tf.tanh(x[2] + r * h[2]) + i * hidden
            hidden = tf.where(real, after, hidden)
            outputs.append(tf.where(real, after, 0.0))
        cell = tf.zeros_like(hidden) if cell is None else cell
        return tf.stack(outputs, axis=1), hidden[:, None], cell[:, None], None, None


@pytest.fixture
def gpu(monkeypatch):
    """A machine that claims to have a GPU."""
    listed = tf.config.list_logical_devices
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind=None: ["GPU:0"] if kind == "GPU" else listed(kind)
    )


@pytest.fixture
def cudnn(gpu, monkeypatch):
    double = Cudnn()
    monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", double)
    return double


def run(layer, mask, training=True):
    """Outputs, final state, and the gradients of weights, inputs and initial state."""
    random = np.random.default_rng(3)
    sequences = tf.constant(random.normal(size=(BATCH, TIME, FEATURES)), dtype="float32")
    names = layer.cell.state_names
    state = {name: tf.constant(random.normal(size=(BATCH, UNITS)), dtype="float32") for name in names}
    factors = tf.constant(random.normal(size=(BATCH, TIME, UNITS)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([sequences, *state.values()])
        outputs, final_state = layer(sequences, state, mask, training=training)
        loss = tf.reduce_sum(outputs * factors) + tf.add_n([tf.reduce_sum(value**2) for value in final_state.values()])
    sources = [*(weight.value for weight in layer.trainable_weights), sequences, *state.values()]
    return [outputs, *(final_state[name] for name in names), *tape.gradient(loss, sources)]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_same_numbers_as_without_a_gpu(cudnn, monkeypatch, cell, reverse, mask):
    layer = Recurrent(UNITS, cell=cell, reverse=reverse)
    layer.build((None, None, FEATURES))
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(size=weight.shape) for weight in layer.get_weights()])
    on_gpu = run(layer, MASKS[mask])
    assert cudnn.calls == (mask in ("none", "right-padded"))
    with monkeypatch.context() as patched:
        patched.setattr(tf.config, "list_logical_devices", lambda kind=None: [])
        expected = run(layer, MASKS[mask])
    assert cudnn.calls <= 1
    for one, other in zip(on_gpu, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["simple_rnn", "ssru"])
def test_other_cells_have_no_other_road(cudnn, cell):
    layer = Recurrent(UNITS, cell=cell)
    run(layer, MASKS["right-padded"])
    assert not cudnn.calls


def operations(function):
    """The types of operations in a graph, branches included."""
    graph = tf.function(function, autograph=False).get_concrete_function().graph.as_graph_def()
    nodes = [
        node for part in (graph, *graph.library.function) for node in (getattr(part, "node_def", None) or part.node)
    ]
    return {node.op for node in nodes}


def test_training_runs_on_cudnn_and_nothing_else_does(gpu):
    """Other graphs are exported, and run on CPUs."""
    model = kerasseq.models.LSTMSeq2Seq(20, 20, embedding_dim=4, units=UNITS, bidirectional=True)
    ids = tf.constant([[4, 5, 3, 0], [6, 3, 0, 0]])
    inputs = {"encoder_token_ids": ids, "decoder_token_ids": ids}
    assert "CudnnRNNV3" in operations(lambda: model(inputs, training=True))
    assert "CudnnRNNV3" not in operations(lambda: model(inputs, training=False))
    assert "CudnnRNNV3" not in operations(lambda: model.encode(inputs))


def test_a_model_made_on_a_gpu_is_the_same_model(gpu, monkeypatch, tmp_path):
    model = kerasseq.models.LSTMSeq2Seq(20, 20, embedding_dim=4, units=UNITS)
    model.save(tmp_path / "model.keras")
    names, weights = [weight.path for weight in model.weights], model.get_weights()
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [])
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [weight.path for weight in loaded.weights] == names
    for one, other in zip(loaded.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_gpu_changes_no_initial_weights(cell, monkeypatch):
    def later_kernel():
        keras.utils.set_random_seed(1)
        Recurrent(UNITS, cell=cell).build((None, TIME, FEATURES))
        dense = keras.layers.Dense(UNITS)
        dense.build((None, FEATURES))
        return dense.kernel.numpy()

    without = later_kernel()
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["GPU:0"])
    np.testing.assert_array_equal(later_kernel(), without)
