"""Long sources in the generator: split, generated part by part and joined, or truncated."""

import pytest
import tensorflow as tf

import kerasseq
from kerasseq import TextGenerator


def test_generated_in_parts(generator, caplog):
    """Each sentence is generated as it is alone; with details, which are of one pass, the source is cut."""
    sentence = "One two three four."
    alone = generator.generate(sentence)
    assert generator.generate([f"{sentence} " * 9, "two"]) == [" ".join([alone] * 9), generator.generate("two")]
    assert "1 of 2 texts are longer than the model's limit of 24 tokens" in caplog.text
    assert "split into sentences" in caplog.text
    caplog.clear()
    generation = generator.generate(f"{sentence} " * 9, details=True)
    assert generation.ignored_tokens > 0 and len(generation.source_tokens) == 24
    assert "They are truncated" in caplog.text


def test_prefixes_begin_the_first_part(generator):
    sentence = "One two three four. "
    text = generator.generate(sentence * 9, prefixes="zwei")
    first, rest = generator.generate(sentence, prefixes="zwei"), generator.generate(sentence)
    assert text == " ".join([first] + [rest] * 8)


def test_many_parts_go_through_in_groups(generator, monkeypatch):
    text = " ".join(f"{first} {second}." for first in ("One", "Two") for second in ("one", "two", "four")) * 5
    expected = generator.generate(text)
    monkeypatch.setattr("kerasseq.generator.PARTS_AT_ONCE", 4)
    smaller = TextGenerator(generator.model, generator.preprocessor, generator.sampler)
    assert smaller.generate(text) == expected and len(expected.split()) > 10


def test_a_part_with_fewer_hypotheses_lends_its_best(generator, monkeypatch):
    """No rank of a joined output lacks a sentence, though a part has one hypothesis alone."""
    part = generator._decode_rows

    def one_alone(*arguments):
        outputs = part(*arguments)
        lacking = (tf.range(tf.shape(outputs["score"])[0]) == 0)[:, None] & (tf.range(3) > 0)
        return {
            "text": tf.where(lacking, "", outputs["text"]), "score": tf.where(lacking, -1e9, outputs["score"]),
        }  # fmt: skip

    text = tf.constant(["One two three four. " * 9, "two"])
    expected = generator.decode(text, generator.sampler, 12, num_hypotheses=3)
    first = generator.generate("One two three four.", max_length=12)
    monkeypatch.setattr(generator, "_decode_rows", one_alone)
    outputs = generator.decode(text, generator.sampler, 12, num_hypotheses=3)
    for rank in range(3):
        joined = outputs["text"][0, rank].numpy().decode()
        assert joined.startswith(first) and len(joined.split()) >= len(first.split()) * 5
        assert outputs["score"][0, rank] > -1e6
    assert expected["text"][1, 0] == outputs["text"][1, 0]


def test_cut_on_request(trained_model, preprocessor, tmp_path):
    cutting = TextGenerator(trained_model, preprocessor, sampler="greedy", long_sources="cut")
    long = "One two three four. " * 9
    assert cutting.generate(long) == cutting.generate(long, details=True).text
    outputs = cutting.decode(tf.constant([long, "one"]), cutting.sampler, 4)
    expected = preprocessor.remarks([long, "one"])["ignored_tokens"]
    assert outputs["ignored_tokens"].numpy().tolist() == expected.numpy().tolist()
    cutting.save(tmp_path / "cutting.keras")
    assert TextGenerator.load(tmp_path / "cutting.keras").long_sources == "cut"


def test_unknown_choice(trained_model, preprocessor):
    with pytest.raises(
        ValueError, match="long_sources must be one of 'split', 'cut', 'sentences'. Received: long_sources='drop'"
    ):
        kerasseq.TextGenerator(trained_model, preprocessor, long_sources="drop")


@pytest.mark.slow
def test_generated_sentence_by_sentence(trained_model, preprocessor, tmp_path):
    generator = TextGenerator(trained_model, preprocessor, sampler="greedy", long_sources="sentences")
    texts = ["One two. Three four. Two", "one", ""]
    expected = [
        " ".join(generator.generate(sentence) for sentence in ("One two.", "Three four.", "Two")),
        generator.generate("one"),
        generator.generate(""),
    ]
    assert generator.generate(texts) == expected
    loaded = TextGenerator.load(generator.export(tmp_path))
    assert loaded.long_sources == "sentences"
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["greedy"](text=tf.constant(texts))
    assert [text.decode() for text in served["text"].numpy()] == expected
