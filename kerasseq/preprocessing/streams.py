"""Pairs that are read one after the other, as often as there are passes, and need not fit into memory."""

import itertools
import os
import random
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.flat_sequences import FlatSequences
from kerasseq.preprocessing.ids import TEXTS_AT_ONCE
from kerasseq.preprocessing.pairs import check_pair, report_too_long

Item = TypeVar("Item")


def is_stream(pairs: Any) -> bool:
    """Whether pairs have to be read one after the other. Lists and the like, which know their length, have not.

    Raises:
        ValueError: if they can be read only once, or are not pairs at all.
    """
    if isinstance(pairs, tf.data.Dataset):
        spec = pairs.element_spec
        parts = spec if isinstance(spec, tuple) else (spec,)
        if len(parts) != 2 or any(part != tf.TensorSpec([], tf.string) for part in parts):
            raise ValueError(
                "A tf.data.Dataset of pairs must have elements (source, target), two string tensors without "
                f"dimensions. Received: {spec}. Call unbatch() if it has batches, and map other elements to pairs."
            )
        return True
    if isinstance(pairs, Iterator):
        raise ValueError(
            "pairs must be readable anew in every pass. Received: an iterator, such as a generator or zip, which is "
            f"used up after one: {reprlib.repr(pairs)}. Pass list(pairs) if they fit into memory; "
            "kerasseq.datasets.PairFiles for files; or an object whose __iter__ begins anew."
        )
    check_no_path(pairs)
    if not isinstance(pairs, (Iterable, Sized)):
        raise ValueError(
            "pairs must be a list of (source, target) tuples, kerasseq.datasets.PairFiles, another iterable of pairs, "
            f"or a tf.data.Dataset of them. Received: {reprlib.repr(pairs)} ({type(pairs).__name__})."
        )
    return not isinstance(pairs, Sized)


def check_no_path(pairs: Any) -> None:
    """Raises a `ValueError` for a path in the place of pairs."""
    if isinstance(pairs, (str, os.PathLike)):
        raise ValueError(
            "pairs must be pairs, or a folder that TextPreprocessor.prepare has written. Received: "
            f"{os.fspath(pairs)!r}. Pass kerasseq.datasets.PairFiles({os.fspath(pairs)!r}) for files."
        )


def pairs_of(pairs: Any) -> Iterator[tuple[str, str]]:
    """Begins a pass over pairs. Bytes of a `tf.data.Dataset` are read as UTF-8, invalid ones as U+FFFD."""
    check_no_path(pairs)
    if isinstance(pairs, tf.data.Dataset):
        options = tf.data.Options()
        # Threads of its own: those of TensorFlow may all wait for these pairs.
        options.threading.private_threadpool_size = 2
        for sides in pairs.with_options(options).as_numpy_iterator():
            source, target = (side.decode("utf-8", "replace") for side in sides)
            yield source, target
        return
    for index, pair in enumerate(pairs):
        check_pair(index, pair)
        yield pair[0], pair[1]


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def sampled(items: Iterable[Item], size: int, seed: int) -> list[Item]:
    """Draws `size` of the items, or all if there are fewer, in one pass and with equal chances.

    Source: Vitter 1985, algorithm R.
    """
    draw = random.Random(seed).randrange
    reservoir: list[Item] = []
    for number, item in enumerate(items):
        if number < size:
            reservoir.append(item)
        elif (place := draw(number + 1)) < size:
            reservoir[place] = item
    return reservoir


class TokenizedStream:
    """Tokenizes pairs as they are read, and drops those that are too long or not.

    Args:
        pairs: a stream, see `is_stream`.
        tokenize: function of a list of texts and a side, as `Preprocessor.tokenize_all`.
        limits: the most source tokens, and the most target tokens, of a pair.
        too_long: `"drop"`, `"truncate"` or `"error"`, as in `report_too_long`. The first complete pass reports it.
    """

    def __init__(
        self,
        pairs: Any,
        tokenize: Callable[[Sequence[str], str], FlatSequences],
        limits: tuple[int, int],
        too_long: str,
    ) -> None:
        self.pairs = pairs
        self.tokenize = tokenize
        self.limits = limits
        self.too_long = too_long
        self._reported = False
        if next(pairs_of(pairs), None) is None:  # Also the first pair that is none, before any work is lost.
            raise ValueError("pairs must hold at least one (source, target) pair. Received: a stream without any.")

    def __iter__(self) -> Iterator[tuple[tuple[str, str], tuple[np.ndarray, np.ndarray]]]:
        """Begins a pass over texts and ids, END included, of pairs."""
        read = fitting = 0
        limits = f"{self.limits[0]} source or {self.limits[1]} target tokens"
        for chunk in chunks(pairs_of(self.pairs), TEXTS_AT_ONCE):
            sources, targets = zip(*chunk, strict=True)
            ids = self.tokenize(sources, "source"), self.tokenize(targets, "target")
            fits = (ids[0].lengths <= self.limits[0]) & (ids[1].lengths <= self.limits[1])
            read += len(fits)
            fitting += int(fits.sum())
            if self.too_long == "error":
                report_too_long(read, fitting, limits, self.too_long)
            rows = range(len(fits)) if self.too_long == "truncate" else np.flatnonzero(fits)
            for row in rows:
                yield chunk[row], (ids[0][row], ids[1][row])
        if not (self._reported and fitting):
            report_too_long(read, fitting, limits, self.too_long)
            self._reported = True
