"""Pairs of texts that have been tokenized once, in files that are mapped into memory."""

import collections
import concurrent.futures.process
import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_positive_integer
from kerasseq.file_writing import replacing, write_text
from kerasseq.preprocessing.base import Preprocessor
from kerasseq.preprocessing.flat_sequences import FlatSequences
from kerasseq.preprocessing.streams import chunks, is_stream, pairs_of
from kerasseq.progress import progress_bar

FORMAT = 1
HEADER = "header.json"
PARTS = "parts"  # the folder of what has been tokenized so far
CONFIG = "preprocessor.json"
PAIRS_PER_PART = 100_000
SIDES = ("source", "target")
BYTES_AT_ONCE = 1 << 20


class Texts(Sequence[str]):
    """Texts in UTF-8 in one array of bytes."""

    def __init__(self, encoded: FlatSequences) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index):
        return self.encoded[index].tobytes().decode("utf-8", "surrogatepass")


class PreparedPairs:
    """Pairs that `TextPreprocessor.prepare` has tokenized, for `TextPreprocessor.dataset`.

    The files are mapped into memory: what is read takes memory only as long as the system has some to spare.

    Args:
        folder: str or path-like, which `prepare` has completed.

    Attributes:
        ids: sources and targets, each a sequence of int arrays that end in END, of any length.
        texts: sources and targets, each a sequence of str; `None` if they were not kept.
        header: dict with `format`, `vocabulary_digest`, `pairs`, `pairs_digest`, and `files`: their sizes and
            checksums.

    Raises:
        ValueError: if the folder is none that `prepare` has written, or is incomplete, damaged, or of a later format.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = pathlib.Path(folder).expanduser()
        self.header = read_header(self.folder)
        self._check_files()
        try:
            self.ids = self._column("source_ids"), self._column("target_ids")
            self.texts: tuple[Texts, Texts] | None = None
            if "source_texts.npy" in self.header["files"]:
                self.texts = Texts(self._column("source_texts")), Texts(self._column("target_texts"))
        except (ValueError, OSError) as error:
            raise self._damaged(str(error)) from error

    def __len__(self) -> int:
        return self.header["pairs"]

    def check_vocabulary(self, vocabulary_digest: str) -> None:
        """Raises a `ValueError` unless the ids are those of these vocabularies."""
        if vocabulary_digest != self.header["vocabulary_digest"]:
            raise ValueError(
                "Prepared pairs must be tokenized with the vocabularies of the preprocessor, whose digest is "
                f"{vocabulary_digest}. Received: {self.folder}, with {self.header['vocabulary_digest']}. Load the "
                "preprocessor that has prepared them, or prepare them anew in another folder."
            )

    def _check_files(self) -> None:
        for name, expected in self.header["files"].items():
            path = self.folder / name
            if not path.is_file():
                raise self._damaged(f"{name} is missing")
            if path.stat().st_size != expected["bytes"]:
                raise self._damaged(f"{name} has {path.stat().st_size} bytes instead of {expected['bytes']}")
            if checksum(path) != expected["crc32"]:
                raise self._damaged(f"the checksum of {name} differs")

    def _column(self, name: str) -> FlatSequences:
        values, offsets = (
            # As plain arrays: the slices of a `memmap` take longer.
            np.asarray(np.load(self.folder / f"{file}.npy", mmap_mode="r", allow_pickle=False))
            for file in (name, f"{name}_offsets")
        )
        if len(offsets) != len(self) + 1 or offsets[-1] != len(values):
            raise ValueError(f"{name}_offsets.npy is not that of {len(self)} pairs")
        return FlatSequences(values, offsets)

    def _damaged(self, problem: str) -> ValueError:
        return ValueError(
            f"Expected a folder as TextPreprocessor.prepare has completed it: {self.folder}. Received: a damaged one, "
            f"{problem}. Copy it again, or remove it and prepare the pairs anew."
        )


def read_header(folder: pathlib.Path) -> dict[str, Any]:
    """The header of a folder that is complete."""
    path = folder / HEADER
    if not path.is_file():
        if (folder / PARTS).is_dir():
            raise ValueError(
                f"Expected a folder that TextPreprocessor.prepare has completed: {folder}. Received: one in which it "
                "was cut off. Call prepare again with the same arguments: it goes on where it was."
            )
        raise ValueError(
            f"Expected a folder that TextPreprocessor.prepare has written: {folder}. Received: one without {HEADER}. "
            "Call preprocessor.prepare(files, folder) first."
        )
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        version = header["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected JSON as TextPreprocessor.prepare writes it. Received: {error}.") from error
    if version != FORMAT:
        raise ValueError(
            f"{path}: expected format {FORMAT} of prepared pairs. Received: format {version!r}. Update kerasseq, or "
            "prepare the pairs anew."
        )
    return header


# === Writing ===


def prepare(
    preprocessor: Preprocessor, pairs: Any, folder: str | os.PathLike[str], workers: int, keep_texts: bool
) -> PreparedPairs:
    """Tokenizes pairs once, see `TextPreprocessor.prepare`."""
    check_positive_integer("workers", workers)
    is_stream(pairs)  # Refuses what cannot be read anew.
    folder = pathlib.Path(folder).expanduser()
    parts = folder / PARTS
    done = PreparedPairs(folder) if (folder / HEADER).exists() else None
    if done is not None:
        done.check_vocabulary(preprocessor.vocabulary_digest)
    elif folder.exists() and not parts.exists() and any(folder.iterdir()):
        raise ValueError(
            f"folder must be new or empty, or one that prepare has begun. Received: {folder}, with other files."
        )
    made_by = f"{preprocessor.vocabulary_digest} {keep_texts} ".encode()
    whole, number_of_parts = hashlib.blake2b(made_by, digest_size=16), 0
    if done is None:
        parts.mkdir(parents=True, exist_ok=True)
        preprocessor.save_assets(parts)
        write_text(parts / CONFIG, json.dumps(preprocessor.get_config()))
    with part_writer(preprocessor, parts, keep_texts, workers) as write, progress_bar("Prepare", "pairs") as bar:
        for number, chunk in enumerate(chunks(pairs_of(pairs), PAIRS_PER_PART)):
            # With its length before each text, they show where one ends.
            texts = "".join([f"{len(text)}:{text}" for pair in chunk for text in pair]).encode("utf-8", "surrogatepass")
            whole.update(texts)
            digest = hashlib.blake2b(made_by + texts, digest_size=16).hexdigest()
            if done is None and digest_in(part_path(parts, number)) != digest:
                write(number, chunk, digest)
            number_of_parts += 1
            bar.update(len(chunk))
    if not number_of_parts:
        raise ValueError("pairs must hold at least one (source, target) pair. Received: none.")
    pairs_digest = whole.hexdigest()
    if done is None:
        columns = join_parts(folder, [part_path(parts, number) for number in range(number_of_parts)])
        header = {
            "format": FORMAT,
            "vocabulary_digest": preprocessor.vocabulary_digest,
            "pairs_digest": pairs_digest,
            **columns,
        }
        write_text(folder / HEADER, json.dumps(header, indent=2) + "\n")  # The last file: the folder is complete.
        done = PreparedPairs(folder)
    elif done.header["pairs_digest"] != pairs_digest:
        raise ValueError(
            f"folder must be new, or of the same pairs and keep_texts. Received: {folder}, whose {len(done):,} pairs "
            "have been prepared from others, or with the other keep_texts. Name another folder, or remove this one."
        )
    shutil.rmtree(parts, ignore_errors=True)
    return done


def part_path(parts: pathlib.Path, number: int) -> pathlib.Path:
    return parts / f"{number:06d}.npz"


def digest_in(path: pathlib.Path) -> str | None:
    """The digest of a part that has been written; `None` if there is none that can be read."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as part:
            return str(part["digest"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


@contextlib.contextmanager
def part_writer(
    preprocessor: Preprocessor, parts: pathlib.Path, keep_texts: bool, workers: int
) -> Iterator[Callable[[int, list[tuple[str, str]], str], None]]:
    """Yields a function that writes a part, of its number, pairs and digest; with several workers some time later."""
    if workers == 1:
        yield functools.partial(write_part, preprocessor, parts, keep_texts)
        return
    spawn = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork.
    write_in_worker = functools.partial(write_part_in_worker, type(preprocessor), parts, keep_texts)
    pending: collections.deque[concurrent.futures.Future[None]] = collections.deque()
    with concurrent.futures.ProcessPoolExecutor(workers, spawn, initializer=begin_worker) as pool:

        def write(*part):
            if len(pending) == 2 * workers:  # Bounds the memory.
                pending.popleft().result()
            pending.append(pool.submit(write_in_worker, *part))

        try:
            yield write
            while pending:
                pending.popleft().result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise RuntimeError(
                "Expected the processes that tokenize to work to the end. Received: one that stopped. If the script "
                'has no `if __name__ == "__main__":`, add it; if memory was short, pass fewer workers. What has been '
                "tokenized is kept: call prepare again."
            ) from error


def begin_worker() -> None:
    """Limits TensorFlow in a worker to one core, and the worker's life to that of the process that has started it."""
    threading.Thread(target=end_with, args=[multiprocessing.parent_process()], daemon=True).start()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def end_with(process: Any) -> None:
    """Ends this process when another one has ended: workers do not notice when that is killed."""
    process.join()
    os._exit(1)


def write_part_in_worker(kind: Any, parts: pathlib.Path, *arguments: Any) -> None:
    write_part(preprocessor_in(kind, parts), parts, *arguments)


@functools.lru_cache(maxsize=1)
def preprocessor_in(kind: Any, parts: pathlib.Path) -> Preprocessor:
    """The preprocessor that `prepare` has saved for its workers."""
    preprocessor = kind.from_config(json.loads((parts / CONFIG).read_text(encoding="utf-8")))
    preprocessor.load_assets(parts)
    return preprocessor


def write_part(
    preprocessor: Preprocessor,
    parts: pathlib.Path,
    keep_texts: bool,
    number: int,
    pairs: list[tuple[str, str]],
    digest: str,
) -> None:
    """Tokenizes pairs and writes their ids, and perhaps their texts, to a file."""
    vocabulary_size = max(tokenizer.vocabulary_size for tokenizer in preprocessor.tokenizers)
    dtype = "uint16" if vocabulary_size <= 1 << 16 else "int32"
    columns = {}
    for side, texts in zip(SIDES, zip(*pairs, strict=True), strict=True):
        columns[f"{side}_ids"] = preprocessor.tokenize_all(texts, side)
        if keep_texts:
            encoded = [np.frombuffer(text.encode("utf-8", "surrogatepass"), "uint8") for text in texts]
            columns[f"{side}_texts"] = FlatSequences.of_arrays(encoded, "uint8")
    arrays: dict[str, Any] = {"digest": np.array(digest)}
    for name, column in columns.items():
        arrays[name] = column.values.astype(dtype if name.endswith("ids") else "uint8")
        arrays[f"{name}_lengths"] = column.lengths
    with replacing(part_path(parts, number)) as unfinished:
        np.savez(unfinished, **arrays)


def join_parts(folder: pathlib.Path, parts: list[pathlib.Path]) -> dict[str, Any]:
    """Writes the files of the folder, one for each column and one for its offsets; returns their entries of the header.

    A column in memory is that of one part.
    """
    with np.load(parts[0], allow_pickle=False) as first:
        columns = [name for name in first.files if f"{name}_lengths" in first.files]
        dtypes = {name: first[name].dtype for name in columns}
    files = {}
    for name in columns:
        lengths = np.concatenate([column_of(part, f"{name}_lengths") for part in parts])
        offsets = np.concatenate([np.zeros(1, "int64"), np.cumsum(lengths, dtype="int64")])
        with replacing(folder / f"{name}_offsets.npy") as unfinished:
            np.save(unfinished, offsets)
        with replacing(folder / f"{name}.npy") as unfinished:
            values = np.lib.format.open_memmap(unfinished, "w+", dtypes[name], (int(offsets[-1]),))
            end = 0
            for part in parts:
                of_part = column_of(part, name)
                values[end : end + len(of_part)] = of_part
                end += len(of_part)
            values.flush()
        for file in (f"{name}.npy", f"{name}_offsets.npy"):
            files[file] = {"bytes": (folder / file).stat().st_size, "crc32": checksum(folder / file)}
    return {"pairs": len(lengths), "files": files}


def column_of(part: pathlib.Path, name: str) -> np.ndarray:
    with np.load(part, allow_pickle=False) as arrays:
        return arrays[name]


def checksum(path: pathlib.Path) -> int:
    """The CRC-32 of a file, which is read, not mapped: so its pages do not count as memory of the process."""
    value = 0
    with open(path, "rb") as file:
        while block := file.read(BYTES_AT_ONCE):
            value = zlib.crc32(block, value)
    return value
