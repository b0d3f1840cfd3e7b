"""Trains a model by SGD on one device and on two by JAX's data parallelism, and prints the differences as JSON.

In processes of its own: the backend, and the number of devices, are fixed before the first operation.
"""

import json
import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

import kerasseq  # noqa: E402

WITH_LOSSES = sys.argv[1] == "auxiliary"


def batches():
    """Four batches of eight pairs; the halves of each have different numbers of tokens."""
    random = np.random.default_rng(1)
    for _ in range(4):
        labels = random.integers(4, 12, (8, 6)).astype("int32")
        for row in range(8):
            labels[row, 6 - row // 2 :] = 0
        source = np.where(labels == 0, 0, labels + 1).astype("int32")
        inputs = {"encoder_token_ids": source, "decoder_token_ids": np.roll(labels, 1, axis=1)}
        yield inputs, labels


def train():
    keras.utils.set_random_seed(1)
    losses = [kerasseq.layers.CoverageLoss(1.0)] if WITH_LOSSES else []
    encoder = kerasseq.encoders.RecurrentEncoder(14, 8, 8, cell="gru")
    model = kerasseq.Seq2Seq(
        encoder, kerasseq.decoders.RecurrentDecoder(14, 8, 8, cell="gru", attention="luong"), losses
    )
    metrics = [kerasseq.metrics.TokenAccuracy(), kerasseq.metrics.Perplexity()]
    model.compile(keras.optimizers.SGD(0.5), kerasseq.losses.MaskedCrossentropy(0.1), weighted_metrics=metrics)
    logs = []
    for _ in range(2):
        model.reset_metrics()
        for inputs, labels in batches():
            logs.append(model.train_on_batch(inputs, labels, return_dict=True))
    model.reset_metrics()
    for inputs, labels in batches():
        logs.append(model.test_on_batch(inputs, labels, return_dict=True))
    weights = [np.array(weight) for weight in model.get_weights()]
    names = sorted(logs[0])
    return {name: np.array([float(log[name]) for log in logs]) for name in names}, weights


assert len(jax.devices()) == 2
one = train()
keras.distribution.set_distribution(keras.distribution.DataParallel(devices=jax.devices()))
two = train()
differences = {
    name: (np.abs(values - two[0][name]) / np.maximum(np.abs(values), 1.0)).max() for name, values in one[0].items()
}
differences["weights"] = max(np.abs(own - other).max() for own, other in zip(one[1], two[1], strict=True))
learned = one[0]["loss"][0] - one[0]["loss"][-1]
print(
    json.dumps({"differences": {name: float(value) for name, value in differences.items()}, "learned": float(learned)})
)
