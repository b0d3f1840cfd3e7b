"""Data sets of many pairs: a list, files that are streamed, and prepared files.

Pairs are generated: 3 to 20 words a side of a vocabulary of 10,000, the frequent ones more often, in ten files
compressed with gzip. Each kind of source runs in a process of its own, shuffled, with batches of 64: the seconds from
the files to the first batch, the memory that it takes until then, how much the memory grows over 10,000 further batches
(which go on in the next pass if need be), and batches per second of processor time. Memory is resident memory; of it,
"anonymous" is without the pages of mapped files, which the system takes back when it is short.

    python benchmarks/data_streams.py                       # a million pairs
    python benchmarks/data_streams.py --pairs 20000000      # the most
"""

import gzip
import pathlib
import tempfile
import time

import numpy as np
import timing

import kerasseq
from kerasseq.datasets import PairFiles
from kerasseq.preprocessing import TextPreprocessor

FILES = 10
WORDS = 10_000
BATCH_SIZE = 64
MOST_PAIRS = 20_000_000


def main():
    arguments = timing.parse_arguments(
        __file__,
        __doc__,
        pairs={"type": int, "default": 1_000_000, "help": f"at most {MOST_PAIRS:,}. Default: %(default)s"},
        workers={"type": int, "default": 1, "help": "processes that prepare. Default: %(default)s"},
    )
    number, batches = (2_000, 50) if arguments.quick else (arguments.pairs, 10_000)
    if not FILES <= number <= MOST_PAIRS:
        raise SystemExit(f"--pairs must be from {FILES} to {MOST_PAIRS}. Received: {number}.")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        print(f"Writing {number:,} pairs", flush=True)
        write_files(folder, number)
        (folder / "vocabulary").mkdir()
        preparing = timing.in_fresh_process(prepare, folder, arguments.workers)
        results = {"preparing": preparing}
        for kind in SOURCES:
            results[kind] = timing.in_fresh_process(measure, kind, folder, batches)
            print(kind, results[kind], flush=True)
    columns = list(results["list"])
    timing.report(
        arguments,
        {"pairs": number, "batches": batches, "batch_size": BATCH_SIZE, "workers": arguments.workers},
        results,
        ["source", *(name.replace("_", " ") for name in columns)],
        [[kind, *(results[kind][name] for name in columns)] for kind in SOURCES],
    )
    print("Preparing:", preparing)


def write_files(folder, number):
    """Pairs of random words in compressed files."""
    random = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnoprstuvwyz"))
    words = ["".join(random.choice(letters, size)) for size in random.integers(2, 9, WORDS)]
    for file, size in enumerate(np.diff(np.linspace(0, number, FILES + 1).astype(int))):
        with gzip.open(folder / f"pairs-{file}.tsv.gz", "wt", compresslevel=1, encoding="utf-8") as lines:
            for lengths in random.integers(3, 21, (size, 2)).tolist():
                chosen = (WORDS * random.random(sum(lengths)) ** 3).astype(int).tolist()
                sides = chosen[: lengths[0]], chosen[lengths[0] :]
                lines.write("\t".join(" ".join(words[word] for word in side) for side in sides) + "\n")


def files_of(folder):
    return PairFiles(folder / "pairs-*.tsv.gz")


def prepare(folder, workers):
    """Trains the vocabulary, and prepares the pairs."""
    begin = time.perf_counter()
    preprocessor = TextPreprocessor.from_files(files_of(folder), 20_000, vocabulary_size=8_000, joint=True)
    preprocessor.save_assets(folder / "vocabulary")
    sampled = time.perf_counter()
    pairs = preprocessor.prepare(files_of(folder), folder / "prepared", workers)
    size = sum(path.stat().st_size for path in (folder / "prepared").iterdir())
    return {
        "seconds_of_vocabulary": rounded(sampled - begin),
        "seconds": rounded(time.perf_counter() - sampled),
        "bytes_per_pair": rounded(size / len(pairs)),
        "tokens_per_pair": rounded(sum(len(side.values) for side in pairs.ids) / len(pairs)),
    }


# Functions of the folder that give what `dataset` takes.
SOURCES = {
    "list": lambda folder: [pair for path in files_of(folder).files for pair in kerasseq.datasets.read_pairs(path)],
    "files": files_of,
    "prepared files": lambda folder: folder / "prepared",
}


def measure(kind, folder, number):
    """Seconds, memory and speed of the batches of a source."""
    preprocessor = TextPreprocessor()
    preprocessor.load_assets(folder / "vocabulary")
    preprocessor.tokenize_all(["warm up"], "source")
    before = memory()
    begin, processor_begin = time.perf_counter(), time.process_time()
    dataset = preprocessor.dataset(SOURCES[kind](folder), BATCH_SIZE, shuffle=True, pad_to_multiple=1)
    batches = iter(dataset.repeat())
    next(batches)
    seconds, processor_seconds = time.perf_counter() - begin, time.process_time() - processor_begin
    points = [memory()]
    begin, processor_begin = time.perf_counter(), time.process_time()
    for half in (number // 2, number - number // 2):
        for _ in range(half):
            next(batches)
        points.append(memory())
    first, middle, last = points
    return {
        "seconds_to_first_batch": rounded(seconds),
        "cpu_seconds_to_first_batch": rounded(processor_seconds),
        "mb_at_first_batch": first["VmRSS"] - before["VmRSS"],
        "anonymous_mb_at_first_batch": first["RssAnon"] - before["RssAnon"],
        "mb_growth": last["VmRSS"] - first["VmRSS"],
        "anonymous_mb_growth": last["RssAnon"] - first["RssAnon"],
        "anonymous_mb_growth_of_second_half": last["RssAnon"] - middle["RssAnon"],
        "batches_per_cpu_second": rounded(number / (time.process_time() - processor_begin)),
        "batches_per_second": rounded(number / (time.perf_counter() - begin)),
    }


def memory():
    return {field: timing.process_memory(field) for field in ("VmRSS", "RssAnon")}


def rounded(value):
    return float(f"{value:.4g}")


if __name__ == "__main__":
    main()
