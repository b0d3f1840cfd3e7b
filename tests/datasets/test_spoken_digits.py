import collections
import io
import wave

import numpy as np
import pytest

from kerasseq.datasets import load_spoken_digits, spoken_digits
from kerasseq.datasets.archives import files_digest, read_archive

FILE = f"fsdd/free-spoken-digit-dataset-{spoken_digits.COMMIT}.tar.gz"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMES = [(digit, speaker, number) for digit in range(10) for speaker in SPEAKERS for number in range(50)]
LENGTH = 20  # samples of a recording


def wav(value):
    written = io.BytesIO()
    with wave.open(written, "wb") as writer:
        writer.setnchannels(1), writer.setsampwidth(2), writer.setframerate(8_000)
        writer.writeframes(np.full(LENGTH, value, "<i2").tobytes())
    return written.getvalue()


@pytest.fixture(scope="module")
def recordings(tar):
    """An archive in which recording i is constant at 2,000 + 8 i, so the samples identify the recordings."""
    files = {f"x/recordings/{d}_{s}_{n}.wav": wav(2_000 + 8 * i) for i, (d, s, n) in enumerate(NAMES)}
    return tar({**files, "x/README.md": b"about"}, compresslevel=1)


@pytest.fixture
def mirror(publish, recordings, monkeypatch):
    path, _ = publish(FILE, recordings)
    monkeypatch.setattr(spoken_digits, "SHA256", files_digest(read_archive(path, spoken_digits.MEMBER)))


def decoded(content):
    """The recordings in a WAV file, and the lengths of the silences around them in seconds."""
    with wave.open(io.BytesIO(content)) as reader:
        assert reader.getframerate() == 8_000
        samples = np.frombuffer(reader.readframes(reader.getnframes()), "<i2").astype(int)
    edges = np.flatnonzero(np.diff(np.pad(samples > 1_000, 1).astype(int)))
    starts, ends = edges[::2], edges[1::2]
    assert (ends - starts == LENGTH).all()
    silences = np.diff([0, *edges, len(samples)])[::2] / 8_000
    return [NAMES[round((samples[start] - 2_000) / 8)] for start in starts], silences


@pytest.mark.parametrize("held_out", [None, "theo"])
def test_strings_of_recordings(mirror, held_out):
    splits = load_spoken_digits(held_out, num_train=300)
    assert [len(split) for split in splits] == [300, 500, 500]
    others = set(SPEAKERS) - {held_out}
    for pairs, numbers, speakers in zip(
        splits,
        (range(10, 50), range(5, 10), range(50) if held_out else range(5)),
        (others, others, {held_out} if held_out else others),
        strict=True,
    ):
        used, lengths = collections.Counter(), set()
        for content, words in pairs:
            names, silences = decoded(content)
            assert words == " ".join(WORDS[digit] for digit, _, _ in names)
            assert len({speaker for _, speaker, _ in names}) == 1
            assert silences.min() >= 0.0499 and silences.max() <= 0.3
            used.update(names)
            lengths.add(len(names))
        assert lengths == set(range(1, 9))
        for speaker in speakers:
            counts = [used.pop((digit, speaker, number), 0) for digit in range(10) for number in numbers]
            assert max(counts) - min(counts) <= 1
        assert not used


def test_seeds(mirror, monkeypatch):
    monkeypatch.setattr(spoken_digits, "STRINGS", {"validation": 20, "test": 20})
    train, validation, test = load_spoken_digits(num_train=60)
    assert load_spoken_digits(num_train=60) == (train, validation, test)
    other = load_spoken_digits(num_train=60, seed=1)
    assert train != other[0] and test != other[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"held_out": "nobody"}, "held_out must be one of 'george'.*'nobody'"), ({"num_train": 0}, "num_train must be")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_spoken_digits(**arguments)


def test_real_data(require_mirror, run_examples):
    require_mirror(FILE)
    run_examples(spoken_digits)
