import collections
import doctest
import io
import os
import pathlib
import wave

import numpy as np
import pytest

from kerasseq.datasets import load_spoken_digits, spoken_digits
from kerasseq.datasets.spoken_digits import COMMIT, SPEAKERS, WORDS, endless, join

FILE = f"fsdd/free-spoken-digit-dataset-{COMMIT}.tar.gz"


@pytest.fixture
def mirror():
    folder = os.environ.get("KERASSEQ_DATA_DIR")
    if not folder or not (pathlib.Path(folder).expanduser() / FILE).is_file():
        pytest.skip(f"no {FILE} in a folder that KERASSEQ_DATA_DIR names")


def test_strings_are_made_of_recordings():
    """Each recording is a constant here, its own number, so that the samples tell which were joined."""
    names = [f"{digit}_{speaker}_{number}.wav" for digit in range(10) for speaker in ("a", "b") for number in range(3)]
    waveforms = {name: np.full(50, 0.2 + 0.01 * index) for index, name in enumerate(names)}
    pairs = join(waveforms, ["a", "b"], range(3), 40, np.random.default_rng(1))
    used = collections.Counter()
    for content, words in pairs:
        with wave.open(io.BytesIO(content)) as reader:
            samples = np.frombuffer(reader.readframes(reader.getnframes()), "<i2") / 32_767
        loud = np.flatnonzero(np.diff(np.pad(samples > 0.1, 1).astype(int)))
        begins, ends = loud[::2], loud[1::2]
        assert (ends - begins).tolist() == [50] * len(words.split()) and 1 <= len(begins) <= 8
        silences = np.diff([0, *loud, len(samples)])[::2]
        assert silences.min() >= 0.05 * 8_000 and silences.max() <= 0.3 * 8_000
        said = [names[round((samples[begin] - 0.2) / 0.01)] for begin in begins]
        assert words == " ".join(WORDS[int(name[0])] for name in said)
        assert len({name.split("_")[1] for name in said}) == 1  # one speaker
        used.update(said)
    for speaker in ("a", "b"):
        counts = [used[name] for name in names if f"_{speaker}_" in name]
        assert max(counts) - min(counts) <= 1


def test_recordings_come_again_only_after_all_others():
    names = endless("a", range(2), np.random.default_rng(1))
    rounds = [[next(names) for _ in range(20)] for _ in range(3)]
    assert all(len(set(one)) == 20 for one in rounds) and rounds[0] != rounds[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"held_out": "nobody"}, "held_out must be one of 'george'.*'nobody'"), ({"num_train": 0}, "num_train must be")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_spoken_digits(**arguments)


def test_real_data(mirror):
    train, validation, test = load_spoken_digits(num_train=60)
    assert (len(train), len(validation), len(test)) == (60, 500, 500)
    lengths = collections.Counter(len(words.split()) for _, words in test)
    assert set(lengths) == set(range(1, 9)) and min(lengths.values()) > 35
    again, _, _ = load_spoken_digits(num_train=60)
    assert train == again and load_spoken_digits(num_train=60, seed=1)[0] != train


def test_a_held_out_speaker_is_in_the_test_alone(mirror, monkeypatch):
    seen = []
    monkeypatch.setattr(spoken_digits, "join", lambda waveforms, *arguments: seen.append(arguments[:2]))
    load_spoken_digits(held_out="theo", num_train=5)
    others = [speaker for speaker in SPEAKERS if speaker != "theo"]
    assert seen == [(others, range(10, 50)), (others, range(5, 10)), (["theo"], range(50))]


def test_examples(mirror):
    result = doctest.testmod(spoken_digits)
    assert result.attempted and not result.failed
