"""The cost of one decoding step in a graph, against the bare formulas with the same weights.

Every side runs the same compiled loop of steps, in which batch and source length are unknown to the graph, as in
`TextGenerator`; the loop alone is a line of its own and contained in all others. Models: `AttentionSeq2Seq` with
Luong attention, 6,000 subwords, embeddings and units of 256, sources of 20 tokens. Sides: the decoder sub-model
called with one token, and the same in bare TensorFlow operations; `kerasseq.layers.Recurrent` with one step,
`keras.layers.LSTM` or `GRU` with one step, and the bare cell. Before timing, each side's results are compared with
the bare ones. All sides run in one process, turn by turn. A ratio is time over the time of the bare formulas in the
same round. Contract: at most 1.3 at batch 1.

    python benchmarks/decoding_step.py
"""

import keras
import numpy as np
import tensorflow as tf
import timing

import kerasseq

KERAS_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


# === The bare formulas ===


def bare_lstm(inputs, states, kernel, recurrent_kernel, bias):
    hidden, memory = states
    gates = inputs @ kernel + hidden @ recurrent_kernel + bias  # (batch, 4 * units)
    input_gate, forget_gate, candidate, output_gate = tf.split(gates, 4, axis=-1)
    memory = tf.sigmoid(forget_gate) * memory + tf.sigmoid(input_gate) * tf.tanh(candidate)
    return [tf.sigmoid(output_gate) * tf.tanh(memory), memory]


def bare_gru(inputs, states, kernel, recurrent_kernel, bias, recurrent_bias):
    (hidden,) = states
    update, reset, candidate = tf.split(inputs @ kernel + bias, 3, axis=-1)  # (batch, units) each
    update_share, reset_share, candidate_share = tf.split(hidden @ recurrent_kernel + recurrent_bias, 3, axis=-1)
    update = tf.sigmoid(update + update_share)
    candidate = tf.tanh(candidate + tf.sigmoid(reset + reset_share) * candidate_share)
    return [update * hidden + (1 - update) * candidate]


BARE_CELLS = {"lstm": bare_lstm, "gru": bare_gru}


def bare_decoder(cell, decoder):
    """Embedding, cell, Luong attention and logits of a decoder with its weights, as a step for `step_loop`."""
    (embedding,) = decoder.get_layer("embedding").get_weights()
    embedding = tf.constant(embedding)
    cell_weights = [tf.constant(weight) for weight in decoder.get_layer("recurrent_0").get_weights()]
    attentional = [tf.constant(weight) for weight in decoder.get_layer("attentional").get_weights()]
    logits = [tf.constant(weight) for weight in decoder.get_layer("logits").get_weights()]

    def step(token_ids, context):
        states = BARE_CELLS[cell](tf.gather(embedding, token_ids[:, 0]), context["states"], *cell_weights)
        scores = tf.matmul(states[0][:, None], context["keys"], transpose_b=True)  # (batch, 1, source)
        weights = tf.nn.softmax(tf.where(context["memory_mask"][:, None], scores, -1e9))
        attended = tf.matmul(weights, context["memory"])[:, 0]  # (batch, dim)
        features = tf.tanh(tf.concat([attended, states[0]], axis=-1) @ attentional[0] + attentional[1])
        return features @ logits[0] + logits[1], states

    return step


def decoder_sides(cell, vocabulary_size, size, batch_size, source_length):
    model = kerasseq.models.AttentionSeq2Seq(vocabulary_size, vocabulary_size, cell, embedding_dim=size, units=size)
    context = timing.decoder_context(model, tf.fill([batch_size, source_length], 7))
    return context, {"bare": bare_decoder(cell, model.get_layer("decoder")), "kerasseq": timing.decoder_step(model)}


# === The recurrence alone ===


def recurrence_sides(cell, size, batch_size):
    """The cell alone, fed with its own output."""
    layer = kerasseq.layers.Recurrent(size, cell=cell)
    layer.build((None, None, size))
    keras_layer = KERAS_LAYERS[cell](size, return_state=True)
    keras_layer.build((None, None, size))
    weights = layer.get_weights()
    # Keras keeps the two biases of a GRU in one matrix.
    keras_layer.set_weights(weights if cell == "lstm" else [*weights[:2], np.stack(weights[2:])])
    constants = [tf.constant(weight) for weight in weights]

    def bare(token_ids, context):
        states = BARE_CELLS[cell](context["states"][0], context["states"], *constants)
        return states[0], states

    def kerasseq_layer(token_ids, context):
        _, states = layer(context["states"][0][:, None], initial_states=context["states"])
        return states[0], states

    def plain_keras_layer(token_ids, context):
        output, *states = keras_layer(context["states"][0][:, None], initial_state=context["states"])
        return output, states

    context = {"states": [tf.random.normal((batch_size, size)) for _ in layer.zero_states(batch_size)]}
    return context, {"bare": bare, "kerasseq": kerasseq_layer, "keras": plain_keras_layer}


def empty_step(token_ids, context):
    return context["states"][0], context["states"]


def check_equal(sides, context):
    token_ids = tf.fill([tf.shape(context["states"][0])[0], 1], 4)
    expected = keras.tree.flatten(sides["bare"](token_ids, context))
    for name, step in sides.items():
        for received, known in zip(keras.tree.flatten(step(token_ids, context)), expected, strict=True):
            np.testing.assert_allclose(received, known, rtol=1e-3, atol=1e-4, err_msg=name)


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    size, steps, rounds, vocabulary_size = (16, 10, 2, 100) if arguments.quick else (256, 200, 15, 6_000)
    source_length = 20
    keras.utils.set_random_seed(1)
    results, rows = {}, []
    for batch_size in (1, 64):
        for cell in BARE_CELLS:
            for part, (context, sides) in {
                f"{cell} luong decoder": decoder_sides(cell, vocabulary_size, size, batch_size, source_length),
                f"{cell} alone": recurrence_sides(cell, size, batch_size),
            }.items():
                check_equal(sides, context)
                loops = {name: timing.step_loop(step, context, steps) for name, step in sides.items()}
                loops["loop"] = timing.step_loop(empty_step, context, steps)
                seconds = timing.alternate(loops, rounds)
                for name, values in seconds.items():
                    milliseconds = timing.summary(1e3 * value / steps for value in values)
                    to_bare = timing.ratio(values, seconds["bare"])
                    label = f"{part}, batch {batch_size}, {name}"
                    results[label] = {"ms_per_step": milliseconds, "ratio_to_bare": to_bare}
                    rows.append([label, *timing.spread(milliseconds), *timing.spread(to_bare)])
    settings = {
        "steps": steps, "rounds": rounds, "source_length": source_length, "vocabulary_size": vocabulary_size,
        "units": size, "embedding_dim": size,
    }  # fmt: skip
    header = ["part, batch, side", "ms/step", "least", "most", "to bare", "least", "most"]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
