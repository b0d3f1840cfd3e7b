"""Where long texts are split, that nothing is lost, and that outputs are joined."""

import hypothesis
import hypothesis.strategies as st
import pytest
import tensorflow as tf

from kerasseq.preprocessing.long_texts import cut_rows, sentences

SENTENCES = {
    "He came. She left! Why? Yes.": ["He came.", "She left!", "Why?", "Yes."],
    "Mr. Smith paid $3.5 million. J. R. R. Tolkien did not.": [
        "Mr. Smith paid $3.5 million.",
        "J. R. R. Tolkien did not.",
    ],
    "See example.org, e.g. today. It works...  Really": ["See example.org, e.g. today.", "It works...", "Really"],
    "«Oui.» Elle dit : non. «Ah !» ¿Qué? ¡Sí!": ["«Oui.»", "Elle dit : non.", "«Ah !»", "¿Qué?", "¡Sí!"],
    'He said "No." "Yes." (Maybe.) End': ['He said "No."', '"Yes."', "(Maybe.)", "End"],
    "他来了。我很高兴！你呢？「好。」完": ["他来了。", "我很高兴！", "你呢？", "「好。」", "完"],
    "नमस्ते। आप कैसे हैं? ठीक।": ["नमस्ते।", "आप कैसे हैं?", "ठीक।"],
    "هل أنت هنا؟ نعم. حسنا": ["هل أنت هنا؟", "نعم.", "حسنا"],
    "A title\n\nA paragraph\nof two lines\n \nthe end": ["A title", "A paragraph\nof two lines", "the end"],
    "By J.\n\nNext. No. Yes, No. 5": ["By J.", "Next.", "No.", "Yes, No. 5"],
    "On Jan. 5 and Sept. 7. In Dec. She left.": ["On Jan. 5 and Sept. 7.", "In Dec.", "She left."],
    "no end": ["no end"],
    "": [],
    " \n\t ": [],
    "a\x1eb. C": ["a b.", "C"],
}


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences(text):
    assert [part.decode() for part in sentences(tf.constant([text]))[0].numpy()] == SENTENCES[text]


def test_invalid_bytes_are_no_end():
    (parts,) = sentences(tf.constant([b"\xff one. Two \xc3."])).to_list()
    assert [part.decode() for part in parts] == ["\ufffd one.", "Two \ufffd."]


# === Cutting rows ===


rows_of_words = st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=5)  # ids of each word of a row


@tf.function(input_signature=[
    tf.RaggedTensorSpec([None, None], tf.int32), *[tf.TensorSpec([None], tf.bool)] * 2, tf.TensorSpec([], tf.int64)
])  # fmt: skip
def cut(ids, begins_word, begins_character, limit):
    return cut_rows(ids, begins_word, begins_character, limit)


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(rows_of_words, st.integers(1, 12))
def test_cut_rows(rows, limit):
    """Nothing is lost or moved, no piece is too long, and short words are never cut where rows are much longer."""
    ids, begins, number = [], [], 0
    for words in rows:
        row = []
        for length in words:
            row += range(number, number + length)
            begins += [True] + [False] * (length - 1)
            number += length
        ids.append(row)
    ragged = tf.ragged.constant(ids, tf.int32, ragged_rank=1)
    parts, owners = cut(ragged, tf.constant(begins, tf.bool), tf.ones(len(begins), tf.bool), limit)
    pieces = parts.to_list()
    assert all(0 < len(piece) <= limit for piece in pieces)
    for row, expected in enumerate(ids):
        own = [piece for piece, owner in zip(pieces, owners.numpy(), strict=True) if owner == row]
        assert [token for piece in own for token in piece] == expected
        if len(expected) <= limit:
            assert len(own) == bool(expected)
        if expected and max(rows[row]) <= limit // 4:
            assert all(begins[piece[0]] for piece in own)


def test_cut_rows_by_hand():
    """Ten ids, at most four in a piece: cuts at 3, 6 and 9, each back to a word's beginning that is one away."""
    ids = tf.ragged.constant([list(range(10)), [10, 11]])
    begins = tf.constant([place in (0, 2, 4, 6, 10) for place in range(12)])
    parts, owners = cut_rows(ids, begins, tf.ones(12, tf.bool), 4)
    assert parts.to_list() == [[0, 1], [2, 3, 4, 5], [6, 7, 8], [9], [10, 11]]
    assert owners.numpy().tolist() == [0, 0, 0, 0, 1]


def test_characters_are_not_cut():
    """Four bytes a character, at most twelve ids in a piece."""
    ids = tf.ragged.constant([list(range(40))])
    characters = tf.constant([place % 4 == 0 for place in range(40)])
    parts, _ = cut_rows(ids, tf.zeros(40, tf.bool), characters, 12)
    assert [token for piece in parts.to_list() for token in piece] == list(range(40))
    assert all(piece[0] % 4 == 0 and len(piece) <= 12 for piece in parts.to_list())


# === In the preprocessor ===


def test_sources_that_fit_are_left_alone(preprocessor):
    texts = ["one. Two. Three", "", "four"]
    inputs, owners = preprocessor.encode_parts(texts)
    assert owners.numpy().tolist() == [0, 1, 2]
    tf.debugging.assert_equal(inputs["encoder_token_ids"], preprocessor.encode_source(texts)["encoder_token_ids"])


def test_parts_of_long_sources(preprocessor):
    """Sentences where they fit; order and owners are those of the sources."""
    long = "One two three four. " * 4 + "two " * 60
    inputs, owners = preprocessor.encode_parts(["one", long, "two", "three. " * 40])
    owners = owners.numpy().tolist()
    assert owners == sorted(owners) and set(owners) == {0, 1, 2, 3}
    ids = inputs["encoder_token_ids"].numpy()
    assert ids.shape[1] <= preprocessor.max_source_length
    assert all(row.tolist().count(3) == 1 for row in ids)
    words = preprocessor.source_tokenizer.detokenize(
        tf.ragged.constant([[i for i in row if i > 3] for row in ids[1:-1].tolist()], tf.int32)
    )
    joined = " ".join(text.decode() for text, owner in zip(words.numpy(), owners[1:-1], strict=True) if owner == 1)
    assert joined.split() == long.split()


def test_joined_outputs(preprocessor):
    texts = tf.constant([["a.", "b"], ["c", ""], ["d。", "e"], ["f", "g"], ["h\x1ei", "h"]])
    joined = preprocessor.join_parts(texts, tf.constant([0, 0, 2, 2, 3]), tf.constant(4))
    assert [[text.decode() for text in row] for row in joined.numpy()] == [
        ["a. c", "b"], ["", ""], ["d。f", "e g"], ["h\x1ei", "h"],
    ]  # fmt: skip


def test_ignored_tokens(preprocessor):
    texts = ["one", "one " * 100]
    lengths = preprocessor.tokenize(texts, "source").row_lengths().numpy()
    expected = [0, lengths[1] - preprocessor.max_source_length]
    assert preprocessor.remarks(texts)["ignored_tokens"].numpy().tolist() == expected


def test_every_sentence_apart(preprocessor):
    """Also of texts that fit; one sentence, no sentence, and only spaces stay rows of their own."""
    texts = ["one. Two. Three", "", "four", "  ", "Two three. One."]
    inputs, owners = preprocessor.encode_parts(texts, every_sentence=True)
    assert owners.numpy().tolist() == [0, 0, 0, 1, 2, 3, 4, 4]
    alone = ["one.", "Two.", "Three", "", "four", "  ", "Two three.", "One."]
    tf.debugging.assert_equal(inputs["encoder_token_ids"], preprocessor.encode_source(alone)["encoder_token_ids"])


@pytest.mark.parametrize("separator", [". ", "\n", "; ", ": "])
def test_long_lists_are_split_at_their_items(preprocessor, separator):
    """In lower case, and without full stops: no item is cut, or joined to another."""
    items = ["one two three", "four", "two two one"] * 6
    text = separator.join(items)
    inputs, owners = preprocessor.encode_parts([text])
    assert owners.shape == (18,)
    alone = [item + separator.strip() for item in items[:-1]] + items[-1:]
    tf.debugging.assert_equal(inputs["encoder_token_ids"], preprocessor.encode_source(alone)["encoder_token_ids"])
