"""AN4, the alphanumeric database of CMU: people spell names, addresses and numbers (Acero, 1990)."""

import hashlib
import re

from kerasseq.datasets.archives import archive_digest, read_archive
from kerasseq.datasets.fetch import fetch

COMMIT = "b567d132f43304e70a2b2eca6077f22255311812"
URL = f"https://github.com/cmusphinx/an4/archive/{COMMIT}.tar.gz"
# Of the recordings and the two files with transcripts. With the archive unpacked:
# (export LC_ALL=C; sha256sum etc/an4_{test,train}.transcription wav/*/*/*.wav | sha256sum)
SHA256 = "3f08bcbc4af4efb7425bc3c5fd426b83399dde8278ef1e5a6a65cee68b19c78a over 1,080 files"
MEMBER = re.compile(
    r"[^/]+/((?:wav/an4(?:test)?_clstk/\w+/[\w-]+\.wav)|etc/an4_(?:train|test)\.transcription)", re.ASCII
)
LINE = re.compile(r"(?:<s> )?([A-Z' ]+?)(?: </s>)? \((\w+-(\w+)-\w+)\)")
VALIDATION_PERCENT = 15  # of the speakers


def load_an4():
    """Load AN4: 1,078 recordings at 16 kHz of people who spell, and say numbers, dates and a few commands.

    The official sides: 948 utterances by 74 speakers for training, 42 minutes, of which 15 % of the speakers, chosen by
    the SHA-256 of their names, are validation here; and 130 utterances by 10 others for the test, 6 minutes. An
    utterance lasts 0.7 to 6.4 s. There are 98 different words in what is returned for training, single letters among
    them; "second" is in validation alone, and "thirteen" and "november" are in the test alone.

    Source: https://github.com/cmusphinx/an4; A. Acero, "Acoustical and Environmental Robustness in Automatic Speech
    Recognition", 1990. Licence: BSD-like, of Carnegie Mellon University, free for any purpose.

    Returns:
        A tuple `(train, validation, test)` of lists of `(WAV file, transcript)` pairs of bytes and str in lower case,
        such as `(b"RIFF...", "u m n y h six")`.

    Raises:
        ValueError: if the archive is damaged.
        ConnectionError: if the archive is neither in the mirror, nor in the cache, nor within reach.

    Example:

    >>> train, validation, test = load_an4()
    >>> len(train), len(validation), len(test)
    (859, 89, 130)
    >>> test[0][1]
    'rubout g m e f three nine'
    """
    path = fetch(f"an4/an4-{COMMIT}.tar.gz", URL, SHA256, digest=lambda path: archive_digest(path, MEMBER))
    files = read_archive(path, MEMBER)
    train, validation, test = [], [], []
    for side, folder in (("train", "an4_clstk"), ("test", "an4test_clstk")):
        for line in files[f"etc/an4_{side}.transcription"].decode("ascii").splitlines():
            words, name, speaker = LINE.fullmatch(line).groups()
            pair = (files[f"wav/{folder}/{speaker}/{name}.wav"], words.lower())
            if side == "test":
                test.append(pair)
            elif int(hashlib.sha256(speaker.encode()).hexdigest(), 16) % 100 < VALIDATION_PERCENT:
                validation.append(pair)
            else:
                train.append(pair)
    return train, validation, test
