"""The choice of a normalization, the rules of NFC, protected tokens and placeholders."""

import unicodedata

import hypothesis
import hypothesis.strategies as st
import pytest
import sentencepiece
import tensorflow as tf

from kerasseq.preprocessing import Placeholders, SubwordTokenizer, TextPreprocessor, train_vocabulary
from kerasseq.preprocessing.normalization import choose_normalization

PERSIAN, THAI, CHINESE = "می\u200cخواهم به خانه\u200cام بروم", "น้ำ แข็ง", "等等！你懂了吗？"
MARKS = "\u0300\u0301\u0302\u0303\u0308\u030a\u0323\u0327\u0328\u0653\u093c\u3099"


def processor(texts, **options):
    return sentencepiece.SentencePieceProcessor(model_proto=train_vocabulary(texts, 600, **options))


# === The rules of NFC ===


@pytest.fixture(scope="module")
def nfc():
    return processor(["한국어 café", PERSIAN, THAI, CHINESE, "a b c"] * 20, normalization="nfc")


@pytest.mark.parametrize(
    "text",
    [
        PERSIAN, THAI, CHINESE, "½ cup, 10 m² … Foo™ ﬁnally ＡＢＣ Ⅳ ① ﷺ", "👩\u200d👩\u200d👧 🇫🇷", "ca\u00adfé", "ſo",
        "ශ්\u200dරී ලංකාව", "tie\u0302\u0301ng Vie\u0323\u0302t", "\u212bngström", "क\u093c ড\u09bc",
        "\u1112\u1161\u11ab\uae00", "\u03b1\u0313\u0300\u0345",
    ],
)  # fmt: skip
def test_spelling_is_kept_and_accents_are_composed(nfc, text):
    assert nfc.decode(nfc.encode(text)) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", ["Vie\u0302\u0323t", "e\u0323\u0302", "\u1ec7", "\u00ea\u0323", "\u1eb9\u0302"])
def test_marks_in_any_order(nfc, text):
    assert nfc.decode(nfc.encode(text)) == unicodedata.normalize("NFC", text)


def test_white_space_is_one_blank(nfc):
    assert (
        nfc.decode(nfc.encode(" a\u00a0b\u202f!\u3000c\td\ufeff\u0007 e\u2028f\u200bg\u200fh\u2581i "))
        == "a b ! c d e fgh i"
    )


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(st.text("aeouiAEO" + "sczn" + "αω", min_size=1, max_size=3), st.sampled_from(MARKS))
def test_letters_with_a_mark(nfc, letters, mark):
    text = "".join(letter + mark for letter in letters)
    assert nfc.decode(nfc.encode(text)) == unicodedata.normalize("NFC", text)


# === The choice ===


@pytest.mark.parametrize(
    ("text", "chosen", "example"),
    [
        (PERSIAN, "nfc", "'می\\u200cخواهم' to 'می'"),
        (THAI, "nfc", "น้ำ"),
        (CHINESE, "nfc", "'等等！你懂了吗？' to '等等!你懂了吗?'"),
        ("Cours\u202f! L'e\u0301te\u0301\u00a0!", "nmt_nfkc", None),
        ("a\ufeff b\u200b c\t", "nmt_nfkc", None),
        ("plain", "nmt_nfkc", None),
        ("א\u200f, ב", "nmt_nfkc", None),
        ("我们今天下午去公园散步然后回家吃饭看电视！", "nfc", "'步然后回家吃饭看电视！' to '步然后回家吃饭看电视!'"),
    ],
)
def test_spelling_decides(text, chosen, example, caplog):
    assert choose_normalization([text, "other"]) == chosen
    if example is None:
        assert not caplog.records
    else:
        assert f"would change the spelling of 50 % of the texts ({example}" in caplog.text.replace("'น้ำ'", "น้ำ")
        assert "normalization='nfc' is used: 'nmt_nfkc' would change" in caplog.text


def test_a_few_texts_are_changed_and_named(caplog):
    texts = ["CO₂ is a gas", "10\u00a0% or\u00a0so of m²,", *["plain"] * 198]
    assert choose_normalization(texts) == "nmt_nfkc"
    assert "normalization='nmt_nfkc' changes the spelling of 1 % of the texts ('CO₂' to 'CO2', 'm²," in caplog.text
    assert choose_normalization([*texts, "3 º"]) == "nfc"  # 3 of 201


def test_a_sample_of_many_texts(monkeypatch):
    """It reaches to the end."""
    monkeypatch.setattr("kerasseq.preprocessing.normalization.TEXTS_COMPARED", 10)
    assert choose_normalization(["plain"] * 90 + ["½"] * 10) == "nfc"


def test_sides_choose_for_themselves(caplog):
    pairs = [(f"wait {number}", CHINESE) for number in range(20)]
    preprocessor = TextPreprocessor.from_pairs(pairs, vocabulary_size=300)
    labels = preprocessor.encode_target([CHINESE])[1]
    assert preprocessor.decode(labels).numpy()[0].decode() == CHINESE
    caplog.clear()
    preprocessor = TextPreprocessor.from_pairs(pairs, vocabulary_size=300, normalization="nmt_nfkc")
    labels = preprocessor.encode_target([CHINESE])[1]
    assert preprocessor.decode(labels).numpy()[0].decode() == CHINESE.replace("！", "!").replace("？", "?")
    assert "spelling" not in caplog.text


# === Protected tokens ===


def test_protected_tokens_are_one_token():
    tokens = ["<2fr>", "<NUM1>", "½", "e\u0301"]
    texts = ["<2fr> one two", "call <NUM1> now", "one, two"] * 20
    tokenizer = SubwordTokenizer.from_texts(texts, 300, normalization="nmt_nfkc", protected_tokens=tokens)
    assert tokenizer.id_to_string(tf.range(4, 8)).numpy().tolist() == [token.encode() for token in tokens]
    cases = ["<2fr> one two", "call <NUM1> now", "call<NUM1>, now", "½ one", "e\u0301"]
    for text, token in zip(cases, ["<2fr>", "<NUM1>", "<NUM1>", "½", "e\u0301"], strict=True):
        ids = tokenizer.tokenize([text])
        assert ids.to_list()[0].count(4 + tokens.index(token)) == 1
        assert tokenizer.detokenize(ids).numpy()[0].decode() == text
    assert len(tokenizer.example_texts(2, 3)) == 2


def test_both_sides_have_them():
    pairs = [("<2fr> one", "un"), ("two <NUM1>", "deux <NUM1>")] * 10
    preprocessor = TextPreprocessor.from_pairs(pairs, 280, protected_tokens=["<2fr>", "<NUM1>"])
    for tokenizer in preprocessor.tokenizers:
        assert tokenizer.string_to_id(["<2fr>", "<NUM1>"]).numpy().tolist() == [4, 5]


def test_they_are_never_split():
    """Also where segmentations are drawn, where one begins with another, and next to letters."""
    tokens = ["<NUM1>", "<NUM1>x", "½"]
    vocabulary = train_vocabulary(["call <NUM1> now", "NUM and 1", "½ a", "<NUM1>xy"] * 20, 320, "nfc", tokens)
    tokenizer = SubwordTokenizer(vocabulary)
    texts = ["call<NUM1>now", "<NUM1>xy <NUM1>", "a½a ½", "<NUM1><NUM1>"]
    expected = [[4], [5, 4], [6, 6], [4, 4]]
    for text, ids in zip(texts, expected, strict=True):
        assert [index for index in tokenizer.tokenize([text]).to_list()[0] if index < 7] == ids
        for drawn in tokenizer.sampler(0.01)([text] * 50, 1):
            assert [index for index in drawn if index < 7] == ids
            assert tokenizer.detokenize([drawn]).numpy()[0].decode() == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protected_tokens": "<2fr>"}, "must be a list of strings without white space.*Received: '<2fr>'"),
        ({"protected_tokens": ["a b"]}, "without white space"),
        ({"protected_tokens": [""]}, "without white space"),
        ({"protected_tokens": [1]}, "must be a list of strings"),
        ({"protected_tokens": ["<a>", "<a>"]}, "must be distinct"),
        ({"protected_tokens": ["a\0b"]}, "must be a list of strings"),
        ({"protected_tokens": ["\udc80"]}, "must be a list of strings"),
        ({"protected_tokens": None}, "must be a list of strings.*Received: None"),
        ({"protected_tokens": ["</s>"]}, "must not be tokens that SentencePiece uses itself.*Received: '</s>'"),
        ({"protected_tokens": ["<unk>"]}, "must not be tokens"),
        ({"protected_tokens": ["<0x41>"]}, "must not be tokens"),
        ({"protected_tokens": ["\u2581a"]}, "must not be tokens"),
        ({"protected_tokens": ["<a>"], "tokens": "words"}, "those of subwords.*tokens='words'"),
        ({"protected_tokens": ["<a>"], "tokens": ("characters", "subwords")}, "those of subwords"),
    ],
)
def test_bad_protected_tokens(options, message):
    with pytest.raises(ValueError, match=message):
        TextPreprocessor.from_pairs([("one", "two")] * 20, 280, **options)


# === Placeholders ===


@pytest.fixture(scope="module")
def placeholders():
    return Placeholders({"URL": r"https?://\S*\w", "NUM": r"\d+(?:[.,]\d+)*"}, count=2)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("See http://a.org/1?b=2, now", "See <URL1>, now"),
        ("1 and 22 and 1 and 333", "<NUM1> and <NUM2> and <NUM1> and 333"),
        ("<NUM1> is 5", "<NUM1> is <NUM2>"),
        ("<URL1> <URL2> http://x.org", "<URL1> <URL2> http://x.org"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_what_is_hidden_is_restored(placeholders, text, hidden):
    received, values = placeholders.hide(text)
    assert received == hidden and placeholders.restore(received, values) == text


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(
    st.lists(st.sampled_from(["http://a.org/1", "12", "1", "<NUM1>", "<URL2>", "a", " ", ".", "5,5", "<"]))
)
def test_any_text_is_restored(placeholders, pieces):
    text = "".join(pieces)
    hidden, values = placeholders.hide(text)
    assert placeholders.restore(hidden, values) == text
    (pair,) = placeholders.hide_pairs([(text, text)])
    assert pair[0] == pair[1] == hidden


def test_other_protected_tokens_are_kept():
    kept = Placeholders({"NUM": r"\d+"}, keep=["<2fr>", "<2"])
    text, hidden = kept.hide("<2fr> 2 dogs, <2 and 3")
    assert text == "<2fr> <NUM1> dogs, <2 and <NUM2>"
    assert kept.restore("<2fr> <NUM2> <NUM1>", hidden) == "<2fr> 3 2"
    assert kept.hide_pairs([("<2fr> 2", "2")]) == [("<2fr> <NUM1>", "<NUM1>")]


def test_patterns_see_the_whole_text():
    """The first pattern has what several match; empty matches, and those within another, do not count."""
    both = Placeholders({"FIRST": r"^\w+|\b", "ANY": r"[a-z]+"}, count=3)
    assert both.hide("aBcd ef")[0] == "<FIRST1> <ANY1>"


def test_outputs_may_lack_or_invent_them(placeholders):
    _, hidden = placeholders.hide("5 http://x.org")
    assert placeholders.restore("<NUM1> <NUM2>!", hidden) == "5 !"


def test_pairs_hide_what_both_sides_have(placeholders):
    pairs = [
        ("10 of 1", "1 von 10"), ("2 http://a.org/2", "http://a.org/2 zwei"), ("3 and 30", "30"), ("1.5", "1,5"),
        ("<NUM1> 7", "<NUM1> 7"), ("http://a.org/12 for 12", "12"), ("http://a.org/12", "http://b.org/12"),
    ]  # fmt: skip
    assert placeholders.hide_pairs(pairs) == [
        ("<NUM1> of <NUM2>", "<NUM2> von <NUM1>"), ("2 <URL1>", "<URL1> zwei"), ("3 and <NUM1>", "<NUM1>"),
        ("1.5", "1,5"), ("<NUM1> <NUM2>", "<NUM1> <NUM2>"),
        ("http://a.org/12 for <NUM1>", "<NUM1>"), ("http://a.org/12", "http://b.org/12"),
    ]  # fmt: skip


def test_their_tokens_are_protected(placeholders):
    assert placeholders.tokens == ["<URL1>", "<URL2>", "<NUM1>", "<NUM2>"]
    pairs = placeholders.hide_pairs([("call 1 at http://a.org", "ruf 1 auf http://a.org an")] * 20)
    preprocessor = TextPreprocessor.from_pairs(pairs, 290, protected_tokens=placeholders.tokens)
    ids = preprocessor.encode_source([pairs[0][0]])["encoder_token_ids"].numpy()[0].tolist()
    assert {4, 6} <= set(ids)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "patterns must be a dict"),
        ((["a"],), "patterns must be a dict"),
        (({"U1": "a"},), "letters A to Z. Received: 'U1'"),
        (({"U": "("},), r"regular expression. Received: '\('"),
        (({"U": rb"\d"},), "regular expression"),
        (({"U": None},), "regular expression. Received: None"),
        (({"U": "a*"},), "must not match the empty text"),
        (({"U": "a"}, 1, ["a b"]), "protected_tokens must be a list"),
        (({"U": "a"}, 0), "count must be a positive integer"),
    ],
)
def test_bad_placeholders(arguments, message):
    with pytest.raises(ValueError, match=message):
        Placeholders(*arguments)
