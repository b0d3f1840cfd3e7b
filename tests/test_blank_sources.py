"""Blank sources: their outputs are blank, and the model is not asked, in Python and in exported graphs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq import TextGenerator
from kerasseq.preprocessing import AudioPreprocessor
from kerasseq.search import BeamSampler

BLANKS = ["", "  ", "\n", "\r\n \n", "\t", "\u00a0", "\u3000\u2028"]
SOURCES = ["one two three", "four", "four three two one"]
MIXED = ["", SOURCES[0], " \n", "\u3000", SOURCES[1], SOURCES[2], "\t"]
FILLED = [1, 4, 5]  # in MIXED


@pytest.fixture(scope="module", params=["cut", "split", "sentences"])
def of_kind(request, trained_model, preprocessor):
    return TextGenerator(trained_model, preprocessor, BeamSampler(3), long_sources=request.param)


@pytest.fixture
def rows_asked(monkeypatch):
    """The numbers of rows that each search decodes."""
    asked, search = [], TextGenerator._search

    def counting(self, encoder_inputs, *arguments):
        context, outputs = search(self, encoder_inputs, *arguments)
        tf.py_function(lambda rows: asked.append(int(rows)), [tf.shape(outputs["scores"])[0]], [])
        return context, outputs

    monkeypatch.setattr(TextGenerator, "_search", counting)
    return asked


def test_blank_as_python_knows_it(preprocessor):
    """Every character of white space, all of which are in the first plane, and none other."""
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    spaces = {character for character in characters if character.isspace()}
    found = preprocessor.blank(tf.constant([f" {character}" for character in characters]))
    assert {character for character, blank in zip(characters, found.numpy(), strict=True) if blank} == spaces
    assert preprocessor.blank(tf.constant([b"\xff", b" \xc3 "])).numpy().tolist() == [False, False]


def test_texts(of_kind):
    assert of_kind.generate(BLANKS) == [""] * len(BLANKS)
    assert [of_kind.generate(blank) for blank in BLANKS[:3]] == [""] * 3
    outputs = of_kind.generate(MIXED)
    assert [outputs[row] for row in FILLED] == of_kind.generate(SOURCES)
    assert [output for row, output in enumerate(outputs) if row not in FILLED] == [""] * 4
    assert of_kind.generate(["", "one"], prefixes=["zwei", "zwei"]) == ["", of_kind.generate("one", prefixes="zwei")]


def test_details(of_kind):
    generations = of_kind.generate(MIXED, details=True)
    for generation, alone in zip(
        [generations[row] for row in FILLED], of_kind.generate(SOURCES, details=True), strict=True
    ):
        assert generation.text == alone.text and generation.source_tokens == alone.source_tokens
        assert generation.score == pytest.approx(alone.score, abs=1e-3)
        assert generation.alignment() == alone.alignment()
        np.testing.assert_allclose(generation.attention, alone.attention, atol=1e-4)
    for blank in [generations[0], *of_kind.generate(BLANKS, details=True)]:
        assert (blank.text, blank.score, blank.alternatives) == ("", 0.0, [("", 0.0)])
        assert blank.source_tokens == blank.target_tokens == blank.alignment() == []
        assert blank.attention.shape == (0, 0) and blank.ignored_tokens == 0


@pytest.mark.parametrize("details", [False, True])
def test_the_model_is_not_asked(trained_model, preprocessor, rows_asked, details):
    for long_sources in ("cut", "split"):
        generator = TextGenerator(trained_model, preprocessor, "greedy", long_sources=long_sources)
        generator.generate(MIXED, details=details)
        generator.generate(BLANKS, details=details)
    assert sum(rows_asked) == 2 * len(FILLED)


def test_hypotheses_in_the_graph(of_kind):
    def decode(raw):
        return of_kind.decode(raw, of_kind.sampler, 9, num_hypotheses=3)

    run = tf.function(decode, input_signature=[of_kind.preprocessor.source_signature], autograph=False)
    outputs = run(tf.constant(MIXED))
    alone = run(tf.constant(SOURCES))
    np.testing.assert_array_equal(outputs["text"].numpy()[FILLED], alone["text"])
    np.testing.assert_allclose(outputs["score"].numpy()[FILLED], alone["score"], atol=1e-3)
    for raw in (MIXED, BLANKS):
        rows = [row for row, source in enumerate(raw) if not source.strip()]
        outputs = run(tf.constant(raw))
        assert outputs["text"].numpy()[rows].tolist() == [[b""] * 3] * len(rows)
        scores = outputs["score"].numpy()[rows]
        assert not scores[:, 0].any() and (scores[:, 1:] < -1e8).all()  # One text is one hypothesis.
    assert run(tf.zeros([0], tf.string))["text"].shape == (0, 3)
    assert run.get_concrete_function().structured_outputs["text"].shape.as_list() == [None, 3]


def test_a_line_of_invalid_bytes_is_not_blank(generator):
    """It was lost from a text of several lines."""
    line = b"one \xff"
    assert generator.generate(line + b"\ntwo") == f"{generator.generate(line)}\n{generator.generate('two')}"
    assert generator.generate(line) != ""


def test_sounds_are_never_blank(preprocessor):
    audio = AudioPreprocessor(preprocessor.target_tokenizer, 8_000, num_bins=8, max_seconds=0.5)
    assert audio.blank(tf.constant([b"", b" "])) is None


@pytest.mark.parametrize("builder", ["TransformerSeq2Seq", "PointerGeneratorSeq2Seq", "GRUSeq2Seq"])
def test_other_models(builder, joint_preprocessor):
    size = joint_preprocessor.target_vocabulary_size
    sizes = [size] if builder == "PointerGeneratorSeq2Seq" else [size, size]
    options = {"num_heads": 2} if builder == "TransformerSeq2Seq" else {"embedding_dim": 8}
    keras.utils.set_random_seed(1)
    model = getattr(kerasseq.models, builder)(*sizes, units=8, **options)
    generator = TextGenerator(model, joint_preprocessor, "greedy", max_length=3, long_sources="cut")
    for sources in (BLANKS[:2], ["", "one"]):
        first, *_ = generations = generator.generate(sources, details=True)
        assert (first.text, first.score, first.target_tokens) == ("", 0.0, [])
        assert [one.text for one in generations] == generator.generate(sources)
