import keras
import numpy as np
import pytest

from kerasseq.preprocessing import EpochShuffle, TextPreprocessor
from kerasseq.preprocessing.batching import PassShuffle, bucketed_batches, pad, sorting_keys, token_batches


@pytest.fixture(scope="module")
def lengths():
    """Target and source lengths of 1,000 examples, widely spread and correlated."""
    random = np.random.default_rng(3)
    target = random.integers(2, 60, size=1_000)
    return np.stack([target, target + random.integers(0, 5, size=1_000)], axis=1)


def padding(lengths, batches):
    return sum(int((lengths[batch].max(axis=0) - lengths[batch]).sum()) for batch in batches)


def test_every_example_once(lengths):
    batches = bucketed_batches(lengths, 32, (1, 0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1_000))
    assert sorted(map(len, batches)) == [1_000 % 32] + [32] * (1_000 // 32)


def test_several_pools(monkeypatch, lengths):
    monkeypatch.setattr("kerasseq.preprocessing.batching.BATCHES_PER_POOL", 4)
    batches = bucketed_batches(lengths, 32, (1, 0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1_000))
    assert sorted(map(len, batches)) == [1_000 % 32] + [32] * (1_000 // 32)
    unsorted = np.split(np.arange(1_000), range(32, 1_000, 32))
    assert padding(lengths, batches) < 0.5 * padding(lengths, unsorted)


def test_less_than_half_of_the_padding(lengths):
    unsorted = np.split(np.arange(1_000), range(32, 1_000, 32))
    assert padding(lengths, bucketed_batches(lengths, 32, (1, 0))) < 0.5 * padding(lengths, unsorted)


@pytest.mark.parametrize("seed", [None, (1, 0), (1, 1), (2, 0)])
def test_batches_of_tokens(lengths, seed):
    """Each example once, no batch above the limit, as few batches as a greedy filling allows, in every pass as many."""
    batches = token_batches(lengths, 400, seed)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1_000))
    sizes = [len(batch) * lengths[batch].max() for batch in batches]
    assert max(sizes) <= 400
    if seed is None:
        assert np.concatenate(batches).tolist() == list(range(1_000))
        for batch, following in zip(batches, batches[1:], strict=False):
            together = lengths[[*batch, following[0]]]
            assert len(together) * together.max() > 400
    else:
        assert len(batches) == len(token_batches(lengths, 400, (0, 0)))
        assert padding(lengths, batches) < 0.1 * lengths.sum()
        assert max(map(len, batches)) > 3 * min(map(len, batches))


def test_batches_of_tokens_by_hand():
    """Two targets of 2 tokens, two of 3; a batch holds two pairs whose longest side has 4."""
    lengths = np.array([[3, 4], [2, 4], [3, 2], [2, 1]])
    batches = token_batches(lengths, 8, (0, 0))
    assert sorted(map(sorted, batches)) == [[0, 2], [1, 3]]


def test_batches_of_tokens_follow_the_seed(lengths):
    orders = {tuple(np.concatenate(token_batches(lengths, 400, (seed, epoch)))) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4
    again = [np.concatenate(token_batches(lengths, 400, (1, 1))).tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_first_key_sorts_first():
    lengths = np.array([[target, source] for target in (5, 2) for source in (9, 1, 7, 3)])
    batches = bucketed_batches(lengths, 2, (0, 0))
    assert sorted(lengths[batch].tolist() for batch in batches) == [
        [[2, 1], [2, 3]], [[2, 7], [2, 9]], [[5, 3], [5, 1]], [[5, 9], [5, 7]]
    ]  # fmt: skip


def test_order_follows_seed_and_epoch(lengths):
    def order(seed, epoch):
        return np.concatenate(bucketed_batches(lengths, 32, (seed, epoch))).tolist()

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1, 2) for epoch in (0, 1, 2)}) == 9


def test_batches_are_not_in_order_of_length(lengths):
    means = [lengths[batch, 0].mean() for batch in bucketed_batches(lengths, 32, (1, 0))]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.5


@pytest.mark.parametrize(("multiple", "width"), [(1, 3), (2, 4), (4, 4), (8, 8)])
def test_pad(multiple, width):
    padded = pad([np.array([5, 6, 7]), np.array([8]), np.array([9, 9])], multiple)
    assert padded.dtype == np.int32 and padded.shape == (3, width)
    assert padded[:, :3].tolist() == [[5, 6, 7], [8, 0, 0], [9, 9, 0]] and not padded[:, 3:].any()


def test_pass_shuffle_counts_passes():
    shuffle = PassShuffle(seed=7)
    assert [shuffle.next_epoch() for _ in range(3)] == [0, 1, 2] and shuffle.seed == 7


# === Through `fit` ===


@keras.saving.register_keras_serializable(package="kerasseq_tests")
class Recorder(keras.Model):
    """A model that keeps the batches that it was trained on."""

    def __init__(self):
        super().__init__()
        self.batches = []
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.built = True

    def call(self, inputs):
        return self.scale * keras.ops.cast(inputs["decoder_token_ids"], "float32")

    def train_step(self, data):
        self.batches.append([np.asarray(part).tolist() for part in (*data[0].values(), data[1])])
        return super().train_step(data)


@pytest.fixture(scope="module")
def pairs():
    return [("ab" * (1 + index % 7), f"{index} " * (1 + index % 5)) for index in range(23)]


@pytest.fixture(scope="module")
def text_preprocessor(pairs):
    return TextPreprocessor.from_pairs(pairs, vocabulary_size=280)


def trained_batches(text_preprocessor, pairs, epochs, initial_epoch=0, callbacks=(), seed=5, shuffle=None):
    shuffle = shuffle or EpochShuffle(seed=seed)
    model = Recorder()
    model.compile("sgd", "mse", run_eagerly=True)
    dataset = text_preprocessor.dataset(pairs, batch_size=4, shuffle=shuffle)
    callbacks = [*callbacks, *([shuffle] if isinstance(shuffle, EpochShuffle) else [])]
    model.fit(dataset, epochs=epochs, initial_epoch=initial_epoch, callbacks=callbacks, verbose=0, shuffle=False)
    return model.batches


def test_resumed_fit_sees_the_batches_of_the_uninterrupted_one(text_preprocessor, pairs):
    whole = trained_batches(text_preprocessor, pairs, epochs=3)
    assert len(whole) == 3 * 6
    assert trained_batches(text_preprocessor, pairs, epochs=3, initial_epoch=1) == whole[6:]
    assert trained_batches(text_preprocessor, pairs, epochs=1) == whole[:6]
    assert trained_batches(text_preprocessor, pairs, epochs=1, seed=6) != whole[:6]
    epochs = [whole[start : start + 6] for start in (0, 6, 12)]
    assert epochs[0] != epochs[1] and epochs[1] != epochs[2]


def test_plain_shuffle_replays_the_first_epoch_after_a_restart(text_preprocessor, pairs):
    """Why `EpochShuffle` exists."""
    whole = trained_batches(text_preprocessor, pairs, epochs=2, shuffle=True)
    resumed = trained_batches(text_preprocessor, pairs, epochs=2, initial_epoch=1, shuffle=True)
    assert whole[:6] != whole[6:]
    assert resumed == whole[:6]


def test_backup_and_restore_repeats_the_uninterrupted_run(text_preprocessor, pairs, tmp_path):
    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("crash")

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    whole = trained_batches(text_preprocessor, pairs, epochs=3)
    with pytest.raises(RuntimeError, match="crash"):
        trained_batches(text_preprocessor, pairs, epochs=3, callbacks=[backup(), Crash()])
    assert trained_batches(text_preprocessor, pairs, epochs=3, callbacks=[backup()]) == whole[12:]


def test_neighbours_have_sources_of_similar_lengths():
    """Sources get longer while the target has one token, and shorter while it has two."""
    targets_and_sources = np.array([(1, 5), (2, 1), (1, 9), (2, 9), (1, 1), (2, 5)])
    order = np.lexsort(sorting_keys(targets_and_sources))
    assert targets_and_sources[order].tolist() == [[1, 1], [1, 5], [1, 9], [2, 9], [2, 5], [2, 1]]
