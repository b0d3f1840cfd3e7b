"""Train, validation and test splits for data without an official split."""

import hashlib
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

logger = logging.getLogger(__name__)

TextPairs: TypeAlias = list[tuple[str, str]]
FilePairs: TypeAlias = list[tuple[bytes, str]]
TextSplits: TypeAlias = tuple[TextPairs, TextPairs, TextPairs]
FileSplits: TypeAlias = tuple[FilePairs, FilePairs, FilePairs]

Target = TypeVar("Target")


def same_source(source: str) -> str:
    """A text without byte order marks and outer white space, in NFC, its case folded."""
    return unicodedata.normalize("NFC", source.replace("\ufeff", "")).strip().casefold()


def near_source(source: str) -> str:
    """The words of a text, without punctuation, as `same_source`."""
    return re.sub(r"[\W_]+", " ", same_source(source)).strip()


def split_by_source(
    pairs: Iterable[tuple[str, Target]], key: Callable[[str], str] | None = same_source
) -> tuple[list[tuple[str, Target]], list[tuple[str, Target]], list[tuple[str, Target]]]:
    """Splits pairs into train, validation and test by a hash of the source.

    `int(sha256(source), 16) % 100` decides: 0 to 4 is test, 5 to 9 validation, the rest train. All pairs with the same
    source are in the same split, so no test source occurs in training with another target. Sources are the same if they
    differ only in case, outer white space, byte order marks and normal forms of Unicode; the first of them in the order
    of code points decides. A source stays in its split when pairs with other sources are added, removed or reordered.

    A warning in the log says how many validation and test sources differ from a training source in punctuation alone;
    `drop_near_duplicates` removes those from the training data.

    Args:
        pairs: iterable of `(source, target)` tuples. Sources are strings; targets can be anything.
        key: function of a source; sources with equal results are the same. `None` compares the sources as they are, and
            does not look for near duplicates.

    Returns:
        tuple `(train, validation, test)` of lists with about 90%, 5% and 5% of the sources, in the given order. With
        few distinct sources, a split may be empty.

    Raises:
        TypeError: if a source is not a string.

    Example:

    >>> pairs = [(f"sentence {index}", f"Satz {index}") for index in range(1_000)]
    >>> train, validation, test = split_by_source(pairs, key=None)
    >>> len(train), len(validation), len(test)
    (888, 50, 62)
    """
    pairs = list(pairs)
    decisive: dict[str, str] = {}
    keys = []
    for index, (source, _) in enumerate(pairs):
        if not isinstance(source, str):
            raise TypeError(
                f"Pairs are split by their source, which must be a string. Received: {type(source).__name__} as the "
                f"source of pair {index}. For other sources, split a list of (identifier, item) pairs instead."
            )
        keys.append(source if key is None else key(source))
        decisive[keys[-1]] = min(source, decisive.get(keys[-1], source))
    train: list[tuple[str, Target]] = []
    validation: list[tuple[str, Target]] = []
    test: list[tuple[str, Target]] = []
    for own_key, pair in zip(keys, pairs, strict=True):
        bucket = int(hashlib.sha256(decisive[own_key].encode("utf-8", "surrogatepass")).hexdigest(), 16) % 100
        split = test if bucket < 5 else validation if bucket < 10 else train
        split.append(pair)
    if key is not None:
        warn_of_near_duplicates(train, {"validation": validation, "test": test})
    return train, validation, test


def warn_of_near_duplicates(train: Sequence[tuple[str, Target]], held_out: dict[str, list[tuple[str, Target]]]) -> None:
    known = {near_source(source) for source in {source for source, _ in train}} - {""}
    found = []
    for name, split in held_out.items():
        sources = {source for source, _ in split}
        if near := [source for source in sources if near_source(source) in known]:
            found.append(f"{len(near)} of {len(sources)} {name} sources, such as {min(near)!r},")
    if found:
        logger.warning(
            "%s differ from a training source in punctuation alone. To remove those from the training data: "
            "train = kerasseq.datasets.drop_near_duplicates(train, [*validation, *test])",
            " and ".join(found),
        )


def drop_near_duplicates(
    train: Iterable[tuple[str, Target]], held_out: Iterable[tuple[str, Target]]
) -> list[tuple[str, Target]]:
    """Removes training pairs whose source has the words of a held-out source: only punctuation and case differ.

    Args:
        train: iterable of `(source, target)` tuples.
        held_out: those of validation and test.

    Returns:
        list of the remaining training pairs, in the given order.

    Example:

    >>> drop_near_duplicates([("Hello!", "Hallo!"), ("Thank you", "Danke")], [("Thank you!", "Danke!")])
    [('Hello!', 'Hallo!')]
    """
    known = {near_source(source) for source, _ in held_out} - {""}
    return [pair for pair in train if near_source(pair[0]) not in known]
