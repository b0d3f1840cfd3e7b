"""Builders fit on the JAX and PyTorch backends too, and read what the TensorFlow backend saved."""

import functools
import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kerasseq.losses import MaskedCrossentropy
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

SIZES = {"source_vocabulary_size": 9, "target_vocabulary_size": 8, "embedding_dim": 3, "units": 4}


def ensemble(name):
    return Ensemble([GRUSeq2Seq(**SIZES), AttentionSeq2Seq(**SIZES, attention="luong")], name=name)


FAMILIES = {
    "vanilla": functools.partial(VanillaSeq2Seq, **SIZES),
    "lstm": functools.partial(LSTMSeq2Seq, **SIZES, dropout=0.1),
    "gru": functools.partial(GRUSeq2Seq, **SIZES, bidirectional=True, tie_embeddings=True),
    "luong": functools.partial(AttentionSeq2Seq, **SIZES, cell="lstm", num_layers=2, tie_embeddings=True),
    "bahdanau": functools.partial(AttentionSeq2Seq, **SIZES, cell="gru", attention="bahdanau"),
    "heads": functools.partial(
        AttentionSeq2Seq, **SIZES, attention="multi_head", placement="input_feeding", num_layers=2, residual=True
    ),
    "location": functools.partial(AttentionSeq2Seq, **SIZES, cell="gru", attention="location", bridge="zero"),
    "monotonic": functools.partial(AttentionSeq2Seq, **SIZES, cell="gru", attention="monotonic", dropout=0.1),
    "coverage": functools.partial(AttentionSeq2Seq, **SIZES, attention="coverage", placement="inside"),
    "pointer": functools.partial(
        PointerGeneratorSeq2Seq,
        vocabulary_size=9,
        embedding_dim=3,
        units=4,
        coverage_loss=0.1,
        content_selection_loss=0.5,
        dropout=0.1,
    ),
    "speech": functools.partial(
        SpeechSeq2Seq, 8, num_bins=4, embedding_dim=3, units=4, num_layers=2, filters=2, spec_augment={}, ctc_loss=0.5
    ),
    "captioning": functools.partial(
        CaptioningSeq2Seq, 8, backbone=None, feature_shape=(2, 2, 3), embedding_dim=3, units=4,
        doubly_stochastic_loss=0.5,
    ),
    "ensemble": ensemble,
}  # fmt: skip

# Loads each model, compares its logits, and fits it on. `keras.ops.convert_to_numpy` is all that tells backends apart.
SCRIPT = """
import sys

import keras
import numpy as np

import kerasseq

backend, *paths = sys.argv[1:]
assert keras.config.backend() == backend, keras.config.backend()
for path in paths:
    data = dict(np.load(path + ".npz"))
    model = keras.models.load_model(path)
    inputs = {name: data[name] for name in model.input}
    logits = keras.ops.convert_to_numpy(model(inputs))
    np.testing.assert_allclose(logits, data["logits"], atol=1e-4)
    state, constants = model.start(model.encode(inputs))
    for index in range(2):
        step = model.step(inputs["decoder_token_ids"][:, index], state, constants)
        state = step["state"]
        np.testing.assert_allclose(keras.ops.convert_to_numpy(step["logits"]), data["logits"][:, index], atol=1e-4)
    perplexity = kerasseq.metrics.Perplexity()
    perplexity.update_state(data["labels"], logits)
    loss = kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1)
    results = [float(loss(data["labels"], logits)), float(perplexity.result())]
    np.testing.assert_allclose(results, data["results"], rtol=1e-4)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=[kerasseq.metrics.TokenAccuracy()])
    losses = model.fit(inputs, data["labels"], batch_size=8, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0], (path, losses)
    twins = {name: np.repeat(values, 2, axis=0)[:-1] for name, values in {**inputs, "labels": data["labels"]}.items()}
    labels = twins.pop("labels")
    model.compile(keras.optimizers.Adam(0.02), kerasseq.losses.RDropCrossentropy(1.0))
    losses = model.fit(twins, labels, batch_size=31, epochs=10, verbose=0, shuffle=False).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0], (path, losses)
    after = float(loss(data["labels"], keras.ops.convert_to_numpy(model(inputs))))
    assert after < results[0], (path, after, results)
    print("checked", model.name)
"""


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    """Random models of the TensorFlow backend, with their logits, losses and perplexities beside them."""
    folder = tmp_path_factory.mktemp("models")
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 6, size=(16, 1))
    source, labels = (np.where(np.arange(5) < lengths, generator.integers(4, 8, (16, 5)), 0) for _ in range(2))
    inputs = {
        "encoder_token_ids": source,
        "decoder_token_ids": np.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=2),
    }
    inputs = {name: ids.astype("int32") for name, ids in inputs.items()}
    inputs["encoder_frames"] = generator.normal(size=(16, 20, 4)).astype("float32")
    inputs["encoder_mask"] = np.arange(20) < 4 * lengths
    inputs["encoder_features"] = generator.normal(size=(16, 2, 2, 3)).astype("float32")
    paths = []
    for family, build in FAMILIES.items():
        model = build(name=family)
        for weight in model.trainable_weights:
            weight.assign(generator.normal(size=weight.shape))
        read = {name: inputs[name] for name in model.input}
        logits = model(read).numpy()
        assert logits.std() > 0.1
        results = [float(MaskedCrossentropy(label_smoothing=0.1)(labels, logits))]
        results.append(np.exp(float(MaskedCrossentropy()(labels, logits))))
        paths.append(str(folder / f"{family}.keras"))
        model.save(paths[-1])
        np.savez(paths[-1] + ".npz", **read, labels=labels.astype("int32"), logits=logits, results=results)
    return paths


def unusable(module):
    """Why `module` cannot be imported, or nothing."""
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    result = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True)
    return f"{module} cannot be imported: {result.stderr.strip()[-200:]}" if result.returncode else None


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backend(backend, request):
    if reason := unusable(backend):
        pytest.skip(reason)
    if keras.config.backend() != "tensorflow":
        pytest.skip("the models must come from the TensorFlow backend")
    saved_models = request.getfixturevalue("saved_models")  # Not built where nothing is tested.
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", SCRIPT, backend, *saved_models]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr[-4_000:]
    assert result.stdout.split() == [word for family in FAMILIES for word in ("checked", family)]
