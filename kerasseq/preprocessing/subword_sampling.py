"""Random segmentations of texts into subwords: subword regularization, Kudo 2018."""

import functools

import numpy as np

from kerasseq.preprocessing.vocabulary import LONE_SURROGATES


def sample_segmentations(vocabulary, texts, alpha, seed):
    """Draws a segmentation of each text, with a probability proportional to its own to the power `alpha`.

    Args:
        vocabulary: bytes, a serialised SentencePiece model of the unigram kind.
        texts: list of str.
        alpha: float above 0. At 0 all segmentations would be alike, far above 1 the most probable one wins.
        seed: int. The same vocabulary, texts, alpha and seed give the same segmentations.

    Returns:
        list of int32 arrays, ids with END behind.

    Source: Kudo 2018, section 3.3; SentencePiece draws from the whole lattice.
    """
    import sentencepiece  # Deferred: TF Text does all else.

    sentencepiece.set_random_generator_seed(seed % 2**32)
    texts = [LONE_SURROGATES.sub("\ufffd", text) for text in texts]
    # Each call starts threads, whose random numbers start from the seed: one of them draws for all texts, in order.
    drawn = processor(vocabulary).encode(
        texts, enable_sampling=True, alpha=alpha, nbest_size=-1, add_eos=True, num_threads=1
    )
    return [np.asarray(ids, "int32") for ids in drawn]


@functools.lru_cache(maxsize=8)
def processor(vocabulary):
    import sentencepiece  # As above.

    return sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
