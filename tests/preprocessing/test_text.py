"""The preprocessor of texts, against the sentencepiece package."""

import logging

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from kerasseq.losses import MaskedCrossentropy
from kerasseq.preprocessing import EpochShuffle, TextPreprocessor, pairs, train_vocabulary
from kerasseq.preprocessing.pairs import measured_length_ratio

END = 3
SOURCES = [
    *("one two", "", " ", "\t", "\n \r\n", "three  one ", "مرحبا one", "שלום", "👍🏽", "a\0b", "你好，世界"),
    *("\ufeffone", "ﬁ ½", "\u200b", "\u3000"),
]


@pytest.fixture(scope="module", params=["separate", "joint"])
def text_preprocessor(request, vocabularies):
    return TextPreprocessor(*vocabularies[: 2 if request.param == "separate" else 1])


@pytest.fixture(scope="module")
def processors(text_preprocessor, vocabularies):
    """The sentencepiece package with the same vocabularies: (source, target)."""
    both = [sentencepiece.SentencePieceProcessor(model_proto=vocabulary) for vocabulary in vocabularies]
    return both if not text_preprocessor.joint else [both[0], both[0]]


# === One batch ===


def test_ids_are_those_of_sentencepiece_and_end(text_preprocessor, processors, rows):
    encoded = text_preprocessor.encode_source(tf.constant(SOURCES))["encoder_token_ids"]
    assert encoded.dtype == tf.int32
    assert rows(encoded) == [[*processors[0].encode(text), END] for text in SOURCES]
    assert rows(encoded)[1:5] == [[END]] * 4
    _, labels = text_preprocessor.encode_target(tf.constant(SOURCES))
    assert rows(labels) == [[*processors[1].encode(text), END] for text in SOURCES]


@pytest.mark.parametrize("limit", [2, 3, 5])
def test_truncation_keeps_the_first_tokens_and_ends_in_end(vocabularies, limit, rows):
    preprocessor = TextPreprocessor(*vocabularies, max_source_length=limit, max_target_length=limit)
    whole = TextPreprocessor(*vocabularies)
    texts = ["three one two three one", "one", ""]
    for (cut, full), name in [
        ((preprocessor.encode_source(texts), whole.encode_source(texts)), "encoder_token_ids"),
        ((preprocessor.encode_target(texts), whole.encode_target(texts)), 1),
    ]:
        expected = [row if len(row) <= limit else [*row[: limit - 1], END] for row in rows(full[name])]
        assert rows(cut[name]) == expected
        assert len(expected[0]) == limit and cut[name].shape[1] == limit


def test_texts_that_just_fit_are_whole(vocabularies, rows):
    ids = rows(TextPreprocessor(*vocabularies).encode_source(["one two three"])["encoder_token_ids"])[0]
    exact = TextPreprocessor(*vocabularies, max_source_length=len(ids))
    assert rows(exact.encode_source(["one two three", "one two three one"])["encoder_token_ids"])[0] == ids


def test_invalid_utf8_becomes_the_replacement_character(rows):
    preprocessor = TextPreprocessor(train_vocabulary(["one two"] * 5, 270, normalization="identity"))
    broken = [b"one \xff two", b"\xc3", b"\xf0\x9f\x98 one"]
    repaired = [text.decode("utf-8", "replace") for text in broken]
    assert all("\ufffd" in text for text in repaired)
    ids = preprocessor.encode_source(tf.constant(broken))["encoder_token_ids"]
    assert rows(ids) == rows(preprocessor.encode_source(tf.constant(repaired))["encoder_token_ids"])
    assert [text.decode() for text in preprocessor.decode(ids).numpy()] == repaired


def test_lone_surrogates_do_not_crash():
    pairs = [("a \ud800 b", "c \udfff d")] * 5
    preprocessor = TextPreprocessor.from_pairs(pairs, 280, joint=True, normalization="identity")
    source = preprocessor.decode(
        preprocessor.encode_source(preprocessor.raw_batch(["a \ud800 b"]))["encoder_token_ids"]
    )
    assert set(source.numpy()[0].decode()) == set("a \ufffdb")
    (inputs, labels), *_ = preprocessor.dataset(pairs[:1], batch_size=1)
    assert set(preprocessor.decode(labels).numpy()[0].decode()) == set("c \ufffdd")


@pytest.mark.parametrize("text", ["a\0b", "سلام - peace", "two 👍🏽 one", "zwei drei"])
def test_decode_gives_the_text_back(text_preprocessor, text):
    _, labels = text_preprocessor.encode_target(tf.constant([text]))
    assert text_preprocessor.decode(labels).numpy()[0].decode() == text


def test_decode_of_half_a_character_is_valid_utf8(text_preprocessor):
    texts = text_preprocessor.decode([[4 + 0xE4, 4 + 0xB8, END], [4 + 0xFF, END, 0], [4 + 0xE4, 4 + 0xB8, 4 + 0xAD]])
    decoded = [text.decode() for text in texts.numpy()]
    assert set(decoded[0]) == set(decoded[1]) == {"\ufffd"} and decoded[2] == "中"


def test_everything_runs_in_a_graph(text_preprocessor):
    encode = tf.function(text_preprocessor.encode_source, input_signature=[text_preprocessor.source_signature])
    encode_target = tf.function(text_preprocessor.encode_target, input_signature=[tf.TensorSpec([None], tf.string)])
    decode = tf.function(text_preprocessor.decode, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    tokens = tf.function(text_preprocessor.source_tokens)
    texts = tf.constant(SOURCES)
    eager = text_preprocessor.encode_source(texts)["encoder_token_ids"]
    assert np.array_equal(encode(texts)["encoder_token_ids"], eager)
    assert np.array_equal(tokens(encode(texts)), text_preprocessor.source_tokens({"encoder_token_ids": eager}))
    for graph, direct in zip(encode_target(texts), text_preprocessor.encode_target(texts), strict=True):
        assert np.array_equal(graph, direct)
    assert np.array_equal(
        decode(encode_target(texts)[1]), text_preprocessor.decode(text_preprocessor.encode_target(texts)[1])
    )
    # A batch of none.
    none = tf.zeros([0], tf.string)
    assert encode(none)["encoder_token_ids"].shape[0] == 0
    assert [ids.shape[0] for ids in encode_target(none)] == [0, 0]
    assert decode(tf.zeros([0, 5], tf.int32)).shape == decode(tf.zeros([0, 0], tf.int32)).shape == (0,)


def test_tokens_are_the_pieces(text_preprocessor, processors):
    texts = ["one two", ""]
    tokens = text_preprocessor.source_tokens(text_preprocessor.encode_source(texts)).numpy()
    pieces = [*processors[0].encode("one two", out_type=str), "</s>"]
    assert [token.decode() for token in tokens[0]] == pieces
    assert tokens[1].tolist() == [b"</s>"] + [b""] * (len(pieces) - 1)
    tokens = text_preprocessor.target_tokens(text_preprocessor.encode_target(["zwei"])[1]).numpy()[0]
    assert [token.decode() for token in tokens] == [*processors[1].encode("zwei", out_type=str), "</s>"]


# === Raw sources ===


def test_raw_batch(text_preprocessor):
    raw = text_preprocessor.raw_batch(["one", "zwölf", b"\xff", "\ud800", ""])
    assert raw.dtype == tf.string
    assert raw.numpy().tolist() == [b"one", "zwölf".encode(), b"\xff", b"\xed\xa0\x80", b""]
    assert text_preprocessor.raw_batch([]).shape == (0,)


@pytest.mark.parametrize(("bad", "index"), [(["one", None], 1), ([3], 0), ([("a", "b")], 0), (["a", ["b"]], 1)])
def test_raw_batch_refuses_what_is_no_text(text_preprocessor, bad, index):
    with pytest.raises(
        ValueError, match=f"Sources must be strings. Received at index {index}: .*{type(bad[index]).__name__}"
    ):
        text_preprocessor.raw_batch(bad)


def test_raw_batch_warns_of_texts_that_are_too_long(vocabularies, caplog, rows):
    preprocessor = TextPreprocessor(*vocabularies, max_source_length=9)
    with caplog.at_level(logging.WARNING, logger="kerasseq"):
        preprocessor.raw_batch(["one", "qqqqqqq"])  # A space, seven bytes, END: nine tokens.
    assert caplog.records == []
    with caplog.at_level(logging.WARNING, logger="kerasseq"):
        # Eight bytes of text, ten tokens; U+FDFA is three bytes that NFKC makes eighteen characters of.
        preprocessor.raw_batch(["one", "qqqqqqqq", "\ufdfa"])
    (record,) = caplog.records
    longest = len(rows(TextPreprocessor(*vocabularies).encode_source(["\ufdfa"])["encoder_token_ids"])[0])
    assert "2 of 3 texts are longer than the model's limit of 9 tokens" in record.getMessage()
    assert f"the longest has {longest}" in record.getMessage()


# === Data sets ===


@pytest.fixture(scope="module")
def spread_pairs():
    """200 different pairs with lengths from 1 to 30 words."""
    random = np.random.default_rng(1)
    words = ("one", "two", "three")
    texts = [" ".join(random.choice(words, size=random.integers(1, 31))) for _ in range(200)]
    return [(f"{index} {text}", f"{text} {index}") for index, text in enumerate(texts)]


def decoded(preprocessor, batches):
    """(source, target) pairs of batches of a joint preprocessor."""
    pairs = []
    for inputs, labels in batches:
        sides = [preprocessor.decode(ids).numpy() for ids in (inputs["encoder_token_ids"], labels)]
        pairs += [(source.decode(), target.decode()) for source, target in zip(*sides, strict=True)]
    return pairs


@pytest.fixture(scope="module")
def joint(vocabularies):
    return TextPreprocessor(vocabularies[0])


def test_order_is_kept(joint, spread_pairs, rows):
    dataset = joint.dataset(spread_pairs, batch_size=32)
    assert dataset.cardinality() == len(dataset) == 7
    assert decoded(joint, dataset) == spread_pairs == decoded(joint, dataset)
    inputs, labels = next(iter(dataset))
    assert labels.shape[1] == max(
        len(row) for row in rows(joint.encode_target([pair[1] for pair in spread_pairs[:32]])[1])
    )


def test_shuffle_is_reproducible_by_seed(joint, spread_pairs):
    passes = {}
    for name, seed in {"one": 1, "again": 1, "two": 2}.items():
        dataset = joint.dataset(spread_pairs, batch_size=32, shuffle=True, seed=seed)
        passes[name] = [decoded(joint, dataset) for _ in range(2)]
    assert passes["one"] == passes["again"]
    assert passes["one"][0] != passes["two"][0]


def test_buckets_save_padding(joint, spread_pairs):
    def padding(**kwargs):
        batches = joint.dataset(spread_pairs, batch_size=16, pad_to_multiple=1, **kwargs)
        return sum(int((labels.numpy() == 0).sum()) for _, labels in batches)

    assert padding(shuffle=True) < 0.5 * padding()


@pytest.mark.parametrize("multiple", [None, 8, 16])
def test_lengths_are_multiples(joint, spread_pairs, multiple, monkeypatch):
    monkeypatch.setattr(pairs, "compiles_shapes", lambda: True)
    dataset = joint.dataset(spread_pairs, batch_size=4, shuffle=True, pad_to_multiple=multiple)
    widths = {ids.shape[1] for inputs, labels in dataset for ids in (inputs["encoder_token_ids"], labels)}
    unrounded = joint.dataset(spread_pairs, batch_size=4, shuffle=True, pad_to_multiple=1)
    many = {ids.shape[1] for inputs, labels in unrounded for ids in (inputs["encoder_token_ids"], labels)}
    assert all(width % (multiple or 4) == 0 for width in widths)
    assert len(widths) == len({-(-width // (multiple or 4)) for width in many}) < len(many) / 1.5


def test_lengths_are_exact_where_shapes_are_not_compiled(joint, spread_pairs, monkeypatch):
    monkeypatch.setattr(pairs, "compiles_shapes", lambda: False)
    for _, labels in joint.dataset(spread_pairs, batch_size=16, shuffle=True):
        assert np.count_nonzero(labels, axis=1).max() == labels.shape[1]


def test_inputs_and_labels(text_preprocessor, processors, spread_pairs, rows):
    for inputs, labels in text_preprocessor.dataset(spread_pairs[:50], batch_size=16, shuffle=True):
        shifted, labels = inputs["decoder_token_ids"].numpy(), labels.numpy()
        assert list(inputs) == ["encoder_token_ids", "decoder_token_ids"] and shifted.shape == labels.shape
        for given, expected in zip(shifted, labels, strict=True):
            length = np.count_nonzero(expected)
            assert expected[length - 1] == END and not expected[length:].any() and not given[length:].any()
            assert given[:length].tolist() == [2, *expected[: length - 1]]
    # The same ids as of one batch in the graph.
    sources, targets = zip(*spread_pairs[:5], strict=True)
    (inputs, labels), *_ = text_preprocessor.dataset(spread_pairs[:5], batch_size=5)
    assert np.array_equal(inputs["encoder_token_ids"], text_preprocessor.encode_source(sources)["encoder_token_ids"])
    assert np.array_equal(inputs["decoder_token_ids"], text_preprocessor.encode_target(targets)[0])
    assert rows(labels) == [[*processors[1].encode(target), END] for target in targets]


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_of_tokens(joint, spread_pairs, shuffle):
    dataset = joint.dataset(spread_pairs, shuffle=shuffle, batch_tokens=120, copies=2, too_long="drop")
    batches = list(dataset)
    assert len(batches) == len(dataset) == len(list(dataset)) > 3
    for inputs, labels in batches:
        assert max(tf.size(labels), tf.size(inputs["encoder_token_ids"])) <= 120
    assert len({len(labels) for _, labels in batches}) > 1
    targets = sorted(text for _, text in spread_pairs)
    decoded = [text.decode() for _, labels in batches for text in joint.decode(labels).numpy()]
    assert sorted(decoded) == sorted(targets * 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "batch_size must be a positive integer. Received: batch_size=None"),
        ({"batch_size": 2, "batch_tokens": 100}, "Pass batch_size, a number of pairs, or batch_tokens"),
        ({"batch_tokens": 0}, "batch_tokens must be a positive integer"),
        ({"batch_tokens": 3}, r"batch_tokens must be at least \d+, the tokens of the longest pair.*batch_tokens=3"),
    ],
)
def test_bad_numbers_of_tokens(joint, spread_pairs, options, message):
    with pytest.raises(ValueError, match=message):
        joint.dataset(spread_pairs, **options)


def test_weights_of_copies_and_losses(joint, spread_pairs):
    """Both copies have the weight of their pair; it multiplies the losses of its tokens, by hand in NumPy."""
    pairs = spread_pairs[:6]
    weights = np.array([0.0, 0.5, 1.0, 2.0, 1.0, 0.25], "float32")
    ((_, labels, received),) = joint.dataset(pairs, batch_size=6, copies=2, weights=weights)
    assert received.numpy().tolist() == np.repeat(weights, 2).tolist()
    logits = np.random.default_rng(1).normal(size=(*labels.shape, joint.target_vocabulary_size)).astype("float32")
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    labels = labels.numpy()
    losses = -np.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0] * (labels != 0)
    expected = (losses * np.repeat(weights, 2)[:, None]).sum() / (labels != 0).sum()
    loss = MaskedCrossentropy()(labels, logits, sample_weight=received)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_copies_are_in_neighbouring_rows(joint, spread_pairs):
    (inputs, labels), *others = joint.dataset(spread_pairs, batch_size=32, copies=2)
    assert len(others) == 6 and labels.shape[0] == 64
    twice = [pair for pair in spread_pairs[:32] for _ in range(2)]
    assert decoded(joint, [(inputs, labels)]) == twice
    assert np.array_equal(inputs["decoder_token_ids"][::2], inputs["decoder_token_ids"][1::2])
    shuffled = joint.dataset(spread_pairs, batch_size=32, copies=2, shuffle=EpochShuffle(1))
    plain = joint.dataset(spread_pairs, batch_size=32, shuffle=EpochShuffle(1))
    assert decoded(joint, shuffled)[::2] == decoded(joint, plain)
    with pytest.raises(ValueError, match="copies must be 1 or 2. Received: copies=3"):
        joint.dataset(spread_pairs, batch_size=2, copies=3)


def test_many_pairs_are_tokenized_in_parts(joint, spread_pairs, monkeypatch):
    monkeypatch.setattr("kerasseq.preprocessing.base.TEXTS_AT_ONCE", 7)
    assert decoded(joint, joint.dataset(spread_pairs, batch_size=32)) == spread_pairs


LONG = ("one two three one two three", "one")
LONG_TARGET = ("one", "one two three one two three")
SHORT = ("two", "three")


@pytest.fixture(scope="module")
def short(vocabularies):
    return TextPreprocessor(vocabularies[0], max_source_length=5, max_target_length=5)


def test_too_long_pairs_are_dropped(short, caplog):
    with caplog.at_level(logging.WARNING, logger="kerasseq"):
        short.dataset([SHORT] * 3, batch_size=2, too_long="error")
        assert caplog.records == []
        dataset = short.dataset([SHORT, LONG, SHORT, LONG_TARGET, LONG], batch_size=2, shuffle=True)
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 5 pairs are longer than 5 source or 5 target tokens: dropped."
    ]
    assert decoded(short, dataset) == [SHORT] * 2 and dataset.cardinality() == 1


def test_too_long_pairs_are_truncated(short, caplog):
    with caplog.at_level(logging.WARNING, logger="kerasseq"):
        # Without a shuffle there is a row for every pair.
        ((inputs, labels),) = short.dataset([SHORT, LONG, LONG_TARGET], batch_size=3)
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 3 pairs are longer than 5 source or 5 target tokens: truncated."
    ]
    sources, targets = zip(SHORT, LONG, LONG_TARGET, strict=True)
    assert np.array_equal(inputs["encoder_token_ids"], short.encode_source(sources)["encoder_token_ids"])
    assert np.array_equal(labels, short.encode_target(targets)[1])
    assert labels[2, -1] == inputs["encoder_token_ids"][1, -1] == END
    with pytest.raises(ValueError, match="1 of 2 pairs are longer than 5 source or 5 target.*too_long='truncate'"):
        short.dataset([SHORT, LONG], batch_size=2, too_long="error")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "Received: an empty list"),
        ([SHORT, ("a", "b", "c")], r"two strings.*Received at index 1: \('a', 'b', 'c'\)"),
        ([("a", 1)], r"Received at index 0: \('a', 1\)"),
        ([("a", b"b")], "Received at index 0"),
        ([None], "Received at index 0: None"),
        (["ab", "cd"], "Received at index 0: 'ab'"),
        ([["one"] * 5, ["two"] * 5], r"strict=True\)\). Received at index 0: \['one'"),
    ],
)
def test_bad_pairs(short, pairs, message):
    with pytest.raises(ValueError, match=message):
        short.dataset(pairs, batch_size=2)
    with pytest.raises(ValueError, match=message):
        TextPreprocessor.from_pairs(pairs, vocabulary_size=280)


def test_sources_and_targets_instead_of_pairs(short):
    with pytest.raises(ValueError, match="list of \\(source, target\\) tuples"):
        short.dataset(["one", "two"], ["eins", "zwei"])
    with pytest.raises(ValueError, match="list of \\(source, target\\) tuples"):
        TextPreprocessor.from_pairs(["one", "two"], ["eins", "zwei"])


@pytest.mark.parametrize("value", [1, 0, -3, 2.5, None])
def test_bad_lengths(vocabularies, value):
    with pytest.raises(ValueError, match="max_source_length must be an integer of at least 2.*Received: max_source_l"):
        TextPreprocessor(*vocabularies, max_source_length=value)


# === Construction ===


def test_from_pairs(word_pairs, rows):
    separate = TextPreprocessor.from_pairs(word_pairs, vocabulary_size=285)
    assert not separate.joint and separate.source_vocabulary_size != separate.target_vocabulary_size
    joint = TextPreprocessor.from_pairs(
        word_pairs, vocabulary_size=300, joint=True, max_source_length=7, max_target_length=9
    )
    assert joint.joint and joint.source_vocabulary_size == joint.target_vocabulary_size
    assert (joint.max_source_length, joint.max_target_length) == (7, 9)
    texts = ["zwei one"]
    assert rows(joint.encode_source(texts)["encoder_token_ids"]) == rows(joint.encode_target(texts)[1])
    assert rows(separate.encode_source(texts)["encoder_token_ids"]) != rows(separate.encode_target(texts)[1])


def test_the_ratio_of_lengths_is_generous():
    """Half as much again as 99.9 % of the pairs need beyond 10 tokens, rounded up to a tenth, and at least 1."""
    assert measured_length_ratio([10, 20, 5], [30, 20, 14]) == pytest.approx(3.0)  # (30 - 10) / 10 * 1.5
    assert measured_length_ratio([10, 20], [10, 12]) == 1.0
    # One pair in ten thousand does not count.
    assert measured_length_ratio([4] * 10_000, [16] * 9_999 + [90]) == pytest.approx(2.3)  # 6 / 4 * 1.5 = 2.25


def test_a_ratio_is_above_0():
    with pytest.raises(ValueError, match="length_ratio must be above 0, or None"):
        TextPreprocessor(length_ratio=0.0)
    with pytest.raises(ValueError, match="length_ratio must be a number of at least 0"):
        TextPreprocessor(length_ratio=-1.0)
