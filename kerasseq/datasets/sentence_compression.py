"""Google's sentence compression data: news sentences and their compressions (Filippova and Altun, 2013)."""

from kerasseq.datasets.fetch import fetch
from kerasseq.datasets.pairs import read_pairs
from kerasseq.datasets.splits import TextSplits

# A public copy of the pairs as a table, pinned to a commit. Google publishes JSON with parse trees.
URL = (
    "https://raw.githubusercontent.com/serge-sotnyk/seq2seq-compress/"
    "2b92a9d01334ec84df24a2ae95f1dea681817896/comp-data.eval.tsv"
)
SHA256 = "57f2dd917aa49c07fb391e6312885dd220def1d8dac8378857bf9eae338317c6"

HEADER = ("original", "compressed")

# Number of pairs of each split, in the order of the file.
SPLITS = {"test": 1_000, "validation": 1_000, "train": 8_000}


def load_sentence_compression() -> TextSplits:
    """Loads Google's sentence compression data: English news sentences, each with a version shortened by deletion.

    The 10,000 public evaluation pairs. Papers test on the first 1,000. Here the next 1,000 are for validation and the
    remaining 8,000 for training. All 10,000 sentences are distinct, so none is in two splits. 5 of the training targets
    are also test targets, and 4 are validation targets.

    Deleting words and punctuation marks of the source gives 99.5% of the targets, except for case and the full stop
    that ends every target. The median sentence has 23 words, the median compression 9. A few targets have spaces that
    their sources lack, as in `"fined $ 1.2 million"`, and two pairs contain the character U+FFFD.

    Source: https://github.com/google-research-datasets/sentence-compression; K. Filippova, Y. Altun, "Overcoming the
    Lack of Parallel Data in Sentence Compression", 2013. Licence: Google provides the data "AS IS", without any
    warranty.

    Returns:
        tuple `(train, validation, test)` of lists of 8,000, 1,000 and 1,000 `(sentence, compression)` string tuples, in
        the order of the file.

    Raises:
        ValueError: if the file is damaged.
        ConnectionError: if the file is neither in the mirror nor in the cache, and cannot be downloaded.

    Example:

    >>> train, validation, test = load_sentence_compression()
    >>> test[44]
    ('Pita restaurant chain Pita Pit has closed in Edwardsville.', 'Pita Pit has closed in Edwardsville.')
    >>> len(train), len(validation), len(test)
    (8000, 1000, 1000)
    """
    path = fetch("sentence_compression/comp-data.eval.tsv", URL, SHA256)
    header, *pairs = read_pairs(path, columns=(0, 1), quotes=False)
    if header != HEADER:
        raise ValueError(
            f"{path}: expected the column names {HEADER} in the first line. Received: {header}. The file has the "
            "expected sha256, so correct SHA256 or HEADER in this module."
        )
    if len(pairs) != sum(SPLITS.values()):
        raise ValueError(
            f"{path}: expected {sum(SPLITS.values()):,} pairs below the column names. Received: {len(pairs):,}. The "
            "file has the expected sha256, so correct SHA256 or SPLITS in this module."
        )
    end_of_test = SPLITS["test"]
    end_of_validation = end_of_test + SPLITS["validation"]
    return pairs[end_of_validation:], pairs[end_of_test:end_of_validation], pairs[:end_of_test]
