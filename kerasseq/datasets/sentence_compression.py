"""Google's sentence compression: sentences of news with the few words that say the same (Filippova and Altun, 2013)."""

from kerasseq.datasets.fetch import fetch
from kerasseq.datasets.pairs import read_pairs

# The pairs alone, as a table: a public copy pinned to a commit. Google publishes JSON with parse trees.
URL = (
    "https://raw.githubusercontent.com/serge-sotnyk/seq2seq-compress/"
    "2b92a9d01334ec84df24a2ae95f1dea681817896/comp-data.eval.tsv"
)
SHA256 = "57f2dd917aa49c07fb391e6312885dd220def1d8dac8378857bf9eae338317c6"

HEADER = ("original", "compressed")

# Number of pairs of each split, in the order of the file.
SPLITS = {"test": 1_000, "validation": 1_000, "train": 8_000}


def load_sentence_compression():
    """Load Google's sentence compression: sentences of English news, each with a shorter one made by deletion.

    The 10,000 public evaluation pairs. The literature tests on the first 1,000 of them; here the next 1,000 are for
    validation and the remaining 8,000 for training. All 10,000 sentences are distinct, so none is on two sides; 5 of
    the training targets are also targets of the test, and 4 of validation.

    Nearly all targets (99.5 %) can be had by deleting words and punctuation marks of the source, but for letter case
    and the full stop that ends every target. The median sentence has 23 words, the median compression 9. A few targets
    have spaces that their sources lack, as in `"fined $ 1.2 million"`, and two pairs hold the character U+FFFD.

    Source: https://github.com/google-research-datasets/sentence-compression; K. Filippova, Y. Altun, "Overcoming the
    Lack of Parallel Data in Sentence Compression", 2013. Licence: Google provides the data "AS IS", without any
    warranty.

    Returns:
        A tuple `(train, validation, test)` of lists of `(sentence, compression)` string tuples in the order of the
        file: 8,000, 1,000 and 1,000.

    Raises:
        ValueError: if the file is damaged.
        ConnectionError: if the file is neither in the mirror, nor in the cache, nor within reach.

    Example:

    >>> train, validation, test = load_sentence_compression()
    >>> test[44]
    ('Pita restaurant chain Pita Pit has closed in Edwardsville.', 'Pita Pit has closed in Edwardsville.')
    >>> len(train), len(validation), len(test)
    (8000, 1000, 1000)
    """
    path = fetch("sentence_compression/comp-data.eval.tsv", URL, SHA256)
    header, *pairs = read_pairs(path)
    if header != HEADER:
        raise ValueError(
            f"{path}: expected the column names {HEADER} in the first line. Received: {header}. The file has the "
            "expected sha256, so correct either SHA256 or HEADER in this module."
        )
    if len(pairs) != sum(SPLITS.values()):
        raise ValueError(
            f"{path}: expected {sum(SPLITS.values()):,} pairs below the column names. Received: {len(pairs):,}. The "
            "file has the expected sha256, so correct either SHA256 or SPLITS in this module."
        )
    end_of_test = SPLITS["test"]
    end_of_validation = end_of_test + SPLITS["validation"]
    return pairs[end_of_validation:], pairs[end_of_test:end_of_validation], pairs[:end_of_test]
