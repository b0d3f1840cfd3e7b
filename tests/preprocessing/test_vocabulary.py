import io
import pathlib
import re
import unicodedata

import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasseq.preprocessing import SubwordTokenizer, TextPreprocessor, train_vocabulary

TEXTS = ["the quick brown fox", "jumps over the lazy dog", "a lazy fox, a quick dog"] * 10


@pytest.fixture(scope="module", params=["nmt_nfkc", "identity"])
def normalization(request):
    return request.param


@pytest.fixture(scope="module")
def processors():
    return {
        name: sentencepiece.SentencePieceProcessor(model_proto=train_vocabulary(TEXTS, 320, name))
        for name in ("nmt_nfkc", "identity")
    }


def folded(text):
    """Leading, trailing and doubled white space is SentencePiece's own to fold, whatever the rule."""
    return re.sub(" +", " ", text).strip(" ")


def test_ids(processors):
    for processor in processors.values():
        assert [processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id()] == [0, 1, 2, 3]
        assert [processor.id_to_piece(4 + byte) for byte in range(256)] == [f"<0x{byte:02X}>" for byte in range(256)]
        assert all(processor.is_byte(4 + byte) for byte in range(256)) and not processor.is_byte(260)


@pytest.mark.parametrize(
    "text",
    ["naïve café", "👩‍👩‍👧‍👦 🇫🇷", "مرحبا بالعالم", "机器翻译", "ᚠᛇᚻ 𐎀𐎁 𒀀𒁀", "\U0010ffff", "한국어", "שלום (a) 1"],
)
def test_every_script_survives(processors, normalization, text):
    processor = processors[normalization]
    ids = processor.encode(text)
    expected = unicodedata.normalize("NFKC", text) if normalization == "nmt_nfkc" else text
    assert processor.decode(ids) == expected
    assert 1 not in ids


@settings(deadline=None, max_examples=300)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_survives_identity(processors, text):
    processor = processors["identity"]
    ids = processor.encode(text)
    assert 1 not in ids
    # U+2581 is how SentencePiece writes a space.
    assert processor.decode(ids) == folded(text.replace("\u2581", " "))


@settings(deadline=None, max_examples=300)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_survives_up_to_the_normalization(processors, text):
    processor = processors["nmt_nfkc"]
    ids = processor.encode(text)
    assert 1 not in ids
    normalized = processor.normalize(text).replace("\u2581", " ").strip(" ")
    assert processor.decode(ids) == normalized


def test_normalizations_differ_in_full_width_punctuation(processors):
    text = "你好，世界！（一）"
    assert processors["identity"].decode(processors["identity"].encode(text)) == text
    assert processors["nmt_nfkc"].decode(processors["nmt_nfkc"].encode(text)) == "你好,世界!(一)"


def test_training_is_deterministic():
    assert train_vocabulary(TEXTS, 288) == train_vocabulary(iter(TEXTS), 288)
    assert train_vocabulary(TEXTS, 288) != train_vocabulary(TEXTS, 289)


def test_small_data_gives_fewer_ids():
    size = sentencepiece.SentencePieceProcessor(model_proto=train_vocabulary(["ab"], 8_000)).get_piece_size()
    assert 261 < size < 300
    assert sentencepiece.SentencePieceProcessor(model_proto=train_vocabulary(TEXTS, 289)).get_piece_size() == 289


def test_lone_surrogates_in_the_training_data_are_replaced():
    assert train_vocabulary(["a \ud800 b"] * 5, 300) == train_vocabulary(["a \ufffd b"] * 5, 300)


@pytest.mark.parametrize("texts", [[], [""], [" \t\n", ""]])
def test_no_text(texts):
    with pytest.raises(ValueError, match="at least one text. Received: none, or only empty ones"):
        train_vocabulary(texts, 300)


@pytest.mark.parametrize("texts", [["a", 1], ["a", None], [b"a"]])
def test_texts_that_are_not_strings(texts):
    with pytest.raises(ValueError, match="texts must be strings. Received at index"):
        train_vocabulary(texts, 300)


@pytest.mark.parametrize("texts", ["one text", b"one text"])
def test_a_single_text_instead_of_many(texts):
    with pytest.raises(ValueError, match="iterable of strings. Received: a single"):
        train_vocabulary(texts, 300)


@pytest.mark.parametrize("size", [260, 0, -1, 300.0, "300", None])
def test_bad_vocabulary_size(size):
    with pytest.raises(ValueError, match="at least 261.*Received: vocabulary_size="):
        train_vocabulary(TEXTS, size)


def test_vocabulary_smaller_than_the_characters():
    texts = ["".join(chr(0x4E00 + index) for index in range(100))]
    with pytest.raises(ValueError, match="at least 361.*Received: vocabulary_size=300") as caught:
        train_vocabulary(texts, 300)
    least = int(re.search(r"at least (\d+)", str(caught.value))[1])
    assert sentencepiece.SentencePieceProcessor(model_proto=train_vocabulary(texts, least)).get_piece_size() == least


def test_unknown_normalization():
    with pytest.raises(ValueError, match="one of 'nmt_nfkc'.*Received: normalization='nfd'"):
        train_vocabulary(TEXTS, 300, normalization="nfd")


# === Models of one's own ===

IDS = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}


def own_model(vocab_size=40, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=vocab_size, hard_vocab_limit=False, minloglevel=2,
        **options,
    )  # fmt: skip
    return model.getvalue()


@pytest.mark.parametrize(
    "options", [{}, {"model_type": "char"}, {"pad_piece": "[PAD]"}, {"user_defined_symbols": "<x>"}]
)
def test_own_models_without_byte_fallback(options, rows):
    """What is in no piece is unknown, and left out of outputs."""
    model = own_model(**IDS, **options)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    preprocessor = TextPreprocessor(model)
    ids = rows(preprocessor.encode_source(["lazy fox", "lazy ß"])["encoder_token_ids"])
    assert ids == [[*processor.encode(text), 3] for text in ("lazy fox", "lazy ß")]
    assert ids[1][-2] == 1 and preprocessor.source_tokenizer.first_text_id == 4
    assert [text.decode().strip() for text in preprocessor.decode(tf.ragged.constant(ids).to_tensor()).numpy()] == [
        "lazy fox",
        "lazy",
    ]
    assert all(preprocessor.source_tokenizer.example_texts(2, 5))


def test_own_models_with_byte_fallback():
    options = {"byte_fallback": True, "user_defined_symbols": "<x>", "model_type": "bpe"}
    tokenizer = SubwordTokenizer(own_model(vocab_size=300, **IDS, **options))
    assert tokenizer.detokenize(tokenizer.tokenize(["lazy ß <x>"])).numpy()[0].decode() == "lazy ß <x>"
    pieces = [piece.decode() for piece in tokenizer.id_to_string(tf.range(tokenizer.vocabulary_size)).numpy()]
    assert pieces[tokenizer.first_text_id - 1] == "<0xFF>" and "<0x" not in "".join(pieces[tokenizer.first_text_id :])


@pytest.mark.parametrize(
    ("options", "received"),
    [
        ({}, "padding absent, unknown 0, start 1, end 2"),
        ({"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}, "padding 0, unknown 2, start absent, end 1"),  # T5's.
        ({**IDS, "bos_id": 3, "eos_id": 2}, "padding 0, unknown 1, start 3, end 2"),
    ],
)
def test_models_with_other_ids(options, received):
    model = own_model(**options)
    for take in (
        TextPreprocessor,
        SubwordTokenizer,
        lambda model: TextPreprocessor(train_vocabulary(TEXTS, 300), model),
    ):
        with pytest.raises(ValueError, match="padding 0, unknown 1, start 2, end 3. Received: ") as caught:
            take(model)
        assert received in str(caught.value)
    # The options of the message make a model that is accepted.
    named = re.search(r"train\(\.\.\., (.*?)\)", str(caught.value))[1]
    right = {name: value == "True" or int(value) for name, value in (item.split("=") for item in named.split(", "))}
    tokenizer = SubwordTokenizer(own_model(vocab_size=300, **right))
    assert tokenizer.detokenize(tokenizer.tokenize(["a lazy ß"])).numpy()[0].decode() == "a lazy ß"


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (b"hello", "content of a SentencePiece model.*Received: 5 bytes that are none, b'hello'"),
        (b"", "Received: 0 bytes that are none"),
        ("own.model", r"Received: 'own.model' \(str\).*pathlib.Path\(path\).read_bytes\(\)"),
        (pathlib.Path("own.model"), r"Received: .*own.model.*pathlib.Path\(path\).read_bytes\(\)"),
    ],
)
def test_what_is_no_model(vocabulary, message):
    for take in (TextPreprocessor, SubwordTokenizer):
        with pytest.raises(ValueError, match=message):
            take(vocabulary)
