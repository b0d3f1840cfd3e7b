"""What long sources cost: time and memory of training and decoding, for sources of 50 to 800 tokens.

GRU models with an encoder in both directions, 8,000 subwords, embeddings and units of 128, targets of 20 tokens, random
ids without padding, batches of 16: attention after Luong and additive ("concat"), and pointer-generators with coverage
and with location-sensitive attention. Training: one step of `fit` with Adam. Decoding: encoder, and 20 steps of greedy
search in a compiled loop. All sides of a length run in one process, turn by turn; the first, untimed turn traces and
compiles. A ratio is time over the time of the same model at the shortest length, in the same run. Peak memory is the
most resident memory of a fresh process that trains one model on one batch; the imports alone are a line of their own.

    python benchmarks/source_length.py
"""

import functools

import numpy as np
import tensorflow as tf
import timing

import kerasseq
from kerasseq import search

BATCH_SIZE = 16
TARGET_LENGTH = 20
SIDES = {
    "attention, luong": (kerasseq.models.AttentionSeq2Seq, "luong"),
    "attention, concat": (kerasseq.models.AttentionSeq2Seq, "concat"),
    "pointer-generator, coverage": (kerasseq.models.PointerGeneratorSeq2Seq, "coverage"),
    "pointer-generator, location": (kerasseq.models.PointerGeneratorSeq2Seq, "location"),
}


def make_model(name, vocabulary_size, size):
    builder, attention = SIDES[name]
    sizes = [vocabulary_size] if builder is kerasseq.models.PointerGeneratorSeq2Seq else [vocabulary_size] * 2
    model = builder(*sizes, cell="gru", embedding_dim=size, units=size, attention=attention, placement="after")
    model.compile("adam", kerasseq.losses.MaskedCrossentropy())
    return model


def make_batch(source_length, vocabulary_size):
    random = np.random.default_rng(1)
    source, target = (
        random.integers(4, vocabulary_size, (BATCH_SIZE, length), dtype="int32")
        for length in (source_length, TARGET_LENGTH)
    )
    return {"encoder_token_ids": source, "decoder_token_ids": target}, target


def train_once(name, source_length, vocabulary_size, size):
    """Trains a side on one batch, or none."""
    if name is not None:
        batch = make_batch(source_length, vocabulary_size)
        make_model(name, vocabulary_size, size).fit(timing.make_dataset([batch]), shuffle=False, verbose=0)


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    vocabulary_size, size, rounds, steps = (100, 16, 1, 1) if quick else (8_000, 128, 3, 3)
    lengths = (8, 16) if quick else (50, 100, 200, 400, 800)
    models = {name: make_model(name, vocabulary_size, size) for name in SIDES}
    imports = timing.peak_memory(train_once, None, 0, vocabulary_size, size)
    results, rows, seconds = {"imports alone": {"peak_memory_mb": imports}}, [], {}
    for length in lengths:
        batch = make_batch(length, vocabulary_size)
        dataset = timing.make_dataset([batch] * steps)
        sides = {}
        for name, model in models.items():
            sides["training", name] = functools.partial(model.fit, dataset, shuffle=False, verbose=0)
            sides["decoding", name] = decoding(model, tf.constant(batch[0]["encoder_token_ids"]))
        for (what, name), values in timing.alternate(sides, rounds).items():
            seconds[what, name, length] = [value / (steps if what == "training" else 1) for value in values]
    for name in SIDES:
        for length in lengths:
            result = {"peak_memory_mb": timing.peak_memory(train_once, name, length, vocabulary_size, size)}
            row = [f"{name}, source {length}", result["peak_memory_mb"]]
            for what in ("training", "decoding"):
                milliseconds = timing.summary(1e3 * value for value in seconds[what, name, length])
                ratio = (
                    milliseconds["median"]
                    / timing.summary(1e3 * value for value in seconds[what, name, lengths[0]])["median"]
                )
                result[what] = {"ms_per_batch": milliseconds, "ratio_to_shortest": float(f"{ratio:.3g}")}
                row += [milliseconds["median"], ratio]
            results[row[0]] = result
            rows.append([str(cell) if isinstance(cell, int) else cell for cell in row])
    settings = {
        "batch_size": BATCH_SIZE, "target_length": TARGET_LENGTH, "training_steps": steps, "rounds": rounds,
        "vocabulary_size": vocabulary_size, "units": size, "embedding_dim": size,
        "parameters": {name: model.count_params() for name, model in models.items()},
    }  # fmt: skip
    header = ["model, source length", "peak MB", "training ms", "to shortest", "decoding ms", "to shortest"]
    timing.report(arguments, settings, results, header, rows)


def decoding(model, encoder_token_ids):
    """A function without arguments that encodes the batch and decodes it, always to the same length."""
    sampler = search.GreedySampler(constraints=[search.LengthLimits(min_length=TARGET_LENGTH)])

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def decode(token_ids):
        context = model.encode({"encoder_token_ids": token_ids})
        request = search.Request(batch_size=tf.shape(token_ids)[0], max_length=TARGET_LENGTH)
        return search.decode(model, context, sampler, request)["token_ids"]

    return lambda: decode(encoder_token_ids).numpy()


if __name__ == "__main__":
    main()
