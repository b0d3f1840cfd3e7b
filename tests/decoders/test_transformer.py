"""Transformers against the equations of Vaswani et al. 2017 in NumPy, and beside every kind of encoder."""

import keras
import numpy as np
import pytest
from helpers import randomized

import kerasseq
from kerasseq.decoders import TransformerDecoder
from kerasseq.encoders import FeatureEncoder, FramesEncoder, TransformerEncoder
from kerasseq.layers import PositionalEncoding

VOCABULARY, UNITS, HEADS = 11, 6, 2
SOURCE = np.array([[5, 4, 5, 3], [6, 3, 0, 0]], dtype="int32")
TARGET = np.array([[2, 7, 4, 5, 6], [2, 5, 9, 0, 0]], dtype="int32")
BATCH = {"encoder_token_ids": SOURCE, "decoder_token_ids": TARGET}


# === The equations ===


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def attend(query, memory, allowed, w_query, w_key, w_value, w_output):
    """Section 3.2.2, one head after the other: kernels of all heads side by side, `allowed (batch, query, memory)`."""
    heads, all_weights, size = [], [], w_query.shape[-1] // HEADS
    for head in range(HEADS):
        columns = slice(head * size, (head + 1) * size)
        q, k, v = query @ w_query[:, columns], memory @ w_key[:, columns], memory @ w_value[:, columns]
        scores = np.einsum("bqd,bkd->bqk", q, k) / np.sqrt(size)
        all_weights.append(softmax(np.where(allowed, scores, -1e9)))
        heads.append(all_weights[-1] @ v)
    return np.concatenate(heads, axis=-1) @ w_output, np.stack(all_weights, axis=1)


def normalize(x, gamma, beta):
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6) * gamma + beta


def feed_forward(x, w1, b1, w2, b2):
    return np.maximum(x @ w1 + b1, 0) @ w2 + b2  # equation 2


def position_encoding(time, dim):
    return np.array(
        [
            [(np.sin if i % 2 == 0 else np.cos)(t / 10_000 ** (2 * (i // 2) / dim)) for i in range(dim)]
            for t in range(time)
        ]
    )


def embed(ids, matrix):
    return matrix[ids] * np.sqrt(matrix.shape[-1]) + position_encoding(ids.shape[1], matrix.shape[-1])


def weights_of(layer):
    return [weight.numpy().astype("float64") for weight in layer.weights]


def encode(encoder, ids):
    def layer(name):
        return weights_of(encoder.get_layer(name))

    x, allowed = embed(ids, *layer("embedding")), np.broadcast_to((ids != 0)[:, None], (*ids.shape, ids.shape[1]))
    for index in range(encoder.options["num_layers"]):
        # Keras keeps the heads on an axis of their own.
        query, key, value, output = layer(f"attention_{index}")
        kernels = [kernel.reshape(UNITS, UNITS) for kernel in (query, key, value, output)]
        normalized = normalize(x, *layer(f"attention_norm_{index}"))
        x = x + attend(normalized, normalized, allowed, *kernels)[0]
        hidden = normalize(x, *layer(f"feedforward_norm_{index}"))
        x = x + feed_forward(hidden, *layer(f"expand_{index}"), *layer(f"contract_{index}"))
    return normalize(x, *layer("norm"))


def decode(decoder, ids, memory, memory_mask):
    x = embed(ids, *weights_of(decoder.embedding))
    steps = ids.shape[1]
    past = np.broadcast_to(np.tril(np.ones((steps, steps), bool)), (len(ids), steps, steps))
    source = np.broadcast_to(memory_mask[:, None], (*ids.shape, memory.shape[1]))

    def kernels(attention):
        layers = attention.query_kernel, attention.keys.kernel, attention.values.kernel, attention.output_kernel
        return [kernel.numpy().astype("float64") for kernel in layers]

    for layer in decoder.stack:
        past_norm, memory_norm, feedforward_norm = map(weights_of, layer.norms)
        normalized = normalize(x, *past_norm)
        if layer.recurrent is None:
            x = x + attend(normalized, normalized, past, *kernels(layer.self_attention))[0]
        else:
            x = x + ssru(normalized, *weights_of(layer.recurrent))
        context, weights = attend(normalize(x, *memory_norm), memory, source, *kernels(layer.attention))
        x = x + context
        hidden = normalize(x, *feedforward_norm)
        x = x + feed_forward(hidden, *weights_of(layer.expand), *weights_of(layer.contract))
    features = normalize(x, *weights_of(decoder.norm))
    if decoder.logits is None:
        return features @ weights_of(decoder.embedding)[0].T, weights
    kernel, bias = weights_of(decoder.logits)
    return features @ kernel + bias, weights


def ssru(x, kernel, bias):
    """Kim et al. 2019, section 3.1, one step after the other."""
    gates, candidates = np.split(x @ kernel + bias, 2, axis=-1)
    cell, outputs = np.zeros_like(candidates[:, 0]), []
    for t in range(x.shape[1]):
        forget = 1 / (1 + np.exp(-gates[:, t]))
        cell = forget * cell + (1 - forget) * candidates[:, t]
        outputs.append(np.maximum(cell, 0))
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize("options", [{}, {"tie_embeddings": True}, {"cell": "ssru"}], ids=str)
def test_equations(options):
    model = kerasseq.models.TransformerSeq2Seq(
        VOCABULARY, VOCABULARY, UNITS, 2, num_decoder_layers=3, num_heads=HEADS, feedforward_dim=5, **options
    )
    randomized(model)
    memory, mask = encode(model.encoder, SOURCE), SOURCE != 0
    context = model.encode(BATCH)
    np.testing.assert_allclose(np.array(context["memory"])[mask], memory[mask], atol=2e-5)
    mean = (memory * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(context["states"][0]["hidden"], mean, atol=2e-5)
    logits, weights = decode(model.decoder, TARGET, memory, mask)
    outputs = model.decoder_outputs(BATCH)
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-4)
    np.testing.assert_allclose(outputs["attention_heads"], weights, atol=1e-5)


def test_position_encoding():
    expected = position_encoding(40, 7)
    encoded = PositionalEncoding()(keras.ops.zeros((2, 40, 7)))
    np.testing.assert_allclose(encoded[0], expected, atol=1e-5)
    later = PositionalEncoding()(keras.ops.zeros((2, 3, 7)), keras.ops.array([5, 30]))
    np.testing.assert_allclose(later, [expected[5:8], expected[30:33]], atol=1e-5)
    np.testing.assert_allclose(PositionalEncoding()(keras.ops.ones((1, 1, 4))), [[[1, 2, 1, 2]]])


# === Other sources ===


@pytest.mark.parametrize("source", ["features", pytest.param("frames", marks=pytest.mark.slow)])
def test_captioners_and_recognizers(source):
    """They learn two targets by heart with a Transformer, too."""
    random = np.random.default_rng(0)
    if source == "features":
        encoder = FeatureEncoder((2, 2, 8))
        inputs = {"encoder_features": random.normal(size=(2, 2, 2, 8)).astype("float32")}
    else:
        encoder = FramesEncoder(8, 8, cell="gru", num_layers=1)
        mask = np.arange(24) < np.array([[24], [11]])
        inputs = {"encoder_frames": random.normal(size=(2, 24, 8)).astype("float32"), "encoder_mask": mask}
    keras.utils.set_random_seed(3)
    model = kerasseq.Seq2Seq(encoder, TransformerDecoder(VOCABULARY, 16, 1, num_heads=2, feedforward_dim=16))
    model.compile(keras.optimizers.Adam(0.03), kerasseq.losses.MaskedCrossentropy())
    labels = np.array([[7, 4, 5, 6, 3], [5, 9, 3, 0, 0]])
    model.fit({**inputs, "decoder_token_ids": TARGET}, labels, batch_size=2, epochs=30, verbose=0, shuffle=False)
    context = model.encode(inputs)
    request = kerasseq.search.Request(batch_size=2, max_length=5)
    outputs = kerasseq.search.decode(model, context, kerasseq.search.GreedySampler(), request)
    np.testing.assert_array_equal(np.array(outputs["token_ids"])[:, 0], labels)


# === Arguments ===


@pytest.mark.parametrize(
    "options, message",
    [
        ({"units": 6, "num_heads": 4}, "units must be a multiple of num_heads. Received: units=6, num_heads=4."),
        ({"num_layers": 0}, "num_layers must be a positive integer"),
        ({"feedforward_dim": 0}, "feedforward_dim must be a positive integer"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\). Received: dropout=1.0."),
    ],
)
@pytest.mark.parametrize("part", [TransformerEncoder, TransformerDecoder])
def test_errors(part, options, message):
    with pytest.raises(ValueError, match=message):
        part(VOCABULARY, **options)


def test_unknown_cell():
    with pytest.raises(ValueError, match="cell must be one of .*'ssru'. Received: cell='rnn'."):
        TransformerDecoder(VOCABULARY, UNITS, num_heads=HEADS, cell="rnn")
