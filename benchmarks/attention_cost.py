"""What attention costs: a training step and a decoding step of each kind in each placement, by source length.

GRU models with an encoder in both directions, 6,000 subwords, embeddings and units of 256, targets of 20 tokens,
random ids without padding: without attention (`GRUSeq2Seq`), and with each kind of attention after the recurrence,
with input feeding and inside the recurrence. ("concat" is "bahdanau" in another placement, and "dot" needs a memory of
the decoder's size, so its encoder reads in one direction.) Training: one step of `fit` with Adam at batch 64, encoder
included. Decoding: one step of the decoder in a compiled loop, at batch 1 and 64. All sides run in one process, turn by
turn; the first, untimed turn traces and compiles. A ratio is time over the time of Luong's attention after the
recurrence in the same round.

    python benchmarks/attention_cost.py
"""

import functools

import keras
import numpy as np
import tensorflow as tf
import timing

import kerasseq

BATCH_SIZE = 64
TARGET_LENGTH = 20
KINDS = ("luong", "dot", "bahdanau", "multi_head", "location", "monotonic", "coverage")
PLACEMENTS = ("after", "input_feeding", "inside")
BASELINE = "luong, after"


def builders():
    """Builders of all sides by name."""
    sides = {"none": functools.partial(kerasseq.models.GRUSeq2Seq, bidirectional=True)}
    for kind in KINDS:
        for placement in PLACEMENTS:
            sides[f"{kind}, {placement}"] = functools.partial(
                kerasseq.models.AttentionSeq2Seq,
                cell="gru",
                attention=kind,
                placement=placement,
                bidirectional=kind != "dot",
            )
    return sides


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    size, vocabulary_size, rounds = (16, 100, 1) if quick else (256, 6_000, 3)
    training_steps, decoding_steps = (1, 10) if quick else (2, 50)
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    models = {}
    for name, build in builders().items():
        models[name] = build(vocabulary_size, vocabulary_size, embedding_dim=size, units=size)
        models[name].compile("adam", kerasseq.losses.MaskedCrossentropy())

    def token_ids(*shape):
        return random.integers(4, vocabulary_size, shape, dtype="int32")

    results, rows = {}, []
    for source_length in (4, 8, 16) if quick else (16, 64, 256):
        target_ids = token_ids(BATCH_SIZE, TARGET_LENGTH)
        batch = {"encoder_token_ids": token_ids(BATCH_SIZE, source_length), "decoder_token_ids": target_ids}, target_ids
        dataset = timing.make_dataset([batch] * training_steps)
        train = {
            name: functools.partial(model.fit, dataset, shuffle=False, verbose=0) for name, model in models.items()
        }
        measured = {"training": (training_steps, train)}
        for batch_size in (1, 64):
            sources = tf.constant(token_ids(batch_size, source_length))
            loops = {
                name: timing.step_loop(
                    timing.decoder_step(model),
                    *model.start(model.encode({"encoder_token_ids": sources})),
                    decoding_steps,
                )
                for name, model in models.items()
            }
            measured[f"decoding, batch {batch_size}"] = (decoding_steps, loops)
        for what, (steps, sides) in measured.items():
            seconds = timing.alternate(sides, rounds)
            for name, values in seconds.items():
                milliseconds = timing.summary(1e3 * value / steps for value in values)
                to_baseline = timing.ratio(values, seconds[BASELINE])
                label = f"{what}, source {source_length}, {name}"
                results[label] = {"ms_per_step": milliseconds, "ratio_to_luong_after": to_baseline}
                rows.append([label, *timing.spread(milliseconds), *timing.spread(to_baseline)])
    settings = {
        "training_batch_size": BATCH_SIZE, "target_length": TARGET_LENGTH, "training_steps": training_steps,
        "decoding_steps": decoding_steps, "rounds": rounds, "vocabulary_size": vocabulary_size, "units": size,
        "embedding_dim": size, "parameters": {name: model.count_params() for name, model in models.items()},
    }  # fmt: skip
    header = [
        "what, source length, attention, placement",
        "ms/step",
        "least",
        "most",
        "to Luong after",
        "least",
        "most",
    ]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
