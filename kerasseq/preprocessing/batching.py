"""Batches of sequence pairs: buckets of like length, reproducible by seed and epoch."""

import itertools
import logging
import reprlib

import keras
import numpy as np

logger = logging.getLogger(__name__)

# Batches that are sorted by length together: enough for little padding, few enough to mix the data.
BATCHES_PER_POOL = 100


class EpochShuffle(keras.callbacks.Callback):
    """A shuffle that follows the epoch number of `fit`, so that a resumed run sees the batches of an uninterrupted one.

    Give it to the data set and to `fit`. With `shuffle=True` alone, a data set counts its own passes, and after a
    restart it begins again with the order of the first.

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

    def __init__(self, seed=0):
        super().__init__()
        self.seed = seed
        self.epoch = None
        self._passes = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def next_epoch(self):
        """The epoch that a pass over the data begins now."""
        if self.epoch is not None:
            return self.epoch
        self._passes += 1
        if self._passes == 3:  # Keras may look at the data once before the first epoch.
            logger.warning(
                "The data set is read again and again in the order of epoch 0: give its EpochShuffle to fit as well, "
                "as fit(..., callbacks=[shuffle])."
            )
        return 0


class PassShuffle:
    """A shuffle that counts the passes over its data set."""

    def __init__(self, seed=0):
        self.seed = seed
        self._passes = itertools.count()

    def next_epoch(self):
        return next(self._passes)


def check_pairs(pairs):
    """Raises a `ValueError` unless `pairs` is a non-empty list of pairs of strings."""
    if len(pairs) == 0:
        raise ValueError("pairs must hold at least one (source, target) pair. Received: an empty list.")
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(side, str) for side in pair):
            raise ValueError(
                "pairs must be a list of (source, target) tuples of two strings, such as list(zip(sources, targets, "
                f"strict=True)). Received at index {index}: {reprlib.repr(pair)}."
            )


def bucketed_batches(lengths, batch_size, seed, epoch):
    """Index arrays of batches, in which examples have much the same lengths.

    The examples are shuffled, sorted by length within pools of 100 batches, cut into batches, and the batches shuffled.

    Args:
        lengths: int array `(examples, keys)`; the first key sorts first.
        batch_size: int, examples a batch; the last batch of the data may be smaller.
        seed: int.
        epoch: int. Each (seed, epoch) has an order of its own.

    Returns:
        list of int arrays.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), BATCHES_PER_POOL * batch_size):
        pool = order[start : start + BATCHES_PER_POOL * batch_size]
        pool = pool[np.lexsort(lengths[pool].T[::-1])]
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


def pad(sequences, multiple=1):
    """Stacks int arrays to `(batch, length)`, zeros behind; length is the longest, rounded up to a multiple."""
    longest = max(len(sequence) for sequence in sequences)
    padded = np.zeros((len(sequences), -(-longest // multiple) * multiple), dtype="int32")
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded
