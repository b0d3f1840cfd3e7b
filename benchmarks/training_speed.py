"""Training speed and memory: real target tokens a second, against plain `keras.layers`.

Multi30k English-German, 6,000 subwords a side, embeddings and units of 256, batches of 64, Adam. A target token is
real unless it is padding; END counts. All sides train on the same sentences in the same batches with `fit`, in one
process, turn by turn; the first, untimed turn traces and compiles.

Sides: the builders of kerasseq on length buckets, and `keras_example.py` without and with attention, padded to 48
tokens as the Keras examples pad (labels as ids, and as one-hot vectors made batch by batch: those of the whole
training set would be 33 GB), and on the same length buckets as kerasseq. A ratio is speed over the speed of the Keras
model in the same round: models without attention are compared with the LSTM, models with attention with the attention
LSTM. Longer pairs than 48 tokens are left out.

Peak memory is the most resident memory of a fresh process that trains one side on the two longest batches; the
imports alone are a line of their own.

    python benchmarks/training_speed.py
"""

import functools

import keras
import numpy as np
import tensorflow as tf
import timing
from keras_example import keras_example

import kerasseq

BATCH_SIZE = 64
PADDED_LENGTH = 48

# What is built, the form of its batches, and whose speed it is compared with.
models = kerasseq.models
PLAIN, ATTENTION = "keras LSTM", "keras attention LSTM"
SIDES = {
    f"{PLAIN}, padded, one-hot": (functools.partial(keras_example, attention=False), "one-hot", PLAIN),
    f"{PLAIN}, padded": (functools.partial(keras_example, attention=False), "padded", PLAIN),
    f"{PLAIN}, buckets": (functools.partial(keras_example, attention=False), "buckets", PLAIN),
    "VanillaSeq2Seq": (models.VanillaSeq2Seq, "kerasseq", PLAIN),
    "LSTMSeq2Seq": (models.LSTMSeq2Seq, "kerasseq", PLAIN),
    "GRUSeq2Seq": (models.GRUSeq2Seq, "kerasseq", PLAIN),
    f"{ATTENTION}, padded": (functools.partial(keras_example, attention=True), "padded", ATTENTION),
    f"{ATTENTION}, buckets": (functools.partial(keras_example, attention=True), "buckets", ATTENTION),
    "AttentionSeq2Seq lstm luong": (functools.partial(models.AttentionSeq2Seq, cell="lstm"), "kerasseq", ATTENTION),
    "AttentionSeq2Seq gru luong": (functools.partial(models.AttentionSeq2Seq, cell="gru"), "kerasseq", ATTENTION),
    "AttentionSeq2Seq gru bahdanau": (
        functools.partial(models.AttentionSeq2Seq, cell="gru", attention="bahdanau"), "kerasseq", ATTENTION,
    ),
}  # fmt: skip


def sample_batches(train, preprocessor, count):
    """Length buckets of a shuffled data set, short to long at even distances: encoder ids, decoder ids, labels."""
    dataset = preprocessor.dataset(train, BATCH_SIZE, shuffle=True)
    batches = [
        (inputs["encoder_token_ids"], inputs["decoder_token_ids"], labels)
        for inputs, labels in dataset.as_numpy_iterator()
        if len(labels) == BATCH_SIZE
    ]
    batches.sort(key=lambda batch: batch[1].shape)
    return [batches[(2 * index + 1) * len(batches) // (2 * count)] for index in range(count)]


def make_side(name, batches, vocabulary_size, size):
    """Builds and compiles a side; returns its model and a function that trains on all batches once."""
    build, form, _ = SIDES[name]
    model = build(vocabulary_size, vocabulary_size, units=size, embedding_dim=size)
    if form == "kerasseq":
        model.compile("adam", kerasseq.losses.MaskedCrossentropy())
        names = ("encoder_token_ids", "decoder_token_ids")
        batches = [({names[0]: source, names[1]: target}, labels) for source, target, labels in batches]
    else:
        model = model[0]
        model.compile("adam", "categorical_crossentropy" if form == "one-hot" else "sparse_categorical_crossentropy")
        if form != "buckets":
            batches = [[np.pad(ids, ((0, 0), (0, PADDED_LENGTH - ids.shape[1]))) for ids in batch] for batch in batches]
        batches = [((source, target), labels) for source, target, labels in batches]
    dataset = timing.make_dataset(batches, PADDED_LENGTH if form in ("padded", "one-hot") else None)
    if form == "one-hot":
        dataset = dataset.map(lambda inputs, labels: (inputs, tf.one_hot(labels, vocabulary_size)))
    return model, functools.partial(model.fit, dataset, shuffle=False, verbose=0)


def train_side(name, *arguments):
    """Trains a side once, or none."""
    if name is not None:
        make_side(name, *arguments)[1]()


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    count, rounds, size = (2, 2, 16) if quick else (5, 4, 256)
    names = list(SIDES)
    train, _, preprocessor = timing.load_data(quick)
    vocabulary_size = preprocessor.target_vocabulary_size
    batches = sample_batches(train, preprocessor, count)
    tokens = int(sum(np.count_nonzero(labels) for _, _, labels in batches))

    # === Memory ===
    memory = {}
    for name in [None, *names[:: len(names) - 1 if quick else 1]]:
        memory[name] = timing.peak_memory(train_side, name, batches[-2:], vocabulary_size, size)

    # === Speed ===
    keras.utils.set_random_seed(1)
    sides = {name: make_side(name, batches, vocabulary_size, size) for name in names}
    seconds = timing.alternate({name: train_once for name, (_, train_once) in sides.items()}, rounds)

    speeds = {name: [tokens / value for value in values] for name, values in seconds.items()}
    results = {"imports alone": {"peak_memory_mb": memory[None]}}
    rows = [["imports alone", *[""] * 6, str(memory[None])]]
    for name, (model, _) in sides.items():
        baseline = SIDES[name][2]
        speed = timing.summary(speeds[name])
        to_padded = timing.ratio(speeds[name], speeds[f"{baseline}, padded"])
        to_buckets = timing.ratio(speeds[name], speeds[f"{baseline}, buckets"])
        results[name] = {
            "parameters": model.count_params(),
            "target_tokens_per_second": speed,
            "ratio_to_keras_padded": to_padded,
            "ratio_to_keras_buckets": to_buckets,
            "peak_memory_mb": memory.get(name),
        }
        rows.append([name, f"{model.count_params():,}", *timing.spread(speed),
                     to_padded["median"], to_buckets["median"], str(memory.get(name, ""))])  # fmt: skip
    settings = {
        "batch_size": BATCH_SIZE, "batches": count, "real_target_tokens": tokens, "rounds": rounds,
        "padded_length": PADDED_LENGTH, "vocabulary_size": vocabulary_size, "units": size, "embedding_dim": size,
    }  # fmt: skip
    header = ["side", "parameters", "tokens/s", "least", "most", "to padded", "to buckets", "peak MB"]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
