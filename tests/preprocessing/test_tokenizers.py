"""Tokenizers: what every kind must do, subwords, and that a new kind needs nothing but its class."""

import keras
import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from kerasseq.preprocessing import SubwordTokenizer, TextPreprocessor, Tokenizer, tokenizers
from kerasseq.preprocessing.tokenizers import KINDS, TOKENIZERS, load_tokenizer, train_tokenizer

# === Every kind ===

UNICODE = [
    *("one two", "", "a", "one\ttwo", "one \r\n two", "caf\u00e9 one", "cafe\u0301 one", "世界 你好"),
    *("\u0928\u093f one", "q\u0323\u0307", "\u1112\u1161\u11ab", "a\0b", "\u00a0one\u3000", "\ufeffone"),
    "👩\u200d👧 👍🏽",
    "<s> </s> <pad> <unk>",
]
INVALID = [b"one \xff two", b"\xc3", b"\xf0\x9f\x98 one", b"\xed\xa0\x80"]


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def trained(kind):
    """A tokenizer of each kind, trained on texts with 20 words in Latin script, and 世界 and é."""
    return train_tokenizer(kind, ["one two three four caf\u00e9", "世界 one a b c d e f g h i j k l m n"] * 5)


@pytest.fixture
def any_tokenizer(trained):
    """That tokenizer, whatever tests before have done to TensorFlow's resources."""
    return trained.usable()


def test_every_kind_can_be_saved():
    assert set(KINDS.values()) <= set(TOKENIZERS.values())


def test_ids(any_tokenizer):
    ids = any_tokenizer.tokenize(tf.constant(UNICODE))
    assert isinstance(ids, tf.RaggedTensor) and ids.dtype == tf.int32 and ids.shape.rank == 2
    lists = ids.to_list()
    assert len(lists) == len(UNICODE) and lists[1] == []
    found = {token_id for row in lists for token_id in row}
    assert found.isdisjoint({0, 2, 3}) and max(found) < any_tokenizer.vocabulary_size
    assert any_tokenizer.tokenize(tf.zeros([0], tf.string)).to_list() == []
    assert any_tokenizer.detokenize(tf.zeros([0, 3], tf.int32)).shape == (0,)


def test_in_and_outside_of_a_graph(any_tokenizer):
    strings, ids = tf.TensorSpec([None], tf.string), tf.RaggedTensorSpec([None, None], tf.int32)
    tokenize = tf.function(any_tokenizer.tokenize, input_signature=[strings])
    detokenize = tf.function(any_tokenizer.detokenize, input_signature=[ids])
    for texts in (UNICODE, INVALID):
        expected = any_tokenizer.tokenize(tf.constant(texts))
        assert tokenize(tf.constant(texts)).to_list() == expected.to_list()
        assert detokenize(expected).numpy().tolist() == any_tokenizer.detokenize(expected).numpy().tolist()


def test_known_texts_come_back(any_tokenizer):
    for texts in (["one two", "caf\u00e9 世界", "", "a b"], ["世界"]):
        ids = any_tokenizer.tokenize(tf.constant(texts))
        assert [text.decode() for text in any_tokenizer.detokenize(ids).numpy()] == texts
        dense = any_tokenizer.detokenize(ids.to_tensor())  # Padded with 0.
        assert [text.decode() for text in dense.numpy()] == texts


def test_composed_and_decomposed_texts_agree(any_tokenizer):
    composed, decomposed = any_tokenizer.tokenize(tf.constant(["caf\u00e9 one", "cafe\u0301 one"])).to_list()
    assert composed == decomposed and 1 not in composed


def test_strings_and_ids_are_inverse(any_tokenizer):
    ids = tf.range(any_tokenizer.vocabulary_size)
    tokens = any_tokenizer.id_to_string(ids)
    assert len(set(tokens.numpy().tolist())) == any_tokenizer.vocabulary_size
    assert any_tokenizer.string_to_id(tokens).numpy().tolist() == ids.numpy().tolist()
    assert any_tokenizer.string_to_id(tf.constant(["no such token"])).numpy().tolist() == [1]
    grid = tf.constant([[4, 3, 0], [5, 0, 0]])
    assert any_tokenizer.id_to_string(grid).shape == (2, 3)
    assert any_tokenizer.tokens(grid).numpy()[:, 1:].tolist() == [[b"</s>", b""], [b"", b""]]


def test_invalid_utf8_is_the_replacement_character(any_tokenizer):
    repaired = [text.decode("utf-8", "replace") for text in INVALID]
    ids = any_tokenizer.tokenize(tf.constant(INVALID))
    assert ids.to_list() == any_tokenizer.tokenize(tf.constant(repaired)).to_list()


def test_begins_of_words_and_characters(any_tokenizer):
    ids = any_tokenizer.tokenize(tf.constant(["one two", "three 世界"])).flat_values
    for flags in any_tokenizer.boundaries(ids):
        assert flags.dtype == tf.bool and flags.shape == ids.shape and flags[0]


def test_saved_and_loaded(any_tokenizer, tmp_path):
    (tmp_path / f"name.{any_tokenizer.suffix}").write_bytes(any_tokenizer.to_bytes())
    loaded = load_tokenizer(tmp_path, "name")
    assert type(loaded) is type(any_tokenizer) and loaded.vocabulary_size == any_tokenizer.vocabulary_size
    assert loaded.to_bytes() == any_tokenizer.to_bytes()
    assert loaded.tokenize(UNICODE).to_list() == any_tokenizer.tokenize(UNICODE).to_list()
    assert load_tokenizer(tmp_path, "other") is None


def test_exported_graphs(kind, any_tokenizer, tmp_path):
    """Also loaded twice, and beside another tokenizer of its kind."""

    def save(name, tokenizer):
        module = tf.Module()
        module.tokenizer = tokenizer
        module.repeat = tf.function(
            lambda texts: tokenizer.detokenize(tokenizer.tokenize(texts)),
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        tf.saved_model.save(module, str(tmp_path / name))

    save("one", any_tokenizer)
    save("other", train_tokenizer(kind, ["another text"] * 9))
    loaded = [tf.saved_model.load(str(tmp_path / name)) for name in ("one", "other", "one")]
    for module, texts in zip(loaded, (["caf\u00e9 世界"], ["another text"], ["one two"]), strict=True):
        assert [text.decode() for text in module.repeat(tf.constant(texts)).numpy()] == texts


@pytest.mark.parametrize("deletes_resources", [lambda: keras.utils.set_random_seed(3), keras.utils.clear_session])
def test_survives_deleted_resources(kind, deletes_resources):
    tokenizer = train_tokenizer(kind, ["one two three"] * 5)
    before = tokenizer.tokenize(["one two"]).to_list()
    deletes_resources()
    assert tokenizer.usable().tokenize(["one two"]).to_list() == before


def test_example_texts(any_tokenizer):
    texts = any_tokenizer.example_texts(3, 7)
    assert texts == any_tokenizer.example_texts(3, 7) and len(set(texts)) == 3
    assert all(text.decode() for text in texts)


@pytest.mark.parametrize("texts", [[], [" "], ["a", 1], "one text"])
def test_bad_texts(kind, texts):
    with pytest.raises(ValueError, match="texts must"):
        train_tokenizer(kind, texts)


@pytest.mark.parametrize("size", [4, 0, 300.0, "300"])
def test_bad_sizes(kind, size):
    with pytest.raises(ValueError, match="vocabulary_size must be an integer of at least .*Received: vocabulary_size="):
        train_tokenizer(kind, ["one two"], size)


# === Subwords ===


@pytest.fixture(scope="module")
def tokenizer(vocabularies):
    return SubwordTokenizer(vocabularies[0])


@pytest.fixture(scope="module")
def processor(vocabularies):
    return sentencepiece.SentencePieceProcessor(model_proto=vocabularies[0])


TEXTS = ["one two three", "", "drei 中", "a\0b"]


def test_ids_and_texts_are_those_of_sentencepiece(tokenizer, processor, strings):
    ids = tokenizer.tokenize(tf.constant(TEXTS))
    assert ids.dtype == tf.int32 and ids.to_list() == processor.encode(TEXTS)
    assert [text.decode() for text in tokenizer.detokenize(ids).numpy()] == processor.decode(ids.to_list())
    assert tokenizer.vocabulary_size == processor.get_piece_size()
    pieces = tokenizer.id_to_string(tf.constant([[260, 261], [3, 0]]))
    assert strings(pieces) == [[processor.id_to_piece(index) for index in row] for row in ([260, 261], [3, 0])]
    assert tokenizer.string_to_id(pieces).numpy().tolist() == [[260, 261], [3, 0]]
    assert strings(tokenizer.tokens(tf.constant([[3, 0]]))) == [["</s>", ""]]


def test_invalid_utf8_is_replaced(tokenizer):
    broken, repaired = (tokenizer.tokenize(tf.constant([text])).to_list() for text in (b"a\xff", "a\ufffd"))
    assert broken == repaired


def test_boundaries(tokenizer, processor):
    ids = processor.encode("one 中two")
    begins_word, begins_character = (flags.numpy() for flags in tokenizer.boundaries(tf.constant(ids)))
    pieces = [processor.id_to_piece(index) for index in ids]
    assert begins_word.tolist() == [piece.startswith("▁") for piece in pieces]
    assert [piece for piece, flag in zip(pieces, begins_character, strict=True) if not flag] == ["<0xB8>", "<0xAD>"]


def test_bytes_round_trip(tokenizer, vocabularies):
    assert tokenizer.to_bytes() == vocabularies[0]
    again = SubwordTokenizer.from_bytes(tokenizer.to_bytes())
    assert again.tokenize(TEXTS).to_list() == tokenizer.tokenize(TEXTS).to_list()


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("deletes_resources", [lambda: keras.utils.set_random_seed(3), keras.utils.clear_session])
def test_survives_a_new_seed_and_a_cleared_session(deletes_resources, in_graph, vocabularies):
    """TF Text's own tokenizer does not. The first use after it may be eager, or in a graph that is being traced."""
    preprocessor = TextPreprocessor(*vocabularies)
    before = preprocessor.encode_source(["one two"])["encoder_token_ids"].numpy().tolist()
    deletes_resources()
    if in_graph:
        dataset = tf.data.Dataset.from_tensor_slices(["one two"]).batch(1).map(preprocessor.encode_source)
        assert [batch["encoder_token_ids"].numpy().tolist() for batch in dataset] == [before]
    assert preprocessor.encode_source(["one two"])["encoder_token_ids"].numpy().tolist() == before


# === Another kind ===


class Characters(Tokenizer):
    """The characters of an alphabet."""

    suffix = "characters"

    def __init__(self, alphabet):
        super().__init__(name="characters")
        self.alphabet = alphabet
        self.vocabulary_size = 4 + len(alphabet)
        self._strings = tf.constant(["", "?", "", "", *alphabet])
        pairs = tf.lookup.KeyValueTensorInitializer(list(alphabet), tf.range(4, self.vocabulary_size))
        self._ids = tf.lookup.StaticHashTable(pairs, default_value=1)

    def tokenize(self, texts):
        return self._ids.lookup(tf.strings.unicode_split(texts, "UTF-8", errors="replace"))

    def detokenize(self, token_ids):
        return tf.strings.reduce_join(self.id_to_string(token_ids), axis=-1)

    def id_to_string(self, token_ids):
        return tf.gather(self._strings, token_ids)

    def string_to_id(self, tokens):
        return self._ids.lookup(tokens)

    def to_bytes(self):
        return "".join(self.alphabet).encode()

    @classmethod
    def from_bytes(cls, content):
        return cls(content.decode())


def test_a_new_tokenizer_in_a_preprocessor(tmp_path, monkeypatch, rows, strings):
    preprocessor = TextPreprocessor(Characters("abc "), max_source_length=6)
    encode = tf.function(preprocessor.encode_source, input_signature=[preprocessor.source_signature])
    assert rows(encode(["abx", ""])["encoder_token_ids"]) == [[4, 5, 1, 3], [3]]
    ((inputs, labels),) = preprocessor.dataset([("a", "cab"), ("b", "")], batch_size=2)
    assert rows(labels) == [[6, 4, 5, 3], [3]] and strings(preprocessor.decode(labels)) == ["cab", ""]
    assert strings(preprocessor.source_tokens(inputs)) == [["a", ""], ["b", ""]]
    parts, owners = preprocessor.encode_parts(["abcabc", "a"])
    assert rows(parts["encoder_token_ids"]) == [[4, 5, 6, 3], [4, 5, 6, 3], [4, 3]]
    assert owners.numpy().tolist() == [
        0,
        0,
        1,
    ]
    assert len(preprocessor.raw_batch(preprocessor.example_sources(2, 0.5))) == 2
    with pytest.raises(ValueError, match="subword_sampling requires.*Received: Characters"):
        preprocessor.dataset([("a", "b")], batch_size=1, subword_sampling=0.5)

    monkeypatch.setitem(tokenizers.TOKENIZERS, "characters", Characters)
    preprocessor.save_assets(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["source.characters"]
    loaded = TextPreprocessor()
    loaded.load_assets(tmp_path)
    np.testing.assert_array_equal(loaded.encode_target(["cab"])[1], preprocessor.encode_target(["cab"])[1])


def test_a_new_tokenizer_in_an_exported_graph(tmp_path, strings):
    preprocessor = TextPreprocessor(Characters("abc "))
    module = tf.Module()
    module.tokenizers = preprocessor.tokenizers
    module.repeat = tf.function(
        lambda texts: preprocessor.decode(preprocessor.encode_target(texts)[1]),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert strings(loaded.repeat(tf.constant(["cab", ""]))) == ["cab", ""]


def test_words_of_a_new_tokenizer():
    """Constraints that compare words refuse a tokenizer that does not say where they begin."""
    with pytest.raises(ValueError, match="knows where words begin, such as .*Received: Characters"):
        TextPreprocessor(Characters("abc ")).word_pieces()


@pytest.mark.parametrize("name", ["tokenize", "detokenize", "id_to_string", "string_to_id", "from_bytes"])
def test_what_a_tokenizer_must_define(name):
    with pytest.raises(NotImplementedError):
        getattr(Tokenizer(), name)(b"a")
