"""Keras layers by hand: a functional model, `compile` and `fit` with their defaults on length buckets.

Decoding is a Python loop over models of the encoder and of one decoder step, both compiled by `tf.function`, with the
beam in NumPy.

    python benchmarks/peers/system_keras.py train
"""

import comparison
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from on_keras import measure, start

BUCKETS = (8, 12, 16, 20, 24, 32, 48)


def build(settings):
    """The model that `fit` trains, the encoder, and one step of the decoder, which share their layers."""
    units, dropout = settings.decoder_units, settings.dropout

    # === Encoder ===
    source = keras.Input([None], dtype="int32")
    embedded = layers.Embedding(settings.vocabulary_size, settings.embedding_dim, mask_zero=True)(source)
    embedded = layers.Dropout(dropout)(embedded)
    lstm = layers.LSTM(settings.encoder_units, return_sequences=True, return_state=True)
    memory, *states = layers.Bidirectional(lstm)(embedded)
    hidden, cell = layers.Concatenate()(states[::2]), layers.Concatenate()(states[1::2])
    memory = layers.Dropout(dropout)(memory)
    keys = layers.Dense(units, use_bias=False)(memory)
    encoder = keras.Model(source, [memory, keys, hidden, cell])

    # === Decoder ===
    embedding = layers.Embedding(settings.vocabulary_size, settings.embedding_dim)
    decoder = layers.LSTM(units, return_sequences=True, return_state=True)
    attention = layers.Attention()
    combine = layers.Dense(units, activation="tanh")
    logits = layers.Dense(settings.vocabulary_size)

    def decode(target, source, memory, keys, hidden, cell):
        embedded = layers.Dropout(dropout)(embedding(target))
        outputs, hidden, cell = decoder(embedded, initial_state=[hidden, cell])
        context = attention([outputs, memory, keys], mask=[None, ops.not_equal(source, comparison.PADDING_ID)])
        attentional = combine(layers.Concatenate()([context, outputs]))
        return [logits(layers.Dropout(dropout)(attentional)), hidden, cell]

    target = keras.Input([None], dtype="int32")
    model = keras.Model([source, target], decode(target, source, memory, keys, hidden, cell)[0])
    inputs = [target, source, *(keras.Input(tensor.shape[1:]) for tensor in (memory, keys, hidden, cell))]
    return model, encoder, keras.Model(inputs, decode(*inputs))


def smoothed_crossentropy(label_smoothing):
    """The loss of the real tokens: that of Keras for ids has no label smoothing, and counts padding."""

    def loss(labels, logits):
        log_probabilities = ops.log_softmax(logits, axis=-1)  # (batch, target, vocabulary)
        at_labels = ops.take_along_axis(log_probabilities, ops.cast(labels, "int32")[:, :, None], axis=-1)[:, :, 0]
        everywhere = ops.mean(log_probabilities, axis=-1)
        losses = -(1 - label_smoothing) * at_labels - label_smoothing * everywhere
        real = ops.cast(ops.not_equal(labels, comparison.PADDING_ID), losses.dtype)
        return ops.sum(losses * real) / ops.sum(real)

    return loss


def make_batches(arguments):
    """Shuffled training pairs in length buckets, endless."""
    sources, targets = (comparison.read_ids(arguments, "train", language) for language in comparison.LANGUAGES)
    pairs = [
        ([*source, comparison.END_ID], [comparison.START_ID, *target, comparison.END_ID])
        for source, target in zip(sources, targets, strict=True)
        if max(len(source), len(target)) < BUCKETS[-1]
    ]
    sources, targets = (tf.ragged.constant(side, dtype="int32") for side in zip(*pairs, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices((sources, targets)).shuffle(len(pairs), seed=1).repeat()
    dataset = dataset.map(lambda source, target: ((source, target[:-1]), target[1:]))
    return dataset.bucket_by_sequence_length(
        lambda inputs, labels: tf.maximum(tf.size(inputs[0]), tf.size(labels)),
        bucket_boundaries=[length + 1 for length in BUCKETS],
        bucket_batch_sizes=[arguments.settings.batch_size] * (len(BUCKETS) + 1),
        drop_remainder=True,
    ).prefetch(2)


def train(model, arguments, steps, callbacks=()):
    settings = arguments.settings
    model.compile(
        keras.optimizers.Adam(settings.learning_rate, clipnorm=settings.gradient_norm),
        smoothed_crossentropy(settings.label_smoothing),
    )
    return model.fit(make_batches(arguments), steps_per_epoch=steps, verbose=0, callbacks=list(callbacks))


class Decoding:
    """Greedy search and beam search of batches.

    Args:
        encoder, step: the models that `build` returns.
        settings: the `Settings`.
    """

    def __init__(self, encoder, step, settings):
        self.settings = settings
        dense = [tf.TensorSpec([None, *tensor.shape[1:]]) for tensor in encoder.outputs]
        ids = tf.TensorSpec([None, None], tf.int32)
        self.encode = tf.function(lambda source: encoder(source, training=False), input_signature=[ids])

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.int32), ids, *dense])
        def next_tokens(token_ids, *inputs):
            logits, *state = step([token_ids, *inputs], training=False)
            best = tf.math.top_k(tf.nn.log_softmax(logits[:, 0]), settings.beam_width)
            return best.values, best.indices, *state

        self.next_tokens = next_tokens

    def start(self, sources):
        source = keras.utils.pad_sequences([[*source, comparison.END_ID] for source in sources], padding="post")
        source = tf.constant(source, tf.int32)
        memory, keys, *state = self.encode(source)
        return [source, memory, keys], state

    def greedy(self, sources):
        """Outputs, and the mean log-probabilities of their tokens."""
        constants, state = self.start(sources)
        token_ids = np.full(len(sources), comparison.START_ID)
        ended = np.zeros(len(sources), bool)
        scores, lengths, steps = np.zeros(len(sources)), np.zeros(len(sources)), []
        for _ in range(self.settings.max_length):
            values, indices, *state = self.next_tokens(tf.constant(token_ids[:, None], tf.int32), *constants, *state)
            scores += np.where(ended, 0.0, values[:, 0])
            lengths += ~ended
            token_ids = np.where(ended, comparison.END_ID, indices[:, 0])
            ended |= token_ids == comparison.END_ID
            steps.append(token_ids)
            if ended.all():
                break
        return [comparison.until_end(output) for output in np.stack(steps, axis=1).tolist()], scores / lengths

    def beam(self, sources):
        """As `greedy`; hypotheses are compared by mean log-probability, and a source ends with its whole beam."""
        batch, width = len(sources), self.settings.beam_width
        constants, state = ([tf.repeat(tensor, width, axis=0) for tensor in tensors] for tensors in self.start(sources))
        token_ids = np.full((batch, width), comparison.START_ID)
        scores = np.full((batch, width), -np.inf)
        scores[:, 0] = 0.0  # All hypotheses are the same at first.
        lengths, ended = np.zeros((batch, width)), np.zeros((batch, width), bool)
        outputs = np.zeros((batch, width, 0), "int32")
        for _ in range(self.settings.max_length):
            values, indices, *state = self.next_tokens(
                tf.constant(token_ids.reshape(-1, 1), tf.int32), *constants, *state
            )
            values, indices = (part.numpy().reshape(batch, width, width) for part in (values, indices))
            # A hypothesis that has ended goes on as itself alone.
            itself = np.where(np.arange(width) == 0, 0.0, -np.inf)
            values = np.where(ended[:, :, None], itself, values)
            indices = np.where(ended[:, :, None], comparison.END_ID, indices)
            candidates = (scores[:, :, None] + values).reshape(batch, -1)
            candidate_lengths = np.repeat(lengths + ~ended, width, axis=1)
            chosen = np.argsort(-candidates / candidate_lengths, axis=1)[:, :width]  # (batch, width)
            scores, lengths, token_ids, parents = (
                np.take_along_axis(part, chosen, axis=1)
                for part in (
                    candidates, candidate_lengths, indices.reshape(batch, -1),
                    np.repeat(np.arange(width), width)[None].repeat(batch, axis=0),
                )
            )  # fmt: skip
            ended = np.take_along_axis(ended, parents, axis=1) | (token_ids == comparison.END_ID)
            outputs = np.take_along_axis(outputs, parents[:, :, None], axis=1)
            outputs = np.concatenate([outputs, token_ids[:, :, None]], axis=2)
            rows = (np.arange(batch)[:, None] * width + parents).ravel()
            state = [tf.gather(tensor, rows) for tensor in state]
            if ended.all():
                break
        means = scores / lengths
        best = outputs[np.arange(batch), means.argmax(axis=1)]
        return [comparison.until_end(output) for output in best.tolist()], means.max(axis=1)


def main():
    arguments = comparison.parse_arguments(__doc__)
    settings = arguments.settings
    start()
    model, encoder, step = build(settings)

    def make_decode():
        decoding = Decoding(encoder, step, settings)
        return decoding.beam if arguments.what == "beam" else decoding.greedy

    result, outputs = measure(arguments, model, "keras.weights.h5", train, make_batches, make_decode)
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    comparison.print_result("keras", arguments, versions, model.count_params(), result, outputs)


if __name__ == "__main__":
    main()
