import re
import unicodedata

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasseq.preprocessing import train_vocabulary

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
