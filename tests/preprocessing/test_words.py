"""The tokenizer of words."""

import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.preprocessing import TextPreprocessor, WordTokenizer

PHONEMES = ["AA0", "AE1", "T", "caf\u00e9", "世界"]


@pytest.fixture(scope="module")
def tokenizer():
    return WordTokenizer(PHONEMES)


def test_ids_by_hand(tokenizer):
    assert tokenizer.vocabulary_size == 9
    texts = ["T AE1 T", "  AA0\t\r\n X  ", "cafe\u0301\u3000世界", "t", "", " ", b"T \xff T", "AA0T"]
    assert tokenizer.tokenize(tf.constant(texts)).to_list() == [
        [6, 5, 6], [4, 1], [7, 8], [1], [], [], [6, 1, 6], [1],
    ]  # fmt: skip


def test_texts_are_joined_by_single_spaces(tokenizer):
    ids = tokenizer.tokenize(tf.constant(["  T \n AE1", "", "X", "T X T"]))
    assert tokenizer.detokenize(ids).numpy().tolist() == [b"T AE1", b"", b"", b"T T"]


def test_white_space_is_that_of_python(tokenizer):
    every = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]
    others = ["\u200b", "\u180e", "\ufeff", "\0", "_", "\x1b"]
    rows = tokenizer.tokenize(tf.constant([f"T{space}T" for space in every])).to_list()
    assert len(every) == 29 and rows == [[6, 6]] * len(every)
    assert tokenizer.tokenize(tf.constant([f"T{other}T" for other in others])).to_list() == [[1]] * len(others)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(st.text("ab\u00e9世 \t\n\r\u3000\u2028", min_size=1, max_size=30).filter(str.strip))
def test_words_are_those_of_python(text):
    tokenizer = WordTokenizer.from_texts([text])
    (ids,) = tokenizer.tokenize(tf.constant([text])).to_list()
    assert [word.decode() for word in tokenizer.id_to_string(ids).numpy()] == text.split()
    assert tokenizer.detokenize(tf.constant([ids], tf.int32)).numpy()[0].decode() == " ".join(text.split())


def test_the_most_frequent_words():
    texts = ["c b a", "b d", "b a"]
    words = WordTokenizer.from_texts(texts).id_to_string(tf.range(4, 8)).numpy().tolist()
    assert words == [b"b", b"a", b"c", b"d"]
    small = WordTokenizer.from_texts(iter(texts), vocabulary_size=6)
    assert small.vocabulary_size == 6 and small.tokenize(["a b c d"]).to_list() == [[5, 4, 1, 1]]


def test_at_most_8_000_words_by_default():
    texts = [" ".join(f"w{index}" for index in range(9_000)), "w8999"]
    tokenizer = WordTokenizer.from_texts(texts)
    assert tokenizer.vocabulary_size == 8_000 and tokenizer.tokenize(["w8999"]).to_list() == [[4]]


def test_names_of_special_tokens_are_words_without_an_id():
    tokenizer = WordTokenizer.from_texts(["<s> one </s>"])
    assert tokenizer.vocabulary_size == 5 and tokenizer.tokenize(["<s> one </s> <pad>"]).to_list() == [[1, 4, 1, 1]]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "at least one word without white space. Received: none"),
        (["a", ""], "must be one word without white space in NFC.*Received at index 1: ''"),
        (["a b"], "Received at index 0: 'a b'"),
        (["a", " b"], "Received at index 1: ' b'"),
        (["a\u3000"], "Received at index 0"),
        (["<unk>"], "none of <pad>, <unk>, <s>, </s>. Received at index 0: '<unk>'"),
        ({"b", "a"}, "must be a list.*Received: a set. Pass sorted"),
        (["a", "b", "a"], "Every token must be in the list once.*Received more than once: 'a'"),
        ("AA0 AE1", "list of words. Received: one str, 'AA0 AE1'. Pass text.split()"),
        ([b"a"], "Tokens must be strings. Received at index 0: b'a'"),
    ],
)
def test_bad_lists(tokens, message):
    with pytest.raises(ValueError, match=message):
        WordTokenizer(tokens)


# === In the preprocessor ===

SPELLINGS = [("cat", "K AE1 T"), ("tack", "T AE1 K"), ("act", "AE1 K T")]


def test_spelling_to_phonemes(rows, strings):
    preprocessor = TextPreprocessor.from_pairs(SPELLINGS, tokens=("characters", "words"))
    assert (preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size) == (8, 7)
    # All are there three times: a, c, t, k (once); AE1, K, T.
    assert rows(preprocessor.encode_source(["tack", "xa"])["encoder_token_ids"]) == [[6, 4, 5, 7, 3], [1, 4, 3]]
    ((inputs, labels),) = preprocessor.dataset(SPELLINGS, batch_size=3)
    assert rows(labels) == [[5, 4, 6, 3], [6, 4, 5, 3], [4, 5, 6, 3]]
    assert strings(preprocessor.decode(labels)) == [target for _, target in SPELLINGS]
    assert strings(preprocessor.decode([[1, 5, 1, 3]])) == ["K"]  # Unknown words are left out.
    assert strings(preprocessor.target_tokens(tf.constant([[1, 5, 3, 0]]))) == [["<unk>", "K", "</s>", ""]]
    assert strings(preprocessor.source_tokens(inputs))[0] == ["c", "a", "t", "</s>", ""]


def test_own_lists(tmp_path, rows):
    from kerasseq.preprocessing import CharacterTokenizer

    preprocessor = TextPreprocessor(CharacterTokenizer("kcat"), WordTokenizer(["K", "AE1", "T"]))
    assert rows(preprocessor.encode_source(["cat"])["encoder_token_ids"]) == [[5, 6, 7, 3]]
    assert rows(preprocessor.encode_target(["K AE1 T"])[1]) == [[4, 5, 6, 3]]
    preprocessor.save_assets(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.chars", "target.words"]
    loaded = TextPreprocessor()
    loaded.load_assets(tmp_path)
    assert rows(loaded.encode_source(["cat"])["encoder_token_ids"]) == [[5, 6, 7, 3]]


def test_where_words_begin_in_a_joint_vocabulary():
    """Every word is one token: `SourceWords` may use any of them after any other."""
    preprocessor = TextPreprocessor.from_pairs([("One 2 two, .", "two, 2")], joint=True, tokens="words")
    described = preprocessor.word_pieces()
    assert described["spaced"].tolist() == [False] * 4 + [True] * 4
    words = [preprocessor.target_tokenizer.id_to_string(index).numpy().decode() for index in range(8)]
    assert [words[index] for index in np.flatnonzero(described["ends_word"])] == ["2", "One"]


def test_long_sources_are_cut_between_words(strings):
    preprocessor = TextPreprocessor(WordTokenizer(["one", "two", "three."]), max_source_length=5)
    inputs, owners = preprocessor.encode_parts(["one two three. " * 2 + "two " * 9, "one"])
    parts = strings(preprocessor.decode(inputs["encoder_token_ids"]))
    assert inputs["encoder_token_ids"].shape[1] <= 5 and parts[-1] == "one"
    assert " ".join(parts[:-1]).split() == ["one", "two", "three."] * 2 + ["two"] * 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": "letters"}, "tokens must be one of 'characters', 'subwords', 'words', or a pair.*tokens='letters'"),
        ({"tokens": ("words",)}, r"Received: tokens=\('words',\)"),
        ({"tokens": None}, "Received: tokens=None"),
        ({"tokens": ("characters", "words"), "joint": True}, "tokens of one kind.*Pass tokens='words', or joint=False"),
        ({"tokens": "words", "normalization": "identity"}, "normalization is that of subwords.*Leave it out"),
        ({"tokens": "words", "vocabulary_size": 4}, "at least 5.*Received: vocabulary_size=4"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TextPreprocessor.from_pairs(SPELLINGS, **arguments)


def test_a_normalization_of_one_side():
    pairs = [("你好，世界", "hello world")] * 5
    preprocessor = TextPreprocessor.from_pairs(pairs, tokens=("subwords", "words"), normalization="identity")
    ids = preprocessor.encode_source(["，"])["encoder_token_ids"]
    kept = tf.ragged.boolean_mask(ids, ids > 3)
    assert preprocessor.source_tokenizer.detokenize(kept).numpy()[0].decode() == "，"
