"""What the benchmarks share: alternating rounds, peak memory, Multi30k batches, a decoding loop, tables and JSON."""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import platform
import re
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import kerasseq
from kerasseq.preprocessing.python_dataset import python_dataset

RESULTS = pathlib.Path(__file__).parent / "results"


# === Measuring ===


def alternate(sides, rounds):
    """Times all sides in turn, round by round, so that a slow minute of the machine meets them all.

    Args:
        sides: dict of functions without arguments by name. Each runs once untimed: tracing, compilation, allocation.
        rounds: int. Every other round runs in reverse order.

    Returns:
        dict of lists of seconds, one a round, by name.
    """
    for run in sides.values():
        run()
    seconds = {name: [] for name in sides}
    for index in range(rounds):
        for name in list(sides) if index % 2 == 0 else reversed(sides):
            begin = time.perf_counter()
            sides[name]()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def in_fresh_process(function, *arguments):
    """What `function(*arguments)` returns in a process of its own, which imports the script and ends afterwards."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def peak_memory(run, *arguments):
    """The peak resident memory in MB of a fresh process that calls `run(*arguments)`."""
    return in_fresh_process(own_peak_memory, run, *arguments)


def own_peak_memory(run, *arguments):
    run(*arguments)
    return process_memory("VmHWM")


def process_memory(field):
    """Memory of this process in MB, by its name in /proc: `"VmRSS"`, resident now, or `"VmHWM"`, the most so far."""
    # Not `ru_maxrss`, which begins with the memory of the parent process.
    with open("/proc/self/status", encoding="ascii") as file:
        return int(re.search(rf"{field}:\s*(\d+) kB", file.read())[1]) // 1024


def summary(values):
    """Median, extremes and all rounds, with four digits."""
    values = [float(f"{value:.4g}") for value in values]
    return {
        "median": float(f"{statistics.median(values):.4g}"),
        "least": min(values),
        "most": max(values),
        "rounds": values,
    }


def ratio(values, baseline):
    """The summary of `values / baseline`, round by round."""
    return summary(value / base for value, base in zip(values, baseline, strict=True))


# === What is measured ===


def load_data(quick):
    """Multi30k English-German: training pairs, test sources, a preprocessor of 6,000 subwords and 48 tokens a side."""
    train, _, test = kerasseq.datasets.load_multi30k("en", "de")
    train = train[:1_000] if quick else train
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
        train, vocabulary_size=1_000 if quick else 6_000, max_source_length=48, max_target_length=48
    )
    return train, [source for source, _ in test], preprocessor


def load_tokenized(quick, vocabulary_size):
    """Multi30k English-German in the authors' tokens: pairs of training, validation and test, and a preprocessor."""
    data = kerasseq.datasets.load_multi30k("en", "de", tokenized=True)
    train, validation, test = (side[:200] for side in data) if quick else data
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
        train, vocabulary_size=500 if quick else vocabulary_size, max_source_length=80, max_target_length=80,
        normalization="identity",
    )  # fmt: skip
    return train, validation, test, preprocessor


def make_dataset(batches, length=None):
    """A data set of batches `(inputs, labels)` of int32 arrays, of `length` tokens or of any length in the graph."""
    signature = keras.tree.map_structure(lambda _: tf.TensorSpec([None, length], tf.int32), batches[0])
    numbers = [np.array([number]) for number in range(len(batches))]
    dataset = python_dataset(lambda: (numbers, (0, 0)), lambda rows, _: batches[rows[0]], signature)
    options = tf.data.Options()
    options.autotune.enabled = False  # Else the end of a pass may wait for the tuner's thread.
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(2).with_options(options)


def decoder_step(model):
    """One step of the model, in the form that `step_loop` takes."""

    def step(token_ids, state, constants):
        outputs = model.step(token_ids, state, constants)
        return outputs["logits"], outputs["state"]

    return step


def step_loop(step, state, constants, steps):
    """Compiles a loop of decoding steps, with batch and source length unknown to the graph, as in `TextGenerator`.

    Args:
        step: function of token ids `(batch,)`, a state and constants that returns scores `(batch, any)` and the next
            state.
        state: the state before the first step, a nested dict of tensors `(batch, ...)`; see `Seq2Seq.start`.
        constants: the same, of tensors that all steps read.
        steps: int.

    Returns:
        a function without arguments that runs the loop.
    """

    def unknown_lengths(tensor):
        last = tensor.shape[-1] if tensor.dtype.is_floating else None
        return tf.TensorSpec([None] * (len(tensor.shape) - 1) + [last], tensor.dtype)

    @tf.function(input_signature=keras.tree.map_structure(unknown_lengths, [state, constants]))
    def loop(state, constants):
        def body(index, token_ids, state):
            scores, state = step(token_ids, state, constants)
            # The next token hangs on the scores, as in greedy search, but without the cost of an argmax.
            return index + 1, tf.where(scores[:, 0] > 0, 4, 5), state

        batch_size = tf.shape(keras.tree.flatten(state)[0])[0]
        start = (tf.constant(0), tf.fill([batch_size], 4), state)
        return tf.while_loop(lambda index, *_: index < steps, body, start)[1]

    return lambda: loop(state, constants).numpy()


# === Reporting ===


def spread(summary):
    return [summary["median"], summary["least"], summary["most"]]


def parse_arguments(script, description, **options):
    """`--quick` and `--output`. Quick runs only show that the script works, so by default they write nothing.

    Args:
        script: path of the script.
        description: str.
        options: the script's own, each a dict of arguments of `add_argument`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny settings, numbers without meaning")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file. Default: under results/, with --quick none")
    for name, option in options.items():
        parser.add_argument(f"--{name}", **option)
    arguments = parser.parse_args()
    if arguments.output is None and not arguments.quick:
        arguments.output = RESULTS / f"{pathlib.Path(script).stem}.json"
    return arguments


def report(arguments, settings, results, header, rows):
    """Prints the table and writes settings, environment and results."""
    rows = [[cell if isinstance(cell, str) else f"{cell:.4g}" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows]:
        first, *others = (cell.ljust(widths[0]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(row))
        print("  ".join([first, *others]))
    if arguments.output is None:
        return
    environment = {
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "kerasseq": kerasseq.__version__,
    }
    content = {"environment": environment, "settings": {"quick": arguments.quick, **settings}, "results": results}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print("Wrote", arguments.output)
