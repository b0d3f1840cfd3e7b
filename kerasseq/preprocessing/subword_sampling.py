"""Random segmentations of texts into subwords: subword regularization, Kudo 2018.

SentencePiece implements it too, but its random numbers differ between processes, whatever the seed.
"""

import bisect
import functools
import itertools
import math
import random
import re
from collections.abc import Callable, Sequence

import numpy as np

from kerasseq.preprocessing.vocabulary import LONE_SURROGATES, WORD_START, protected_tokens_of

WORDS_KEPT = 100_000  # of some kilobytes each
UNKNOWN_PENALTY = 10.0  # below the least probable piece, as in SentencePiece


class SubwordSampler:
    """Draws segmentations of texts, with probabilities proportional to those of the unigram model to the power `alpha`.

    The probability of a segmentation is the product of those of its pieces. Pieces do not cross word boundaries, so the
    words of a text are drawn one by one, by forward filtering and backward sampling in the lattice of each word: from
    the end of the word, the last piece is drawn with the probability of all segmentations that end in it.

    Args:
        vocabulary: bytes, a serialized unigram SentencePiece model.
        alpha: float above 0. Close to 0, all segmentations are equally probable; for large values, only the most
            probable one is drawn.

    Raises:
        ValueError: if the SentencePiece model is not a unigram model.

    Source: Kudo 2018, section 3.3.
    """

    def __init__(self, vocabulary: bytes, alpha: float) -> None:
        import sentencepiece  # Deferred: importing kerasseq stays cheap.
        from sentencepiece import sentencepiece_model_pb2

        kind = sentencepiece_model_pb2.ModelProto.FromString(vocabulary).trainer_spec  # type: ignore[attr-defined]
        if kind.model_type != kind.UNIGRAM:
            name = kind.ModelType.Name(kind.model_type)
            raise ValueError(
                f"subword_sampling requires a unigram vocabulary, as trained by train_vocabulary. Received: {name}."
            )
        self.alpha = alpha
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
        ids = range(self._processor.get_piece_size())
        special = (self._processor.is_control, self._processor.is_unknown, self._processor.is_byte)
        ordinary = [index for index in ids if not any(is_special(index) for is_special in special)]
        self._scores = {self._processor.id_to_piece(index): self._processor.get_score(index) for index in ordinary}
        self._ids = {self._processor.id_to_piece(index): (index,) for index in ordinary}
        self._longest = max(map(len, self._scores))
        self._unknown_score = min(self._scores.values()) - UNKNOWN_PENALTY
        # As in SentencePiece, the first protected token counts, and the longest of several at one place.
        protected = sorted(protected_tokens_of(vocabulary), key=len, reverse=True)
        self._protected = re.compile("|".join(map(re.escape, protected)) or r"(?!)")
        self._lattices: dict[str, list] = {}

    def sample(self, texts: Sequence[str], seed: int) -> list[np.ndarray]:
        """Draws a segmentation of each text: int32 arrays of ids without END, determined by the texts and the seed."""
        draw = random.Random(seed).random
        return [np.array(self._draw(text, draw), "int32") for text in texts]

    def _draw(self, text: str, draw: Callable[[], float]) -> list[int]:
        normalized = self._processor.normalize(LONE_SURROGATES.sub("\ufffd", text))
        ids: list[int] = []
        for word in filter(None, normalized.split(WORD_START)):
            word = WORD_START + word
            if word not in self._lattices:
                if len(self._lattices) >= WORDS_KEPT:
                    self._lattices.clear()
                self._lattices[word] = self._lattice(word)
            lattice, end, pieces = self._lattices[word], len(word), []
            while end:
                starts, shares, piece_ids = lattice[end]
                choice = bisect.bisect_left(shares, draw() * shares[-1])
                pieces.append(piece_ids[choice])
                end = starts[choice]
            ids += itertools.chain.from_iterable(reversed(pieces))
        return ids

    def _lattice(self, word: str) -> list:
        """Returns the start positions, cumulative weights and ids of the pieces that end at each position."""
        # The log of the summed weights of all segmentations up to each end position.
        totals: list[float] = [0.0]
        lattice: list = [None]
        spans = [match.span() for match in self._protected.finditer(word)]
        for end in range(1, len(word) + 1):
            starts: list[int] = []
            logarithms: list[float] = []
            ids: list[tuple[int, ...]] = []
            for start in range(max(0, end - self._longest), end):
                piece = word[start:end]
                if (start, end) not in spans and any(start < last and first < end for first, last in spans):
                    continue  # A protected token is one piece.
                if piece in self._scores or (start == end - 1 and not starts):
                    # Characters that are in no piece are encoded as bytes.
                    starts.append(start)
                    ids.append(self._ids.get(piece) or self._bytes(piece))
                    logarithms.append(totals[start] + self.alpha * self._scores.get(piece, self._unknown_score))
            if not starts:  # within a protected token
                totals.append(-math.inf)
                lattice.append(None)
                continue
            highest = max(logarithms)
            shares = list(itertools.accumulate(math.exp(value - highest) for value in logarithms))
            totals.append(highest + math.log(shares[-1]))
            lattice.append((starts, shares, ids))
        return lattice

    def _bytes(self, character: str) -> tuple[int, ...]:
        return tuple(self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in character.encode("utf-8"))


@functools.lru_cache(maxsize=8)
def subword_sampler(vocabulary: bytes, alpha: float) -> SubwordSampler:
    """Returns the sampler of a vocabulary, which is cached."""
    return SubwordSampler(vocabulary, alpha)
