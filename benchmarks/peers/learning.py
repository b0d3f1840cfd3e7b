"""Minutes until a quality: BLEU on validation over the processor time of training, kerasseq beside other toolkits.

Multi30k English-German, the authors' lowercased tokens, the same 6,000 joint subwords for all. OpenNMT-py and JoeyNMT
train the model of run.py (LSTM, Luong attention, 9.6 M parameters) by Adam, whose rate of 0.001 falls to 0.85 of
itself after each of ten epochs. kerasseq trains as in architectures.py: a GRU with tied embeddings, 4.9 M parameters,
and a rate that is warmed up and falls along a cosine; beside it an SSRU and a Transformer of like size.

The clock is the processor time of a process with one thread, from reading the data to the end of an epoch: what one
core takes. Saving does not count. The weights of each epoch then translate validation with a beam of 5 of the
toolkit's own. One seed, and nothing but validation is read.

    python benchmarks/peers/learning.py
    python benchmarks/peers/learning.py --learners kerasseq_gru opennmt_py   # some of them; other results are kept
    python benchmarks/peers/learning.py --plot                               # draws the results again

A system that has been trained with the same settings and versions, under KERASSEQ_PEERS_DIR, is only scored again.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import run

RESULTS = run.RESULTS.with_name("learning.json")
QUALITIES = (36.0, 38.0)
LIMIT = 6 * 3_600  # seconds
# The system, its variant, its title.
LEARNERS = {
    "kerasseq_gru": ("kerasseq", "gru", "kerasseq, GRU"),
    "kerasseq_ssru": ("kerasseq", "ssru", "kerasseq, SSRU"),
    "kerasseq_transformer": ("kerasseq", "transformer", "kerasseq, Transformer"),
    "opennmt_py": ("opennmt_py", "", "OpenNMT-py, LSTM"),
    "joeynmt": ("joeynmt", "", "JoeyNMT, LSTM"),
}


def learn(name, quick):
    """The result that a system's script prints; what it does is on stderr."""
    system, variant, title = LEARNERS[name]
    print(title, flush=True)
    command = [run.interpreter(system), run.HERE / f"system_{system}.py", "learn", *["--quick"] * quick]
    command += ["--variant", variant] * bool(variant)
    environment = {**run.environment(system), "KERASSEQ_PEERS_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=True)
    result = json.loads(process.stdout.rstrip().rpartition("\n")[2])
    return {key: result[key] for key in ("minutes", "bleu", "parameters", "versions")}


def minutes_until(result, quality):
    """The minutes until the end of the first epoch with at least this BLEU, or `None`."""
    return next(
        (minutes for minutes, bleu in zip(result["minutes"], result["bleu"], strict=True) if bleu >= quality), None
    )


def markdown(results):
    heads = ["", "M parameters", *(f"minutes to {quality:g} BLEU" for quality in QUALITIES), "best BLEU", "all minutes"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, result in results.items():
        until = [minutes_until(result, quality) for quality in QUALITIES]
        cells = [LEARNERS[name][2], f"{result['parameters'] / 1e6:.1f}"]
        cells += ["not reached" if minutes is None else f"{minutes:.0f}" for minutes in until]
        cells += [f"{max(result['bleu']):.1f}", f"{result['minutes'][-1]:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results, path):
    """Draws a line for each learner, its name at the end."""
    from matplotlib.figure import Figure  # Deferred: measuring does without.

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    for quality in QUALITIES:
        axis.axhline(quality, color="0.8", linewidth=1, zorder=0)
    for name, result in results.items():
        (line,) = axis.plot(result["minutes"], result["bleu"], "o-", markersize=4)
        place = result["minutes"][-1], result["bleu"][-1]
        axis.annotate(LEARNERS[name][2], place, (6, 0), textcoords="offset points", color=line.get_color(), va="center")
    axis.set_xlabel("minutes of one core")
    axis.set_ylabel("BLEU on validation, beam 5")
    axis.set_title("Multi30k, English to German: quality after each epoch")
    axis.set_xlim(0, 1.25 * max(result["minutes"][-1] for result in results.values()))
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)
    print("Wrote", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", nargs="+", choices=list(LEARNERS), default=list(LEARNERS))
    parser.add_argument("--quick", action="store_true", help="tiny settings, numbers without meaning")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file. Default: results/learning.json, if not quick")
    parser.add_argument("--plot", action="store_true", help="trains nothing, draws the plot of the JSON file")
    arguments = parser.parse_args()
    output = arguments.output or (None if arguments.quick else RESULTS)
    results = {}
    if output is not None and output.exists():
        results = json.loads(output.read_text(encoding="utf-8"))["results"]
    if not arguments.plot:
        subprocess.run([sys.executable, run.HERE / "prepare_data.py", *["--quick"] * arguments.quick], check=True)
        for name in arguments.learners:
            results[name] = learn(name, arguments.quick)
            results = {name: results[name] for name in LEARNERS if name in results}
            if output is not None:
                output.write_text(json.dumps({"results": results}, indent=1) + "\n", encoding="utf-8")
    if not results:
        raise SystemExit(f"There are no results in {output}. Run the script without --plot first.")
    print(markdown(results))
    if output is not None:
        plot(results, output.with_suffix(".png"))


if __name__ == "__main__":
    main()
