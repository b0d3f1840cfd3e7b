"""Trains a model on one device and on two replicas, and prints the differences as JSON.

In a process of its own: the number of devices is fixed before the first operation, and TensorFlow mixes up the
exchanges of a second strategy with those of the first.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

import kerasseq

ROWS, CASE, WORDS = int(sys.argv[1]), sys.argv[2], "eins zwei drei vier fünf sechs".split()


def pairs():
    random = np.random.default_rng(1)
    # Shorter and shorter targets, so that the halves of a batch have different numbers of tokens.
    lengths = [1 + 5 * (ROWS - row) // ROWS for row in range(ROWS)]
    texts = [" ".join(random.choice(WORDS, size=length)) for length in lengths]
    return [(text, text) for text in texts]


def train(strategy, make_loss, make_losses, make_optimizer):
    keras.utils.set_random_seed(1)
    loss, losses = make_loss(), make_losses()
    with strategy.scope():
        encoder = kerasseq.encoders.RecurrentEncoder(PREPROCESSOR.source_vocabulary_size, 8, 8, cell="gru")
        decoder = kerasseq.decoders.RecurrentDecoder(
            PREPROCESSOR.target_vocabulary_size, 8, 8, cell="gru", attention="luong", copy=bool(losses)
        )
        model = kerasseq.Seq2Seq(encoder, decoder, losses)
        metrics = [kerasseq.metrics.TokenAccuracy(), kerasseq.metrics.Perplexity()]
        model.compile(make_optimizer(), loss, weighted_metrics=metrics)
    data = PREPROCESSOR.dataset(PAIRS, 20)
    history = model.fit(data, validation_data=data, epochs=2, shuffle=False, verbose=0).history
    return {name: np.array(values) for name, values in history.items()}, model.get_weights()


cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
PAIRS = pairs()
PREPROCESSOR = kerasseq.preprocessing.TextPreprocessor.from_pairs(PAIRS, tokens="words", joint=True)
CASES = {
    "crossentropy": (lambda: kerasseq.losses.MaskedCrossentropy(0.1), lambda: [], lambda: keras.optimizers.SGD(0.5)),
    "auxiliary": (
        kerasseq.losses.MaskedCrossentropy,
        lambda: [kerasseq.layers.CoverageLoss(1.0), kerasseq.layers.ContentSelectionLoss(4, 2.0)],
        # Epsilon: rounding in gradients of about 0 does not become a step.
        lambda: kerasseq.optimizers.Adam(0.05, epsilon=1e-2),
    ),
}
one, two = (
    train(strategy, *CASES[CASE])
    for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
)
differences = {name: np.abs(values - two[0][name]).max() for name, values in one[0].items()}
differences["weights"] = max(np.abs(own - other).max() for own, other in zip(one[1], two[1], strict=True))
learned = one[0]["loss"][0] - one[0]["loss"][1]
print(
    json.dumps({"differences": {name: float(value) for name, value in differences.items()}, "learned": float(learned)})
)
