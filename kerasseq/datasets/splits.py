"""Train, validation and test splits for data without an official split."""

import hashlib
from collections.abc import Iterable
from typing import TypeAlias, TypeVar

TextPairs: TypeAlias = list[tuple[str, str]]
FilePairs: TypeAlias = list[tuple[bytes, str]]
TextSplits: TypeAlias = tuple[TextPairs, TextPairs, TextPairs]
FileSplits: TypeAlias = tuple[FilePairs, FilePairs, FilePairs]

Target = TypeVar("Target")


def split_by_source(
    pairs: Iterable[tuple[str, Target]],
) -> tuple[list[tuple[str, Target]], list[tuple[str, Target]], list[tuple[str, Target]]]:
    """Splits pairs into train, validation and test by a hash of the source.

    `int(sha256(source), 16) % 100` decides: 0 to 4 is test, 5 to 9 validation, the rest train. All pairs with the same
    source are in the same split, so no test source occurs in training with another target. A source stays in its split
    when other pairs are added, removed or reordered.

    Args:
        pairs: iterable of `(source, target)` tuples. Sources are strings; targets can be anything.

    Returns:
        tuple `(train, validation, test)` of lists with about 90%, 5% and 5% of the sources, in the given order. With
        few distinct sources, a split may be empty.

    Raises:
        TypeError: if a source is not a string.

    Example:

    >>> pairs = [(f"sentence {index}", f"Satz {index}") for index in range(1_000)]
    >>> train, validation, test = split_by_source(pairs)
    >>> len(train), len(validation), len(test)
    (888, 50, 62)
    """
    train: list[tuple[str, Target]] = []
    validation: list[tuple[str, Target]] = []
    test: list[tuple[str, Target]] = []
    for index, pair in enumerate(pairs):
        source = pair[0]
        if not isinstance(source, str):
            raise TypeError(
                f"Pairs are split by their source, which must be a string. Received: {type(source).__name__} as the "
                f"source of pair {index}. For other sources, split a list of (identifier, item) pairs instead."
            )
        bucket = int(hashlib.sha256(source.encode("utf-8")).hexdigest(), 16) % 100
        split = test if bucket < 5 else validation if bucket < 10 else train
        split.append(pair)
    return train, validation, test
