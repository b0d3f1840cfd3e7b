"""Models with attention learn what can be checked exactly: to copy, reverse, sort and add, and where to look."""

import functools
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq.search import GreedySampler, Request, decode

pytestmark = pytest.mark.slow

START, END, FIRST = 2, 3, 4  # 0 is padding and 1 unknown; FIRST is the first symbol.
LETTERS, DIGITS, PLUS = 26, 10, FIRST + 10


# === Tasks: a random generator and lengths -> pairs of source and target ids, without START and END ===


def copy(rng, lengths, letters=LETTERS):
    sources = [rng.integers(FIRST, FIRST + letters, length) for length in lengths]
    return [(source, source) for source in sources]


def reverse(rng, lengths):
    return [(source, source[::-1]) for source, _ in copy(rng, lengths)]


def sort(rng, lengths):
    return [(source, np.sort(source)) for source, _ in copy(rng, lengths, DIGITS)]


def digits(number):
    return [FIRST + int(digit) for digit in str(number)]


def add(rng, lengths):
    """Sums of two numbers of 1 to `length` digits, the longer ones more often."""
    pairs = []
    for length in lengths:
        counts = rng.integers(1, length + 1, (2, 2)).max(axis=0)
        first, second = (int(rng.integers(10 ** (count - 1), 10**count)) for count in counts)
        pairs.append((np.array([*digits(first), PLUS, *digits(second)]), np.array(digits(first + second))))
    return pairs


# === Data ===


def held_out(source):
    """Whether a source is for testing only: a tenth of them all, by checksum."""
    return zlib.crc32(source.astype("int32").tobytes()) % 10 == 0


def padded(rows):
    ids = np.zeros((len(rows), max(map(len, rows))), "int32")
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = values
    return ids


def arrays(pairs):
    """Model inputs and labels."""
    inputs = {
        "encoder_token_ids": padded([[*source, END] for source, _ in pairs]),
        "decoder_token_ids": padded([[START, *target] for _, target in pairs]),
    }
    return inputs, padded([[*target, END] for _, target in pairs])


def batches(task, rng, max_length, spread, batch_size):
    """Endless batches without held-out sources, each of up to `spread` neighbouring lengths, so of little padding."""
    while True:
        longest = int(rng.integers(1, max_length + spread))
        lengths = rng.integers(max(1, longest - spread + 1), min(longest, max_length) + 1, batch_size)
        pairs = [pair for pair in task(rng, lengths) if not held_out(pair[0])]
        if pairs:
            yield arrays(pairs)


def held_out_pairs(task, rng, max_length, count=1000):
    """Pairs of all lengths that no batch has."""
    pairs = task(rng, rng.integers(1, max_length + 1, 15 * count))
    return [pair for pair in pairs if held_out(pair[0])][:count]


# === Training and decoding ===


def train(model, task, max_length, spread, steps, batch_size=64, learning_rate=3e-3):
    rate = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10, steps - 100, alpha=0.01, warmup_target=learning_rate, warmup_steps=100
    )
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy())
    token_ids = tf.TensorSpec((None, None), "int32")  # One trace for all shapes.
    options = tf.data.Options()
    options.autotune.enabled = False
    data = tf.data.Dataset.from_generator(
        lambda: batches(task, np.random.default_rng(1), max_length, spread, batch_size),
        output_signature=({"encoder_token_ids": token_ids, "decoder_token_ids": token_ids}, token_ids),
    )
    model.fit(data.prefetch(4).with_options(options), steps_per_epoch=steps, shuffle=False, verbose=0)


def exact_match(model, pairs):
    """Share of pairs whose greedy output is the target."""
    inputs, labels = arrays(pairs)
    labels = np.pad(labels, ((0, 0), (0, 1)))  # Room for an output that is too long.
    request = Request(batch_size=len(pairs), max_length=labels.shape[1], start_id=START, end_id=END)

    @tf.function
    def search(encoder_token_ids):
        context = model.encode({"encoder_token_ids": encoder_token_ids})
        return decode(model, context, GreedySampler(), request)["token_ids"][:, 0]

    decoded = search(tf.constant(inputs["encoder_token_ids"])).numpy()
    return np.mean(np.all(decoded == labels, axis=1))


# === Tests ===

RECIPES = {
    "copy": dict(task=copy, max_length=40, spread=8, steps=2500),
    "reverse": dict(task=reverse, max_length=40, spread=1, steps=2600, batch_size=128),
    "sort": dict(task=sort, max_length=15, spread=15, steps=1500),
    "add": dict(task=add, max_length=3, spread=3, steps=3000, batch_size=256, learning_rate=5e-3),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_learns(recipe):
    keras.utils.set_random_seed(0)
    size = FIRST + LETTERS
    model = kerasseq.models.AttentionSeq2Seq(size, size, cell="gru", embedding_dim=32, units=128, attention="luong")
    train(model, **recipe)
    pairs = held_out_pairs(recipe["task"], np.random.default_rng(2), recipe["max_length"])
    assert len({len(source) for source, _ in pairs}) >= recipe["max_length"]  # All lengths.
    assert exact_match(model, pairs) >= 0.99


def alignments(model, pairs):
    """The weights `(target, source)` of each pair without padding, given the right previous tokens."""
    inputs, _ = arrays(pairs)
    weights = model.decoder_outputs(inputs)["attention"].numpy()
    return [rows[: len(target) + 1, : len(source) + 1] for rows, (source, target) in zip(weights, pairs, strict=True)]


def weight_near_the_diagonal(weights):
    """The weight of source positions i - 1, i and i + 1, mean over all target steps i of all pairs."""
    return np.mean(np.concatenate([np.sum(np.tril(np.triu(rows, -1), 1), axis=1) for rows in weights]))


def test_monotonic_attention_finds_the_diagonal():
    """In copying, target step i should look at source position i.

    The encoder does not read backwards, and the letters are many: else blends of neighbouring positions do as well, and
    nothing makes soft weights sharp.
    """
    keras.utils.set_random_seed(0)
    task, size = functools.partial(copy, letters=200), FIRST + 200
    model = kerasseq.models.AttentionSeq2Seq(
        size, size, cell="gru", embedding_dim=64, units=64, bidirectional=False, attention="monotonic"
    )
    pairs = held_out_pairs(task, np.random.default_rng(2), max_length=20)
    assert weight_near_the_diagonal(alignments(model, pairs)) < 0.5

    train(model, task, max_length=20, spread=8, steps=2000, learning_rate=5e-3)
    assert exact_match(model, pairs) >= 0.99
    weights = alignments(model, pairs)
    assert weight_near_the_diagonal(weights) >= 0.98
    peaks = [np.argmax(rows, axis=1) for rows in weights]
    assert all(np.all(np.diff(positions) >= 0) for positions in peaks)  # The largest weight never moves back,
    offsets = np.concatenate([positions - np.arange(len(positions)) for positions in peaks])
    assert np.max(np.abs(offsets)) <= 1  # nor is it more than a position off the diagonal.
    assert np.mean(offsets == 0) >= 0.97


@pytest.mark.parametrize("copying", [True, False], ids=["pointer-generator", "attention"])
def test_symbols_that_were_in_no_training_pair(copying):
    """Half of the symbols stay as they were initialized: whoever copies by position copies them too.

    A model that must generate what it writes learns the other half alone. Training symbols are many, and dropout hides
    some of what tells them apart, or else the attention finds its place by the symbols.
    """
    keras.utils.set_random_seed(0)
    letters = 200
    task, size = functools.partial(copy, letters=letters), FIRST + 2 * letters
    options = {"cell": "lstm", "embedding_dim": 32, "units": 64, "attention": "coverage", "dropout": 0.3}
    if copying:
        model = kerasseq.models.PointerGeneratorSeq2Seq(size, **options)
    else:
        model = kerasseq.models.AttentionSeq2Seq(size, size, **options)
    train(model, task, max_length=8, spread=8, steps=1000, learning_rate=5e-3)
    pairs = held_out_pairs(task, np.random.default_rng(2), max_length=8)
    unknown = [(source + letters, target + letters) for source, target in pairs]
    assert exact_match(model, pairs) >= 0.99
    if copying:
        assert exact_match(model, unknown) >= 0.99
    else:
        assert exact_match(model, unknown) < 0.05
