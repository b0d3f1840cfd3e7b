"""What every preprocessor must do, whatever its sources are."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.datasets import load_drawn_scenes
from kerasseq.preprocessing import (
    AudioPreprocessor,
    CharacterTokenizer,
    EpochShuffle,
    ImagePreprocessor,
    Preprocessor,
    SubwordTokenizer,
    TextPreprocessor,
    WordTokenizer,
    encode_wav,
)

START, END = 2, 3
TARGETS = ["eins", "zwei drei", "drei eins zwei eins", "zwei", "eins zwei drei", "drei", "zwei eins"]
LONG = "eins zwei drei " * 12
FILES = {
    "text": ["source.spm", "target.spm"],
    "joint": ["source.spm"],
    "spelling": ["source.chars", "target.words"],
    "audio": ["target.spm"],
    "image": ["target.spm"],
}
CONFIGS = {
    "text": {"max_source_length", "max_target_length"},
    "joint": {"max_source_length", "max_target_length"},
    "spelling": {"max_source_length", "max_target_length"},
    "audio": {"sample_rate", "num_bins", "max_seconds", "max_target_length"},
    "image": {"image_size", "max_target_length"},
}


@pytest.fixture(scope="module", params=["text", "joint", "spelling", "audio", "image"])
def case(request, vocabularies):
    """A preprocessor, seven pairs for it, and a source that it refuses."""
    kind, lengths = request.param, {"max_target_length": 20}
    if kind == "audio":
        preprocessor = AudioPreprocessor(vocabularies[1], 8_000, num_bins=8, max_seconds=0.5, **lengths)
        noise = np.random.default_rng(1).normal(scale=0.1, size=4_000)
        sources, bad = [encode_wav(noise[: 500 * (index + 1)], 8_000) for index in range(7)], b"no sound"
    elif kind == "image":
        preprocessor = ImagePreprocessor(vocabularies[1], image_size=(8, 12), **lengths)
        sources, bad = [image for image, _ in load_drawn_scenes(20, image_size=24)[0][:7]], b"no image"
    elif kind == "spelling":
        alphabet, words = CharacterTokenizer("ehinortw. 0123456789"), WordTokenizer(["zwei", "eins", "drei"])
        preprocessor = TextPreprocessor(alphabet, words, max_source_length=40, **lengths)
        sources, bad = [f"{'one two three ' * (index % 3)}{index}" for index in range(7)], 5
    else:
        preprocessor = TextPreprocessor(*vocabularies[-1 if kind == "joint" else 0 :], max_source_length=40, **lengths)
        sources, bad = [f"{'one two three ' * (index % 3)}{index}" for index in range(7)], 5
    encode = tf.function(preprocessor.encode_source, input_signature=[preprocessor.source_signature])
    return types.SimpleNamespace(
        kind=kind, preprocessor=preprocessor, sources=sources, bad=bad, encode=encode,
        pairs=list(zip(sources, TARGETS, strict=True)),
    )  # fmt: skip


# === Sources ===


@pytest.mark.parametrize("count", [0, 1, 3])
def test_encoder_inputs_have_the_declared_shapes(case, count):
    encoded = case.encode(case.preprocessor.raw_batch(case.sources[:count]))
    declared = case.preprocessor.encoder_inputs
    assert set(encoded) == set(declared)
    for name, tensor in encoded.items():
        assert tensor.shape.is_compatible_with([count, *declared[name]]), name
        traced = case.encode.get_concrete_function().structured_outputs[name]
        assert traced.shape.is_compatible_with([None, *declared[name]])
        assert all(tensor.shape[1:])  # Not even an empty batch is empty in other dimensions.


def test_encoding_in_and_outside_of_a_graph_agree(case):
    raw = case.preprocessor.raw_batch(case.sources[:3])
    for name, tensor in case.preprocessor.encode_source(raw).items():
        np.testing.assert_allclose(
            np.asarray(tensor, "float32"), np.asarray(case.encode(raw)[name], "float32"), atol=1e-4
        )


@pytest.mark.parametrize("split", [False, True])
def test_raw_batches_fit_the_signature(case, split):
    for sources in (case.sources, []):
        raw = case.preprocessor.raw_batch(sources, split=split)
        assert case.preprocessor.source_signature.is_compatible_with(raw) and raw.shape == (len(sources),)


def test_bad_sources_are_refused_with_their_index(case):
    with pytest.raises(ValueError, match="Received at index 1"):
        case.preprocessor.raw_batch([case.sources[0], case.bad])


@pytest.mark.parametrize("stride", [1, 2])
def test_source_tokens_label_the_memory(case, stride, strings):
    context = case.encode(case.sources[:3])
    if case.kind == "image":
        context["regions"] = tf.constant([[[0, 0], [0, 1], [1, 0], [1, 1]]] * 3)
        length, stride = 4, 1
    else:
        length = context[next(iter(context))].shape[1]
    labels = strings(case.preprocessor.source_tokens(context, stride=stride))
    assert len(labels) == 3 and {len(row) for row in labels} == {-(-length // stride)}
    assert all(row[0] for row in labels) and all(labels[2])


def test_remarks_are_a_value_for_each_source(case):
    remarks = tf.function(case.preprocessor.remarks, input_signature=[case.preprocessor.source_signature])
    for count in (0, 3):
        values = remarks(tf.constant(case.sources[:count], tf.string))
        assert values and all(value.shape == (count,) for value in values.values())
    # The sources are good.
    assert not any(np.any(value.numpy().astype(bool)) for value in values.values())


def test_blank_sources(case):
    blank = tf.function(case.preprocessor.blank, input_signature=[case.preprocessor.source_signature])
    if case.kind in ("audio", "image"):
        assert blank(tf.constant([b"", b" "])) is None
        return
    assert blank(tf.constant(["", " \n\t\u00a0", " one ", "\ufeff"])).numpy().tolist() == [True, True, False, False]
    assert blank(tf.zeros([0], tf.string)).shape == (0,)


@pytest.mark.parametrize("share", [0.001, 0.5, 1.5])
def test_example_sources_can_be_encoded(case, share):
    sources = case.preprocessor.example_sources(3, share)
    assert sources == case.preprocessor.example_sources(3, share) and len(sources) == 3
    encoded = case.encode(case.preprocessor.raw_batch(sources))
    assert all(len(tensor) == 3 for tensor in encoded.values())


def test_splitting(case):
    preprocessor, raw = case.preprocessor, tf.constant(case.sources[:2])
    if not preprocessor.splits_sources:
        for call in (lambda: preprocessor.encode_parts(raw), lambda: preprocessor.join_parts(raw, raw, 2)):
            with pytest.raises(NotImplementedError, match=f"{type(preprocessor).__name__} must define .*_parts"):
                call()
        return
    inputs, owners = preprocessor.encode_parts(tf.constant(["one", "one two three. " * 20]))
    assert set(inputs) == set(preprocessor.encoder_inputs) and owners.dtype == tf.int32
    assert owners.shape[0] == inputs["encoder_token_ids"].shape[0] > 2
    joined = preprocessor.join_parts(tf.fill([owners.shape[0], 1], "a"), owners, 2)
    assert joined.numpy().tolist() == [[b"a"], [b" ".join([b"a"] * (owners.shape[0] - 1))]]


# === Targets ===


def test_targets_are_shifted_and_decoded(case, rows, strings):
    encode = tf.function(case.preprocessor.encode_target, input_signature=[tf.TensorSpec([None], tf.string)])
    decoder_token_ids, labels = encode(tf.constant(TARGETS))
    assert decoder_token_ids.dtype == labels.dtype == tf.int32 and decoder_token_ids.shape == labels.shape
    for inputs, outputs in zip(rows(decoder_token_ids), rows(labels), strict=True):
        assert inputs[0] == START and outputs[-1] == END and inputs[1:] == outputs[:-1] and END not in inputs
    assert strings(case.preprocessor.decode(labels)) == TARGETS
    assert labels.numpy().max() < case.preprocessor.target_vocabulary_size


def test_long_targets_are_truncated(case, rows, strings):
    _, labels = case.preprocessor.encode_target([LONG, "eins"])
    assert labels.shape == (2, 20) and labels[0, -1] == END
    assert LONG.startswith(strings(case.preprocessor.decode(labels))[0])
    tokens = case.preprocessor.tokenize([LONG], "target").to_list()[0]
    assert rows(labels)[0][:-1] == tokens[:19]


def test_decoding_stops_at_end_and_ignores_padding(case, strings):
    prefix = case.preprocessor.encode_prefix(["eins"]).numpy()[0].tolist()
    ids = [[START, *prefix, END, *prefix], [0, *prefix, 0, *[0] * len(prefix)], [END, *prefix, 0, *[0] * (len(prefix))]]
    assert strings(case.preprocessor.decode(ids)) == ["eins", "eins", ""]
    assert case.preprocessor.decode(tf.zeros([0, 5], tf.int32)).shape == (0,)


def test_prefixes_have_neither_start_nor_end(case, rows, strings):
    prefixes = case.preprocessor.encode_prefix(["zwei drei", b"eins", ""])
    _, labels = case.preprocessor.encode_target(["zwei drei", "eins", ""])
    assert prefixes.dtype == tf.int32
    assert rows(prefixes) == [row[:-1] for row in rows(labels)]
    assert case.preprocessor.encode_prefix(["", ""]).shape == (2, 0)


def test_target_tokens_spell_the_text(case, strings):
    _, labels = case.preprocessor.encode_target(["zwei drei", "eins"])
    tokens = strings(case.preprocessor.target_tokens(labels))
    for text, row, ids in zip(["zwei drei", "eins"], tokens, labels.numpy(), strict=True):
        spelled = text.replace(" ", "") if case.kind == "spelling" else "▁" + text.replace(" ", "▁")
        assert "".join(row) == f"{spelled}</s>"
        assert [token == "" for token in row] == [token_id == 0 for token_id in ids]


# === Vocabularies ===


def test_vocabulary_relations(case):
    preprocessor = case.preprocessor
    assert isinstance(preprocessor, Preprocessor) and preprocessor.has_vocabularies
    assert preprocessor.joint == (case.kind == "joint")
    of_tokens = case.kind in ("text", "joint", "spelling")
    assert (
        (preprocessor.source_vocabulary_size is not None) == (preprocessor.max_source_length is not None) == of_tokens
    )
    assert len(preprocessor.tokenizers) == len(FILES[case.kind])
    assert preprocessor.target_tokenizer is preprocessor.tokenizers[-1]
    if preprocessor.joint:
        assert preprocessor.source_vocabulary_size == preprocessor.target_vocabulary_size
        assert {len(values) for values in preprocessor.word_pieces().values()} == {preprocessor.target_vocabulary_size}
    else:
        with pytest.raises(ValueError, match=rf"joint vocabulary. Received: a {type(preprocessor).__name__} without"):
            preprocessor.word_pieces()


def test_exported_graphs_track_the_tokenizers(case, tmp_path, strings):
    module = tf.Module()
    module.tokenizers = list(case.preprocessor.tokenizers)
    module.repeat = tf.function(
        lambda texts: case.preprocessor.decode(case.preprocessor.encode_target(texts)[1]),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert strings(loaded.repeat(tf.constant(TARGETS))) == TARGETS


# === Saving ===


def test_saved_and_loaded(case, tmp_path):
    preprocessor = case.preprocessor
    preprocessor.save_assets(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES[case.kind]
    serialized = keras.saving.serialize_keras_object(preprocessor)
    assert serialized["registered_name"] == f"kerasseq>{type(preprocessor).__name__}"
    assert CONFIGS[case.kind] <= set(serialized["config"])
    loaded = keras.saving.deserialize_keras_object(serialized)
    assert not loaded.has_vocabularies
    with pytest.raises(ValueError, match="has no vocabulary. Pass one to the constructor"):
        loaded.encode_target(TARGETS)
    loaded.load_assets(tmp_path)
    assert loaded.get_config() == preprocessor.get_config() and loaded.joint == preprocessor.joint
    assert loaded.source_vocabulary_size == preprocessor.source_vocabulary_size
    assert loaded.target_vocabulary_size == preprocessor.target_vocabulary_size
    for ours, theirs in zip(loaded.encode_target(TARGETS), preprocessor.encode_target(TARGETS), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name, tensor in loaded.encode_source(case.sources[:2]).items():
        expected = case.encode(case.sources[:2])[name]
        np.testing.assert_allclose(tensor.numpy().astype("f"), expected.numpy().astype("f"), atol=1e-4)


def test_missing_assets(case, tmp_path):
    with pytest.raises(ValueError, match=f"Expected a vocabulary .*'{FILES[case.kind][0]}'.* in .*no such file"):
        case.preprocessor.load_assets(tmp_path)


@pytest.mark.parametrize("value", [1, 0, 2.5, None])
def test_bad_target_lengths(case, value):
    with pytest.raises(ValueError, match="max_target_length must be an integer of at least 2.*Received: max_target_"):
        type(case.preprocessor)(max_target_length=value)


def test_vocabularies_may_be_tokenizers(case, rows, vocabularies):
    tokenizers = SubwordTokenizer(vocabularies[1]), type(case.preprocessor)(vocabularies[1]).target_tokenizer
    ids = [rows(type(case.preprocessor)(tokenizer).encode_target(TARGETS)[1]) for tokenizer in tokenizers]
    assert ids[0] == ids[1]
    with pytest.raises(ValueError, match="A vocabulary must be bytes.*Received: 'a.spm' \\(str\\)"):
        type(case.preprocessor)("a.spm")


# === Data sets ===


def test_data_sets_keep_the_order(case):
    """Each batch is what one call of the encoders gives."""
    dataset = case.preprocessor.dataset(case.pairs, batch_size=3)
    assert len(dataset) == dataset.cardinality() == 3
    for start, (inputs, labels) in zip((0, 3, 6), dataset, strict=True):
        sources, targets = case.sources[start : start + 3], TARGETS[start : start + 3]
        decoder_token_ids, expected = case.preprocessor.encode_target(targets)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(inputs["decoder_token_ids"], decoder_token_ids)
        assert set(inputs) == {*case.preprocessor.encoder_inputs, "decoder_token_ids"}
        for name, tensor in case.encode(sources).items():
            assert inputs[name].dtype == tensor.dtype
            np.testing.assert_allclose(inputs[name].numpy().astype("f"), tensor.numpy().astype("f"), atol=1e-4)


def test_shuffled_data_sets(case, strings):
    """Each pair once, in another order in each pass, which a seed repeats; lengths are multiples of 4."""

    def passes(seed, count=1):
        dataset = case.preprocessor.dataset(case.pairs, batch_size=2, shuffle=True, seed=seed, pad_to_multiple=4)
        return [list(dataset) for _ in range(count)]

    first, second = passes(1, 2)
    orders = [
        [text for _, labels in one for text in strings(case.preprocessor.decode(labels))] for one in (first, second)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(TARGETS) and orders[0] != orders[1]
    (again,) = passes(1)
    for (inputs, labels), (same_inputs, same_labels) in zip(first, again, strict=True):
        np.testing.assert_array_equal(labels, same_labels)
        for name in inputs:
            np.testing.assert_array_equal(inputs[name], same_inputs[name])
    source = dict(zip(TARGETS, case.sources, strict=True))
    inputs, labels = first[0]
    assert labels.shape[1] % 4 == 0
    expected = case.encode([source[text] for text in strings(case.preprocessor.decode(labels))])
    for name, tensor in expected.items():
        width = slice(None) if case.kind == "image" else slice(0, tensor.shape[1])
        assert case.kind == "image" or inputs[name].shape[1] % 4 == 0
        np.testing.assert_allclose(inputs[name].numpy().astype("f")[:, width], tensor.numpy().astype("f"), atol=1e-4)


def test_long_targets_in_data_sets(case, caplog):
    pairs = [*case.pairs[:2], (case.sources[2], LONG)]
    (inputs, labels), = case.preprocessor.dataset(pairs, batch_size=3)  # fmt: skip
    assert "1 of 3 pairs are longer than" in caplog.text and "target tokens: truncated." in caplog.text
    assert labels.shape == (3, 20) and labels[2, -1] == END
    caplog.clear()
    (inputs, labels), = case.preprocessor.dataset(pairs, batch_size=3, too_long="drop")  # fmt: skip
    assert len(labels) == 2 and "dropped" in caplog.text
    with pytest.raises(ValueError, match="1 of 3 pairs are longer.*too_long='truncate'"):
        case.preprocessor.dataset(pairs, batch_size=3, too_long="error")
    with pytest.raises(ValueError, match="1 of 1 pairs are longer"):
        case.preprocessor.dataset(pairs[2:], batch_size=3, shuffle=EpochShuffle())


@pytest.mark.parametrize("shuffle", [False, True])
def test_weights_go_with_their_pairs(case, shuffle, strings):
    """Also when pairs are shuffled and one is dropped."""
    pairs = [(case.sources[2], LONG), *case.pairs]
    weights = dict(zip(TARGETS, np.linspace(0, 2, len(TARGETS), dtype="float32"), strict=True))
    dataset = case.preprocessor.dataset(
        pairs, batch_size=3, shuffle=shuffle, too_long="drop", weights=[9, *weights.values()]
    )
    received = {}
    for _, labels, batch_weights in dataset:
        assert batch_weights.dtype == tf.float32
        received |= dict(zip(strings(case.preprocessor.decode(labels)), batch_weights.numpy(), strict=True))
    assert received == weights


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a positive integer. Received: batch_size=0"),
        ({"batch_size": 2.0}, "Received: batch_size=2.0"),
        ({"too_long": "cut"}, "too_long must be one of 'drop', 'truncate', 'error'. Received: 'cut'"),
        ({"pad_to_multiple": 0}, "pad_to_multiple must be a positive integer"),
        ({"shuffle": "yes"}, "shuffle must be True, False or an EpochShuffle. Received: shuffle='yes'"),
        ({"pairs": []}, "Received: an empty list"),
        ({"pairs": [("a", "b", "c")]}, r"Received at index 0: \('a', 'b', 'c'\)"),
        ({"pairs": [("a", "b", 0.5)]}, r"Received at index 0: \('a', 'b', 0.5\). Pass weights as dataset"),
        ({"pairs": [None]}, "Received at index 0: None"),
        ({"weights": [1.0] * 6}, r"weights must be a list of numbers, one for each of the 7 pairs.*Received: \[1.0"),
        ({"weights": 0.5}, "one for each of the 7 pairs. Received: 0.5"),
        ({"weights": ["1"] * 7}, "Received: \\['1', '1'"),
        ({"weights": [1e39] * 7}, "must be finite"),
        ({"weights": [[1.0], [1.0, 2.0]]}, "one for each of the 7 pairs"),
        ({"weights": [1.0] * 6 + [-1.0]}, "at least 0, and not all 0. Received: numbers from -1.0 to 1.0"),
        ({"weights": [float("nan")] * 7}, "must be finite"),
        ({"weights": [0] * 7}, "not all 0"),
    ],
)
def test_bad_arguments_of_data_sets(case, arguments, message):
    with pytest.raises(ValueError, match=message):
        case.preprocessor.dataset(**{"pairs": case.pairs, "batch_size": 2, **arguments})
    if "pairs" in arguments:
        with pytest.raises(ValueError, match=message):
            type(case.preprocessor).from_pairs(arguments["pairs"])


@pytest.mark.parametrize("target", [1, b"eins", None])
def test_targets_that_are_no_strings(case, target):
    with pytest.raises(ValueError, match=f"and a string|two strings.*Received at index 1: .*{target!r}"):
        case.preprocessor.dataset([case.pairs[0], (case.sources[0], target)], batch_size=2)


# The last test of a case: it invalidates traced graphs.
def test_tokenizers_are_a_key_of_traced_graphs(case, rows):
    """They are the same objects until Keras deletes their resources; then others that work as before."""
    before = case.preprocessor.tokenizers
    labels = rows(case.preprocessor.encode_target(TARGETS)[1])
    assert tuple(before) == tuple(case.preprocessor.tokenizers)
    keras.utils.clear_session()
    # Tables outlive a cleared session, SentencePiece models do not.
    kept = set(before) & set(case.preprocessor.tokenizers)
    assert kept == (set(before) if case.kind == "spelling" else set())
    assert tuple(case.preprocessor.tokenizers) == tuple(case.preprocessor.tokenizers)
    assert rows(case.preprocessor.encode_target(TARGETS)[1]) == labels


# === The base class alone ===


def test_what_a_subclass_must_define():
    preprocessor = Preprocessor()
    for name in ("source_signature", "encoder_inputs"):
        with pytest.raises(NotImplementedError, match=f"Preprocessor must define {name}"):
            getattr(preprocessor, name)
    for name, arguments in {"encode_source": 1, "raw_batch": 1, "source_tokens": 1, "encode_parts": 1}.items():
        with pytest.raises(NotImplementedError, match=f"Preprocessor must define {name}"):
            getattr(preprocessor, name)(*[None] * arguments)


def test_defaults():
    preprocessor = Preprocessor()
    assert preprocessor.remarks(tf.constant(["a"])) == {}
    assert preprocessor.example_sources(2, 0.5) == [b"", b""]
    assert (preprocessor.joint, preprocessor.splits_sources, preprocessor.has_vocabularies) == (False, False, False)
    assert preprocessor.source_vocabulary_size is None and preprocessor.max_source_length is None
