"""Long sources: split, decoded part by part and joined, or truncated."""

import numpy as np
import pytest
import tensorflow as tf

from kerasseq import TextGenerator
from kerasseq.long_sources import decode_parts


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


def lengths(encoder_inputs, prefix_ids):
    """Stands in for a model: the hypotheses of a part are its length, and that plus the first token of its prefix."""
    ids = encoder_inputs["encoder_token_ids"]
    length = tf.reduce_sum(tf.cast(ids != 0, tf.int32), axis=1)
    first = length if prefix_ids is None else length + prefix_ids[:, 0]
    texts = tf.strings.as_string(tf.stack([length, first], axis=1))
    return {"text": texts, "score": -tf.cast(tf.stack([length, 2 * length], axis=1), tf.float32)}


@pytest.mark.parametrize("at_once", [4, 64])
def test_parts_go_through_in_groups(preprocessor, monkeypatch, at_once):
    """However many rows go through together, each part has its own output, in its place."""
    monkeypatch.setattr("kerasseq.long_sources.PARTS_AT_ONCE", at_once)
    long = " ".join(f"{first} {second}." for first in ("One", "Two") for second in ("one", "two", "four")) * 3
    raw = tf.constant([long, "two", ""])

    def decode_rows(encoder_inputs, prefix_ids):
        tf.debugging.assert_less_equal(tf.shape(prefix_ids)[0], max(at_once, 3))  # at least as many as sources
        return lengths(encoder_inputs, prefix_ids)

    run = tf.function(lambda raw, prefix_ids: decode_parts(decode_rows, raw, preprocessor, True, 2, prefix_ids))
    outputs = run(raw, tf.constant([[100], [200], [300]]))
    parts, owners = preprocessor.encode_parts(raw, True)
    expected_lengths = np.count_nonzero(parts["encoder_token_ids"], axis=1)
    for row, prefix in enumerate((100, 200, 300)):
        if not raw.numpy()[row]:
            assert outputs["text"][row].numpy().tolist() == [b"", b""]
            assert outputs["score"][row].numpy().tolist() == [0, -1e9]  # One text is one hypothesis.
            continue
        own = expected_lengths[owners.numpy() == row]
        expected = [" ".join(map(str, own)), " ".join(map(str, [own[0] + prefix, *own[1:]]))]
        assert [text.decode() for text in outputs["text"][row].numpy()] == expected
        np.testing.assert_allclose(outputs["score"][row], [-own.sum(), -2 * own.sum()])
    assert len(expected_lengths) > 12


def test_lines_remain_lines(preprocessor):
    """Each is decoded on its own, if it is not blank. Blank sources have no lines, for their outputs are empty."""
    raw = tf.constant(["One two three\n\n one. Two\r\nfour\n", "two", "\n", " ", "\rone", ""])
    outputs = decode_parts(lengths, raw, preprocessor, True, 2, tf.constant([[0], [0], [0], [0], [100], [0]]))
    parts = ["One two three", " one.", "Two", "four", "two", "one"]
    long, one, two, four, alone, last = preprocessor.tokenize(parts, "source").row_lengths().numpy()
    texts = [f"{long}\n\n{one} {two}\n{four}\n", f"{alone}", "", "", f"\n{last}", ""]
    prefixed = [*texts[:4], f"\n{last + 100}", ""]
    assert outputs["text"].numpy().tolist() == [
        [text.encode() for text in row] for row in zip(texts, prefixed, strict=True)
    ]
    np.testing.assert_allclose(outputs["score"][:, 0], [-long - one - two - four, -alone, 0, 0, -last, 0])
    nothing = decode_parts(lengths, raw[:0], preprocessor, True, 2, tf.zeros([0, 1], tf.int32))
    assert nothing["text"].shape == nothing["score"].shape == (0, 2)


def test_a_part_with_fewer_hypotheses_repeats_its_best(preprocessor):
    """No rank of a joined output misses a sentence; a source of one part keeps its impossible hypothesis."""

    def one_alone(encoder_inputs, prefix_ids):
        outputs = lengths(encoder_inputs, prefix_ids)
        rows = tf.range(tf.shape(outputs["score"])[0])
        missing = ((rows == 1) | (rows == rows[-1]))[:, None] & (tf.range(2) > 0)
        return {
            "text": tf.where(missing, "", outputs["text"]), "score": tf.where(missing, -1e9, outputs["score"]),
        }  # fmt: skip

    raw = tf.constant(["One two three. Four.", "two"])  # With END, 5, 3 and 2 tokens.
    outputs = decode_parts(one_alone, raw, preprocessor, True, 2)
    first, second, third = np.count_nonzero(preprocessor.encode_parts(raw, True)[0]["encoder_token_ids"], axis=1)
    joined = f"{first} {second}".encode()
    assert outputs["text"].numpy().tolist() == [[joined, joined], [str(third).encode(), b""]]
    np.testing.assert_allclose(outputs["score"], [[-first - second, -2 * first - second], [-third, -1e9]])


def test_cut_on_request(trained_model, preprocessor, generator):
    """With details, `generator` cuts too."""
    cutting = TextGenerator(trained_model, preprocessor, generator.sampler, long_sources="cut")
    sources = ["One two three four. " * 9, "one"]
    detailed = generator.generate(sources, details=True)
    assert cutting.generate(sources) == [generation.text for generation in detailed]
    expected = preprocessor.remarks(sources)["ignored_tokens"].numpy().tolist()
    assert [generation.ignored_tokens for generation in detailed] == expected
    outputs = cutting.compiled_decode(cutting.sampler, cutting.max_length)(tf.constant(sources))
    assert outputs["ignored_tokens"].numpy().tolist() == expected
    copy = TextGenerator.from_config(cutting.get_config())
    assert copy.long_sources == "cut"


def test_unknown_choice(trained_model, preprocessor):
    with pytest.raises(
        ValueError, match="long_sources must be one of 'split', 'cut', 'sentences'. Received: long_sources='drop'"
    ):
        TextGenerator(trained_model, preprocessor, long_sources="drop")


def test_generated_sentence_by_sentence(trained_model, preprocessor, generator):
    sentences = TextGenerator(trained_model, preprocessor, generator.sampler, long_sources="sentences")
    expected_line = generator.generate("One two.")
    expected = [
        " ".join(generator.generate(sentence) for sentence in ("One two.", "Three four.", "Two")),
        generator.generate("one"),
        "",
        f"\n{expected_line}\n\n{generator.generate('Two.')} {expected_line}",
    ]
    assert sentences.generate(["One two. Three four. Two", "one", "", "\nOne two.\r\n \nTwo. One two."]) == expected


def test_scores_are_sums_over_parts(generator, trained_model):
    sentences = TextGenerator(trained_model, generator.preprocessor, generator.sampler, long_sources="sentences")
    parts = sentences.generate(["One two.", "Three four.", "Two", ""], scores=True)
    assert parts == [
        (generation.text, pytest.approx(generation.score, abs=1e-3))
        for generation in generator.generate(["One two.", "Three four.", "Two", ""], details=True)
    ]
    assert parts[3] == ("", 0.0)
    text, score = sentences.generate("One two. Three four. Two", scores=True)
    assert text == " ".join(text for text, _ in parts[:3])
    assert score == pytest.approx(sum(score for _, score in parts), abs=1e-3)
    with pytest.raises(ValueError, match="details=True has the scores"):
        sentences.generate("One", details=True, scores=True)
