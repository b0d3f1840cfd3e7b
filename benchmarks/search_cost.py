"""What each option of the search costs: time of `generate` relative to greedy search without constraints.

An untrained `AttentionSeq2Seq` (GRU, Luong) with 6,000 subwords, embeddings and units of 256. END is ruled out by its
bias, so every side decodes the same 20 tokens. Sources are Multi30k test sentences of middle length; raw strings in,
texts out. All sides run in one process, turn by turn; the first, untimed turn traces and compiles. A ratio is the
side's time over that of greedy search in the same round.

    python benchmarks/search_cost.py
"""

import keras
import keras_hub
import numpy as np
import timing

import kerasseq
from kerasseq.preprocessing.vocabulary import END_ID
from kerasseq.search import BeamSampler, Coverage, GreedySampler, LengthLimits, NoRepeatNGram, SuppressTokens

BASELINE = "greedy"
CONSTRAINTS = {
    "LengthLimits(min_length=10)": LengthLimits(min_length=10),
    "LengthLimits, relative to the source": LengthLimits(min_length_ratio=0.5, max_length_ratio=10.0),
    "SuppressTokens": SuppressTokens([1, 2]),
    "NoRepeatNGram(3)": NoRepeatNGram(3),
}
SAMPLERS = {
    BASELINE: GreedySampler(),
    **{f"greedy, {name}": GreedySampler([constraint]) for name, constraint in CONSTRAINTS.items()},
    "greedy, prefix": GreedySampler(),
    "sampling, top-k": keras_hub.samplers.TopKSampler(k=5, seed=1),
    "sampling, top-p": keras_hub.samplers.TopPSampler(p=0.9, k=50, seed=1),
    "beam 1": BeamSampler(1),
    "beam 2": BeamSampler(2),
    "beam 5": BeamSampler(5),
    "beam 10": BeamSampler(10),
    "beam 5, normalization='length'": BeamSampler(5, normalization="length"),
    "beam 5, Coverage(0.2)": BeamSampler(5, scorers=[Coverage(0.2)]),
    **{f"beam 5, {name}": BeamSampler(5, constraints=[constraint]) for name, constraint in CONSTRAINTS.items()},
    "beam 5, prefix": BeamSampler(5),
}
ENSEMBLES = {"ensemble of 2, greedy": GreedySampler(), "ensemble of 2, beam 5": BeamSampler(5)}


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    size, steps, rounds = (16, 4, 1) if quick else (256, 20, 15)
    keras.utils.set_random_seed(1)
    _, test, preprocessor = timing.load_data(quick)
    vocabulary_size = preprocessor.target_vocabulary_size
    sources = sorted(test, key=len)[len(test) // 2 :][:64]

    # === Models ===
    members = []
    for _ in range(2):
        model = kerasseq.models.AttentionSeq2Seq(
            vocabulary_size, vocabulary_size, cell="gru", embedding_dim=size, units=size
        )
        model.decoder.logits.bias.assign(np.where(np.arange(vocabulary_size) == END_ID, -1e4, 0.0))
        members.append(model)
    ensemble = kerasseq.models.Ensemble(members)
    # A generator a side, for each keeps only its latest graphs.
    sides = {name: (sampler, members[0]) for name, sampler in SAMPLERS.items()}
    sides |= {name: (sampler, ensemble) for name, sampler in ENSEMBLES.items()}
    sides = {
        name: kerasseq.TextGenerator(model, preprocessor, sampler, max_length=steps)
        for name, (sampler, model) in sides.items()
    }

    # === Speed ===
    results, rows = {}, []
    for batch_size in (1, 64):

        def run(name, generator, batch=sources[:batch_size]):
            return lambda: generator.generate(batch, prefixes="ein" if "prefix" in name else None)

        seconds = timing.alternate({name: run(name, generator) for name, generator in sides.items()}, rounds)
        for name, values in seconds.items():
            milliseconds = timing.summary(1e3 * value / batch_size for value in values)
            to_greedy = timing.ratio(values, seconds[BASELINE])
            results[f"{name}, batch {batch_size}"] = {"ms_per_sentence": milliseconds, "ratio_to_greedy": to_greedy}
            rows.append([f"{name}, batch {batch_size}", *timing.spread(milliseconds), *timing.spread(to_greedy)])
    settings = {
        "tokens_per_sentence": steps, "rounds": rounds, "vocabulary_size": vocabulary_size, "units": size,
        "embedding_dim": size, "parameters": members[0].count_params(),
    }  # fmt: skip
    header = ["side", "ms/sentence", "least", "most", "to greedy", "least", "most"]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
