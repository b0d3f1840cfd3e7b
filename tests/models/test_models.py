import doctest
import functools
import importlib
import inspect
import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.joining import select_inputs
from kerasseq.layers import CELLS
from kerasseq.losses import MaskedCrossentropy
from kerasseq.metrics import TokenAccuracy
from kerasseq.models import AttentionSeq2Seq, GRUSeq2Seq, LSTMSeq2Seq, VanillaSeq2Seq

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
TARGET_IDS = tf.constant(BATCH["decoder_token_ids"])
LABELS = np.array([[7, 4, 5, 6, 3], [5, 3, 0, 0, 0], [4, 4, 6, 3, 0]], dtype="int32")


def randomized(model):
    """All weights random and of order 1, so that logits differ visibly."""
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(scale=0.7, size=weight.shape))
    return model


def parts(model):
    return [model.get_layer(name) for name in ("encoder", "bridge", "decoder")]


# === Teacher forcing, step by step, padding, causality ===


@pytest.fixture(
    scope="module",
    params=itertools.product(FAMILIES, (1, 2), (False, True), (False, True)),
    ids=lambda p: f"{p[0]}-{p[1]}-{'bidirectional' if p[2] else 'forward'}-{'tied' if p[3] else 'untied'}",
)
def model_and_logits(request):
    family, num_layers, bidirectional, tie_embeddings = request.param
    model = FAMILIES[family](**SIZES, num_layers=num_layers, bidirectional=bidirectional, tie_embeddings=tie_embeddings)
    randomized(model)
    logits = model(BATCH).numpy()
    assert logits.shape == (3, 5, TARGET_VOCABULARY) and logits.std() > 0.1
    return model, logits


def test_step_by_step_equals_teacher_forcing(model_and_logits):
    """As the generator decodes: the encoder and the bridge once, then one token at a time, by the declared names."""
    model, logits = model_and_logits
    encoder, bridge, decoder = parts(model)
    encoder_inputs = {"encoder_token_ids": tf.constant(BATCH["encoder_token_ids"])}
    encoded = {**encoder_inputs, **encoder(encoder_inputs)}
    available = {**encoded, **bridge(select_inputs(bridge, encoded))}
    steps, attention = [], []
    for step in range(5):
        available["decoder_token_ids"] = TARGET_IDS[:, step : step + 1]
        outputs = decoder(select_inputs(decoder, available))
        available["states"] = outputs["states"]
        steps.append(outputs["logits"])
        attention.append(outputs.get("attention"))
    np.testing.assert_allclose(np.concatenate(steps, axis=1), logits, atol=1e-5)

    available.update(bridge(select_inputs(bridge, encoded)))
    whole = decoder(select_inputs(decoder, {**available, "decoder_token_ids": TARGET_IDS}))
    for state, expected in zip(outputs["states"], whole["states"], strict=True):
        np.testing.assert_allclose(state, expected, atol=1e-5)
    if "attention" in whole:
        np.testing.assert_allclose(np.concatenate(attention, axis=1), whole["attention"], atol=1e-5)


def test_source_padding_changes_nothing(model_and_logits):
    model, logits = model_and_logits
    source = np.pad(BATCH["encoder_token_ids"], ((0, 0), (0, 3)))
    padded = model({**BATCH, "encoder_token_ids": source})
    np.testing.assert_allclose(padded, logits, atol=1e-5)
    alone = model({"encoder_token_ids": source[1:2, :2], "decoder_token_ids": BATCH["decoder_token_ids"][1:2]})
    np.testing.assert_allclose(alone, logits[1:2], atol=1e-5)


def test_later_target_tokens_change_nothing_before(model_and_logits):
    model, logits = model_and_logits
    target = BATCH["decoder_token_ids"].copy()
    target[:, 3] = [1, 7, 1]
    changed = model({**BATCH, "decoder_token_ids": target}).numpy()
    np.testing.assert_array_equal(changed[:, :3], logits[:, :3])
    assert (np.abs(changed[:, 3] - logits[:, 3]).max(axis=-1) > 1e-3).all()


def test_source_matters(model_and_logits):
    model, logits = model_and_logits
    source = BATCH["encoder_token_ids"].copy()
    source[:, 0] = [6, 7, 8]
    changed = model({**BATCH, "encoder_token_ids": source}).numpy()
    assert (np.abs(changed[:, 0] - logits[:, 0]).max(axis=-1) > 1e-4).all()


# === What a builder returns ===


@pytest.mark.parametrize("builder", [VanillaSeq2Seq, LSTMSeq2Seq, GRUSeq2Seq, AttentionSeq2Seq])
def test_contract(builder):
    model = builder(**SIZES)
    assert isinstance(model, keras.Model) and type(model).__name__ == "Functional"
    inputs = {name: (tensor.shape, tensor.dtype) for name, tensor in model.input.items()}
    assert inputs == {name: ((None, None), "int32") for name in ("encoder_token_ids", "decoder_token_ids")}
    assert (model.output.shape, model.output.dtype) == ((None, None, TARGET_VOCABULARY), "float32")
    assert [part.name for part in parts(model)] == ["encoder", "bridge", "decoder"]
    snake_case = {"Vanilla": "vanilla", "LSTM": "lstm", "GRU": "gru", "Attention": "attention"}
    assert model.name == snake_case[builder.__name__.removesuffix("Seq2Seq")] + "_seq2seq"
    assert builder(**SIZES, name="other").name == "other"


@pytest.mark.parametrize("builder, cell", [(VanillaSeq2Seq, "simple_rnn"), (LSTMSeq2Seq, "lstm"), (GRUSeq2Seq, "gru")])
def test_cells(builder, cell):
    encoder, _, decoder = parts(builder(**SIZES))
    assert encoder.get_layer("forward_0").cell == decoder.get_layer("recurrent_0").cell == cell


def test_common_arguments():
    common = list(inspect.signature(VanillaSeq2Seq).parameters)
    assert common[:2] == ["source_vocabulary_size", "target_vocabulary_size"]
    assert set(common[2:]) == {
        "embedding_dim", "units", "num_layers", "bidirectional", "dropout", "tie_embeddings", "name",
    }  # fmt: skip
    for builder in (LSTMSeq2Seq, GRUSeq2Seq):
        assert list(inspect.signature(builder).parameters) == common
    assert set(inspect.signature(AttentionSeq2Seq).parameters) == {
        *common, "cell", "attention", "placement", "num_heads", "bridge", "residual", "layer_normalization",
    }  # fmt: skip


def test_predict():
    model = GRUSeq2Seq(**SIZES)
    logits = model.predict(BATCH, batch_size=2, verbose=0)
    assert (logits.shape, logits.dtype) == ((3, 5, TARGET_VOCABULARY), np.float32)
    np.testing.assert_allclose(logits, model(BATCH), atol=1e-6)


@pytest.mark.parametrize("family", ["lstm", "attention luong gru", "attention bahdanau lstm"])
def test_half_precision(family):
    model = randomized(FAMILIES[family](**SIZES, tie_embeddings=True))
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = FAMILIES[family](**SIZES, tie_embeddings=True)
    finally:
        keras.config.set_dtype_policy(policy)
    half.set_weights(model.get_weights())
    logits = half(BATCH)
    assert logits.dtype == tf.float32
    assert half.get_layer("encoder").output["memory"].dtype == "float16"
    difference = np.abs(logits - model(BATCH)).max()
    assert 0 < difference < 5e-2


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
    with pytest.raises(ValueError, match="cell must be one of 'simple_rnn', 'lstm', 'gru'. Received: cell='rnn'."):
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
    model.compile("sgd", MaskedCrossentropy())
    labels = LABELS.copy()
    labels[0, 0] = TARGET_VOCABULARY
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"= 8 is not in \[0, 8\)"):
        model.fit(BATCH, labels, verbose=0)


@pytest.mark.parametrize("family", ["gru", "attention luong lstm"])
def test_logits_begin_at_the_size_of_the_features(family):
    """Whatever the vocabulary: the kernel's deviation is that of LeCun et al. 1998, by the number of features alone."""
    keras.utils.set_random_seed(0)
    for vocabulary_size in (50, 2_000):
        model = FAMILIES[family](**{**SIZES, "units": 64, "target_vocabulary_size": vocabulary_size})
        kernel = model.get_layer("decoder").get_layer("logits").kernel
        assert kernel.shape == (64, vocabulary_size)
        assert np.std(kernel) == pytest.approx(64**-0.5, rel=0.05)


# === Training ===


def copy_task(examples=256, length=3):
    """Targets repeat the sources: three letters each, in ids 4 to 7."""
    letters = np.random.default_rng(3).integers(4, 8, size=(examples, length), dtype="int32")
    start, end = (np.full((examples, 1), special, "int32") for special in (2, 3))
    inputs = {
        "encoder_token_ids": np.concatenate([letters, end], axis=1),
        "decoder_token_ids": np.concatenate([start, letters], axis=1),
    }
    return inputs, np.concatenate([letters, end], axis=1)


@pytest.mark.parametrize("family", ["vanilla", "lstm", "gru", "attention luong lstm", "attention bahdanau gru"])
def test_fit_learns_to_copy(family):
    keras.utils.set_random_seed(0)
    model = FAMILIES[family](**{**SIZES, "embedding_dim": 8, "units": 24})
    model.compile(keras.optimizers.Adam(0.02), MaskedCrossentropy(), metrics=[TokenAccuracy()])
    history = model.fit(*copy_task(), batch_size=64, epochs=15, verbose=0).history
    # Without the source, three of four tokens stay one of four letters: a loss of 3/4 log 4.
    assert history["loss"][0] > 0.75 * np.log(4) > 2 * history["loss"][-1]
    assert history["token_accuracy"][-1] > 0.9


@pytest.mark.parametrize("family", ["lstm", "attention bahdanau gru"])
def test_frozen_encoder_keeps_its_weights(family):
    model = FAMILIES[family](**SIZES, bidirectional=True)
    encoder, bridge, decoder = parts(model)
    encoder.trainable = False
    model.compile(keras.optimizers.Adam(epsilon=1e-20), MaskedCrossentropy())  # Tiny gradients move weights too.
    before = [part.get_weights() for part in (encoder, bridge, decoder)]
    model.fit(BATCH, LABELS, verbose=0)
    after = [part.get_weights() for part in (encoder, bridge, decoder)]
    assert all(np.array_equal(old, new) for old, new in zip(before[0], after[0], strict=True))
    for part in (1, 2):
        assert not any(np.array_equal(old, new) for old, new in zip(before[part], after[part], strict=True))


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


# === Examples ===


@pytest.mark.parametrize("name", ["vanilla", "lstm", "gru", "attention"])
def test_example(name):
    result = doctest.testmod(importlib.import_module(f"kerasseq.models.{name}"))
    assert result.attempted and not result.failed
