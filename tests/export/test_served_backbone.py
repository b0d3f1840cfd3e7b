"""Exports with the tokenizers of KerasHub: in TensorFlow's C++ loader, without kerasseq, KerasHub and TF Text."""

import base64
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import kerasseq
from kerasseq.preprocessing import TextPreprocessor, train_vocabulary

pytestmark = pytest.mark.exports

C_API = pathlib.Path(__file__).resolve().parents[1] / "serving" / "c_api.py"
TEXTS = [b"one two three", b"", b"four  two\n", b"\xff\xfe one \xc3", "één 中文 👍🏽".encode(), b"a\0b", b"two " * 300]


@pytest.mark.parametrize("kind", ["bert", pytest.param("roberta", marks=pytest.mark.slow), "t5"])
def test_served_as_in_process(kind, hub_parts, number_pairs, tmp_path):
    tokenizer, backbone = hub_parts(kind)
    target_vocabulary = train_vocabulary([target for _, target in number_pairs], 280)
    preprocessor = TextPreprocessor(tokenizer, target_vocabulary, max_source_length=24, max_target_length=8)
    decoder = kerasseq.decoders.RecurrentDecoder(
        preprocessor.target_vocabulary_size, embedding_dim=8, units=16, cell="gru", attention="luong"
    )
    model = kerasseq.Seq2Seq(kerasseq.encoders.from_backbone(backbone, tokenizer), decoder)
    model.compile(keras.optimizers.Adam(0.01), kerasseq.losses.MaskedCrossentropy())
    model.fit(preprocessor.dataset(number_pairs, batch_size=8), epochs=3, verbose=0, shuffle=False)
    generator = kerasseq.TextGenerator(model, preprocessor, sampler="greedy", long_sources="cut")
    folder = generator.export(tmp_path / kind)

    # === Served ===
    inputs = {"text": [base64.b64encode(text).decode() for text in TEXTS]}
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    run = subprocess.run(
        [sys.executable, str(C_API), str(folder)], input=json.dumps([{"signature": "attention", "inputs": inputs}]),
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3_000:]
    served = json.loads(run.stdout)
    assert not {"kerasseq", "keras_hub", "tensorflow_text"} & set(served["imported"])
    (answer,) = served["answers"]
    for row, generation in enumerate(generator.generate(TEXTS, details=True)):
        assert abs(answer["score"]["values"][row] - generation.score) < 1e-3
        tokens = [base64.b64decode(token).decode() for token in answer["source_tokens"]["values"][row]]
        assert tokens[: len(generation.source_tokens)] == generation.source_tokens
        assert not any(tokens[len(generation.source_tokens) :])

    # === Loaded ===
    loaded = kerasseq.TextGenerator.load(folder)
    assert loaded.generate(TEXTS) == generator.generate(TEXTS)
    source = preprocessor.encode_source(TEXTS)
    np.testing.assert_array_equal(loaded.model.encoder(source)["memory"], model.encoder(source)["memory"])
