"""Models for LiteRT beside the generators that they come from."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import randomized

import kerasseq
from kerasseq import models, search
from kerasseq.serving.on_device import LiteRTModel, TokenList

pytestmark = pytest.mark.exports

SOURCES = ["one two three", "four", "", " \n", "two two one four three", "\ufb01ve 中", "one " * 60, "one \ud800"]


def attention(**options):
    return lambda *sizes, **common: models.AttentionSeq2Seq(*sizes, **common, **options)


BUILDERS = {
    "vanilla": models.VanillaSeq2Seq,
    "lstm, fixed context": models.LSTMSeq2Seq,
    "gru, luong, tied": attention(cell="gru", tie_embeddings=True),
    "lstm, bahdanau": attention(attention="bahdanau"),
    "gru, location, input feeding": attention(cell="gru", attention="location", placement="input_feeding"),
    "ssru, multi_head": attention(cell="ssru", attention="multi_head", num_heads=2),
    "monotonic": attention(attention="monotonic", bidirectional=False, bridge="zero"),
    "transformer, ssru decoder": lambda *sizes, units, embedding_dim: models.TransformerSeq2Seq(
        *sizes, units, num_layers=1, cell="ssru"
    ),
}
COPYING = {"pointer-generator": lambda size, _, **common: models.PointerGeneratorSeq2Seq(size, **common)}
FAST = ["gru, luong, tied", "lstm, bahdanau", "ssru, multi_head"]
CLIENT = pathlib.Path(kerasseq.serving.on_device.__file__)


def make_generator(name, preprocessor, sampler="greedy"):
    """A generator with random weights, large enough that its outputs differ from source to source."""
    model = {**BUILDERS, **COPYING}[name](
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=12, embedding_dim=8
    )
    randomized(model, 6)
    return kerasseq.TextGenerator(model, preprocessor, sampler, max_length=12, long_sources="cut")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in [*BUILDERS, *COPYING]]
)
def test_texts_are_those_of_the_generator(name, preprocessor, joint_preprocessor, tmp_path):
    generator = make_generator(name, joint_preprocessor if name in COPYING else preprocessor)
    model = LiteRTModel(generator.export_litert(tmp_path / "model"))
    expected = generator.generate(SOURCES, scores=True)
    assert [model.generate(source) for source in SOURCES] == [text for text, _ in expected]
    assert len({round(score, 3) for _, score in expected}) >= 4  # The source matters.
    for source, (_, score) in zip(SOURCES, expected, strict=True):
        if source.strip():
            inputs = generator.preprocessor.encode_source(generator.preprocessor.raw_batch([source]))
            _, found = model.generate_ids(**{name: tensor.numpy() for name, tensor in inputs.items()})
            assert found == pytest.approx(score, abs=1e-3)


@pytest.fixture(scope="module")
def generator(preprocessor):
    return make_generator("gru, luong, tied", preprocessor)


@pytest.fixture(scope="module")
def folder(generator, tmp_path_factory):
    return pathlib.Path(generator.export_litert(tmp_path_factory.mktemp("litert") / "numbers"))


def test_without_tensorflow_and_kerasseq(generator, folder, tmp_path):
    shutil.copy(CLIENT, tmp_path / "on_device.py")
    code = (
        "import sys\nfor name in ('tensorflow', 'keras', 'kerasseq'): sys.modules[name] = None\n"
        "import json, on_device\nmodel = on_device.LiteRTModel(sys.argv[1])\n"
        "print(json.dumps([model.generate(text) for text in json.load(sys.stdin)]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)], input=json.dumps(SOURCES), cwd=tmp_path,
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3_000:]
    assert json.loads(run.stdout) == generator.generate(SOURCES)


def test_int8_is_smaller_and_close(number_pairs, tmp_path):
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(number_pairs, vocabulary_size=285)
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    model = randomized(models.LSTMSeq2Seq(*sizes, units=256, embedding_dim=128), 6, 0.1)
    generator = kerasseq.TextGenerator(model, preprocessor, "greedy", max_length=1)
    folders = [generator.export_litert(tmp_path / str(quantize), quantize) for quantize in (None, "int8")]
    whole, small = (os.path.getsize(os.path.join(folder, "model.tflite")) for folder in folders)
    assert whole > 4 * model.count_params()
    assert small < 0.4 * whole
    inputs = preprocessor.encode_source([number_pairs[-1][0]])["encoder_token_ids"].numpy()
    outputs = [LiteRTModel(folder).generate_ids(encoder_token_ids=inputs) for folder in folders]
    assert outputs[0][1] == pytest.approx(outputs[1][1], rel=0.05)
    assert outputs[0][1] != outputs[1][1]


def test_sounds(tmp_path):
    random = np.random.default_rng(1)
    sounds = [kerasseq.preprocessing.encode_wav(random.normal(scale=0.1, size=size), 8_000) for size in (900, 4_000)]
    preprocessor = kerasseq.preprocessing.AudioPreprocessor.from_pairs(
        [(sound, "one two") for sound in sounds], vocabulary_size=267, sample_rate=8_000, num_bins=20
    )
    model = models.SpeechSeq2Seq(preprocessor.target_vocabulary_size, num_bins=20, units=10, embedding_dim=6, filters=4)
    randomized(model, 6)
    limits = search.LengthLimits(max_length_ratio=0.5)
    generator = kerasseq.TextGenerator(model, preprocessor, search.GreedySampler([limits]), max_length=12)
    exported = LiteRTModel(generator.export_litert(tmp_path / "sounds"))
    for sound in sounds:
        generation = generator.generate(sound, details=True)
        frames = preprocessor.encode_source([sound])["encoder_frames"].numpy()
        ids, score = exported.generate_ids(encoder_frames=frames)
        assert exported.decode(ids) == generation.text
        assert score == pytest.approx(generation.score, abs=1e-3)
    with pytest.raises(ValueError, match="reads no texts"):
        exported.generate("one")


def test_characters_and_words(tmp_path):
    pairs = [("cat", "K AE1 T"), ("act", "AE1 K T"), ("tac", "T AE1 K")] * 4
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(pairs, tokens=("characters", "words"))
    generator = make_generator("gru, luong, tied", preprocessor)
    model = LiteRTModel(generator.export_litert(tmp_path / "spelling"))
    sources = ["cat", "tact", "Cat\u0301", "c a"]
    assert [model.generate(source) for source in sources] == generator.generate(sources)


def test_suppressed_tokens(generator, folder, preprocessor, tmp_path):
    inputs = preprocessor.encode_source(SOURCES[:1])["encoder_token_ids"].numpy()
    likeliest, *_ = LiteRTModel(folder).generate_ids(encoder_token_ids=inputs)[0]
    sampler = search.GreedySampler([search.SuppressTokens([likeliest])])
    other = kerasseq.TextGenerator(generator.model, preprocessor, sampler, max_length=12, long_sources="cut")
    model = LiteRTModel(other.export_litert(tmp_path / "other"))
    assert [model.generate(source) for source in SOURCES] == other.generate(SOURCES) != generator.generate(SOURCES)


@pytest.mark.parametrize(
    "constraint",
    [search.NoRepeatNGram(2), search.LengthLimits(min_length=2), search.LengthLimits(min_length_ratio=0.5)],
)
def test_other_constraints_are_refused(constraint, generator, preprocessor, tmp_path):
    other = kerasseq.TextGenerator(generator.model, preprocessor, search.GreedySampler([constraint]))
    with pytest.raises(ValueError, match=rf"Received: {type(constraint).__name__}"):
        other.export_litert(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_decoders_that_grow_are_refused(preprocessor, tmp_path):
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    generator = kerasseq.TextGenerator(models.TransformerSeq2Seq(*sizes, 8, num_layers=1, num_heads=2), preprocessor)
    with pytest.raises(ValueError, match="Received: TransformerDecoder, with states of shapes"):
        generator.export_litert(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_arguments(generator, folder):
    with pytest.raises(ValueError, match="quantize"):
        generator.export_litert(folder, quantize="int4")
    with pytest.raises(FileExistsError, match="which exists"):
        generator.export_litert(folder)


def test_sources_that_are_no_texts(folder):
    with pytest.raises(ValueError, match=r"must be a string. Received: b'one' \(bytes\)"):
        LiteRTModel(folder).generate(b"one")


def test_incomplete_folders(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a folder that export_litert wrote"):
        LiteRTModel(tmp_path)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "target.spm").unlink()
    with pytest.raises(FileNotFoundError, match=r"Missing: target\.spm"):
        LiteRTModel(copy)
    description = json.loads((copy / "litert.json").read_text())
    (copy / "litert.json").write_text(json.dumps({**description, "format": 2}))
    with pytest.raises(ValueError, match="must have format 1. Received: format 2"):
        LiteRTModel(copy)


def test_lists_of_tokens():
    assert TokenList(["a", "b", "\u00e9"], "").encode("abe\u0301c") == [4, 5, 6, 1]
    assert TokenList(["AA0", "T"], " ").encode(" T  AA0 X") == [5, 4, 1]
    assert TokenList(["AA0", "T"], " ").decode([5, 4]) == "T AA0"
