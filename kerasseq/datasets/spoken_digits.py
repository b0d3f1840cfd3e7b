"""Spoken digit strings, concatenated from recordings of the Free Spoken Digit Dataset."""

import io
import re
import wave
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from kerasseq.arguments import check_choice, check_positive_integer
from kerasseq.datasets.archives import fetch_archive
from kerasseq.datasets.splits import FilePairs, FileSplits
from kerasseq.preprocessing.wav import encode_wav

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.tar.gz"
# Digest of the recordings. In the extracted archive: (export LC_ALL=C; cd recordings; sha256sum *.wav | sha256sum)
SHA256 = "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959 over 3,000 files"
MEMBER = re.compile(r"[^/]+/recordings/(\d_[a-z]+_\d+\.wav)", re.ASCII)

SAMPLE_RATE = 8_000
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Numbers of the recordings of each digit and speaker.
RECORDINGS = {"train": range(10, 50), "validation": range(5, 10), "test": range(5)}
STRINGS = {"validation": 500, "test": 500}
LONGEST = 8  # digits in a string
SILENCE = (0.05, 0.3)  # seconds before, between and after the digits
SILENCE_LEVEL = 1e-3  # standard deviation of the noise in the silences


def load_spoken_digits(held_out: str | None = None, num_train: int = 5_000, seed: int = 0) -> FileSplits:
    """Loads recordings of digit strings with their transcripts.

    The Free Spoken Digit Dataset has 3,000 recordings at 8 kHz: 50 of each digit by each of six speakers. The official
    test set consists of the recordings 0 to 4. Here 5 to 9 are for validation, the rest for training. Recordings of one
    speaker are concatenated into strings of 1 to 8 digits, with uniformly distributed lengths, and silences of 0.05 to
    0.3 s before, between and after the digits. All recordings of a speaker are used equally often, plus or minus one,
    so each of the 300 test recordings occurs about 7 times in the 500 test strings.

    Source: Z. Jackson, https://github.com/Jakobovski/free-spoken-digit-dataset. Licence: CC BY-SA 4.0
    (https://creativecommons.org/licenses/by-sa/4.0/).

    Args:
        held_out: str, a speaker excluded from training and validation: `"george"`, `"jackson"`, `"lucas"`, `"nicolas"`,
            `"theo"` or `"yweweler"`. All 500 recordings of that speaker form the test set. Defaults to `None`: all
            speakers are in all splits.
        num_train: int, number of training strings. Defaults to 5,000.
        seed: int, random seed. Defaults to 0.

    Returns:
        tuple `(train, validation, test)` of lists of `(WAV file, words)` tuples of bytes and str, such as
        `(b"RIFF...", "three one four")`.

    Raises:
        ValueError: if the speaker is unknown, or the archive is damaged.
        ConnectionError: if the archive is neither in the mirror nor in the cache, and cannot be downloaded.

    Example:

    >>> train, validation, test = load_spoken_digits()
    >>> len(train), len(validation), len(test)
    (5000, 500, 500)
    >>> test[0][1], len(test[0][0])  # 44 bytes of header, 2 per sample
    ('four four one one three two seven', 75762)
    """
    if held_out is not None:
        check_choice("held_out", held_out, SPEAKERS, ", or None")
    check_positive_integer("num_train", num_train)
    files = fetch_archive(f"fsdd/free-spoken-digit-dataset-{COMMIT}.tar.gz", URL, SHA256, MEMBER)
    waveforms = {name: read_samples(content) for name, content in files.items()}
    splits = {}
    for index, (split, recordings) in enumerate(RECORDINGS.items()):
        speakers = [speaker for speaker in SPEAKERS if speaker != held_out]
        if held_out is not None and split == "test":
            speakers, recordings = [held_out], range(50)
        random = np.random.default_rng([seed, index])
        splits[split] = concatenate(waveforms, speakers, recordings, STRINGS.get(split, num_train), random)
    return splits["train"], splits["validation"], splits["test"]


def read_samples(content: bytes) -> np.ndarray:
    """The samples of a recording, float64 in [-1, 1]."""
    with wave.open(io.BytesIO(content)) as reader:
        return np.frombuffer(reader.readframes(reader.getnframes()), "<i2") / 32_768


def concatenate(
    waveforms: Mapping[str, np.ndarray],
    speakers: Sequence[str],
    recordings: Sequence[int],
    count: int,
    random: np.random.Generator,
) -> FilePairs:
    """Creates `count` digit strings, cycling through the speakers, as pairs of WAV file and words."""
    pools = {speaker: shuffled_names(speaker, recordings, random) for speaker in speakers}
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


def shuffled_names(speaker: str, recordings: Sequence[int], random: np.random.Generator) -> Iterator[str]:
    """Cycles endlessly through the names of a speaker's recordings, reshuffled in every cycle."""
    names = [f"{digit}_{speaker}_{recording}.wav" for digit in range(10) for recording in recordings]
    while True:
        yield from random.permutation(names)


def silence(random: np.random.Generator) -> np.ndarray:
    return random.normal(scale=SILENCE_LEVEL, size=int(random.uniform(*SILENCE) * SAMPLE_RATE))
