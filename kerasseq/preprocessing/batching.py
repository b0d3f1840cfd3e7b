"""Batches of sequence pairs: buckets of like length, reproducible by seed and epoch."""

import itertools
import logging
import reprlib

import keras
import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_positive_integer

logger = logging.getLogger(__name__)

# Batches that are sorted by length together: enough for little padding, few enough to mix the data.
BATCHES_PER_POOL = 100
# More random numbers of one generator than an epoch takes, so that epochs do not repeat each other's.
DRAWS_PER_EPOCH = 1 << 20
TOO_LONG = ("drop", "truncate", "error")


class EpochShuffle(keras.callbacks.Callback):
    """A shuffle that follows the epoch number of `fit`, so that a resumed run repeats an uninterrupted one.

    Give it to the data set and to `fit`. With `shuffle=True` alone, a data set counts its own passes, and after a
    restart it begins again with the order of the first. Dropout, and what else in the model draws from a
    `keras.random.SeedGenerator`, starts each epoch anew from this seed and the epoch's number, for Keras's backups do
    not keep where it was. (What augments sounds and images within the data set is not part of the model, and does not.)

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
        states = [variable for variable in self.model.variables if variable.name == "seed_generator_state"]
        for index, state in enumerate(states):
            state.assign([(self.seed * 1_000_003 + index) % 2**32, epoch * DRAWS_PER_EPOCH % 2**32])

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
    """What counts the passes over its data set, for one without an `EpochShuffle`."""

    def __init__(self, seed=0):
        self.seed = seed
        self._passes = itertools.count()

    def next_epoch(self):
        return next(self._passes)


def check_pairs(pairs, source_type=str):
    """Raises a `ValueError` unless `pairs` is a non-empty list of pairs of strings; sources may be bytes instead."""
    if len(pairs) == 0:
        raise ValueError("pairs must hold at least one (source, target) pair. Received: an empty list.")
    for index, pair in enumerate(pairs):
        good = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not good or not isinstance(pair[0], source_type) or not isinstance(pair[1], str):
            sides = "two strings" if source_type is str else f"{source_type.__name__} and a string"
            raise ValueError(
                f"pairs must be a list of (source, target) tuples of {sides}, such as list(zip(sources, targets, "
                f"strict=True)). Received at index {index}: {reprlib.repr(pair)}."
            )


def data_set_options(batch_size, shuffle, too_long, pad_to_multiple):
    """Checks the options of a data set, and returns `too_long` and `pad_to_multiple` with their defaults."""
    if shuffle is not False and shuffle is not True and not hasattr(shuffle, "next_epoch"):
        raise ValueError(f"shuffle must be True, False or an EpochShuffle. Received: shuffle={shuffle!r}.")
    if too_long is None:
        too_long = "drop" if shuffle else "truncate"
    if too_long not in TOO_LONG:
        raise ValueError(f"too_long must be one of {', '.join(map(repr, TOO_LONG))}. Received: {too_long!r}.")
    check_positive_integer("batch_size", batch_size)
    if pad_to_multiple is None:
        pad_to_multiple = 4 if shuffle else 1
    check_positive_integer("pad_to_multiple", pad_to_multiple)
    return too_long, pad_to_multiple


def batched(lengths, batch_size, shuffle, seed, make_batch, signature):
    """A `tf.data.Dataset` of batches that Python makes.

    Args:
        lengths: int array `(examples, keys)`, as in `bucketed_batches`.
        batch_size: int, examples a batch.
        shuffle: `False`, `True`, or an `EpochShuffle`.
        seed: int, for `shuffle=True`.
        make_batch: function from an int array of rows, and from the seed and the number of the pass over the data, a
            tuple, to a nested structure of arrays.
        signature: the structure of `tf.TensorSpec` that `make_batch` returns.
    """
    passes = PassShuffle(seed) if shuffle in (True, False) else shuffle

    def batches():
        number = passes.next_epoch()
        if shuffle:
            batches = bucketed_batches(lengths, batch_size, passes.seed, number)
        else:
            batches = np.split(np.arange(len(lengths)), range(batch_size, len(lengths), batch_size))
        for rows in batches:
            yield make_batch(rows, (passes.seed, number))

    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    options = tf.data.Options()
    # There is nothing to tune, and the end of a pass may wait for the tuner's thread, which sleeps ever longer.
    options.autotune.enabled = False
    number_of_batches = -(-len(lengths) // batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(number_of_batches)).prefetch(2)
    return dataset.with_options(options)


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
