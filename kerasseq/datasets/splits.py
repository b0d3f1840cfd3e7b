"""Train, validation and test for data that comes without an official split."""

import hashlib


def split_by_source(pairs):
    """Split pairs into train, validation and test by a digest of the source sentence.

    `int(sha256(source), 16) % 100` decides: 0 to 4 is test, 5 to 9 validation, the rest train. All pairs with the same
    source land on the same side, so a test sentence was never trained on under another reference; and a sentence stays
    on its side whatever is added to the data, removed from it or reordered.

    Args:
        pairs: iterable of `(source, target)` tuples. The source is a string; the target can be anything.

    Returns:
        A tuple `(train, validation, test)` of lists, about 90, 5 and 5 % of the sources. Each holds the given pairs in
        the given order. With only a few distinct sources a side may be empty.

    Raises:
        TypeError: if a source is not a string.

    Example:

    >>> pairs = [(f"sentence {index}", f"Satz {index}") for index in range(1_000)]
    >>> train, validation, test = split_by_source(pairs)
    >>> len(train), len(validation), len(test)
    (888, 50, 62)
    """
    train, validation, test = [], [], []
    for index, pair in enumerate(pairs):
        source = pair[0]
        if not isinstance(source, str):
            raise TypeError(
                f"Pairs are split by their source, which must be a string. Received: {type(source).__name__} as the "
                f"source of pair {index}. For other sources, split a list of (identifier, item) pairs instead."
            )
        bucket = int(hashlib.sha256(source.encode("utf-8")).hexdigest(), 16) % 100
        side = test if bucket < 5 else validation if bucket < 10 else train
        side.append(pair)
    return train, validation, test
