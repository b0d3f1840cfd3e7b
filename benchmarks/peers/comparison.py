"""What the scripts of all systems share: settings, data, clocks and the line of results.

Each system runs in its own environment, so this needs the standard library alone, from Python 3.10 on, and sacrebleu
where outputs are scored.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import sys
import time

FOLDER = pathlib.Path(os.environ.get("KERASSEQ_PEERS_DIR", "~/.cache/kerasseq-peers")).expanduser()
THREADS = int(os.environ.get("KERASSEQ_PEERS_THREADS", "2"))

PADDING_ID, UNKNOWN_ID, START_ID, END_ID = range(4)
NUM_SPECIAL_TOKENS = 4
LANGUAGES = ("en", "de")
WORD_START = "\u2581"  # SentencePiece's mark at the beginning of words

BATCHES_PER_POOL = 100  # sorted by length together


@dataclasses.dataclass(frozen=True)
class Settings:
    """The model that all systems train, how they train and decode it, and how much of it is measured."""

    # === Model ===
    vocabulary_size: int = 6_000
    embedding_dim: int = 256
    encoder_units: int = 256  # of each direction
    decoder_units: int = 512
    dropout: float = 0.3
    # === Training ===
    batch_size: int = 64
    learning_rate: float = 1e-3
    gradient_norm: float = 1.0
    label_smoothing: float = 0.1
    decay: float = 0.85  # of the learning rate after each epoch, where a toolkit learns by the recipe of `learning.py`
    # === Search ===
    beam_width: int = 5
    max_length: int = 50
    # === Amounts ===
    train_pairs: int | None = None  # all
    validation_pairs: int | None = None
    warm_up_steps: int = 20
    timed_steps: int = 100
    weight_steps: int = 350
    epochs: int = 10
    test_sentences: int = 1_000
    latency_sentences: int = 100

    @property
    def all_steps(self):
        return self.warm_up_steps + self.timed_steps


FULL = Settings()
QUICK = Settings(
    vocabulary_size=500, embedding_dim=16, encoder_units=16, decoder_units=32, train_pairs=1_000, validation_pairs=20,
    warm_up_steps=2, timed_steps=3, weight_steps=5, epochs=2, test_sentences=100, latency_sentences=3, max_length=10,
)  # fmt: skip


def work_folder(quick):
    """The folder of data, weights and outputs; quick runs have their own."""
    return FOLDER / "quick" if quick else FOLDER


# === Command line ===


def parse_arguments(description, variants=("",), **options):
    """What to measure: the same arguments for every system.

    Args:
        description: str.
        variants: names of variants, the default first.
        options: the script's own, each a dict of arguments of `add_argument`.

    Returns:
        a namespace of `what`, `variant`, `quick`, `settings`, `folder` and the options.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what",
        choices=["weights", "train", "greedy", "beam", "latency", "learn"],
        help="weights: train briefly and keep the weights, which greedy, beam and latency need; learn: see learning.py",
    )
    parser.add_argument("--variant", choices=variants, default=variants[0])
    parser.add_argument("--quick", action="store_true", help="tiny settings, numbers without meaning")
    for name, option in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **option)
    arguments = parser.parse_args()
    arguments.settings = QUICK if arguments.quick else FULL
    arguments.folder = work_folder(arguments.quick)
    if not (arguments.folder / "data" / "vocabulary.txt").exists():
        raise SystemExit(f"No data in {arguments.folder}. Run prepare_data.py first, or run.py, which does it all.")
    return arguments


def weights_path(arguments, name):
    """The file, or folder, of the brief weights of a system."""
    path = arguments.folder / "weights" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.what in ("greedy", "beam", "latency") and not path.exists():
        raise SystemExit(f"No weights in {path}. Train them first: {sys.argv[0]} weights")
    return path


# === Data ===


def read_lines(arguments, name):
    """The lines of a file that `prepare_data.py` wrote."""
    return (arguments.folder / "data" / name).read_text(encoding="utf-8").rstrip("\n").split("\n")


def read_pieces(arguments, split, language):
    """Lists of subwords, of `"train"`, `"validation"` or `"test"`."""
    return [line.split() for line in read_lines(arguments, f"{split}.{language}.pieces")]


def read_ids(arguments, split, language):
    """The same as lists of ids, without START and END."""
    ids = {piece: index for index, piece in enumerate(read_lines(arguments, "vocabulary.txt"))}
    return [[ids[piece] for piece in pieces] for pieces in read_pieces(arguments, split, language)]


def test_sources(arguments, sources):
    """The sources that `greedy` and `beam` decode, or every tenth of them for `latency`."""
    settings = arguments.settings
    if arguments.what != "latency":
        return sources[: settings.test_sentences]
    return sources[:: len(sources) // settings.latency_sentences][: settings.latency_sentences]


def bucketed_batches(sources, targets, batch_size, seed=1):
    """Endless batches of indices of pairs of similar lengths, for systems whose users write their own batching.

    Pairs are shuffled, sorted by length within pools of 100 batches, and split into batches, which are shuffled.
    """
    generator = random.Random(seed)
    while True:
        order = generator.sample(range(len(sources)), len(sources))
        batches = []
        for start in range(0, len(order), BATCHES_PER_POOL * batch_size):
            pool = order[start : start + BATCHES_PER_POOL * batch_size]
            pool.sort(key=lambda index: (len(targets[index]), len(sources[index])))
            batches += [pool[first : first + batch_size] for first in range(0, len(pool) - batch_size + 1, batch_size)]
        generator.shuffle(batches)
        yield from batches


def fresh_folder(arguments, name):
    """An empty folder for what a toolkit writes while it runs."""
    folder = arguments.folder / "runs" / f"{name}_{arguments.what}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def until_end(ids):
    """The ids before the first END."""
    return ids[: ids.index(END_ID)] if END_ID in ids else ids


# === Measuring ===


class StepClock:
    """Times the training steps after those of the warm-up.

    Args:
        settings: the `Settings`.
    """

    def __init__(self, settings):
        self.settings = settings
        self.steps = self.tokens = 0

    def step(self, target_tokens):
        """Counts a step that has ended, and its real target tokens; returns whether it was the last one."""
        self.steps += 1
        self.end = time.perf_counter()
        if self.steps > self.settings.warm_up_steps:
            self.tokens += int(target_tokens)
        if self.steps == self.settings.warm_up_steps:
            self.begin, self.begin_processors = self.end, time.process_time()
        self.end_processors = time.process_time()
        return self.steps >= self.settings.all_steps

    def result(self):
        seconds = self.end - self.begin
        return {
            "steps": self.steps - self.settings.warm_up_steps,
            "target_tokens": self.tokens,
            "seconds": seconds,
            "tokens_per_second": self.tokens / seconds,
            "processors": (self.end_processors - self.begin_processors) / seconds,
        }


def measure_search(arguments, sources, decode):
    """Decodes the test sources in batches by length, or one by one for `latency`.

    Args:
        arguments: those of `parse_arguments`.
        sources: list of lists of ids of all test sources.
        decode: function of a list of sources that returns their outputs, lists of ids without END, and the mean
            log-probability of the tokens of each, END included.

    Returns:
        the result, a dict, and the outputs in the order of the sources.
    """
    sources = test_sources(arguments, sources)
    batch_size = 1 if arguments.what == "latency" else arguments.settings.batch_size
    batches = batches_by_length(sources, batch_size)
    for batch in batches[: 5 if arguments.what == "latency" else 1]:  # tracing, allocation
        decode([sources[index] for index in batch])
    outputs, scores, seconds = [None] * len(sources), [], []
    for batch in batches:
        begin = time.perf_counter()
        decoded, log_probabilities = decode([sources[index] for index in batch])
        seconds.append(time.perf_counter() - begin)
        scores += [float(score) for score in log_probabilities]
        for index, output in zip(batch, decoded, strict=True):
            outputs[index] = output
    result = search_result(arguments, sources, outputs, seconds)
    return {**result, "mean_log_probability": statistics.fmean(scores)}, outputs


class TimedCalls:
    """A function that keeps the seconds of each of its calls: the search of a toolkit, from ids to ids."""

    def __init__(self, function):
        self.function, self.seconds = function, []

    def __call__(self, *arguments, **options):
        begin = time.perf_counter()
        result = self.function(*arguments, **options)
        self.seconds.append(time.perf_counter() - begin)
        return result


def measure_toolkit(arguments, translate, search):
    """As `measure_search`, for toolkits that read subwords and make their batches themselves.

    Args:
        arguments: those of `parse_arguments`.
        translate: function of a list of lists of subwords that returns their outputs, lists of subwords without END.
        search: the `TimedCalls` of the search within `translate`.

    Returns:
        the result, a dict, and the outputs in the order of the sources.
    """
    sources = test_sources(arguments, read_pieces(arguments, "test", LANGUAGES[0]))
    (order,) = batches_by_length(sources, len(sources))
    ordered = [sources[index] for index in order]
    translate(ordered[: 5 if arguments.what == "latency" else arguments.settings.batch_size])
    search.seconds.clear()
    outputs = [None] * len(sources)
    for index, output in zip(order, translate(ordered), strict=True):
        outputs[index] = output
    return search_result(arguments, sources, outputs, search.seconds), outputs


def batches_by_length(sources, batch_size):
    """Indices of sources in batches, the longest first."""
    order = sorted(range(len(sources)), key=lambda index: -len(sources[index]))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def search_result(arguments, sources, outputs, seconds):
    """Speed and lengths of a search.

    Args:
        arguments: those of `parse_arguments`.
        sources, outputs: lists of lists of subwords or ids, of the same order.
        seconds: list of float, of the batches, or of the sentences for `latency`.

    Returns:
        dict of numbers. `steps` are those of the longest output of each batch by length, END included.
    """
    lengths = [len(output) for output in outputs]
    batches = batches_by_length(sources, arguments.settings.batch_size)
    result = {"sentences": len(outputs), "mean_length": statistics.fmean(lengths), "seconds": sum(seconds)}
    if arguments.what == "latency":
        deciles = statistics.quantiles(seconds, n=10)
        return {**result, "median_ms": 1e3 * statistics.median(seconds), "p90_ms": 1e3 * deciles[-1]}
    return {
        **result,
        "steps": sum(1 + max(lengths[index] for index in batch) for batch in batches),
        "sentences_per_second": len(outputs) / sum(seconds),
        "tokens_per_second": sum(lengths) / sum(seconds),
    }


def peak_memory():
    """The peak resident memory of this process in MB."""
    # Not `ru_maxrss`, which begins with the memory of the parent process.
    with open("/proc/self/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s*(\d+) kB", file.read())[1]) // 1024


# === Learning ===


class LearningClock:
    """Keeps the processor seconds of training when each epoch ends.

    They are counted from the beginning: reading the data, building the model and tracing are a part of training.

    Args:
        arguments: those of `parse_arguments`.
    """

    def __init__(self, arguments):
        self.steps_per_epoch = steps_per_epoch(arguments)
        self.steps, self.seconds, self.excluded, self.begin = 0, [], 0.0, time.process_time()

    def step(self, target_tokens=None):
        """Counts a step that has ended."""
        self.steps += 1
        if self.steps % self.steps_per_epoch == 0:
            self.end_epoch()

    def end_epoch(self):
        self.seconds.append(time.process_time() - self.begin - self.excluded)
        print(f"epoch {len(self.seconds)}: {self.seconds[-1] / 60:.1f} minutes", file=sys.stderr, flush=True)

    def uncounted(self, function):
        """A function that does the same and whose time does not count, such as saving."""

        def run(*arguments, **options):
            begin = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self.excluded += time.process_time() - begin

        return run


def steps_per_epoch(arguments):
    return -(-len(read_lines(arguments, f"train.{LANGUAGES[0]}")) // arguments.settings.batch_size)


def measure_learning(arguments, name, recipe, train, translate):
    """Trains, unless an earlier call has done the same, then scores each epoch: minutes, and BLEU on validation.

    Args:
        arguments: those of `parse_arguments`.
        name: str, of the folder of the weights.
        recipe: whatever JSON can hold, that says what `train` does beyond the settings, versions included.
        train: function of an empty folder and a `LearningClock` that trains and keeps the weights of each epoch there.
        translate: function of the folder and the number of an epoch, from 1 on, that returns the translations, texts,
            of the validation sources by beam search.

    Returns:
        the result, a dict of lists.
    """
    folder = arguments.folder / "learning" / name
    finished = folder / "finished.json"
    settings = json.loads(json.dumps([dataclasses.asdict(arguments.settings), recipe]))
    known = json.loads(finished.read_text(encoding="utf-8")) if finished.exists() else {}
    if known.get("settings") != settings:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        clock = LearningClock(arguments)
        train(folder, clock)
        known = {"settings": settings, "seconds": clock.seconds}
        finished.write_text(json.dumps(known), encoding="utf-8")
    seconds = known["seconds"]
    references = read_lines(arguments, f"validation.{LANGUAGES[1]}")
    scores = []
    for epoch in range(1, len(seconds) + 1):
        scores.append(score(translate(folder, epoch), references))
        print(f"epoch {epoch}: {scores[-1]:.2f} BLEU", file=sys.stderr, flush=True)
    return {"minutes": [round(value / 60, 2) for value in seconds], "bleu": [round(value, 2) for value in scores]}


# === Reporting ===


def print_result(system, arguments, versions, parameters, result, outputs=None):
    """Prints a line of JSON; outputs are written to a file and scored by BLEU.

    Args:
        system: str.
        arguments: those of `parse_arguments`.
        versions: dict of str, of the packages that count.
        parameters: int.
        result: dict of numbers.
        outputs: list of lists of ids or subwords, of `greedy` and `beam`.
    """
    result = {
        "system": system, "variant": arguments.variant, "what": arguments.what, **result, "parameters": int(parameters),
        "peak_memory_mb": peak_memory(), "versions": versions,
    }  # fmt: skip
    if outputs is not None and arguments.what != "latency":
        name = "_".join(filter(None, [system, arguments.variant, arguments.what]))
        result["bleu"] = bleu(arguments, outputs, arguments.folder / "outputs" / f"{name}.de")
    rounded = {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in result.items()}
    print(json.dumps(rounded), flush=True)


def bleu(arguments, outputs, path):
    """BLEU of test outputs that are also written to a file."""
    texts = texts_of(arguments, outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return score(texts, read_lines(arguments, f"test.{LANGUAGES[1]}")[: len(texts)])


def texts_of(arguments, outputs):
    """The texts of lists of subwords or ids."""
    vocabulary = read_lines(arguments, "vocabulary.txt")
    pieces = [[vocabulary[piece] if isinstance(piece, int) else piece for piece in output] for output in outputs]
    return ["".join(output).replace(WORD_START, " ").strip() for output in pieces]


def score(texts, references):
    """BLEU over the tokens of the data."""
    import sacrebleu  # Deferred: training does without.

    return sacrebleu.corpus_bleu(texts, [references], tokenize="none", force=True).score
