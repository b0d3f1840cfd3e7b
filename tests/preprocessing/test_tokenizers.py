"""Tokenizers: subwords, and that a new kind of tokenizer needs nothing but its class."""

import keras
import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from kerasseq.preprocessing import SubwordTokenizer, TextPreprocessor, Tokenizer, tokenizers

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


@pytest.mark.parametrize("name", ["tokenize", "detokenize", "id_to_string", "string_to_id", "from_bytes"])
def test_what_a_tokenizer_must_define(name):
    with pytest.raises(NotImplementedError):
        getattr(Tokenizer(), name)(b"a")
