"""The speed of the recurrent cells in training and decoding, at equal sizes.

`AttentionSeq2Seq` with Luong attention, Multi30k English-German, 6,000 subwords, embeddings and units of 256. Training:
`fit` on five batches of 64, short to long. Decoding: `generate` with untrained models whose bias rules END out, so all
decode 20 tokens, for the 64 test sentences of middle length, and greedy search for one of them. All cells run in one
process, turn by turn. A ratio is speed over that of the GRU in the same round.

    python benchmarks/cells.py
"""

import functools

import keras
import numpy as np
import timing
from training_speed import BATCH_SIZE, sample_batches

import kerasseq
from kerasseq.layers.cells import CELLS
from kerasseq.preprocessing.vocabulary import END_ID

BASELINE = "gru"


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    count, rounds, size, steps = (2, 2, 16, 4) if quick else (5, 5, 256, 20)
    train, test, preprocessor = timing.load_data(quick)
    vocabulary_size = preprocessor.target_vocabulary_size
    sources = sorted(test, key=len)[len(test) // 2 :][:64]
    batches = [
        ({"encoder_token_ids": source, "decoder_token_ids": target}, labels)
        for source, target, labels in sample_batches(train, preprocessor, count)
    ]
    tokens = int(sum(np.count_nonzero(labels) for _, labels in batches))
    dataset = timing.make_dataset(batches)

    keras.utils.set_random_seed(1)
    parts = {"training, tokens/s": {}, "greedy, sentences/s": {}, "beam 5, sentences/s": {}, "greedy, one, ms": {}}
    parameters = {}
    for cell in CELLS:
        model = kerasseq.models.AttentionSeq2Seq(vocabulary_size, vocabulary_size, cell, size, size)
        parameters[cell] = model.count_params()
        model.compile("adam", kerasseq.losses.MaskedCrossentropy())
        decoding = kerasseq.Seq2Seq.from_config(model.get_config())
        decoding.decoder.logits.bias.assign(np.where(np.arange(vocabulary_size) == END_ID, -1e9, 0.0))
        generate = kerasseq.TextGenerator(decoding, preprocessor, max_length=steps).generate
        runs = [
            functools.partial(model.fit, dataset, shuffle=False, verbose=0),
            functools.partial(generate, sources, "greedy"),
            functools.partial(generate, sources, kerasseq.search.BeamSampler(5)),
            functools.partial(generate, sources[:1], "greedy"),
        ]
        for part, run in zip(parts.values(), runs, strict=True):
            part[cell] = run

    results, rows = {cell: {"parameters": parameters[cell]} for cell in CELLS}, []
    for name, sides in parts.items():
        seconds = timing.alternate(sides, rounds)
        for cell, values in seconds.items():
            work = {"training, tokens/s": tokens, "greedy, one, ms": None}.get(name, len(sources))
            speeds = [1e3 * value if work is None else work / value for value in values]
            results[cell][name] = timing.summary(speeds)
            results[cell][f"{name}, to {BASELINE}"] = timing.ratio(seconds[BASELINE], values)
    for cell, result in results.items():
        medians = [value["median"] for value in result.values() if isinstance(value, dict)]
        rows.append([cell, f"{result['parameters']:,}", *medians])
    header = ["cell", "parameters"]
    for name in parts:
        header += [name, f"to {BASELINE}"]
    settings = {
        "batch_size": BATCH_SIZE, "batches": count, "real_target_tokens": tokens, "rounds": rounds, "steps": steps,
        "vocabulary_size": vocabulary_size, "units": size, "embedding_dim": size, "sentences": len(sources),
    }  # fmt: skip
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
