"""Batches of pairs of similar lengths, reproducible by seed and epoch."""

import dataclasses
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import keras
import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.ids import shift_right
from kerasseq.preprocessing.python_dataset import python_dataset

logger = logging.getLogger(__name__)

# Batches sorted by length together: enough for little padding, few enough to mix the data.
BATCHES_PER_POOL = 100
# Exceeds the random numbers that one generator draws in an epoch, so epochs do not repeat each other's.
DRAWS_PER_EPOCH = 1 << 20


class EpochShuffle(keras.callbacks.Callback):
    """Shuffles by the epoch number of `fit`, so that a resumed run repeats an uninterrupted one.

    Pass it both to the data set and to `fit`. With `shuffle=True`, a data set counts its own passes, and starts over
    with the order of the first after a restart. Keras's backups do not keep the state of random generators either: at
    the beginning of each epoch, this callback sets every `keras.random.SeedGenerator` of the model, such as those of
    dropout, from its seed and the epoch number. Augmentation in the data set is not part of the model, and is not
    reproduced.

    Args:
        seed: int.

    Example:

    ```python
    shuffle = kerasseq.preprocessing.EpochShuffle(seed=1)
    model.fit(
        preprocessor.dataset(train, batch_size=64, shuffle=shuffle),
        epochs=10,
        shuffle=False,  # The data set shuffles itself.
        callbacks=[keras.callbacks.BackupAndRestore("backup"), shuffle],
    )
    ```
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.epoch: int | None = None
        self._passes = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch
        states = [variable for variable in self.model.variables if variable.name == "seed_generator_state"]
        for index, state in enumerate(states):
            state.assign([(self.seed * 1_000_003 + index) % 2**32, epoch * DRAWS_PER_EPOCH % 2**32])

    def next_epoch(self) -> int:
        """Returns the number of the epoch that begins now."""
        if self.epoch is not None:
            return self.epoch
        self._passes += 1
        if self._passes == 3:  # Keras may read the data once before the first epoch.
            logger.warning(
                "Every pass over the data set has the order of epoch 0: pass its EpochShuffle to fit as well, as "
                "fit(..., callbacks=[shuffle])."
            )
        return 0


class PassShuffle:
    """Counts the passes over a data set without an `EpochShuffle`."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._passes = itertools.count()

    def next_epoch(self) -> int:
        """Returns the number of the pass that begins now."""
        return next(self._passes)


# The argument `shuffle` of data sets.
Shuffle: TypeAlias = bool | EpochShuffle


def passes_of(shuffle: Shuffle, seed: int) -> EpochShuffle | PassShuffle:
    """What numbers the passes over a data set."""
    return PassShuffle(seed) if isinstance(shuffle, bool) else shuffle


@dataclasses.dataclass(frozen=True)
class Batching:
    """How examples are put into batches.

    Attributes:
        batch_size: int, examples per batch; `None` for batches of `batch_tokens`.
        batch_tokens: int, the most tokens of a side of a batch, as in `token_batches`.
        shuffle: bool.
        drop_remainder: bool, whether a batch of fewer than `batch_size` examples is left out.
        shard: tuple of int, index and count: every `count`-th example alone. All shards have equally many batches.
    """

    batch_size: int | None
    batch_tokens: int | None = None
    shuffle: bool = False
    drop_remainder: bool = False
    shard: tuple[int, int] = (0, 1)

    def batches(self, lengths: np.ndarray, seed: tuple[int, ...]) -> list[np.ndarray]:
        """Returns the rows of each batch.

        Args:
            lengths: int array `(examples, keys)`, as in `bucketed_batches`.
            seed: tuple of int, from which the order follows.
        """
        index, count = self.shard
        if count == 1:
            return self._batches(lengths, seed)
        rows = self._rows(lengths, index)
        return [rows[batch] for batch in self._batches(lengths[rows], seed)[: self.number(lengths)]]

    def number(self, lengths: np.ndarray) -> int:
        """Returns the number of batches, which is the same in every pass."""
        if self.batch_size is None:
            shards = [lengths[self._rows(lengths, index)] for index in range(self.shard[1])]
            return min(len(self._batches(own, (0, 0))) for own in shards)
        whole, rest = divmod(len(lengths) // self.shard[1], self.batch_size)
        return whole + (rest > 0 and not self.drop_remainder)

    def too_few(self, number_of_pairs: int) -> ValueError:
        """The error of pairs that give no batch."""
        return ValueError(
            f"pairs must be enough for one batch. Received: {number_of_pairs} pairs that are not too long, for "
            f"batch_size={self.batch_size}, drop_remainder={self.drop_remainder} and shard={self.shard}. Pass more "
            "pairs, or a smaller batch_size."
        )

    def _rows(self, lengths: np.ndarray, index: int) -> np.ndarray:
        """The rows of a shard: as many as every other one has."""
        count = self.shard[1]
        return np.arange(index, len(lengths) // count * count, count)

    def _batches(self, lengths: np.ndarray, seed: tuple[int, ...]) -> list[np.ndarray]:
        if not len(lengths):
            return []
        if self.batch_size is None:
            return token_batches(lengths, cast(int, self.batch_tokens), seed if self.shuffle else None)
        if self.shuffle:
            return bucketed_batches(lengths, self.batch_size, seed, self.drop_remainder)
        rows = np.arange(len(lengths) - (len(lengths) % self.batch_size if self.drop_remainder else 0))
        return [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]


def batched(
    lengths: np.ndarray,
    batching: Batching,
    shuffle: Shuffle,
    seed: int,
    make_batch: Callable[[np.ndarray, tuple[int, int]], tuple[dict[str, np.ndarray], np.ndarray]],
    signature: dict[str, tf.TensorSpec],
    vocabulary_digest: str,
    weights: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Builds a `tf.data.Dataset` of batches made in Python: encoder inputs, `decoder_token_ids`, labels, and weights.

    Args:
        lengths: int array `(examples, keys)`, as in `bucketed_batches`.
        batching: `Batching`.
        shuffle: `False`, `True`, or an `EpochShuffle`.
        seed: int, for `shuffle=True`.
        make_batch: function from an int array of rows and a tuple (seed, number of the pass) to a dict of encoder
            inputs and labels, int32 `(batch, target)`.
        signature: dict of `tf.TensorSpec`, those of the encoder inputs.
        vocabulary_digest: str, an attribute of the data set, by which `Seq2Seq.fit` knows its vocabularies.
        weights: float32 array `(examples,)`, for sample weights `(batch,)` behind the labels. Default: none.
    """
    number_of_batches = batching.number(lengths)
    if not number_of_batches:
        raise batching.too_few(len(lengths))
    passes = passes_of(shuffle, seed)

    def begin_pass():
        number = passes.next_epoch()
        return batching.batches(lengths, (passes.seed, number)), (passes.seed, number)

    def make_whole_batch(rows, seed_and_number):
        batch = with_decoder_inputs(*make_batch(rows, seed_and_number))
        if weights is not None:  # A pair may have several rows.
            batch = *batch, np.repeat(weights[rows], len(batch[1]) // len(rows))
        return batch

    types: tuple[Any, ...] = batch_types(signature)
    if weights is not None:
        types = *types, tf.TensorSpec([None], tf.float32)
    dataset = python_dataset(begin_pass, make_whole_batch, types)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(number_of_batches))
    return completed(dataset, vocabulary_digest)


def with_decoder_inputs(inputs: dict[str, np.ndarray], labels: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A batch of encoder inputs and labels, with `decoder_token_ids` among the inputs."""
    return {**inputs, "decoder_token_ids": shift_right(labels)}, labels


def batch_types(signature: dict[str, tf.TensorSpec]) -> tuple[dict[str, tf.TensorSpec], tf.TensorSpec]:
    """The types of `with_decoder_inputs`, from those of the encoder inputs."""
    ids = tf.TensorSpec([None, None], tf.int32)
    return {**signature, "decoder_token_ids": ids}, ids


def completed(dataset: tf.data.Dataset, vocabulary_digest: str) -> tf.data.Dataset:
    """A data set that makes batches ahead, and knows its vocabularies."""
    options = tf.data.Options()
    # Nothing needs tuning, and the end of a pass may wait for the tuner's thread, which sleeps longer and longer.
    options.autotune.enabled = False
    dataset = dataset.prefetch(2).with_options(options)
    dataset.vocabulary_digest = vocabulary_digest
    return dataset


def bucketed_batches(
    lengths: np.ndarray, batch_size: int, seed: tuple[int, ...], drop_remainder: bool = False
) -> list[np.ndarray]:
    """Puts examples of similar lengths into batches.

    Examples are shuffled, sorted by length within pools of 100 batches, and split into batches, which are shuffled
    again.

    Args:
        lengths: int array `(examples, keys)`, sorted as in `sorting_keys`.
        batch_size: int, examples per batch; one batch may be smaller.
        seed: tuple of int, such as a seed and an epoch, from which the order follows.
        drop_remainder: bool, whether as many examples are left out, at random, as would make a smaller batch.

    Returns:
        list of int arrays, the indices of the examples of each batch.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(lengths))
    if drop_remainder:
        order = order[: len(order) // batch_size * batch_size]
    batches = []
    for start in range(0, len(order), BATCHES_PER_POOL * batch_size):
        pool = order[start : start + BATCHES_PER_POOL * batch_size]
        pool = pool[np.lexsort(sorting_keys(lengths[pool]))]
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


def token_batches(lengths: np.ndarray, batch_tokens: int, seed: tuple[int, ...] | None) -> list[np.ndarray]:
    """Puts examples into batches of limited numbers of tokens, padding included.

    Shuffled, examples are sorted by length, those of the same lengths at random, and split into batches, which are
    shuffled. The number of batches is that of every pass.

    Args:
        lengths: int array `(examples, 2)`, of targets and sources. The number of examples of a batch times its greatest
            length is at most `batch_tokens`.
        batch_tokens: int, at least the greatest length.
        seed: tuple of int, from which the order follows. Default: the order of the examples.

    Returns:
        list of int arrays, the indices of the examples of each batch.
    """
    order = np.arange(len(lengths))
    if seed is not None:
        random = np.random.default_rng(seed)
        order = np.lexsort([random.permutation(len(lengths)), *sorting_keys(lengths)])
    starts, longest = [0], 0
    for index, length in enumerate(lengths[order].max(axis=1).tolist()):
        longest = max(longest, length)
        if (index + 1 - starts[-1]) * longest > batch_tokens:
            starts.append(index)
            longest = length
    batches = np.split(order, starts[1:])
    return batches if seed is None else [batches[index] for index in random.permutation(len(batches))]


def sorting_keys(lengths: np.ndarray) -> list[np.ndarray]:
    """Keys for `numpy.lexsort`, the last the most important: the first length, then the others.

    The others get longer and shorter in turns, so neighbours are alike where the first length changes.

    Args:
        lengths: int array `(examples, keys)`, the most important first.
    """
    first, *others = lengths.T.astype("int64")
    is_odd = np.unique(first, return_inverse=True)[1] % 2 == 1
    return [*(np.where(is_odd, -other, other) for other in reversed(others)), first]


def pad(sequences: Sequence[np.ndarray], multiple: int = 1) -> np.ndarray:
    """Stacks int arrays, padded with zeros, to `(batch, length)`; length is the longest, rounded up to a multiple."""
    longest = max(len(sequence) for sequence in sequences)
    padded = np.zeros((len(sequences), -(-longest // multiple) * multiple), dtype="int32")
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded
