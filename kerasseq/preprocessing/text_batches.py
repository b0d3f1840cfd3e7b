"""Batches of tokenized pairs of texts: from memory or memory-mapped files, in any order, or from a stream."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.batching import (
    Batching,
    Shuffle,
    batch_types,
    batched,
    completed,
    passes_of,
    with_decoder_inputs,
)
from kerasseq.preprocessing.flat_sequences import FlatSequences
from kerasseq.preprocessing.ids import TEXTS_AT_ONCE
from kerasseq.preprocessing.pairs import kept_pairs, of_kept
from kerasseq.preprocessing.python_dataset import generator_dataset
from kerasseq.preprocessing.segmentations import Segmentations
from kerasseq.preprocessing.streams import TokenizedStream

SIGNATURE = {"encoder_token_ids": tf.TensorSpec([None, None], tf.int32)}
MakeBatch = Callable[[np.ndarray, tuple[int, int]], tuple[dict[str, np.ndarray], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class TextBatches:
    """Makes batches of pairs, see `TextPreprocessor.dataset`.

    Attributes:
        batching: `Batching`, whose `batch_tokens` are those of one copy.
        shuffle, seed, too_long, pad_to_multiple, copies: as in `TextPreprocessor.dataset`.
        limits: the most source tokens, and the most target tokens, of a pair.
        samplers: of sources and targets, see `Segmentations`.
        vocabulary_digest: str, as in `batched`.
    """

    batching: Batching
    shuffle: Shuffle
    seed: int
    too_long: str
    pad_to_multiple: int
    copies: int
    limits: tuple[int, int]
    samplers: Sequence[Callable[[Sequence[str], int], list[np.ndarray]] | None]
    vocabulary_digest: str

    def from_table(
        self,
        texts: Sequence[Sequence[str]],
        ids: tuple[FlatSequences, FlatSequences],
        weights: np.ndarray | None,
    ) -> tf.data.Dataset:
        """Builds a data set of pairs that can be read in any order.

        Args:
            texts: sources and targets, needed by samplers alone.
            ids: sources and targets, END included.
            weights: float32 array `(pairs,)`, or `None`.
        """
        fits = (ids[0].lengths <= self.limits[0]) & (ids[1].lengths <= self.limits[1])
        kept = kept_pairs(fits, f"{self.limits[0]} source or {self.limits[1]} target tokens", self.too_long)
        lengths, make_batch = self._window(texts, ids, kept)
        return batched(
            lengths, self.batching, self.shuffle, self.seed, make_batch, SIGNATURE, self.vocabulary_digest,
            of_kept(weights, kept),
        )  # fmt: skip

    def from_stream(self, stream: TokenizedStream, buffer_size: int) -> tf.data.Dataset:
        """Builds a data set of pairs that are read in order, `buffer_size` of them at a time."""
        passes = passes_of(self.shuffle, self.seed)
        unit = (self.batching.batch_size or 1) * self.batching.shard[1]
        # Shuffled by the window, which holds whole batches of all shards.
        window_size = unit * max(1, (buffer_size if self.shuffle else min(buffer_size, TEXTS_AT_ONCE)) // unit)

        def one_pass():
            number = passes.next_epoch()
            return self._batches(iter(stream), window_size, (passes.seed, number))

        return completed(generator_dataset(one_pass, batch_types(SIGNATURE)), self.vocabulary_digest)

    def _batches(self, pairs: Iterator, window_size: int, seeds: tuple[int, int]) -> Iterator:
        """The batches of one pass over a stream of texts and ids."""
        # In the order of the stream, the last batch of a window may get more from the next one.
        goes_on = self.batching.batch_size is None and not self.shuffle and self.batching.shard[1] == 1
        begun: list = []
        first_row = made = 0
        for number in itertools.count():
            read = list(itertools.islice(pairs, window_size))
            window = [*begun, *read]
            if not window:
                break
            texts, ids = (list(zip(*part, strict=True)) for part in zip(*window, strict=True))
            sources, targets = (FlatSequences.of_arrays(side, "int32") for side in ids)
            lengths, make_batch = self._window(texts, (sources, targets), np.arange(len(window)), first_row)
            # The first window has the batches of a list.
            batches = self.batching.batches(lengths, seeds if number == 0 else (*seeds, number))
            begun = [window[row] for row in batches.pop()] if goes_on and read else []
            first_row += len(window) - len(begun)
            made += len(batches)
            del read, window, texts, ids  # They take more memory than the arrays.
            for rows in batches:
                yield with_decoder_inputs(*make_batch(rows, seeds))
        if not made:
            raise self.batching.too_few(first_row)

    def _window(
        self,
        texts: Sequence[Sequence[str]],
        ids: tuple[FlatSequences, FlatSequences],
        kept: np.ndarray,
        first_row: int = 0,
    ) -> tuple[np.ndarray, MakeBatch]:
        """The lengths of targets and sources, int `(rows, 2)`, and the function that makes a batch of rows."""
        sources, targets = (
            Segmentations(
                ids[side], kept, self.limits[side], texts[side] if self.samplers[side] else (), self.samplers[side],
                (self.seed, side), first_row,
            )
            for side in (0, 1)
        )  # fmt: skip
        lengths = np.stack([targets.lengths, sources.lengths], axis=1)
        batch_tokens, copies = self.batching.batch_tokens, self.copies
        if batch_tokens is not None:
            lengths = -(-lengths // self.pad_to_multiple) * self.pad_to_multiple
            if lengths.max() > batch_tokens:
                raise ValueError(
                    f"batch_tokens must be at least {lengths.max() * copies}, the tokens of the longest pair, padded. "
                    f"Received: batch_tokens={batch_tokens * copies}."
                )

        def make_batch(rows, seeds):
            labels = np.repeat(targets.batch(rows, seeds, self.pad_to_multiple), copies, axis=0)
            source_ids = sources.batch(np.repeat(rows, copies), seeds, self.pad_to_multiple)
            return {"encoder_token_ids": source_ids}, labels

        return lengths, make_batch
