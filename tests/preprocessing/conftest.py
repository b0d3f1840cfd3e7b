"""What the tests of preprocessors share: small vocabularies, and functions to look into batches."""

import numpy as np
import pytest

from kerasseq.preprocessing import train_vocabulary

WORD_PAIRS = [("one two three", "eins zwei drei"), ("two three", "zwei drei"), ("three one", "drei eins")] * 10


@pytest.fixture(scope="session")
def word_pairs():
    """30 pairs of number words, English and German."""
    return WORD_PAIRS


@pytest.fixture(scope="session")
def vocabularies():
    """SentencePiece models of the sources and the targets of `word_pairs`, of different sizes."""
    sources, targets = zip(*WORD_PAIRS, strict=True)
    return [train_vocabulary(sources, 285), train_vocabulary(targets, 290)]


@pytest.fixture(scope="session")
def rows():
    """A function from padded ids to lists without the padding."""
    return lambda ids: [np.trim_zeros(row, "b").tolist() for row in np.asarray(ids)]


@pytest.fixture(scope="session")
def strings():
    """A function from string tensors to lists of str."""
    return lambda tensor: np.char.decode(np.asarray(tensor).astype("S"), "utf-8").tolist()
