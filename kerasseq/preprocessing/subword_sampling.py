"""Random segmentations of texts into subwords: subword regularization, Kudo 2018.

SentencePiece draws them as well, but from random numbers that differ from process to process, whatever its seed.
"""

import bisect
import functools
import itertools
import math
import random

import numpy as np

from kerasseq.preprocessing.vocabulary import END_ID, LONE_SURROGATES

SPACE = "\u2581"  # begins a word
UNKNOWN_PENALTY = 10.0  # below the worst piece, as in SentencePiece


class SubwordSampler:
    """Draws a segmentation of a text, with a probability proportional to its own to the power `alpha`.

    Its own is the product of its pieces' under the unigram model. Pieces end where words do, so the words of a text are
    drawn one by one, each from its lattice: from the end of the word, a last piece is drawn again and again with the
    share that all segmentations ending in it have (forward filtering, backward sampling).

    Args:
        vocabulary: bytes, a serialised SentencePiece model of the unigram kind.
        alpha: float above 0. At 0 all segmentations would be alike, far above 1 the most probable one wins.

    Raises:
        ValueError: if the vocabulary is of another kind.

    Source: Kudo 2018, section 3.3.
    """

    def __init__(self, vocabulary, alpha):
        import sentencepiece  # Deferred: TF Text does all else.
        from sentencepiece import sentencepiece_model_pb2

        kind = sentencepiece_model_pb2.ModelProto.FromString(vocabulary).trainer_spec
        if kind.model_type != kind.UNIGRAM:
            name = kind.ModelType.Name(kind.model_type)
            raise ValueError(
                f"subword_sampling needs a vocabulary of the kind UNIGRAM, as of train_vocabulary. Received: {name}."
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
        self._lattices = {}

    def sample(self, texts, seed):
        """A list of int32 arrays, ids with END behind; the same for the same texts and seed."""
        draw = random.Random(seed).random
        return [np.array([*self._draw(text, draw), END_ID], "int32") for text in texts]

    def _draw(self, text, draw):
        normalized = self._processor.normalize(LONE_SURROGATES.sub("\ufffd", text))
        ids = []
        for word in filter(None, normalized.split(SPACE)):
            word = SPACE + word
            if word not in self._lattices:
                self._lattices[word] = self._lattice(word)
            lattice, end, pieces = self._lattices[word], len(word), []
            while end:
                starts, shares, piece_ids = lattice[end]
                choice = bisect.bisect_left(shares, draw() * shares[-1])
                pieces.append(piece_ids[choice])
                end = starts[choice]
            ids += itertools.chain.from_iterable(reversed(pieces))
        return ids

    def _lattice(self, word):
        """For each end in a word: where its pieces start, their shares, added up, and their ids."""
        totals, lattice = [0.0], [None]  # of the logarithms of alpha-powers over all ways to an end
        for end in range(1, len(word) + 1):
            starts, logarithms, ids = [], [], []
            for start in range(max(0, end - self._longest), end):
                piece = word[start:end]
                if piece in self._scores or (start == end - 1 and not starts):
                    # A character that no piece has is written in bytes.
                    starts.append(start)
                    ids.append(self._ids.get(piece) or self._bytes(piece))
                    logarithms.append(totals[start] + self.alpha * self._scores.get(piece, self._unknown_score))
            highest = max(logarithms)
            shares = list(itertools.accumulate(math.exp(value - highest) for value in logarithms))
            totals.append(highest + math.log(shares[-1]))
            lattice.append((starts, shares, ids))
        return lattice

    def _bytes(self, character):
        return tuple(self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in character.encode("utf-8"))


@functools.lru_cache(maxsize=8)
def subword_sampler(vocabulary, alpha):
    """The sampler of a vocabulary, made once."""
    return SubwordSampler(vocabulary, alpha)
