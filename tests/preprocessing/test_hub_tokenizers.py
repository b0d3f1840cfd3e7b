"""Tokenizers of KerasHub, rebuilt: ids computed by hand, against KerasHub's own, and their assets."""

import json

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.preprocessing import TextPreprocessor, Tokenizer
from kerasseq.preprocessing.tokenizers import from_hub, load_tokenizer
from kerasseq.preprocessing.tokenizers.byte_pair import BytePairTokenizer, byte_alphabet
from kerasseq.preprocessing.tokenizers.word_piece import WordPieceTokenizer

KINDS = ["bert", "distil_bert", "roberta", "bart", "t5", "xlm_roberta"]
# The others are of the same kinds, and take as long.
SLOW = {"distil_bert", "bart", "xlm_roberta"}
PARAMETERS = [pytest.param(kind, marks=pytest.mark.slow if kind in SLOW else ()) for kind in KINDS]
TEXTS = ["one two three", "", " two  four\n", "Four, three, 5!", "één 中文 two", "a\0b", "one\u00a0 two \t three's"]


@pytest.fixture(scope="module", params=PARAMETERS)
def hub_tokenizer(request, hub_parts):
    return hub_parts(request.param)[0]


@pytest.fixture(scope="module")
def tokenizer(hub_tokenizer):
    return from_hub(hub_tokenizer)


def test_special_ids_are_left_out_of_texts(tokenizer):
    """Padding, START and END of dense ids, as the contract of tokenizers says."""
    ids = tokenizer.tokenize(["one two three"])
    padded = tf.concat([[[2]], ids.to_tensor(), [[3, 0, 0]]], axis=1)
    assert tokenizer.detokenize(padded).numpy().tolist() == tokenizer.detokenize(ids).numpy().tolist()


# === Ids computed by hand ===


def test_word_piece(hub_parts):
    tokenizer = from_hub(hub_parts("bert")[0])
    # Index in the list of tokens, plus 4: "one" is the sixth token, [UNK] the second.
    expected = [[9, 10, 11, 12], [], [13, 14, 5, 5], [15]]
    assert tokenizer.tokenize(["one two three", "", "FOUR,fourx 中", "É"]).to_list() == expected
    assert tokenizer.vocabulary_size == 16
    texts = tokenizer.detokenize(tf.ragged.constant([[9, 11, 12], [13, 14]], tf.int32)).numpy().tolist()
    assert texts == [b"one three", b"four ,"]
    begins_word, begins_character = tokenizer.boundaries(tf.constant([9, 11, 12]))
    assert begins_word.numpy().tolist() == [True, True, False] and all(begins_character.numpy())


def test_accents_and_ideographs():
    tokens = ["[UNK]", "eclair", "中", "文"]
    tokenizer = WordPieceTokenizer(tokens, lowercase=True, strip_accents=True)
    assert tokenizer.tokenize(["Éclair中文"]).to_list() == [[5, 6, 7]]
    kept = WordPieceTokenizer(tokens, lowercase=True, split_ideographs=False)
    assert kept.tokenize(["Éclair 中文", "中"]).to_list() == [[4, 4], [6]]


def test_byte_pair():
    alphabet = byte_alphabet()
    tokens = [*alphabet, "lo", "low", "er", "Ġlow"]
    tokenizer = BytePairTokenizer(tokens, ["l o", "lo w", "e r", "Ġ low"])
    byte = {character: index + 4 for index, character in enumerate(alphabet)}
    lo, low, er, space_low = range(260, 264)
    cases = {
        "low": [low],
        "lower low": [low, er, space_low],
        # The last of several spaces belongs to the next word.
        "low  low": [low, byte["Ġ"], space_low],
        "lol": [lo, byte["l"]],
        "é": [byte["Ã"], byte["©"]],
        "lo\n low": [lo, byte["Ċ"], space_low],
        "low's": [low, byte["'"], byte["s"]],
        "1low": [byte["1"], low],
    }
    ids = tokenizer.tokenize(list(cases))
    assert ids.to_list() == list(cases.values())
    assert [text.decode() for text in tokenizer.detokenize(ids).numpy()] == list(cases)
    begins_word, begins_character = tokenizer.boundaries(tf.constant([low, space_low, byte["Ã"], byte["©"]]))
    assert begins_word.numpy().tolist() == [False, True, False, False]
    assert begins_character.numpy().tolist() == [True, True, True, False]


def test_byte_pair_with_a_space_first_and_unknown_bytes():
    tokenizer = BytePairTokenizer(["Ġ", "a", "b", "Ġa"], ["Ġ a"], add_prefix_space=True)
    ids = tokenizer.tokenize(["ab ac", ""])
    assert ids.to_list() == [[7, 6, 7, 1], [4]]
    assert tokenizer.detokenize(ids).numpy().tolist() == ["ab a\ufffd".encode(), b""]
    without_merges = BytePairTokenizer(["a", "b"], [])
    assert without_merges.tokenize(["ab", "ba a"]).to_list() == [[4, 5], [5, 4, 1, 4]]


def merged(word, merges):
    """Byte pair encoding as in the paper: the best pair of a word is merged, until there is none."""
    parts = list(word)
    while True:
        pairs = [f"{left} {right}" for left, right in zip(parts, parts[1:], strict=False)]
        best = min((pair for pair in pairs if pair in merges), key=merges.index, default=None)
        if best is None:
            return parts
        place = pairs.index(best)
        parts[place : place + 2] = [best.replace(" ", "")]


def test_byte_pairs_are_merged_as_in_the_paper():
    random = np.random.default_rng(0)
    merges = ["a b", "b c", "ab c", "c c", "a a", "aa abc", "bc cc", "ab ab"]
    tokens = ["a", "b", "c", *(merge.replace(" ", "") for merge in merges)]
    tokens = list(dict.fromkeys(tokens))
    words = ["".join(random.choice(list("abc"), size=length)) for length in random.integers(1, 15, 60)]
    ids = BytePairTokenizer(tokens, merges).tokenize(words).to_list()
    assert ids == [[tokens.index(part) + 4 for part in merged(word, merges)] for word in words]


def test_sentence_piece(hub_parts):
    """T5's ids are those of its model; XLM-RoBERTa moves them by one."""
    for kind, offset in (("t5", 4), ("xlm_roberta", 5)):
        original = hub_parts(kind)[0]
        pieces = keras_hub.tokenizers.SentencePieceTokenizer(proto=original.proto)
        expected = [[token_id + offset for token_id in row] for row in pieces(["one two", "four"])]
        tokenizer = from_hub(original)
        ids = tokenizer.tokenize(["one two", "four"])
        assert ids.to_list() == expected
        assert tokenizer.detokenize(ids).numpy().tolist() == [b"one two", b"four"]


# === Against KerasHub ===


def test_ids_are_those_of_kerashub(hub_tokenizer, tokenizer):
    """In the graph, as in its data pipelines. Unknown bytes have no id there."""
    expected = tf.function(hub_tokenizer.tokenize, autograph=False)(tf.constant(TEXTS)).to_list()
    assert tokenizer.tokenize(TEXTS).to_list() == [[token_id + 4 for token_id in row] for row in expected]
    assert tokenizer.vocabulary_size == hub_tokenizer.vocabulary_size() + 4


def test_texts_and_tokens_are_those_of_kerashub(hub_tokenizer, tokenizer):
    ids = tokenizer.tokenize(TEXTS[:3])
    expected = tf.function(hub_tokenizer.detokenize, autograph=False)(ids - 4)
    assert tokenizer.detokenize(ids).numpy().tolist() == expected.numpy().tolist()
    all_ids = tf.range(4, tokenizer.vocabulary_size)
    tokens = tokenizer.id_to_string(all_ids)
    own = [hub_tokenizer.id_to_token(token_id) for token_id in range(hub_tokenizer.vocabulary_size())]
    assert [token.decode() for token in tokens.numpy()] == own
    assert tokenizer.string_to_id(tokens).numpy().tolist() == all_ids.numpy().tolist()
    assert tokenizer.string_to_id(["no token"]).numpy().tolist() == [1]
    assert tokenizer.tokens(tf.constant([0, 3])).numpy().tolist() == [b"", b"</s>"]


# === As a tokenizer of a preprocessor ===


def test_asset(tokenizer, tmp_path):
    """JSON that needs no other file, found by its suffix."""
    content = tokenizer.to_bytes()
    assert "tokens" in json.loads(content)
    (tmp_path / f"source.{tokenizer.suffix}").write_bytes(content)
    loaded = load_tokenizer(tmp_path, "source")
    assert type(loaded) is type(tokenizer) and loaded.to_bytes() == content
    assert loaded.tokenize(TEXTS).to_list() == tokenizer.tokenize(TEXTS).to_list()


@pytest.mark.exports
def test_eager_and_in_a_graph_and_in_a_saved_model(tokenizer, tmp_path):
    """Invalid UTF-8 is read as U+FFFD, and so in servers."""
    texts = tf.constant([text.encode() for text in TEXTS] + [b"one\xff two"])
    module = tf.Module()
    module.tokenizer = tokenizer

    def repeat(texts):
        ids = tokenizer.tokenize(texts)
        return ids.to_tensor(), tokenizer.detokenize(ids)

    module.repeat = tf.function(repeat, [tf.TensorSpec([None], tf.string)], autograph=False)
    expected, repeated = repeat(texts)
    assert tokenizer.tokenize(["one\ufffd two"]).to_list() == tokenizer.tokenize(texts[-1:]).to_list()
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for graph in (module.repeat, loaded.repeat):
        ids, detokenized = graph(texts)
        assert ids.numpy().tolist() == expected.numpy().tolist()
        assert detokenized.numpy().tolist() == repeated.numpy().tolist()
        assert graph(tf.constant([], tf.string))[0].shape[0] == 0


def test_survives_a_new_seed(tokenizer, strings):
    preprocessor = TextPreprocessor(tokenizer)
    before = preprocessor.encode_source(["one two"])["encoder_token_ids"].numpy().tolist()
    keras.utils.set_random_seed(3)
    keras.utils.clear_session()
    assert preprocessor.encode_source(["one two"])["encoder_token_ids"].numpy().tolist() == before
    assert strings(preprocessor.decode(before))[0].strip() == "one two"


def test_a_preprocessor_takes_kerashubs_own(hub_parts):
    """Also after the model of SentencePiece that TF Text keeps for it has been deleted."""
    for kind in ("bert", "t5"):
        hub_tokenizer = hub_parts(kind)[0]
        keras.utils.set_random_seed(3)
        preprocessor = TextPreprocessor(hub_tokenizer)
        assert isinstance(preprocessor.source_tokenizer, Tokenizer)
        assert preprocessor.source_vocabulary_size == hub_tokenizer.vocabulary_size() + 4


def test_in_a_preprocessor(tokenizer, vocabularies, rows):
    preprocessor = TextPreprocessor(tokenizer, vocabularies[1], max_source_length=4)
    (ids,) = rows(preprocessor.encode_source(["one"])["encoder_token_ids"])
    assert ids[-1] == 3 and min(ids) >= 3
    assert len(preprocessor.raw_batch(preprocessor.example_sources(2, 0.5))) == 2
    dataset = preprocessor.dataset([("one", "eins"), ("two", "zwei")], batch_size=2)
    assert all(row[-1] == 3 for row in rows(next(iter(dataset))[0]["encoder_token_ids"]))


@pytest.mark.parametrize("kind", ["t5", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("bert", "roberta"))])
def test_parts_of_long_texts(kind, hub_parts, vocabularies):
    preprocessor = TextPreprocessor(hub_parts(kind)[0], vocabularies[1], max_source_length=4)
    parts, owners = preprocessor.encode_parts(["one one. Two two. Four four four four four four."])
    assert set(owners.numpy()) == {0} and parts["encoder_token_ids"].shape[1] <= 4


def test_merged_line_breaks():
    """As in GPT-2's list of merges. GPT-2 splits line breaks in a row, KerasHub does not."""
    tokens = [*byte_alphabet(), "ĊĊ"]
    original = keras_hub.tokenizers.BytePairTokenizer({token: index for index, token in enumerate(tokens)}, ["Ċ Ċ"])
    line_break = tokens.index("Ċ") + 4
    ids = TextPreprocessor(original).source_tokenizer.tokenize(["a\n\nb"]).to_list()[0]
    assert ids[1:-1] == [line_break, line_break]


# === Errors ===


class Reversed(keras_hub.tokenizers.WordPieceTokenizer):
    """Tokenizes as its base class does not."""

    def tokenize(self, inputs):
        return super().tokenize(inputs)[:, ::-1]


def gap():
    return keras_hub.tokenizers.BytePairTokenizer({"a": 0, "b": 2, "ab": 3}, ["a b"])


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: keras_hub.tokenizers.ByteTokenizer(), "must be one of WordPieceTokenizer.*Received: a ByteTokenizer"),
        (lambda: Reversed(["[UNK]", "the", "and", "."], lowercase=True), "Reversed does not tokenize as its base"),
        (lambda: keras_hub.tokenizers.WordPieceTokenizer(["[UNK]"], sequence_length=3), "sequence_length=None"),
        (gap, "must have the ids 0 to 2. Received: ids up to 3"),
    ],
)
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        TextPreprocessor(build())
