"""Data sets of text pairs, with random segmentations if requested."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_number
from kerasseq.preprocessing.base import Preprocessor
from kerasseq.preprocessing.batching import Shuffle, batched, pad
from kerasseq.preprocessing.pairs import check_pairs, data_set_options, kept_pairs, truncated
from kerasseq.preprocessing.vocabulary import END_ID
from kerasseq.types import Pair


def text_dataset(
    preprocessor: Preprocessor,
    limits: tuple[int, int],
    pairs: Sequence[Pair],
    batch_size: int,
    shuffle: Shuffle,
    seed: int,
    too_long: str | None,
    pad_to_multiple: int | None,
    subword_sampling: float | None,
    copies: int,
) -> tf.data.Dataset:
    """Builds the data set of `TextPreprocessor.dataset`, which documents the arguments.

    `limits` are the maximum lengths of sources and targets.
    """
    pairs = list(pairs)
    check_pairs(pairs)
    if copies not in (1, 2):
        raise ValueError(f"copies must be 1 or 2. Received: copies={copies!r}.")
    too_long, pad_to_multiple = data_set_options(batch_size, shuffle, too_long, pad_to_multiple)
    if subword_sampling is not None and not check_number("subword_sampling", subword_sampling):
        raise ValueError("subword_sampling must be above 0, or None. Received: subword_sampling=0.")

    # === Pairs within the limits ===
    texts = list(zip(*pairs, strict=True))
    ids = [preprocessor.tokenize_all(side, name) for side, name in zip(texts, ("source", "target"), strict=True)]
    fits = [len(source) <= limits[0] and len(target) <= limits[1] for source, target in zip(*ids, strict=True)]
    kept = kept_pairs(fits, f"{limits[0]} source or {limits[1]} target tokens", too_long)
    tokenizers = preprocessor.tokenizers
    sources, targets = (
        Segmentations(
            [texts[side][row] for row in kept],
            [truncated(ids[side][row], limits[side]) for row in kept],
            limits[side],
            None if subword_sampling is None else tokenizers[-side].sampler(subword_sampling),
            (seed, side),
        )
        for side in (0, 1)
    )

    # === Batches ===
    def make_batch(rows, seeds):
        labels = np.repeat(pad(targets.draw(rows, seeds), pad_to_multiple), copies, axis=0)
        return {"encoder_token_ids": pad(sources.draw(np.repeat(rows, copies), seeds), pad_to_multiple)}, labels

    lengths = np.array([[len(target), len(source)] for source, target in zip(sources.ids, targets.ids, strict=True)])
    signature = {"encoder_token_ids": tf.TensorSpec([None, None], tf.int32)}
    return batched(lengths, batch_size, shuffle, seed, make_batch, signature)


class Segmentations:
    """The token ids of one side of all pairs, drawn anew in each pass if there is a sampler.

    Args:
        texts: list of str.
        ids: list of int arrays, the most probable segmentation of each text, END included.
        limit: int, the maximum number of tokens. Drawn segmentations that are longer are replaced by the most probable
            one.
        sampler: function from texts and a seed to segmentations, see `Tokenizer.sampler`, or `None`.
        seeds: tuple of int; sides with different seeds are drawn independently.
    """

    def __init__(
        self,
        texts: Sequence[str],
        ids: Sequence[np.ndarray],
        limit: int,
        sampler: Callable[[Sequence[str], int], list[np.ndarray]] | None,
        seeds: tuple[int, ...],
    ) -> None:
        self.texts = texts
        self.ids = ids
        self.limit = limit
        self.sampler = sampler
        self.seeds = seeds

    def draw(self, rows: np.ndarray, seeds: tuple[int, int]) -> list[np.ndarray]:
        """Returns the ids of rows in a pass, END included, reproducible by the seed and the number of the pass."""
        if self.sampler is None:
            return [self.ids[row] for row in rows]
        seed = zlib.crc32(np.asarray([*self.seeds, *seeds, *rows], "int64").tobytes())
        drawn = self.sampler([self.texts[row] for row in rows], seed)
        return [
            np.append(ids, END_ID) if len(ids) < self.limit else self.ids[row]
            for row, ids in zip(rows, drawn, strict=True)
        ]
