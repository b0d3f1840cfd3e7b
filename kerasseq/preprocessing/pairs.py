"""Checks of pairs and data set options, and what becomes of pairs that are too long."""

import logging
import math
import numbers
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasseq.arguments import check_positive_integer
from kerasseq.devices import compiles_shapes
from kerasseq.preprocessing.batching import EpochShuffle
from kerasseq.preprocessing.vocabulary import END_ID

logger = logging.getLogger(__name__)

TOO_LONG = ("drop", "truncate", "error")
LENGTH_OFFSET = 10  # tokens, of the limit of outputs that is relative to the source


def check_pairs(pairs: Any, source_type: type = str) -> list[Any]:
    """The pairs as a list; raises a `ValueError` unless they are pairs of a source and a str, at least one."""
    pairs = list(pairs)
    if not pairs:
        raise ValueError("pairs must hold at least one (source, target) pair. Received: an empty list.")
    for index, pair in enumerate(pairs):
        check_pair(index, pair, source_type)
    return pairs


def check_pair(index: int, pair: Any, source_type: type = str) -> None:
    """Raises a `ValueError` unless this is a pair of a source and a str."""
    is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
    if not is_pair or not isinstance(pair[0], source_type) or not isinstance(pair[1], str):
        sides = "two strings" if source_type is str else f"{source_type.__name__} and a string"
        is_weighted = isinstance(pair, (tuple, list)) and len(pair) == 3 and isinstance(pair[2], numbers.Real)
        advice = " Pass weights as dataset(pairs, ..., weights=[...])." if is_weighted else ""
        raise ValueError(
            f"pairs must be a list of (source, target) tuples of {sides}, such as list(zip(sources, targets, "
            f"strict=True)). Received at index {index}: {reprlib.repr(pair)}.{advice}"
        )


def measured_length_ratio(source_lengths: Sequence[int], target_lengths: Sequence[int]) -> float:
    """The ratio by which outputs are limited to `ratio * source + LENGTH_OFFSET` tokens, from lengths of pairs.

    It is generous: half as much again as 99.9 % of the pairs need, and at least 1.
    """
    needed = (np.asarray(target_lengths) - LENGTH_OFFSET) / np.asarray(source_lengths)
    return max(1.0, math.ceil(15 * float(np.quantile(needed, 0.999))) / 10)


def check_length(name: str, value: Any) -> None:
    """Raises a `ValueError` for a maximum length without room for END and a token."""
    if not isinstance(value, numbers.Integral) or value < 2:
        raise ValueError(f"{name} must be an integer of at least 2, END included. Received: {name}={value!r}.")


def data_set_options(
    batch_size: int | None,
    shuffle: Any,
    too_long: str | None,
    pad_to_multiple: int | None,
    batch_tokens: int | None = None,
) -> tuple[str, int]:
    """Checks the options of a data set, and returns `too_long` and `pad_to_multiple` with their defaults filled in."""
    if not isinstance(shuffle, (bool, EpochShuffle)):
        raise ValueError(f"shuffle must be True, False or an EpochShuffle. Received: shuffle={shuffle!r}.")
    if too_long is None:
        too_long = "drop" if shuffle else "truncate"
    if too_long not in TOO_LONG:
        raise ValueError(f"too_long must be one of {', '.join(map(repr, TOO_LONG))}. Received: {too_long!r}.")
    if batch_tokens is None:
        check_positive_integer("batch_size", batch_size)
    elif batch_size is not None:
        raise ValueError(
            "Pass batch_size, a number of pairs, or batch_tokens, a number of tokens. Received: "
            f"batch_size={batch_size!r} and batch_tokens={batch_tokens!r}."
        )
    else:
        check_positive_integer("batch_tokens", batch_tokens)
    if pad_to_multiple is None:
        pad_to_multiple = 4 if shuffle and compiles_shapes() else 1
    check_positive_integer("pad_to_multiple", pad_to_multiple)
    return too_long, pad_to_multiple


def check_weights(weights: Any, number_of_pairs: int) -> np.ndarray | None:
    """Weights of pairs as float32 `(pairs,)`; raises a `ValueError` unless there is a number of at least 0 for each."""
    if weights is None:
        return None
    try:
        array = np.array(weights)
    except ValueError:  # lists of several lengths
        array = np.array([None])
    if array.dtype.kind not in "fiub" or array.shape != (number_of_pairs,):
        raise ValueError(
            f"weights must be a list of numbers, one for each of the {number_of_pairs} pairs. Received: "
            f"{reprlib.repr(weights)}."
        )
    with np.errstate(over="ignore"):
        array = array.astype("float32")
    if not (np.isfinite(array) & (array >= 0)).all() or not array.any():
        raise ValueError(
            "weights must be finite, at least 0, and not all 0. Received: numbers from "
            f"{np.min(array)} to {np.max(array)}."
        )
    return array


def of_kept(values: np.ndarray | None, kept: np.ndarray) -> np.ndarray | None:
    """The values of the pairs that are kept, if there are any."""
    return None if values is None else values[kept]


def truncated(ids: np.ndarray, limit: int) -> np.ndarray:
    """Ids that end in END, at most `limit` of them; truncated ids end in END as well."""
    return ids if len(ids) <= limit else np.append(ids[: limit - 1], END_ID)


def kept_pairs(fits: Sequence[bool] | np.ndarray, limits: str, too_long: str) -> np.ndarray:
    """The indices of the pairs to keep; warns about those that do not fit within the `limits`, given in words."""
    fits = np.asarray(fits, bool)
    report_too_long(len(fits), int(fits.sum()), limits, too_long)
    return np.arange(len(fits)) if too_long == "truncate" else np.flatnonzero(fits)


def report_too_long(number: int, number_that_fits: int, limits: str, too_long: str) -> None:
    """Warns about pairs that do not fit within the `limits`, given in words, or refuses them."""
    if number > number_that_fits:
        message = f"{number - number_that_fits} of {number} pairs are longer than {limits}"
        if too_long == "error" or (too_long == "drop" and not number_that_fits):
            raise ValueError(f"{message}. Raise the limits of the preprocessor, or pass too_long='truncate'.")
        logger.warning("%s: %s.", message, {"drop": "dropped", "truncate": "truncated"}[too_long])


def check_shard(shard: Any) -> tuple[int, int]:
    """A shard as index and count; raises a `ValueError` unless the index is below the count."""
    if shard is None:
        return 0, 1
    numbers_given = isinstance(shard, (tuple, list)) and all(
        isinstance(part, numbers.Integral) and not isinstance(part, bool) for part in shard
    )
    if not numbers_given or len(shard) != 2 or not 0 <= shard[0] < shard[1]:
        raise ValueError(
            "shard must be (index, count) with an index from 0 to count - 1, such as (0, 4) in the first of four "
            f"processes. Received: shard={shard!r}."
        )
    return int(shard[0]), int(shard[1])
