"""When a beam search stops: time, scores and BLEU of the released translator by stopping rule and length limit.

The first 1,000 distinct sentences of the validation split in the order of their hashes, 32 a request, beam 5, raw
strings in, texts out. The rules run in one process, turn by turn. The mean score is that of the search; BLEU is
against the first reference.

    python benchmarks/stopping_rules.py
"""

import hashlib
import pathlib
import statistics

import tensorflow as tf
import timing

import kerasseq
from kerasseq.preprocessing.pairs import measured_length_ratio
from kerasseq.search import BeamSampler
from kerasseq.search.beam import STOPPING_RULES

TRANSLATOR = pathlib.Path(__file__).parent.parent / "saved_models" / "translation_en_fr"
BASELINE = "exact, no limit"
# The stopping rule, and whether outputs are limited relative to their sources.
RULES = {BASELINE: ("exact", False), "exact": ("exact", True), "best_length": ("best_length", True),
         "first": ("first", True)}  # fmt: skip


def load_pairs(count):
    """Training pairs, and so many distinct validation sources, each with its first reference."""
    train, validation, _ = kerasseq.datasets.load_anki("fra")
    references = {}
    for source, target in validation:
        references.setdefault(source, target)
    order = sorted(references, key=lambda source: hashlib.sha256(source.encode()).hexdigest())
    return train, [(source, references[source]) for source in order[:count]]


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    count, rounds = (8, 1) if arguments.quick else (1_000, 3)
    translator = kerasseq.TextGenerator.load(TRANSLATOR)
    preprocessor = translator.preprocessor
    train, pairs = load_pairs(count)
    sources, references = zip(*pairs, strict=True)
    texts = zip(*train[:: 100 if arguments.quick else 15], strict=True)
    lengths = [
        [len(ids) for ids in preprocessor.tokenize_all(side, name)]
        for side, name in zip(texts, ("source", "target"), strict=True)
    ]
    ratio = measured_length_ratio(*lengths)
    own = translator.sampler
    samplers = {
        stop: BeamSampler(own.beam_width, own.length_penalty, own.normalization, stop=stop) for stop in STOPPING_RULES
    }

    def generate(rule):
        stop, limited = RULES[rule]
        preprocessor.length_ratio = ratio if limited else None
        return translator.generate(sources, samplers[stop], batch_size=32)

    def scores(rule):
        """Those of the search: the same graph as that of `generate`."""
        decode = translator.compiled_decode(samplers[RULES[rule][0]], translator.max_length)
        batches = (tf.constant(sources[start : start + 32]) for start in range(0, len(sources), 32))
        return [float(score) for batch in batches for score in decode(batch)["score"][:, 0]]

    results, rows, outputs = {}, [], {}
    for rule in RULES:
        outputs[rule] = generate(rule)
        results[rule] = {
            "mean_score": statistics.mean(scores(rule)),
            "bleu": kerasseq.evaluation.bleu(outputs[rule], list(references)),
            "different_texts": sum(one != other for one, other in zip(outputs[rule], outputs[BASELINE], strict=True)),
        }
    seconds = timing.alternate({rule: lambda rule=rule: generate(rule) for rule in RULES}, rounds)
    for rule, values in seconds.items():
        results[rule] |= {"seconds": timing.summary(values), "ratio": timing.ratio(values, seconds[BASELINE])}
        row = results[rule]
        numbers = row["seconds"]["median"], row["ratio"]["median"], row["mean_score"], row["bleu"]["score"]
        rows.append([rule, *numbers, str(row["different_texts"])])
    settings = {"sentences": len(sources), "batch_size": 32, "beam_width": own.beam_width, "length_ratio": ratio}
    header = ["rule", "seconds", "to no limit", "mean score", "BLEU", "texts that differ"]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
