"""Pairs that are read in every pass: the batches of a list where the two can agree, and what is refused."""

import gzip
import itertools
import json
import logging
import lzma

import numpy as np
import pytest
import tensorflow as tf

from kerasseq.datasets import PairFiles
from kerasseq.preprocessing import EpochShuffle, TextPreprocessor
from kerasseq.preprocessing.streams import sampled

WORDS = ("one", "two", "three")


class Stream:
    """An iterable of pairs without a length, which begins anew each time."""

    def __init__(self, pairs):
        self.pairs = pairs
        self.begun = 0

    def __iter__(self):
        self.begun += 1
        return iter(self.pairs)


@pytest.fixture(scope="module")
def spread_pairs():
    """300 different pairs with 1 to 20 words."""
    random = np.random.default_rng(1)
    texts = [" ".join(random.choice(WORDS, size=random.integers(1, 21))) for _ in range(300)]
    return [(f"{index} {text}", f"{text} {index}") for index, text in enumerate(texts)]


@pytest.fixture(scope="module")
def joint(vocabularies):
    """Some of `spread_pairs` are too long for it."""
    return TextPreprocessor(vocabularies[0], max_source_length=30, max_target_length=30)


def batches_of(dataset):
    """All batches of a pass, as lists."""
    return [
        [np.asarray(part).tolist() for part in (*inputs.values(), *rest)]
        for inputs, *rest in dataset.as_numpy_iterator()
    ]


def sources_of(dataset):
    """The sources of a pass, sorted."""
    rows = [row for inputs, _ in dataset for row in inputs["encoder_token_ids"].numpy()]
    return sorted(np.trim_zeros(row, "b").tolist() for row in rows)


OPTIONS = {
    "batches": {"batch_size": 7},
    "batches of tokens": {"batch_tokens": 150},
    "a remainder": {"batch_size": 7, "drop_remainder": True},
    "dropped pairs": {"batch_size": 7, "too_long": "drop"},
    "copies": {"batch_size": 7, "copies": 2, "pad_to_multiple": 4},
    "drawn subwords": {"batch_size": 7, "subword_sampling": 0.3, "seed": 3},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_unshuffled_batches_are_those_of_the_list(joint, spread_pairs, options, monkeypatch):
    """Although windows and chunks end elsewhere than batches."""
    monkeypatch.setattr("kerasseq.preprocessing.streams.TEXTS_AT_ONCE", 50)
    stream = Stream(spread_pairs)
    dataset = joint.dataset(stream, buffer_size=40, **options)
    expected = joint.dataset(spread_pairs, **options)
    for _ in range(2):
        batches = batches_of(dataset)
        assert batches == batches_of(expected) and len(batches) > 10
    assert stream.begun == 3  # Once for the first pair.
    assert dataset.vocabulary_digest == joint.vocabulary_digest


@pytest.mark.parametrize("options", [{"batch_size": 7}, {"batch_tokens": 150, "subword_sampling": 0.3}])
def test_a_shuffled_stream_that_fits_has_the_batches_of_the_list(joint, spread_pairs, options):
    dataset = joint.dataset(Stream(spread_pairs), shuffle=True, seed=2, buffer_size=1_000, **options)
    expected = joint.dataset(spread_pairs, shuffle=True, seed=2, **options)
    passes = [batches_of(dataset) for _ in range(2)]
    assert passes == [batches_of(expected) for _ in range(2)]
    assert passes[0] != passes[1]


def test_shuffled_windows(joint, spread_pairs):
    """Each pair once, similar lengths in a batch, within 100 pairs of its place, by the seed."""

    def dataset(seed=0):
        return joint.dataset(
            Stream(spread_pairs), 10, shuffle=True, too_long="truncate", buffer_size=107, seed=seed, pad_to_multiple=1
        )

    batches = [joint.decode(inputs["encoder_token_ids"]).numpy() for inputs, _ in dataset()]
    numbers = [[int(text.split()[0]) for text in batch] for batch in batches]
    assert [len(batch) for batch in numbers] == [10] * 30
    for start in range(0, 300, 100):
        window = list(itertools.chain(*numbers[start // 10 : start // 10 + 10]))
        assert sorted(window) == list(range(start, start + 100)) != window
    in_order = joint.dataset(spread_pairs, 10)
    padding = [sum(int((labels.numpy() == 0).sum()) for _, labels in each) for each in (dataset(), in_order)]
    assert padding[0] < 0.5 * padding[1]
    assert batches_of(dataset()) == batches_of(dataset()) != batches_of(dataset(seed=1))


def tsv(pairs):
    return "".join(f"{source}\t{target}\n" for source, target in pairs)


def csv(pairs):
    return "en,de\n" + "".join(f'"{source}","{target}"\n' for source, target in pairs)


def json_lines(pairs):
    return "".join(json.dumps({"en": source, "de": target}) + "\n" for source, target in pairs)


@pytest.mark.parametrize(
    ("name", "written", "compress", "arguments"),
    [
        ("pairs-{}.tsv.gz", tsv, gzip.compress, {}),
        ("pairs-{}.csv.xz", csv, lzma.compress, {"columns": ("en", "de")}),
        ("pairs-{}.jsonl", json_lines, bytes, {"columns": ("en", "de")}),
    ],
)
def test_files_have_the_batches_of_the_list(joint, spread_pairs, tmp_path, name, written, compress, arguments):
    for number, part in enumerate((spread_pairs[:120], spread_pairs[120:])):
        (tmp_path / name.format(number)).write_bytes(compress(written(part).encode()))
    files = PairFiles(tmp_path / name.format("*"), **arguments)
    for options in ({"batch_size": 16}, {"batch_size": 16, "shuffle": True}):
        assert batches_of(joint.dataset(files, **options)) == batches_of(joint.dataset(spread_pairs, **options))


def test_epochs_decide_the_order(joint, spread_pairs):
    """Those of `fit`, so that a resumed training goes on with the batches of the uninterrupted one."""

    def epochs(*numbers):
        shuffle = EpochShuffle(seed=4)
        dataset = joint.dataset(Stream(spread_pairs), 16, shuffle=shuffle, buffer_size=64)
        for shuffle.epoch in numbers:
            yield batches_of(dataset)

    whole = list(epochs(0, 1, 2))
    assert list(epochs(1, 2)) == whole[1:] and whole[0] != whole[1]


def test_a_tf_dataset(joint, spread_pairs):
    tensors = tf.data.Dataset.from_tensor_slices(tuple(map(list, zip(*spread_pairs, strict=True))))
    mapped = tensors.map(lambda source, target: (tf.strings.join([source, ""]), target), num_parallel_calls=2)
    expected = batches_of(joint.dataset(spread_pairs, 16))
    assert batches_of(joint.dataset(mapped.prefetch(2), 16)) == expected
    invalid = tf.data.Dataset.from_tensors((b"a\xff", b"b"))
    assert batches_of(joint.dataset(invalid, 1)) == batches_of(joint.dataset([("a\ufffd", "b")], 1))


@pytest.mark.parametrize(
    "elements", [("ab", "cd", "ef"), "ab", (["ab"], ["cd"]), (1, 2), {"source": "ab", "target": "cd"}]
)
def test_a_tf_dataset_of_something_else(joint, elements):
    with pytest.raises(ValueError, match=r"elements \(source, target\), two string tensors.*Call unbatch"):
        joint.dataset(tf.data.Dataset.from_tensors(elements), 2)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (lambda: (("a", "b") for _ in range(3)), "readable anew in every pass. Received: an iterator.*PairFiles"),
        (lambda: zip("ab", "cd", strict=True), r"Received: an iterator, such as a generator or zip.*Pass list\(pairs"),
        (lambda: "pairs.tsv", r"Received: 'pairs.tsv'. Pass kerasseq.datasets.PairFiles\('pairs.tsv'\) for files"),
        (lambda: 5, r"list of \(source, target\) tuples.*Received: 5 \(int\)"),
        (lambda: Stream([]), "Received: a stream without any"),
        (lambda: Stream([("a", "b", "c")]), "Received at index 0: .'a', 'b', 'c'"),
    ],
)
def test_refused_sources(joint, pairs, message):
    with pytest.raises(ValueError, match=message):
        joint.dataset(pairs(), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 2, "weights": [1.0]}, "weights are those of a list of pairs. Received: weights and a stream"),
        ({"batch_size": 2, "buffer_size": 0}, "buffer_size must be a positive integer. Received: buffer_size=0"),
        ({"batch_tokens": 99, "drop_remainder": True}, "drop_remainder needs batch_size"),
    ],
)
def test_refused_options(joint, spread_pairs, options, message):
    with pytest.raises(ValueError, match=message):
        joint.dataset(Stream(spread_pairs), **options)


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([("a", "b"), ("a", None)], {"batch_size": 1}, "Received at index 1: .'a', None"),
        ([("a", "b"), ("one " * 90, "b")], {"batch_size": 1, "too_long": "error"}, "1 of 2 pairs are longer than 30"),
        ([("one " * 90, "b")], {"batch_size": 1, "too_long": "drop"}, "1 of 1 pairs are longer than 30 source"),
        (
            [("a", "b")],
            {"batch_size": 2, "drop_remainder": True},
            "Received: 1 pairs.*batch_size=2",
        ),
        ([("one " * 20, "b")], {"batch_tokens": 8}, r"batch_tokens must be at least \d+, the tokens of the longest"),
    ],
)
def test_faults_within_a_stream(joint, pairs, options, message):
    dataset = joint.dataset(Stream(pairs), **options)
    with pytest.raises(tf.errors.OpError, match=message):
        list(dataset)


def test_long_texts_are_reported_once(joint, caplog):
    pairs = [("one", "two"), ("one " * 90, "two"), ("three", "one")]
    dataset = joint.dataset(Stream(pairs), 2, too_long="drop")
    assert caplog.records == []
    with caplog.at_level(logging.WARNING, logger="kerasseq"):
        assert [len(labels) for _ in range(2) for _, labels in dataset] == [2, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 3 pairs are longer than 30 source or 30 target tokens: dropped."
    ]


def test_passes_that_are_given_up(joint, spread_pairs):
    """Two passes in turns, after many that nobody reads on."""
    dataset = joint.dataset(Stream(spread_pairs), 100)
    for _ in range(8):
        next(iter(dataset))
    both = [[len(labels) for _, labels in turn] for turn in zip(dataset, dataset, strict=True)]
    assert both == [[100, 100]] * 3


def test_a_batch_of_a_pass_long_given_up(joint, spread_pairs):
    dataset = joint.dataset(Stream(spread_pairs), 10)
    old = iter(dataset)
    next(old)
    for _ in range(4):
        next(iter(dataset))
    with pytest.raises(tf.errors.OpError, match="at most 4 passes over a stream at the same time"):
        list(old)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras learns the number of batches by it.
def test_training_on_compressed_files(preprocessor, number_pairs, tmp_path):
    """What a user writes."""
    import kerasseq

    for part in range(2):
        lines = "".join(f"{source}\t{target}\n" for source, target in number_pairs[part::2])
        (tmp_path / f"part-{part}.tsv.gz").write_bytes(gzip.compress(lines.encode()))
    files = kerasseq.datasets.PairFiles(tmp_path / "part-*.tsv.gz")
    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=8, embedding_dim=8
    )
    model.compile("adam", kerasseq.losses.MaskedCrossentropy())
    history = model.fit(
        preprocessor.dataset(files, batch_size=16, shuffle=True),
        validation_data=preprocessor.dataset(files, batch_size=16),
        epochs=3,
        verbose=0,
        shuffle=False,
    )
    assert history.history["loss"][-1] < history.history["loss"][0]


# === Shards ===


@pytest.mark.parametrize("make", [list, Stream])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_shards_are_disjoint_and_complete(joint, spread_pairs, make, shuffle, drop_remainder):
    """But for a remainder, and for up to two pairs by which the three would differ."""
    options = {"batch_size": 8, "shuffle": shuffle, "drop_remainder": drop_remainder, "too_long": "drop"}
    shards = [joint.dataset(make(spread_pairs), shard=(index, 3), buffer_size=100, **options) for index in range(3)]
    for _ in range(2):
        sizes = [[len(labels) for _, labels in shard] for shard in shards]
        assert sizes[0] and set(map(len, sizes)) == {len(sizes[0])}
        assert [sum(own) for own in sizes] == [sum(sizes[0])] * 3
        found = [tuple(row) for shard in shards for row in sources_of(shard)]
        assert len(set(found)) == len(found)
        whole = len(sources_of(joint.dataset(spread_pairs, 8, too_long="drop")))
        assert whole - len(found) == (whole % 3 if not drop_remainder else whole - whole // 24 * 24)


@pytest.mark.parametrize("make", [list, Stream])
def test_every_third_pair_in_order(joint, spread_pairs, make):
    shard = joint.dataset(make(spread_pairs), 7, shard=(1, 3), buffer_size=100)
    assert batches_of(shard) == batches_of(joint.dataset(spread_pairs[1::3], 7))


@pytest.mark.parametrize("make", [list, Stream])
@pytest.mark.parametrize("shuffle", [False, True])
def test_shards_of_batches_of_tokens(joint, spread_pairs, make, shuffle):
    shards = [
        joint.dataset(make(spread_pairs), batch_tokens=150, shuffle=shuffle, shard=(index, 3), buffer_size=150)
        for index in range(3)
    ]
    found = [sources_of(shard) for shard in shards]
    lengths = [len(list(shard)) for shard in shards]
    assert lengths == [lengths[0]] * 3 and lengths[0] > 10
    together = [tuple(row) for own in found for row in own]
    assert len(set(together)) == len(together) > 230


@pytest.mark.parametrize("shard", [(3, 3), (-1, 3), (0, 0), 1, (0, 1, 2), (0.0, 2), (True, 2), "01"])
def test_bad_shards(joint, spread_pairs, shard):
    with pytest.raises(ValueError, match=r"shard must be \(index, count\).*Received: shard="):
        joint.dataset(spread_pairs, 2, shard=shard)


@pytest.mark.parametrize("options", [{"batch_size": 4, "drop_remainder": True}, {"batch_size": 4, "shard": (0, 4)}])
def test_nothing_left(joint, options):
    with pytest.raises(ValueError, match="pairs must be enough for one batch. Received: 3 pairs"):
        joint.dataset([("one", "two")] * 3, **options)


def test_the_remainder_is_chosen_at_random(joint, spread_pairs):
    dataset = joint.dataset(spread_pairs[:30], 8, shuffle=True, drop_remainder=True, too_long="truncate")
    assert len(dataset) == 3
    passes = [sources_of(dataset) for _ in range(3)]
    assert [len(each) for each in passes] == [24] * 3 and passes[0] != passes[1] != passes[2]


# === Vocabularies ===


def test_every_item_has_the_same_chance():
    """Each of 40 is among 10 in about a quarter of 2,000 samples: within five standard deviations."""
    counts = np.zeros(40)
    for seed in range(2_000):
        drawn = sampled(iter(range(40)), 10, seed)
        assert len(set(drawn)) == 10
        counts[drawn] += 1
    assert np.abs(counts - 500).max() < 5 * np.sqrt(2_000 * 0.25 * 0.75)


def test_samples_follow_the_seed():
    assert sampled(range(1_000), 5, 1) == sampled(range(1_000), 5, 1) != sampled(range(1_000), 5, 2)
    assert sampled(range(3), 5, 1) == [0, 1, 2]


def test_from_files(word_pairs, tmp_path):
    """Of few pairs, the vocabularies of the list; of more, those of a sample."""
    (tmp_path / "pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in word_pairs))
    files = PairFiles(tmp_path / "*.tsv")
    options = {"tokens": "words", "max_source_length": 9}
    of_list = TextPreprocessor.from_pairs(word_pairs, **options)
    of_files = TextPreprocessor.from_files(files, **options)
    assert of_files.vocabulary_digest == of_list.vocabulary_digest and of_files.get_config() == {
        **of_list.get_config(), "name": of_files.name
    }  # fmt: skip
    stream = Stream([(f"word{index}", "target") for index in range(500)])
    first, again, other = (TextPreprocessor.from_files(stream, 20, seed, tokens="words") for seed in (1, 1, 2))
    assert first.vocabulary_digest == again.vocabulary_digest != other.vocabulary_digest
    assert first.source_vocabulary_size == 4 + 20


def test_from_files_refuses_options_before_it_reads(word_pairs):
    stream = Stream(word_pairs)
    with pytest.raises(TypeError, match="unexpected keyword argument 'vocabulary'"):
        TextPreprocessor.from_files(stream, vocabulary=300)
    with pytest.raises(ValueError, match="sample must be a positive integer. Received: sample=0"):
        TextPreprocessor.from_files(stream, sample=0)
    assert stream.begun == 0
    with pytest.raises(ValueError, match="Received at index 1: 'ab'"):
        TextPreprocessor.from_files([("a", "b"), "ab"])
    with pytest.raises(ValueError, match=r"Pass kerasseq.datasets.PairFiles\('pairs.tsv'\) for files"):
        TextPreprocessor.from_files("pairs.tsv")
