import functools
import inspect
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import Seq2Seq
from kerasseq.layers.cells import CELLS
from kerasseq.losses import MaskedCrossentropy
from kerasseq.metrics import TokenAccuracy
from kerasseq.models import (
    AttentionSeq2Seq,
    CaptioningSeq2Seq,
    Ensemble,
    GRUSeq2Seq,
    LSTMSeq2Seq,
    PointerGeneratorSeq2Seq,
    SpeechSeq2Seq,
    VanillaSeq2Seq,
)
from kerasseq.seq2seq import weights_by_name

SOURCE_VOCABULARY, TARGET_VOCABULARY = 9, 8
SIZES = {
    "source_vocabulary_size": SOURCE_VOCABULARY,
    "target_vocabulary_size": TARGET_VOCABULARY,
    "embedding_dim": 3,
    "units": 4,
}

FAMILIES = {
    "vanilla": VanillaSeq2Seq,
    "lstm": LSTMSeq2Seq,
    "gru": GRUSeq2Seq,
    **{
        f"attention {attention} {cell}": functools.partial(AttentionSeq2Seq, cell=cell, attention=attention)
        for attention in ("luong", "bahdanau")
        for cell in CELLS
    },
}

BATCH = {
    "encoder_token_ids": np.array([[5, 4, 8, 3], [6, 3, 0, 0], [3, 0, 0, 0]], dtype="int32"),
    "decoder_token_ids": np.array([[2, 7, 4, 5, 6], [2, 5, 0, 0, 0], [2, 4, 4, 6, 0]], dtype="int32"),
}
LABELS = np.array([[7, 4, 5, 6, 3], [5, 3, 0, 0, 0], [4, 4, 6, 3, 0]], dtype="int32")


# === What a builder returns ===


@pytest.mark.parametrize("builder", [VanillaSeq2Seq, LSTMSeq2Seq, GRUSeq2Seq, AttentionSeq2Seq])
def test_contract(builder):
    model = builder(**SIZES)
    assert type(model) is Seq2Seq
    inputs = {name: (tensor.shape, tensor.dtype) for name, tensor in model.input.items()}
    assert inputs == {name: ((None, None), "int32") for name in ("encoder_token_ids", "decoder_token_ids")}
    assert (model.output.shape, model.output.dtype) == ((None, None, TARGET_VOCABULARY), "float32")
    snake_case = {"Vanilla": "vanilla", "LSTM": "lstm", "GRU": "gru", "Attention": "attention"}
    assert model.name == snake_case[builder.__name__.removesuffix("Seq2Seq")] + "_seq2seq"
    assert builder(**SIZES, name="other").name == "other"


@pytest.mark.parametrize("builder, cell", [(VanillaSeq2Seq, "simple_rnn"), (LSTMSeq2Seq, "lstm"), (GRUSeq2Seq, "gru")])
def test_cells(builder, cell):
    model = builder(**SIZES)
    (recurrent,) = model.decoder.placement.stack.recurrent
    assert type(model.encoder.get_layer("forward_0").cell) is type(recurrent.cell) is CELLS[cell]


def test_common_arguments():
    common = list(inspect.signature(VanillaSeq2Seq).parameters)
    assert common[:2] == ["source_vocabulary_size", "target_vocabulary_size"]
    assert set(common[2:]) == {
        "embedding_dim", "units", "num_layers", "bidirectional", "dropout", "tie_embeddings", "name",
    }  # fmt: skip
    for builder in (LSTMSeq2Seq, GRUSeq2Seq):
        assert list(inspect.signature(builder).parameters) == common
    assert set(inspect.signature(AttentionSeq2Seq).parameters) == {
        *common, "cell", "attention", "placement", "num_heads", "bridge", "residual",
    }  # fmt: skip


def test_predict():
    model = GRUSeq2Seq(**SIZES)
    logits = model.predict(BATCH, batch_size=2, verbose=0)
    assert (logits.shape, logits.dtype) == ((3, 5, TARGET_VOCABULARY), np.float32)
    np.testing.assert_allclose(logits, model(BATCH), atol=1e-6)


# === Parameters, counted by hand ===


def dense(inputs, units):
    return (inputs + 1) * units


def cell(name, inputs, units=4):
    return {"simple_rnn": 1, "lstm": 4, "gru": 3}[name] * (inputs + units + 1 + (name == "gru")) * units


def both(name, inputs):
    """Two directions."""
    return 2 * cell(name, inputs)


SOURCE, TARGET = SOURCE_VOCABULARY * 3, TARGET_VOCABULARY * 3  # embeddings
LOGITS = dense(4, TARGET_VOCABULARY)
LOCATION = 8 * 4 + 4 * 4 + 4 + 4 + 31 * 10 + 10 * 4  # V, W, b, w, F and U of Chorowski et al. 2015, equation 9

PARAMETERS = {
    "vanilla": (VanillaSeq2Seq, {}, SOURCE + cell("simple_rnn", 3) + TARGET + cell("simple_rnn", 3) + LOGITS),
    "lstm, tied": (
        LSTMSeq2Seq,
        {"num_layers": 2, "bidirectional": True, "tie_embeddings": True},
        SOURCE + both("lstm", 3) + both("lstm", 8) + 4 * dense(8, 4)
        + TARGET + cell("lstm", 3) + cell("lstm", 4) + dense(4, 3),
    ),
    "gru, bidirectional": (
        GRUSeq2Seq, {"bidirectional": True},
        SOURCE + both("gru", 3) + dense(8, 4) + TARGET + cell("gru", 3) + LOGITS,
    ),
    "luong after": (
        AttentionSeq2Seq, {},
        SOURCE + both("lstm", 3) + 2 * dense(8, 4) + 8 * 4 + TARGET + cell("lstm", 3) + dense(8 + 4, 4) + LOGITS,
    ),
    "location inside": (
        AttentionSeq2Seq, {"attention": "location", "cell": "gru"},
        SOURCE + both("gru", 3) + dense(8, 4) + TARGET + cell("gru", 3 + 8) + LOCATION + dense(4 + 8 + 3, 4) + LOGITS,
    ),
    "heads and input feeding": (
        AttentionSeq2Seq,
        {"attention": "multi_head", "placement": "input_feeding", "bridge": "zero", "num_layers": 2},
        SOURCE + both("lstm", 3) + both("lstm", 8) + 2 * 8 * 4 + 2 * 4 * 4
        + TARGET + cell("lstm", 3 + 4) + cell("lstm", 4) + dense(4 + 4, 4) + LOGITS,
    ),
    "pointer-generator": (
        lambda source_vocabulary_size, target_vocabulary_size, **options: PointerGeneratorSeq2Seq(
            source_vocabulary_size, **options
        ),
        {"content_selection_loss": 1.0},
        SOURCE + both("lstm", 3) + 2 * dense(8, 4) + 8 * 4 + 4 * 4 + 3 * 4
        + SOURCE + cell("lstm", 3) + dense(8 + 4, 4) + dense(4, SOURCE_VOCABULARY) + dense(8 + 4 + 3, 1)
        + dense(8, 4) + dense(4, 1),
    ),
    "speech": (
        lambda source_vocabulary_size, **options: SpeechSeq2Seq(**options),
        {"num_bins": 4, "num_layers": 1, "filters": 2, "ctc_loss": 1.0},
        dense(3 * 3 * 1, 2) + dense(3 * 3 * 2, 2) + both("lstm", 2) + 2 * dense(8, 4)
        + TARGET + cell("lstm", 3 + 8) + LOCATION + dense(4 + 8 + 3, 4) + LOGITS + dense(8, TARGET_VOCABULARY),
    ),
    "captioning": (
        lambda source_vocabulary_size, **options: CaptioningSeq2Seq(backbone=None, feature_shape=(2, 2, 5), **options),
        {"doubly_stochastic_loss": 1.0},
        2 * 5 + 2 * dense(5, 4) + 5 * 4 + 4 * 4 + 4 + TARGET + cell("lstm", 3 + 5) + dense(4 + 5 + 3, 4) + LOGITS,
    ),
    "ensemble": (
        lambda **sizes: Ensemble([VanillaSeq2Seq(**sizes), VanillaSeq2Seq(**sizes)]),
        {},
        2 * (SOURCE + cell("simple_rnn", 3) + TARGET + cell("simple_rnn", 3) + LOGITS),
    ),
}  # fmt: skip


@pytest.mark.parametrize("builder, options, expected", PARAMETERS.values(), ids=PARAMETERS)
def test_parameters(builder, options, expected):
    """Keras counts what it tracks, trains and saves: it tracks no layer in a list of dicts."""
    model = builder(**SIZES, **options)
    assert model.count_params() == expected
    assert sum(np.size(weight) for weight in model.get_weights()) == expected


# === Errors ===


@pytest.mark.parametrize("builder", [VanillaSeq2Seq, LSTMSeq2Seq, GRUSeq2Seq, AttentionSeq2Seq])
@pytest.mark.parametrize(
    "argument", ["source_vocabulary_size", "target_vocabulary_size", "embedding_dim", "units", "num_layers"]
)
def test_bad_sizes(builder, argument):
    for value in (0, -3, 2.5, "8", None):
        with pytest.raises(ValueError, match=f"{argument} must be a positive integer. Received: {argument}={value!r}."):
            builder(**{**SIZES, argument: value})


@pytest.mark.parametrize("builder", [VanillaSeq2Seq, LSTMSeq2Seq, GRUSeq2Seq, AttentionSeq2Seq])
@pytest.mark.parametrize("dropout", [-0.1, 1.0, 30])
def test_bad_dropout(builder, dropout):
    with pytest.raises(ValueError, match=rf"dropout must be in \[0, 1\). Received: dropout={dropout}."):
        builder(**SIZES, dropout=dropout)


def test_unknown_names():
    with pytest.raises(ValueError, match="cell must be one of .*'gru', 'ssru'. Received: cell='rnn'."):
        AttentionSeq2Seq(**SIZES, cell="rnn")
    with pytest.raises(ValueError, match="attention must be one of 'luong', 'dot', .* Received: attention='self'."):
        AttentionSeq2Seq(**SIZES, attention="self")


@pytest.mark.parametrize(
    "name, size", [("encoder_token_ids", SOURCE_VOCABULARY), ("decoder_token_ids", TARGET_VOCABULARY)]
)
def test_token_ids_out_of_range(name, size):
    """On a CPU, TensorFlow refuses them and names the index, the id and the range."""
    model = VanillaSeq2Seq(**SIZES)
    ids = BATCH[name].copy()
    ids[1, 1] = size
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"indices\[1,1\] = {size} is not in \[0, {size}\)"):
        model.predict({**BATCH, name: ids}, verbose=0)


def test_labels_out_of_range():
    model = VanillaSeq2Seq(**SIZES)
    model.compile("sgd", MaskedCrossentropy(), run_eagerly=True)
    labels = LABELS.copy()
    labels[0, 0] = TARGET_VOCABULARY
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"= 8 is not in \[0, 8\)"):
        model.fit(BATCH, labels, verbose=0)


# === Training ===


LONGER = ("lstm", "gru", "attention bahdanau gru")  # cells and attention in further combinations


def copy_task(examples=256, length=3):
    """Targets repeat the sources: three letters each, in ids 4 to 7."""
    letters = np.random.default_rng(3).integers(4, 8, size=(examples, length), dtype="int32")
    start, end = (np.full((examples, 1), special, "int32") for special in (2, 3))
    inputs = {
        "encoder_token_ids": np.concatenate([letters, end], axis=1),
        "decoder_token_ids": np.concatenate([start, letters], axis=1),
    }
    return inputs, np.concatenate([letters, end], axis=1)


@pytest.mark.parametrize(
    "family",
    ["vanilla", "attention luong lstm", *(pytest.param(name, marks=pytest.mark.slow) for name in LONGER)],
)
def test_fit_learns_to_copy(family):
    keras.utils.set_random_seed(0)
    model = FAMILIES[family](**{**SIZES, "embedding_dim": 8, "units": 24})
    model.compile(keras.optimizers.Adam(0.02), MaskedCrossentropy(), metrics=[TokenAccuracy()])
    history = model.fit(*copy_task(), batch_size=64, epochs=15, verbose=0).history
    # Without the source, three of four tokens stay one of four letters: a loss of 3/4 log 4.
    assert history["loss"][0] > 0.75 * np.log(4) > 2 * history["loss"][-1]
    assert history["token_accuracy"][-1] > 0.9


@pytest.mark.parametrize("family", [pytest.param("lstm", marks=pytest.mark.slow), "attention bahdanau gru"])
def test_frozen_encoder_keeps_its_weights(family):
    model = FAMILIES[family](**SIZES, bidirectional=True)
    model.encoder.trainable = False
    # Tiny gradients move weights too.
    model.compile(keras.optimizers.Adam(epsilon=1e-20), MaskedCrossentropy(), run_eagerly=True)
    before = {name: weight.numpy() for name, weight in weights_by_name(model).items()}
    model.fit(BATCH, LABELS, verbose=0)
    changed = {name for name, weight in weights_by_name(model).items() if not np.array_equal(before[name], weight)}
    assert changed == {name for name in before if name.startswith("decoder/")}


def test_dropout_in_training_alone():
    model = LSTMSeq2Seq(**SIZES, dropout=0.5)
    np.testing.assert_array_equal(model(BATCH), model(BATCH))
    assert not np.array_equal(model(BATCH, training=True), model(BATCH, training=True))


# === Saving ===

RESUME = """
import sys

import kerasseq

keras, np = sys.modules["keras"], sys.modules["numpy"]
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    data = dict(np.load(path + ".npz"))
    inputs = {name: data.pop(name) for name in ("encoder_token_ids", "decoder_token_ids")}
    result = {"logits": model.predict(inputs, verbose=0)}
    result.update({f"optimizer_{i}": v.numpy() for i, v in enumerate(model.optimizer.variables)})
    result["loss"] = model.fit(inputs, data["labels"], verbose=0).history["loss"]
    result["logits_after"] = model.predict(inputs, verbose=0)
    np.savez(path + ".result.npz", **result)
"""


@pytest.mark.slow
def test_saved_models_go_on_in_a_fresh_process(tmp_path):
    """After `import kerasseq` alone: the same predictions, the same optimizer state, the same next training step."""
    models = {}
    for index, family in enumerate(["vanilla", "lstm", "attention luong lstm", "attention bahdanau gru"]):
        model = FAMILIES[family](**SIZES, num_layers=2, bidirectional=bool(index % 2), tie_embeddings=index > 1)
        model.compile(keras.optimizers.Adam(0.01), MaskedCrossentropy(label_smoothing=0.1), metrics=[TokenAccuracy()])
        model.fit(BATCH, LABELS, verbose=0)
        path = str(tmp_path / f"{index}.keras")
        model.save(path)
        np.savez(path + ".npz", **BATCH, labels=LABELS)
        models[path] = model
    subprocess.run([sys.executable, "-c", RESUME, *models], check=True, capture_output=True, timeout=900)
    for path, model in models.items():
        result = np.load(path + ".result.npz")
        np.testing.assert_array_equal(result["logits"], model.predict(BATCH, verbose=0))
        variables = model.optimizer.variables
        assert len(variables) > 2 * len(model.trainable_variables) - 1
        for index, variable in enumerate(variables):
            np.testing.assert_array_equal(result[f"optimizer_{index}"], variable)
        np.testing.assert_allclose(result["loss"], model.fit(BATCH, LABELS, verbose=0).history["loss"], rtol=1e-6)
        np.testing.assert_allclose(result["logits_after"], model.predict(BATCH, verbose=0), atol=1e-6)
