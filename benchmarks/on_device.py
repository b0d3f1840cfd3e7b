"""The released English-German translator in LiteRT beside its SavedModel: greedy search, one sentence at a time.

On Tatoeba's validation split, one reference a source: the size of the files, milliseconds a sentence in turn, the peak
memory of a process that translates, BLEU and chrF, and how many texts are those of the SavedModel. The SavedModel runs
in TensorFlow's C++ session, as a model server runs it, and splits sources of several sentences; LiteRT reads them in
one pass, and for the memory in a process without TensorFlow.

    taskset -c 0 python benchmarks/on_device.py     # one core
"""

import functools
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import timing
from serving_precision import Session, first_references

import kerasseq
from kerasseq.export import versions
from kerasseq.serving import LiteRTModel

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRANSLATOR = ROOT / "saved_models" / "translation_en_de"
# Prints the peak memory of the process in MB, as `timing.process_memory` reads it.
MEMORY = "print(next(int(line.split()[1]) // 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')))"
IN_LITERT = (
    "import json, sys\nfrom on_device import LiteRTModel\nmodel = LiteRTModel(sys.argv[1])\n"
    f"for text in json.load(sys.stdin): model.generate(text)\n{MEMORY}"
)


def translate_in_session(folder, sources):
    session = Session(folder, None)
    for source in sources:
        session.run("greedy", [source])


def litert_memory(folder, sources):
    """The peak memory in MB of a process with LiteRT, NumPy and sentencepiece alone."""
    run = subprocess.run(
        [sys.executable, "-c", IN_LITERT, str(folder)], input=json.dumps(sources), text=True, check=True,
        cwd=ROOT / "kerasseq" / "serving", stdout=subprocess.PIPE,
    )  # fmt: skip
    return int(run.stdout.split()[-1])


def megabytes(folder):
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file()) / 1e6


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    _, validation, _ = kerasseq.datasets.load_anki("deu")
    validation = sorted(validation)
    random.Random(1).shuffle(validation)
    sources, references = first_references(validation, 40 if quick else 1_000)
    version = TRANSLATOR / str(max(versions(TRANSLATOR)))
    generator = kerasseq.TextGenerator.load(version)
    session = Session(version, None)
    with tempfile.TemporaryDirectory() as temporary:
        folders = {
            f"LiteRT, {quantize or 'float32'}": pathlib.Path(
                generator.export_litert(pathlib.Path(temporary) / str(quantize), quantize)
            )
            for quantize in (None, "int8")
        }
        models = {name: LiteRTModel(folder) for name, folder in folders.items()}
        translate = {"SavedModel": lambda source: session.run("greedy", [source])[0]}
        translate |= {name: model.generate for name, model in models.items()}
        some = sources[: 10 if quick else 200]
        sides = {name: functools.partial(run_all, function, some) for name, function in translate.items()}
        seconds = timing.alternate(sides, 2 if quick else 7)
        memory = {"SavedModel": timing.peak_memory(translate_in_session, version, some)}
        memory |= {name: litert_memory(folder, some) for name, folder in folders.items()}
        sizes = {"SavedModel": megabytes(version), **{name: megabytes(folder) for name, folder in folders.items()}}
    outputs = {name: run_all(function, sources) for name, function in translate.items()}
    results, rows = {}, []
    for name, texts in outputs.items():
        results[name] = {
            "megabytes": round(sizes[name], 1),
            "ms_a_sentence": timing.summary(1e3 * value / len(some) for value in seconds[name]),
            "time_to_saved_model": timing.ratio(seconds[name], seconds["SavedModel"]),
            "peak_megabytes": memory[name],
            "bleu": kerasseq.evaluation.bleu(texts, references),
            "chrf": kerasseq.evaluation.chrf(texts, references),
            "same_texts": sum(text == other for text, other in zip(texts, outputs["SavedModel"], strict=True)),
        }
        row = results[name]
        rows.append([
            name, row["megabytes"], row["ms_a_sentence"]["median"], row["time_to_saved_model"]["median"],
            row["peak_megabytes"], row["bleu"]["score"], row["chrf"]["score"], row["same_texts"],
        ])  # fmt: skip
    settings = {"model": f"{TRANSLATOR.name}/{version.name}", "timed_sentences": len(some), "sentences": len(sources)}
    header = ["", "MB", "ms a sentence", "to SavedModel", "peak MB", "BLEU", "chrF", "same texts"]
    timing.report(arguments, settings, results, header, rows)


def run_all(function, sources):
    return [function(source) for source in sources]


if __name__ == "__main__":
    main()
