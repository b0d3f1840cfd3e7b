"""Characters in, words out: exported, served in a process without kerasseq, and loaded again."""

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

pytestmark = pytest.mark.exports

C_API = pathlib.Path(__file__).resolve().parents[1] / "serving" / "c_api.py"
PHONEMES = {"a": "AE1", "b": "B", "é": "EH1", "世": "SH IH4", " ": "|"}
REQUESTS = [
    *("ab", "b\u00e9b", "be\u0301b", "a\u3000b", "世a", "xyz", "", " b ", "<s>", "ab. " * 20),
    *(b"a\xffb", b"\xc3", b"a\0b"),
]


@pytest.fixture(scope="module")
def speller():
    """A generator that has learnt to spell phonemes, in part."""
    spellings = ["".join(np.random.default_rng(row).choice(list(PHONEMES), 1 + row % 5)) for row in range(200)]
    pairs = [(spelling, " ".join(PHONEMES[letter] for letter in spelling)) for spelling in spellings]
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
        pairs, tokens=("characters", "words"), max_source_length=12, max_target_length=12
    )
    keras.utils.set_random_seed(1)
    sizes = (preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size)
    model = kerasseq.models.AttentionSeq2Seq(*sizes, cell="gru", units=24, embedding_dim=12)
    model.compile(keras.optimizers.Adam(0.02), kerasseq.losses.MaskedCrossentropy())
    model.fit(preprocessor.dataset(pairs, batch_size=50, shuffle=True), epochs=30, verbose=0, shuffle=False)
    return kerasseq.TextGenerator(model, preprocessor, sampler=kerasseq.search.BeamSampler(beam_width=2))


@pytest.fixture(scope="module")
def folder(speller, tmp_path_factory):
    return speller.export(tmp_path_factory.mktemp("models") / "spelling")


def test_assets(folder):
    names = {path.name for path in pathlib.Path(folder).rglob("*") if path.is_file()}
    assert {"source.chars", "target.words", "saved_model.pb"} <= names
    assert not any(pathlib.Path(folder, "assets").glob("*"))


def test_served_as_in_process(speller, folder):
    texts = [text.encode() if isinstance(text, str) else text for text in REQUESTS]
    inputs = {"text": [base64.b64encode(text).decode() for text in texts]}
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    run = subprocess.run(
        [sys.executable, str(C_API), folder],
        input=json.dumps([{"signature": name, "inputs": inputs} for name in ("serving_default", "greedy")]),
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3_000:]
    served = json.loads(run.stdout)
    assert "kerasseq" not in served["imported"] and "tensorflow_text" not in served["imported"]
    for answer, sampler in zip(served["answers"], (None, "greedy"), strict=True):
        answers = [base64.b64decode(text).decode("utf-8") for text in answer["text"]["values"]]
        expected = speller.generate(texts, sampler)
        assert answers == expected and len(set(answers)) > 5
        assert answers[1] == answers[2]
        assert set(" ".join(answers).split()) <= {"AE1", "B", "EH1", "SH", "IH4", "|"}


def test_loaded_again(speller, folder, tmp_path):
    speller.save(tmp_path / "spelling.keras")
    for path in (folder, tmp_path / "spelling.keras"):
        again = kerasseq.TextGenerator.load(path)
        assert again.generate(REQUESTS[:5]) == speller.generate(REQUESTS[:5])
        for ours, theirs in zip(again.preprocessor.tokenizers, speller.preprocessor.tokenizers, strict=True):
            assert ours.to_bytes() == theirs.to_bytes() and type(ours) is type(theirs)
