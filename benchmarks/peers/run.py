"""kerasseq beside other toolkits: one model, the same data and the same subwords, each toolkit's own way.

An LSTM encoder-decoder with Luong attention (embeddings 256, both directions of 256 in the encoder, 512 in the decoder,
a tanh layer over state and context) on Multi30k English-German, 6,000 joint subwords, batches of 64, Adam, float32.

Training: real target tokens a second, END included, over 100 steps after 20, in each toolkit's own batches and loop,
and the peak memory of the process. Decoding, with weights of 350 steps: the 1,000 test sentences in batches of 64 by
length, at most 50 tokens, by greedy search and by a beam of 5 that compares mean log-probabilities, from ids to ids;
and every tenth sentence alone. Brief training makes outputs of different lengths, so compare tokens a second, too.

Every measurement is a process of its own, with two threads, in the toolkit's own environment. Systems take turns over
several rounds, every other one in reversed order. Environments, data and weights that are missing are made first,
under the folder that KERASSEQ_PEERS_DIR names (default: ~/.cache/kerasseq-peers).

    python benchmarks/peers/run.py
    python benchmarks/peers/run.py --systems kerasseq pytorch --what beam --rounds 5
    python benchmarks/peers/run.py --table
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import typing

import comparison

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "peers.json"
WHAT = ("train", "greedy", "beam", "latency")
LIMIT = 3_600  # seconds of one measurement


class System(typing.NamedTuple):
    """A script `system_NAME.py`.

    Attributes:
        title: str, its name in the table.
        weights: str, the name of its brief weights.
        variants: tuple of str, of training; the first is decoded, too.
        python: str, the version of its interpreter. Default: any.
        own_environment: bool, whether it needs another environment than kerasseq.
        stops: tuple of str, stopping rules of beam search beside its own.
    """

    title: str
    weights: str
    variants: tuple[str, ...] = ("",)
    python: str | None = None
    own_environment: bool = True
    stops: tuple[str, ...] = ()


SYSTEMS = {
    "kerasseq": System(
        "kerasseq", "kerasseq_lstm.weights.h5", ("lstm", "gru", "ssru"), own_environment=False, stops=("first",)
    ),
    "pytorch": System("PyTorch, as in tutorials", "pytorch.pt"),
    "opennmt_py": System("OpenNMT-py", "opennmt_py.pt"),
    "opennmt_tf": System("OpenNMT-tf, input feeding", "opennmt_tf", python="3.10"),
    "joeynmt": System("JoeyNMT", "joeynmt.pt"),
    "keras": System("Keras layers by hand", "keras.weights.h5", own_environment=False),
}

# Columns of the table: what is measured, the key of its result, the head.
COLUMNS = (
    ("train", "tokens_per_second", "training, tokens/s"), ("train", "peak_memory_mb", "MB"),
    ("greedy", "sentences_per_second", "greedy, sentences/s"), ("greedy", "tokens_per_second", "tokens/s"),
    ("greedy", "mean_length", "length"), ("greedy", "bleu", "BLEU"),
    ("beam", "sentences_per_second", "beam 5, sentences/s"), ("beam", "tokens_per_second", "tokens/s"),
    ("beam", "mean_length", "length"), ("beam", "bleu", "BLEU"), ("beam", "peak_memory_mb", "MB"),
    ("latency", "median_ms", "one sentence, ms"),
)  # fmt: skip


# === Environments ===


def interpreter(name):
    """The Python of a system's environment, which is made if it is missing."""
    if not SYSTEMS[name].own_environment:
        return sys.executable
    folder = comparison.FOLDER / "environments" / name
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"Making the environment of {SYSTEMS[name].title} in {folder}", flush=True)
        unfinished = folder.with_name(f"{name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run([base_interpreter(name), "-m", "venv", unfinished], check=True)
        for suffix, options in (("", []), ("_no_deps", ["--no-deps"])):
            requirements = HERE / "requirements" / f"{name}{suffix}.txt"
            if requirements.exists():
                install = [unfinished / "bin" / "python", "-m", "pip", "install", "--quiet", *options]
                subprocess.run([*install, "-r", requirements], check=True, env=environment(name))
        unfinished.rename(folder)
    return str(python)


def base_interpreter(name):
    """A Python of the version that a system needs."""
    version = SYSTEMS[name].python
    if version is None:
        return sys.executable
    path = shutil.which(f"python{version}")
    if path is None or subprocess.run([path, "--version"], capture_output=True).returncode:
        raise SystemExit(
            f"{SYSTEMS[name].title} needs Python {version}, and no python{version} runs. Put one on the PATH, or name "
            "other systems by --systems."
        )
    return path


def environment(name):
    """The environment variables of a system's processes."""
    variables = {**os.environ, "OMP_NUM_THREADS": str(comparison.THREADS), "CUDA_VISIBLE_DEVICES": ""}
    variables |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if SYSTEMS[name].own_environment:
        variables.pop("PYTHONPATH", None)  # of packages for another Python
    return variables


# === Measuring ===


def measure(name, what, variant, quick, stop=""):
    """The result that a system's script prints, or `None` where it fails, whose reason is printed."""
    command = [interpreter(name), HERE / f"system_{name}.py", what]
    command += ["--variant", variant] * bool(variant) + ["--stop", stop] * bool(stop) + ["--quick"] * quick
    print(name, variant, what, stop, end=" ", flush=True)
    try:
        process = subprocess.run(command, env=environment(name), capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        print(f"took more than {LIMIT} seconds")
        return None
    if process.returncode:
        print(f"failed:\n{process.stderr[-2_000:]}")
        return None
    line = process.stdout.rstrip().rpartition("\n")[2]
    print(line, flush=True)
    return json.loads(line)


def train_weights(names, quick):
    """Trains the brief weights that are missing; returns the names of the systems that have some."""
    folder = comparison.work_folder(quick) / "weights"
    return [
        name
        for name in names
        if (folder / SYSTEMS[name].weights).exists() or measure(name, "weights", SYSTEMS[name].variants[0], quick)
    ]


def run_rounds(names, whats, rounds, quick, report):
    """Measures in turns.

    Args:
        names: list of str, the systems.
        whats: list of str, what is measured.
        rounds: int.
        quick: bool.
        report: function of a dict of lists of results by (system, variant, stopping rule), called after every round.

    Returns:
        the number of failures.
    """
    measured, failures = {}, 0
    decoded = train_weights(names, quick) if set(whats) - {"train"} else names
    failures += len(names) - len(decoded)
    for index in range(rounds):
        for what in whats:
            turns = [
                (name, variant, stop)
                for name in (names if what == "train" else decoded)
                for variant in (SYSTEMS[name].variants if what == "train" else SYSTEMS[name].variants[:1])
                for stop in ("", *(SYSTEMS[name].stops if what == "beam" else ()))
            ]
            for name, variant, stop in turns if index % 2 == 0 else reversed(turns):
                result = measure(name, what, variant, quick, stop)
                failures += result is None
                measured.setdefault((name, variant, stop), []).extend([] if result is None else [result])
        report(measured)
    return failures


# === Reporting ===


def summarize(measured):
    """Medians, extremes and all rounds of what was measured, by system."""
    results = {}
    for name, system in SYSTEMS.items():
        for variant, stop in itertools.product(system.variants, ("", *system.stops)):
            rounds = measured.get((name, variant, stop))
            if not rounds:
                continue
            title = system.title + f", {variant.upper()}" * bool(variant) + f', stop="{stop}"' * bool(stop)
            results[title] = {key: rounds[0][key] for key in ("versions", "parameters")}
            for what in WHAT:
                of_what = [result for result in rounds if result["what"] == what]
                numbers = [key for key, value in (of_what or [{}])[0].items() if isinstance(value, (int, float))]
                if of_what:
                    results[title][what] = {
                        key: summary([result[key] for result in of_what]) for key in numbers if key != "parameters"
                    }
    return results


def summary(values):
    return {
        "median": float(f"{statistics.median(values):.4g}"), "least": min(values), "most": max(values),
        "rounds": values,
    }  # fmt: skip


def markdown(content):
    """The table of results: medians, with the extremes of several rounds."""
    heads = ["", *(head for _, _, head in COLUMNS)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for title, result in content["results"].items():
        cells = [cell(result.get(what, {}).get(key)) for what, key, _ in COLUMNS]
        lines.append(f"| {' | '.join([title, *cells])} |")
    return "\n".join(lines)


def cell(values):
    if values is None:
        return ""
    median, *extremes = (f"{values[key]:.3g}" if values[key] < 100 else f"{values[key]:,.0f}" for key in
                         ("median", "least", "most"))  # fmt: skip
    return median if len(set(extremes)) == 1 else f"{median} ({extremes[0]}-{extremes[1]})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--rounds", type=int, help="Default: 3, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="tiny settings, numbers without meaning")
    parser.add_argument(
        "--output", type=pathlib.Path, help="JSON file. Default: results/peers.json, if all is measured"
    )
    parser.add_argument("--table", action="store_true", help="only prints the table of the JSON file")
    arguments = parser.parse_args()
    everything = set(arguments.systems) == set(SYSTEMS) and set(arguments.what) == set(WHAT)
    if arguments.output is None and (arguments.table or (everything and not arguments.quick)):
        arguments.output = RESULTS
    if arguments.table:
        if not arguments.output.exists():
            raise SystemExit(f"{arguments.output} does not exist. Run the script without --table first.")
        print(markdown(json.loads(arguments.output.read_text(encoding="utf-8"))))
        return
    rounds = arguments.rounds or (1 if arguments.quick else 3)

    subprocess.run([sys.executable, HERE / "prepare_data.py", *["--quick"] * arguments.quick], check=True)
    settings = dataclasses.asdict(comparison.QUICK if arguments.quick else comparison.FULL)
    content = {
        "environment": {
            "cpus": len(os.sched_getaffinity(0)), "threads": comparison.THREADS, "python": platform.python_version(),
        },
        "settings": {"quick": arguments.quick, "rounds": rounds, **settings},
    }  # fmt: skip

    def report(measured):
        content["results"] = summarize(measured)
        if arguments.output is not None:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    for name in arguments.systems:
        interpreter(name)
    failures = run_rounds(arguments.systems, arguments.what, rounds, arguments.quick, report)
    print(markdown(content))
    if arguments.output is not None:
        print("Wrote", arguments.output)
    if failures:
        raise SystemExit(f"{failures} measurements failed, see above.")


if __name__ == "__main__":
    main()
