"""Serving speed of the released translator: latency, throughput, load, and where the time goes.

All through TensorFlow's C++ loader as a stock CPU model server uses it (`tests/serving/c_api.py`), without the network
and without the server's batching. Sentences are those of Tatoeba's validation split with 12 tokens for latency, and of
any length for load. The released sampler has a beam of 5; one more export, with a beam of 4, is made to compare.

- Latency: one sentence a request, one caller; each sentence once with each signature, turn by turn.
- Throughput: sentences a second at 1, 8 and 32 sentences a request, one caller.
- Load: 16 callers at once for a minute, requests of 1 to 8 sentences; then the resident memory after the first 500
  requests, and after 5,000 more.
- Profile: the kernels' time by operation, as TensorFlow traces it, greedy, one sentence.

    python benchmarks/serving.py
"""

import collections
import itertools
import pathlib
import random
import re
import sys
import tempfile
import threading
import time

import numpy as np
import tensorflow as tf
import timing
import tqdm

import kerasseq
from kerasseq.export import versions

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRANSLATOR = ROOT / "saved_models" / "translation_en_fr"
CALLERS = 16
sys.path.insert(0, str(ROOT / "tests" / "serving"))

import c_api  # noqa: E402


def validation_sources(preprocessor):
    """Distinct validation sentences, and those of them that have 12 tokens."""
    _, validation, _ = kerasseq.datasets.load_anki("fra")
    sources = sorted({source for source, _ in validation})
    random.Random(1).shuffle(sources)
    lengths = preprocessor.tokenize(sources, "source").row_lengths().numpy() - 1  # Without END.
    return sources, [source for source, length in zip(sources, lengths, strict=True) if length == 12]


def resident_memory():
    """The resident memory of this process in MB."""
    with open("/proc/self/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s*(\d+) kB", file.read())[1]) / 1024


def percentiles(seconds):
    return {f"p{rank}_ms": float(f"{1e3 * np.percentile(seconds, rank):.4g}") for rank in (50, 90, 99)}


def run(model, signature, sources):
    return model.run(signature, {"text": [source.encode() for source in sources]})


def latency(sides, sources):
    """Seconds of each source by side; sides are (model, signature) by name."""
    seconds = {name: [] for name in sides}
    for source in [*sources[:10], *sources]:
        for name, (model, signature) in sides.items():
            begin = time.perf_counter()
            run(model, signature, [source])
            seconds[name].append(time.perf_counter() - begin)
    return {name: percentiles(values[10:]) for name, values in seconds.items()}


def throughput(sides, sources, rounds):
    """Sentences a second by side and sentences a request: the median over rounds of 96 sentences."""
    results = {}
    for size in (1, 8, 32):
        batches = [sources[start : start + size] for start in range(0, 96, size)]

        def decode_all(model, signature, batches=batches):
            for batch in batches:
                run(model, signature, batch)

        functions = {name: lambda side=side: decode_all(*side) for name, side in sides.items()}
        for name, seconds in timing.alternate(functions, rounds).items():
            results[f"{name}, batch {size}"] = timing.summary(96 / value for value in seconds)
    return results


def load(model, sources, seconds):
    """16 callers at once: latency, sentences a second, errors."""
    end = time.monotonic() + seconds
    taken, failures, sentences = [], [], itertools.count()

    def caller(seed):
        choice = random.Random(seed)
        while time.monotonic() < end:
            batch = choice.sample(sources, choice.randint(1, 8))
            begin = time.perf_counter()
            try:
                texts = run(model, choice.choice(["greedy", "serving_default"]), batch)["text"]
                assert len(texts) == len(batch)
            except Exception as error:  # Counted, whatever it is.
                failures.append(repr(error))
                continue
            taken.append(time.perf_counter() - begin)
            for _ in batch:
                next(sentences)

    threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(CALLERS)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.monotonic() - begin
    return {
        "callers": CALLERS,
        "seconds": round(wall, 1),
        "requests": len(taken),
        "failures": len(failures),
        "sentences_per_second": float(f"{next(sentences) / wall:.4g}"),
        **percentiles(taken),
    }


def memory(model, sources, warm_up, requests):
    """Resident memory in MB after the warm-up and after so many more requests of 1 to 8 sentences."""
    choice = random.Random(2)
    after = []
    for count in (warm_up, requests):
        for _ in tqdm.trange(count, desc="memory", unit="request"):
            run(model, "greedy", choice.sample(sources, choice.randint(1, 8)))
        after.append(resident_memory())
    return {
        "requests": requests,
        "after_warm_up_mb": round(after[0]),
        "afterwards_mb": round(after[1]),
        "growth_percent": round(100 * (after[1] / after[0] - 1), 2),
    }


def profile(folder, sources):
    """Milliseconds and calls a sentence by operation, the longest first."""
    import tensorflow_text  # noqa: F401  For its operations.

    v1 = tf.compat.v1
    milliseconds, calls = collections.Counter(), collections.Counter()
    with v1.Session(graph=tf.Graph()) as session:
        signature = v1.saved_model.load(session, ["serve"], str(folder)).signature_def["greedy"]
        outputs = [output.name for output in signature.outputs.values()]
        options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
        for index, source in enumerate(sources[:30]):
            metadata = v1.RunMetadata()
            session.run(outputs, {signature.inputs["text"].name: [source]}, options, metadata)
            if index < 10:
                continue
            for device in metadata.step_stats.dev_stats:
                for node in device.node_stats:
                    operation = node.timeline_label.split(" = ")[-1].split("(")[0].split(":")[-1]
                    milliseconds[operation] += (node.op_end_rel_micros - node.op_start_rel_micros) / 1e3 / 20
                    calls[operation] += 1 / 20
    return {
        name: {"ms": float(f"{value:.3g}"), "calls": round(calls[name])} for name, value in milliseconds.most_common(12)
    }


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    generator = kerasseq.TextGenerator.load(TRANSLATOR)
    sources, twelve = validation_sources(generator.preprocessor)
    with tempfile.TemporaryDirectory() as folder:
        generator.sampler = kerasseq.search.BeamSampler(4, generator.sampler.length_penalty)
        beam_4 = c_api.ServedModel(generator.export(folder))
        version = TRANSLATOR / str(max(versions(TRANSLATOR)))
        released = c_api.ServedModel(version)
        sides = {
            "greedy": (released, "greedy"),
            "beam 4": (beam_4, "serving_default"),
            "beam 5, as released": (released, "serving_default"),
        }
        results = {
            "latency": latency(sides, twelve[: 10 if quick else 300]),
            "throughput": throughput(sides, sources, rounds=2 if quick else 5),
            "load": load(released, sources, seconds=2 if quick else 60),
            "memory": memory(released, sources, *((20, 50) if quick else (500, 5_000))),
            "profile": profile(version, twelve),
        }
    rows = [[f"{name}, 12 tokens, ms", *side.values()] for name, side in results["latency"].items()]
    rows += [[f"{name}, sentences/s", *timing.spread(side)] for name, side in results["throughput"].items()]
    rows += [["16 callers, ms", *(results["load"][f"p{rank}_ms"] for rank in (50, 90, 99))]]
    settings = {"version": version.name, "sentences": len(twelve)}
    timing.report(arguments, settings, results, ["", "p50 / median", "p90 / least", "p99 / most"], rows)
    print(results["load"], results["memory"], *results["profile"].items(), sep="\n")


if __name__ == "__main__":
    main()
