"""The tokenizer of characters."""

import itertools
import logging
import unicodedata

import hypothesis
import hypothesis.strategies as st
import pytest
import tensorflow as tf

from kerasseq.preprocessing import CharacterTokenizer, TextPreprocessor

ALPHABET = "abc é\t\r\n世👍"


@pytest.fixture(scope="module")
def tokenizer():
    return CharacterTokenizer(ALPHABET)


def test_ids_by_hand(tokenizer):
    assert tokenizer.vocabulary_size == 14
    texts = ["cab", "a  b", "e\u0301", "\u00e9", "\r\n\t", "世👍🏽", "x", "", b"a\xffb"]
    assert tokenizer.tokenize(tf.constant(texts)).to_list() == [
        [6, 4, 5], [4, 7, 7, 5], [8], [8], [10, 11, 9], [12, 13, 1], [1], [], [4, 1, 5],
    ]  # fmt: skip
    assert tokenizer.id_to_string(tf.range(6)).numpy().tolist() == [b"<pad>", b"<unk>", b"<s>", b"</s>", b"a", b"b"]


def test_unknown_characters_are_left_out(tokenizer):
    ids = tokenizer.tokenize(tf.constant(["axb", "xyz"]))
    assert tokenizer.detokenize(ids).numpy().tolist() == [b"ab", b""]
    assert tokenizer.detokenize(tf.constant([[2, 4, 1, 5, 3, 0]])).numpy().tolist() == [b"ab"]


def test_the_most_frequent_characters():
    """Ties are in the order of Unicode; é is one character, however it is written."""
    texts = ["bbb", "a a", "e\u0301\u00e9", "c"]  # b 3, a 2, é 2, " " 1, c 1
    tokenizer = CharacterTokenizer.from_texts(texts)
    assert tokenizer.vocabulary_size == 9 and tokenizer.tokenize(["ba\u00e9 c"]).to_list() == [[4, 5, 6, 7, 8]]
    small = CharacterTokenizer.from_texts(texts, vocabulary_size=6)
    assert small.vocabulary_size == 6 and small.tokenize(["bac"]).to_list() == [[4, 5, 1]]


@hypothesis.settings(deadline=None, max_examples=80)
@hypothesis.given(st.lists(st.text(max_size=20), min_size=1, max_size=5).filter(lambda texts: "".join(texts).strip()))
def test_any_text_comes_back_in_nfc(texts):
    """White space at both ends, NUL and all; U+FFFD in the place of lone surrogates."""
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    tokenizer = CharacterTokenizer.from_texts([*texts, " \t\r\n\0x"])
    ids = tokenizer.tokenize(tf.constant(texts))
    known = [text for text in texts if text.strip()]
    decoded = dict(zip(texts, tokenizer.detokenize(ids).numpy(), strict=True))
    assert [decoded[text].decode() for text in known] == [unicodedata.normalize("NFC", text) for text in known]


def test_words_begin_after_white_space(tokenizer):
    ids = tokenizer.tokenize(tf.constant([" ab  c\na"])).flat_values
    begins_word, begins_character = tokenizer.boundaries(ids)
    assert begins_word.numpy().tolist() == [False, True, False, False, False, True, False, True]
    assert all(begins_character.numpy())


def test_marks_belong_to_the_character_before_them():
    text = "\u0928\u093f👩\u200d👧q\u0323\u0307"
    tokenizer = CharacterTokenizer(dict.fromkeys(text))
    _, begins_character = tokenizer.boundaries(tokenizer.tokenize([text]).flat_values)
    assert begins_character.numpy().tolist() == [True, False, True, False, True, True, False, False]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ("", "at least one character. Received: none"),
        (["a", ""], "must be one character in NFC.*Received at index 1: ''"),
        (["ab"], "Received at index 0: 'ab'"),
        (["q\u0323"], "Received at index 0"),
        (["\u0958"], "Received at index 0"),  # NFC decomposes it.
        (frozenset("ab"), "must be a list.*Received: a frozenset"),
        ("abca", "in the list once.*Received more than once: 'a'"),
        (["\u00e9", "e\u0301"], "Received more than once: 'é'"),
        (["a", 1], "Tokens must be strings. Received at index 1: 1"),
    ],
)
def test_bad_alphabets(tokens, message):
    with pytest.raises(ValueError, match=message):
        CharacterTokenizer(tokens)


# === In the preprocessor ===


def test_numbers_are_digits(rows, strings):
    pairs = [(str(number), " ".join(str(number))) for number in range(100, 300, 7)]
    preprocessor = TextPreprocessor.from_pairs(pairs, tokens="characters", max_source_length=6)
    assert preprocessor.source_vocabulary_size == 14 and preprocessor.target_vocabulary_size == 15
    ids = rows(preprocessor.encode_source(["1", "11", "1234567"])["encoder_token_ids"])
    one = ids[0][0]
    assert ids[1] == [one, one, 3] and len(ids[2]) == 6
    labels = preprocessor.encode_target(["1 2 3"])[1]
    assert strings(preprocessor.decode(labels)) == ["1 2 3"]
    assert strings(preprocessor.target_tokens(labels)) == [["1", " ", "2", " ", "3", "</s>"]]


def test_one_alphabet_for_both_sides():
    preprocessor = TextPreprocessor.from_pairs([("ab", "ba c")], joint=True, tokens="characters")
    assert preprocessor.joint and preprocessor.source_vocabulary_size == 8
    with pytest.raises(ValueError, match="SourceWords requires .*Received: CharacterTokenizer"):
        preprocessor.word_pieces()


def test_long_sources_are_cut_between_words(strings):
    preprocessor = TextPreprocessor(CharacterTokenizer("abcd .,"), max_source_length=20)
    text = "abcd " * 12 + "ab. " + "cd, ab " * 5
    inputs, owners = preprocessor.encode_parts([text, "ab"])
    parts = strings(preprocessor.decode(inputs["encoder_token_ids"]))
    assert inputs["encoder_token_ids"].shape[1] <= 20 and owners.numpy().tolist().count(1) == 1
    assert "".join(parts[:-1]).replace(" ", "") == text.replace(" ", "") and parts[-1] == "ab"
    whole = set(itertools.chain.from_iterable(part.split() for part in parts))
    assert whole == {"abcd", "ab.", "cd,", "ab"}


def test_sources_that_are_too_long(caplog):
    preprocessor = TextPreprocessor(CharacterTokenizer("ab"), max_source_length=5)
    with caplog.at_level(logging.WARNING, logger="kerasseq"):
        preprocessor.raw_batch(["abab"])
        assert not caplog.records
        preprocessor.raw_batch(["ababa"])
    assert "1 of 1 texts are longer than the model's limit of 5 tokens (the longest has 6)" in caplog.text


@pytest.mark.parametrize("tokens", ["characters", "words", ("characters", "subwords"), ("subwords", "words")])
def test_nothing_to_sample_of_characters_and_words(tokens):
    pairs = [("ab cd", "cd ab")] * 4
    preprocessor = TextPreprocessor.from_pairs(pairs, tokens=tokens)
    with pytest.raises(ValueError, match="subword_sampling requires .*Received: (Character|Word)Tokenizer"):
        preprocessor.dataset(pairs, batch_size=2, subword_sampling=0.3)
