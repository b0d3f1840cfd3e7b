"""The token ids of one side of pairs, in batches."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from kerasseq.preprocessing.batching import pad
from kerasseq.preprocessing.flat_sequences import FlatSequences
from kerasseq.preprocessing.vocabulary import END_ID


class Segmentations:
    """The token ids of one side of pairs, drawn anew in each pass if there is a sampler.

    Args:
        ids: the most probable segmentation of each text, END included.
        kept: int array, the indices of the texts that are rows.
        limit: int, the maximum number of tokens. Longer texts are truncated, and end in END as well. Drawn
            segmentations that are longer are replaced by the most probable one.
        texts: sequence of str, needed by the sampler alone.
        sampler: function from texts and a seed to segmentations, see `Tokenizer.sampler`, or `None`.
        seeds: tuple of int; sides with different seeds are drawn independently.
        first_row: int, the number of the first row: that of rows before, in a stream of which these texts are a part.
    """

    def __init__(
        self,
        ids: FlatSequences,
        kept: np.ndarray,
        limit: int,
        texts: Sequence[str] = (),
        sampler: Callable[[Sequence[str], int], list[np.ndarray]] | None = None,
        seeds: tuple[int, ...] = (),
        first_row: int = 0,
    ) -> None:
        self.ids = ids
        self.kept = kept
        self.limit = limit
        self.texts = texts
        self.sampler = sampler
        self.seeds = seeds
        self.first_row = first_row

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each row, int `(rows,)`."""
        return np.minimum(self.ids.lengths[self.kept], self.limit)

    def batch(self, rows: np.ndarray, seeds: tuple[int, int], multiple: int) -> np.ndarray:
        """Returns the ids of rows in a pass, END included, reproducible by the seed and the number of the pass.

        Args:
            rows: int array.
            seeds: tuple of int, the seed and the number of the pass.
            multiple: int, the length is rounded up to a multiple of it.

        Returns:
            int32 `(batch, length)`, padded with 0.
        """
        texts = self.kept[rows]
        most_probable = self.ids.padded(texts, self.limit, multiple)
        most_probable[self.ids.lengths_of(texts) > self.limit, self.limit - 1 : self.limit] = END_ID
        if self.sampler is None:
            return most_probable
        seed = zlib.crc32(np.asarray([*self.seeds, *seeds, *(rows + self.first_row)], "int64").tobytes())
        drawn = self.sampler([self.texts[self.kept[row]] for row in rows], seed)
        return pad(
            [
                np.append(ids, END_ID) if len(ids) < self.limit else np.trim_zeros(instead, "b")
                for ids, instead in zip(drawn, most_probable, strict=True)
            ],
            multiple,
        )
