"""Spoken digits: the Free Spoken Digit Dataset, its recordings joined into strings of digits."""

import io
import re
import wave

import numpy as np

from kerasseq.arguments import check_positive_integer
from kerasseq.datasets.archives import archive_digest, read_archive
from kerasseq.datasets.fetch import fetch
from kerasseq.preprocessing.wav import encode_wav

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.tar.gz"
# Of what the archive holds. With the archive unpacked: (export LC_ALL=C; cd recordings; sha256sum *.wav | sha256sum)
SHA256 = "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959 over 3,000 files"
MEMBER = re.compile(r"[^/]+/recordings/(\d_[a-z]+_\d+\.wav)", re.ASCII)

SAMPLE_RATE = 8_000
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Recordings of each digit by each speaker.
RECORDINGS = {"train": range(10, 50), "validation": range(5, 10), "test": range(5)}
STRINGS = {"validation": 500, "test": 500}
LONGEST = 8  # digits in a string
SILENCE = (0.05, 0.3)  # seconds before, between and behind the digits
SILENCE_LEVEL = 1e-3  # of the noise in it, so that no silence is perfect


def load_spoken_digits(held_out=None, num_train=5_000, seed=0):
    """Load strings of spoken digits with the words that are said.

    The Free Spoken Digit Dataset has 3,000 recordings at 8 kHz: ten digits, six speakers, 50 times each. Its official
    test set are the recordings 0 to 4; here 5 to 9 are for validation and the rest for training. Recordings of one
    speaker are joined into strings of 1 to 8 digits, all lengths alike, with silences of 0.05 to 0.3 s before, between
    and behind them. Every recording of a speaker is used as often as his others, but for one time, so the 500 test
    strings hold each of the 300 test recordings about 7 times.

    Source: Z. Jackson, https://github.com/Jakobovski/free-spoken-digit-dataset. Licence: CC BY-SA 4.0
    (https://creativecommons.org/licenses/by-sa/4.0/).

    Args:
        held_out: str, a speaker that is neither in train nor in validation; all 500 recordings of that speaker make up
            the test: `"george"`, `"jackson"`, `"lucas"`, `"nicolas"`, `"theo"` or `"yweweler"`. Default: all speakers
            are on all sides.
        num_train: int, strings for training.
        seed: int, of the strings.

    Returns:
        A tuple `(train, validation, test)` of lists of `(WAV file, words)` pairs of bytes and str, such as
        `(b"RIFF...", "three one four")`.

    Raises:
        ValueError: if the speaker is unknown, or the archive is damaged.
        ConnectionError: if the archive is neither in the mirror, nor in the cache, nor within reach.

    Example:

    >>> train, validation, test = load_spoken_digits()
    >>> len(train), len(validation), len(test)
    (5000, 500, 500)
    >>> test[0][1], len(test[0][0])  # 44 bytes before the samples, 2 for each
    ('four four one one three two seven', 75762)
    """
    if held_out not in (None, *SPEAKERS):
        raise ValueError(
            f"held_out must be one of {', '.join(map(repr, SPEAKERS))}, or None. Received: held_out={held_out!r}."
        )
    check_positive_integer("num_train", num_train)
    path = fetch(
        f"fsdd/free-spoken-digit-dataset-{COMMIT}.tar.gz", URL, SHA256, digest=lambda path: archive_digest(path, MEMBER)
    )
    waveforms = {name: read_samples(content) for name, content in read_archive(path, MEMBER).items()}
    sides = []
    for index, (side, recordings) in enumerate(RECORDINGS.items()):
        speakers = [speaker for speaker in SPEAKERS if speaker != held_out]
        if held_out is not None and side == "test":
            speakers, recordings = [held_out], range(50)
        random = np.random.default_rng([seed, index])
        sides.append(join(waveforms, speakers, recordings, STRINGS.get(side, num_train), random))
    return tuple(sides)


def read_samples(content):
    """The samples of one recording, float64 in [-1, 1]."""
    with wave.open(io.BytesIO(content)) as reader:
        return np.frombuffer(reader.readframes(reader.getnframes()), "<i2") / 32_768


def join(waveforms, speakers, recordings, count, random):
    """So many strings of digits, of each speaker in turn, as pairs of a WAV file and words."""
    pools = {speaker: endless(speaker, recordings, random) for speaker in speakers}
    pairs = []
    for index in range(count):
        pool = pools[speakers[index % len(speakers)]]
        names = [next(pool) for _ in range(random.integers(1, LONGEST + 1))]
        pieces = [silence(random)]
        for name in names:
            pieces += [waveforms[name], silence(random)]
        words = " ".join(WORDS[int(name[0])] for name in names)
        pairs.append((encode_wav(np.concatenate(pieces), SAMPLE_RATE), words))
    return [pairs[index] for index in random.permutation(count)]


def endless(speaker, recordings, random):
    """The names of a speaker's recordings in ever new random orders, each once before any comes again."""
    names = [f"{digit}_{speaker}_{recording}.wav" for digit in range(10) for recording in recordings]
    while True:
        yield from random.permutation(names)


def silence(random):
    return random.normal(scale=SILENCE_LEVEL, size=int(random.uniform(*SILENCE) * SAMPLE_RATE))
