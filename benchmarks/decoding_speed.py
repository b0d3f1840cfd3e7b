"""Decoding speed: sentences a second of `TextGenerator`, against Python loops a token over a Keras model.

Models of equal sizes, untrained: `AttentionSeq2Seq` (LSTM, Luong) with 6,000 subwords, embeddings and units of 256,
and `keras_example.py` with attention. END is ruled out by its bias, so every side decodes the same fixed number of
tokens. Sources are Multi30k test sentences of middle length. All sides run in one process, turn by turn; the first,
untimed turn traces and compiles. A ratio is the side's sentences a second over those of the loop of `predict` in the
same round.

Sides: `generate` with greedy search and with a beam of 5, raw strings in and texts out; the decoding loop of the
Keras examples, `predict` of the encoder once and of the decoder a token, greedy, token ids in and out, so without the
cost of tokenisation; and that loop with both models called in a `tf.function`, which the examples do not do. The
loops are greedy: a beam search in Python would only be slower.

    python benchmarks/decoding_speed.py
"""

import keras
import numpy as np
import tensorflow as tf
import timing
from keras_example import keras_example

import kerasseq
from kerasseq.preprocessing.vocabulary import END_ID, START_ID

BEAM_WIDTH = 5
BASELINE = "Keras example, predict a token"


def python_loop(encode, decode, encoder_token_ids, steps):
    """Greedy search as in the Keras examples: one call of the decoder a token, from Python."""
    hidden, cell, *constants = encode(encoder_token_ids)
    token_ids = np.full((len(encoder_token_ids), 1), START_ID, "int32")
    decoded = []
    for _ in range(steps):
        probabilities, hidden, cell = decode([token_ids, hidden, cell, *constants])
        token_ids = np.argmax(probabilities[:, -1:], axis=-1).astype("int32")  # (batch, 1)
        decoded.append(token_ids)
    return np.concatenate(decoded, axis=1)


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    size, steps, rounds = (16, 4, 2) if quick else (256, 20, 7)
    keras.utils.set_random_seed(1)
    _, test, preprocessor = timing.load_data(quick)
    vocabulary_size = preprocessor.target_vocabulary_size
    sources = sorted(test, key=len)[len(test) // 2 :][:64]

    # === Models ===
    model = kerasseq.models.AttentionSeq2Seq(vocabulary_size, vocabulary_size, "lstm", embedding_dim=size, units=size)
    _, encoder, decoder = keras_example(vocabulary_size, vocabulary_size, size, size, attention=True)
    for logits in (model.decoder.logits, decoder.layers[-1]):
        logits.bias.assign(np.where(np.arange(vocabulary_size) == END_ID, -1e9, 0.0))
    generator = kerasseq.TextGenerator(model, preprocessor, max_length=steps)
    beam = kerasseq.search.BeamSampler(BEAM_WIDTH)
    compiled = [tf.function(part, reduce_retracing=True) for part in (encoder, decoder)]

    # === Speed ===
    results, rows = {}, []
    for batch_size in (1, 64):
        batch = sources[:batch_size]
        encoder_token_ids = preprocessor.encode_source(batch)["encoder_token_ids"].numpy()

        def generate(sampler, batch=batch):
            generator.generate(batch, sampler=sampler)

        def loop(encode, decode, ids=encoder_token_ids):
            python_loop(encode, decode, ids, steps)

        sides = {
            BASELINE: lambda loop=loop: loop(
                lambda inputs: encoder.predict(inputs, batch_size=64, verbose=0),
                lambda inputs: decoder.predict(inputs, batch_size=64, verbose=0),
            ),
            "Keras example, tf.function a token": lambda loop=loop: loop(*compiled),
            "kerasseq greedy": lambda generate=generate: generate("greedy"),
            f"kerasseq beam {BEAM_WIDTH}": lambda generate=generate: generate(beam),
        }
        seconds = timing.alternate(sides, rounds)
        for name, values in seconds.items():
            side = {
                "ms_per_sentence": timing.summary(1e3 * value / batch_size for value in values),
                "ms_per_step": timing.summary(1e3 * value / steps for value in values),
                "sentences_per_second": timing.summary(batch_size / value for value in values),
                "ratio_to_predict": timing.ratio(seconds[BASELINE], values),
            }
            results[f"{name}, batch {batch_size}"] = side
            rows.append([f"{name}, batch {batch_size}", *(part["median"] for part in side.values())])
    settings = {
        "tokens_per_sentence": steps, "rounds": rounds, "vocabulary_size": vocabulary_size, "units": size,
        "embedding_dim": size, "parameters": model.count_params(),
        "parameters_keras_example": encoder.count_params() + decoder.count_params(),
    }  # fmt: skip
    header = ["side", "ms/sentence", "ms/step", "sentences/s", "to predict"]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
