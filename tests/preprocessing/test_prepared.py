"""Pairs that are tokenized once: the batches of the list, interruptions, and folders that are refused."""

import concurrent.futures.process
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kerasseq.preprocessing import EpochShuffle, PreparedPairs, TextPreprocessor, prepared

WORDS = ("one", "two", "three")


@pytest.fixture(scope="module")
def pairs():
    """95 different pairs with 1 to 20 words, one of several scripts and one that is no Unicode text."""
    random = np.random.default_rng(1)
    texts = [" ".join(random.choice(WORDS, size=random.integers(1, 21))) for _ in range(93)]
    return [
        *((f"{index} {text}", f"{text} {index}") for index, text in enumerate(texts)),
        ("漢字", "é"),
        ("\ud800", ""),
    ]


@pytest.fixture(scope="module")
def joint(vocabularies):
    """Some of `pairs` are too long for it."""
    return TextPreprocessor(vocabularies[0], max_source_length=30, max_target_length=30)


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "PAIRS_PER_PART", 10)
        yield


@pytest.fixture(scope="module")
def folder(joint, pairs, tmp_path_factory):
    """The pairs, prepared with texts. Not to be changed."""
    folder = tmp_path_factory.mktemp("prepared") / "pairs"
    joint.prepare(pairs, folder, keep_texts=True)
    return folder


def batches_of(dataset):
    """All batches of a pass, as lists."""
    return [
        [np.asarray(part).tolist() for part in (*inputs.values(), *rest)]
        for inputs, *rest in dataset.as_numpy_iterator()
    ]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Stream:
    """Pairs that end in an error after so many, as if the process were killed there."""

    def __init__(self, pairs, stop_at=None):
        self.pairs = pairs
        self.stop_at = stop_at

    def __iter__(self):
        for number, pair in enumerate(self.pairs):
            if number == self.stop_at:
                raise KeyboardInterrupt
            yield pair


OPTIONS = {
    "in order": {"batch_size": 7},
    "shuffled": {"batch_size": 7, "shuffle": True, "seed": 3},
    "batches of tokens": {"batch_tokens": 150, "shuffle": True, "copies": 2},
    "drawn subwords": {"batch_size": 7, "shuffle": True, "subword_sampling": 0.3},
    "weights": {"batch_size": 7, "shuffle": True, "weights": list(range(95))},
    "a shard": {"batch_size": 7, "shuffle": True, "shard": (1, 2), "drop_remainder": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_batches_are_those_of_the_list(joint, pairs, folder, options):
    dataset, expected = joint.dataset(folder, **options), joint.dataset(pairs, **options)
    assert len(dataset) == len(expected)
    for _ in range(2):
        assert batches_of(dataset) == batches_of(expected)


def test_resumed_epochs(joint, pairs, folder):
    def epoch(source):
        shuffle = EpochShuffle(seed=4)
        shuffle.epoch = 3
        return batches_of(joint.dataset(source, 7, shuffle=shuffle))

    assert epoch(PreparedPairs(folder)) == epoch(str(folder)) == epoch(pairs)


def test_ids_and_texts(joint, pairs, folder):
    """Of any length, although the preprocessor has limits."""
    found = PreparedPairs(folder)
    assert len(found) == 95 and found.header["format"] == 1
    for side, name in enumerate(("source", "target")):
        texts = [pair[side] for pair in pairs]
        assert list(found.texts[side]) == texts
        assert [ids.tolist() for ids in found.ids[side]] == [ids.tolist() for ids in joint.tokenize_all(texts, name)]
        assert found.ids[side].values.dtype == np.uint16
    assert max(found.ids[0].lengths) > 30


def test_size_of_a_pair(joint, pairs, tmp_path):
    """16 bytes of offsets and 2 a token; the headers of four files and 16 more bytes beside."""
    found = joint.prepare(pairs, tmp_path / "ids")
    tokens = sum(int(side.lengths.sum()) for side in found.ids)
    sizes = {path.name: path.stat().st_size for path in found.folder.iterdir()}
    assert sum(sizes.values()) - sizes["header.json"] == 16 * 95 + 2 * tokens + 4 * 128 + 16
    assert found.texts is None
    with pytest.raises(ValueError, match="subword_sampling needs the texts.*keep_texts=True"):
        joint.dataset(found, 7, subword_sampling=0.3)


def test_large_vocabularies(tmp_path):
    """More ids than 16 bits count."""
    pairs = [(f"s{index}", "t") for index in range(70_000)]
    preprocessor = TextPreprocessor.from_pairs(pairs, 80_000, tokens="words")
    ids = preprocessor.tokenize_all([source for source, _ in pairs], "source")
    rare = [pairs[row] for row in np.flatnonzero(ids.values[::2] > 1 << 16)[:5]]
    found = preprocessor.prepare(rare, tmp_path / "ids")
    assert found.ids[0].values.dtype == np.int32 and found.ids[0].values[::2].min() > 1 << 16
    assert batches_of(preprocessor.dataset(found, 5)) == batches_of(preprocessor.dataset(rare, 5))


# === Interruptions ===


def test_goes_on_where_it_was_cut_off(joint, pairs, folder, tmp_path, monkeypatch):
    begun = tmp_path / "pairs"
    with pytest.raises(KeyboardInterrupt):
        joint.prepare(Stream(pairs, stop_at=35), begun, keep_texts=True)
    parts = sorted((begun / "parts").glob("*.npz"))
    assert [path.name for path in parts] == ["000000.npz", "000001.npz", "000002.npz"]
    with pytest.raises(ValueError, match="one in which it was cut off. Call prepare again"):
        joint.dataset(begun, 7)
    parts[1].write_bytes(parts[1].read_bytes()[:100])  # as a full disk may leave it

    written = []
    write = prepared.write_part
    monkeypatch.setattr(prepared, "write_part", lambda *arguments: (written.append(arguments[3]), write(*arguments)))
    joint.prepare(pairs, begun, keep_texts=True)
    assert written == [1, 3, 4, 5, 6, 7, 8, 9]
    assert files_of(begun) == files_of(folder)


def test_other_pairs_replace_the_parts_that_they_change(joint, pairs, folder, tmp_path):
    begun = tmp_path / "pairs"
    changed = [*pairs[:12], ("one", "two"), *pairs[13:], *pairs]
    with pytest.raises(KeyboardInterrupt):
        joint.prepare(Stream(changed, stop_at=150), begun, keep_texts=True)
    joint.prepare(pairs, begun, keep_texts=True)
    assert files_of(begun) == files_of(folder)


def test_cut_off_while_parts_are_joined(joint, pairs, folder, tmp_path, monkeypatch):
    begun = tmp_path / "pairs"
    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr(np.lib.format, "open_memmap", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
        joint.prepare(pairs, begun, keep_texts=True)
    assert not (begun / "header.json").exists()
    joint.prepare(pairs, begun, keep_texts=True)
    assert files_of(begun) == files_of(folder)


KILLED = """
import os, signal, sys
from kerasseq.preprocessing import TextPreprocessor, prepared
prepared.PAIRS_PER_PART = 10
folder, vocabulary = sys.argv[1:]

class Pairs:
    def __iter__(self):
        for number in range(60):
            if number == 35:
                os.kill(os.getpid(), signal.SIGKILL)
            yield f"one {number}", "two"

TextPreprocessor(open(vocabulary, "rb").read()).prepare(Pairs(), folder)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise")
def test_a_killed_process(joint, vocabularies, tmp_path):
    (tmp_path / "vocabulary").write_bytes(vocabularies[0])
    arguments = [tmp_path / "pairs", tmp_path / "vocabulary"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    first = tmp_path / "pairs" / "parts" / "000000.npz"
    assert first.exists() and len(list(first.parent.glob("*.npz"))) == 3
    pairs = [(f"one {number}", "two") for number in range(60)]
    joint.prepare(pairs, tmp_path / "pairs")
    joint.prepare(pairs, tmp_path / "whole")
    assert files_of(tmp_path / "pairs") == files_of(tmp_path / "whole")


KILLED_WITH_WORKERS = """
import multiprocessing, os, signal, sys, time
from kerasseq.preprocessing import TextPreprocessor, prepared

class Pairs:
    def __iter__(self):
        for number in range(10):
            yield f"one {number}", "two"
        while not multiprocessing.active_children() or not os.path.exists(sys.argv[1] + "/parts/000000.npz"):
            time.sleep(0.1)
            yield "one", "two"
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    prepared.PAIRS_PER_PART = 10
    TextPreprocessor(open(sys.argv[2], "rb").read()).prepare(Pairs(), sys.argv[1], workers=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise")
def test_workers_end_with_a_killed_process(vocabularies, tmp_path):
    (tmp_path / "vocabulary").write_bytes(vocabularies[0])
    (tmp_path / "script.py").write_text(KILLED_WITH_WORKERS)
    arguments = [tmp_path / "script.py", tmp_path / "pairs", tmp_path / "vocabulary"]
    killed = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, timeout=300, text=True)
    workers = [int(number) for number in killed.stdout.split()]
    assert killed.returncode == -signal.SIGKILL and workers

    def runs(process):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        return True

    deadline = time.monotonic() + 60
    while any(map(runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(runs, workers))


def test_two_workers_write_the_same_files(joint, pairs, folder, tmp_path):
    joint.prepare(pairs, tmp_path / "pairs", workers=2, keep_texts=True)
    assert files_of(tmp_path / "pairs") == files_of(folder)


def test_a_worker_that_stops(joint, pairs, tmp_path, monkeypatch):
    def submit(*_):
        raise concurrent.futures.process.BrokenProcessPool("terminated abruptly")

    monkeypatch.setattr(concurrent.futures.ProcessPoolExecutor, "submit", submit)
    with pytest.raises(RuntimeError, match="one that stopped.*__main__.*fewer workers.*call prepare again"):
        joint.prepare(pairs, tmp_path / "new", workers=2)


# === What is refused ===


def test_a_complete_folder_is_compared(joint, vocabularies, pairs, folder, tmp_path):
    before = files_of(folder)
    assert len(joint.prepare(pairs, folder, keep_texts=True)) == 95
    for others, keep_texts in ((pairs[:-1], True), (pairs[::-1], True), (pairs, False)):
        with pytest.raises(ValueError, match="folder must be new, or of the same pairs.*whose 95 pairs"):
            joint.prepare(others, folder, keep_texts=keep_texts)
    with pytest.raises(ValueError, match="tokenized with the vocabularies of the preprocessor.*another folder"):
        TextPreprocessor(vocabularies[1]).prepare(pairs, folder)
    assert files_of(folder) == before


def test_other_vocabularies(vocabularies, folder):
    with pytest.raises(ValueError, match="tokenized with the vocabularies of the preprocessor"):
        TextPreprocessor(vocabularies[1]).dataset(folder, 7)


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of `folder`."""
    for name, content in files_of(folder).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def flipped(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("source_ids.npy", lambda content: content[:-2], r"source_ids.npy has \d+ bytes instead of \d+"),
        ("target_ids_offsets.npy", flipped, "the checksum of target_ids_offsets.npy differs"),
        ("source_texts.npy", flipped, "the checksum of source_texts.npy differs"),
        ("target_ids.npy", None, "target_ids.npy is missing"),
    ],
)
def test_damaged_files(joint, copied, name, damage, message):
    path = copied / name
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    with pytest.raises(ValueError, match=f"Received: a damaged one, {message}. Copy it again"):
        joint.dataset(copied, 7)


def test_headers(joint, copied):
    path = copied / "header.json"
    header = json.loads(path.read_text())
    path.write_text(json.dumps({**header, "pairs": 94}))
    with pytest.raises(ValueError, match="source_ids_offsets.npy is not that of 94 pairs"):
        joint.dataset(copied, 7)
    path.write_text(json.dumps({**header, "format": 2}))
    with pytest.raises(ValueError, match="expected format 1 of prepared pairs. Received: format 2. Update kerasseq"):
        joint.dataset(copied, 7)
    path.write_text("{")
    with pytest.raises(ValueError, match="expected JSON as TextPreprocessor.prepare writes it"):
        joint.dataset(copied, 7)
    path.unlink()
    with pytest.raises(ValueError, match="Received: one without header.json. Call preprocessor.prepare"):
        joint.dataset(copied, 7)
    with pytest.raises(ValueError, match="folder must be new or empty, or one that prepare has begun"):
        joint.prepare([("one", "two")], copied)


@pytest.mark.parametrize(
    ("pairs", "workers", "message"),
    [
        ([], 1, "at least one .source, target. pair. Received: none"),
        ([("a", 1)], 1, "Received at index 0"),
        (iter([("a", "b")]), 1, "readable anew in every pass. Received: an iterator"),
        ("pairs.tsv", 1, "PairFiles"),
        ([("a", "b")], 0, "workers must be a positive integer. Received: workers=0"),
    ],
)
def test_bad_arguments(joint, tmp_path, pairs, workers, message):
    with pytest.raises(ValueError, match=message):
        joint.prepare(pairs, tmp_path / "new", workers=workers)
