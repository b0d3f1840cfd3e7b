"""AN4, the alphanumeric database of CMU: spoken spellings, addresses and numbers (Acero, 1990)."""

import hashlib
import re

from kerasseq.datasets.archives import fetch_archive
from kerasseq.datasets.splits import FilePairs, FileSplits

COMMIT = "b567d132f43304e70a2b2eca6077f22255311812"
URL = f"https://github.com/cmusphinx/an4/archive/{COMMIT}.tar.gz"
# Digest of the recordings and the two files of transcripts. In the extracted archive:
# (export LC_ALL=C; sha256sum etc/an4_{test,train}.transcription wav/*/*/*.wav | sha256sum)
SHA256 = "3f08bcbc4af4efb7425bc3c5fd426b83399dde8278ef1e5a6a65cee68b19c78a over 1,080 files"
MEMBER = re.compile(
    r"[^/]+/((?:wav/an4(?:test)?_clstk/\w+/[\w-]+\.wav)|etc/an4_(?:train|test)\.transcription)", re.ASCII
)
LINE = re.compile(r"(?:<s> )?([A-Z' ]+?)(?: </s>)? \((\w+-(\w+)-\w+)\)")
VALIDATION_PERCENT = 15  # of the training speakers


def load_an4() -> FileSplits:
    """Loads AN4: 1,078 recordings at 16 kHz of people spelling words and saying numbers, dates and a few commands.

    The official splits: 948 utterances (42 minutes) by 74 speakers for training, and 130 utterances (6 minutes) by 10
    other speakers for testing. Here 15% of the training speakers, selected by a hash of their names, form the
    validation split. Utterances last 0.7 to 6.4 s. The training split has 98 distinct words, including single letters.
    "second" occurs only in validation; "thirteen" and "november" occur only in the test split.

    Source: https://github.com/cmusphinx/an4; A. Acero, "Acoustical and Environmental Robustness in Automatic Speech
    Recognition", 1990. Licence: BSD-like, of Carnegie Mellon University, free for any purpose.

    Returns:
        tuple `(train, validation, test)` of lists of `(WAV file, transcript)` tuples of bytes and lower-case str, such
        as `(b"RIFF...", "u m n y h six")`.

    Raises:
        ValueError: if the archive is damaged.
        ConnectionError: if the archive is neither in the mirror nor in the cache, and cannot be downloaded.

    Example:

    >>> train, validation, test = load_an4()
    >>> len(train), len(validation), len(test)
    (859, 89, 130)
    >>> test[0][1]
    'rubout g m e f three nine'
    """
    files = fetch_archive(f"an4/an4-{COMMIT}.tar.gz", URL, SHA256, MEMBER)
    train: FilePairs = []
    validation: FilePairs = []
    test: FilePairs = []
    for split, folder in (("train", "an4_clstk"), ("test", "an4test_clstk")):
        for line in files[f"etc/an4_{split}.transcription"].decode("ascii").splitlines():
            words, name, speaker = LINE.fullmatch(line).groups()  # type: ignore[union-attr]  # The digest matches.
            pair = (files[f"wav/{folder}/{speaker}/{name}.wav"], words.lower())
            if split == "test":
                test.append(pair)
            elif int(hashlib.sha256(speaker.encode()).hexdigest(), 16) % 100 < VALIDATION_PERCENT:
                validation.append(pair)
            else:
                train.append(pair)
    return train, validation, test
