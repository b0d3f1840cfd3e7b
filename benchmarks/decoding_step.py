"""The cost of one decoding step in a graph, against the bare formulas with the same weights.

Every side runs the same compiled loop of steps, in which batch and source length are unknown to the graph, as in
`TextGenerator`; the loop alone is a line of its own and contained in all others. Models: `AttentionSeq2Seq` with
Luong attention, 6,000 subwords, embeddings and units of 256, sources of 20 tokens. Sides: `model.step`, and the same in
bare TensorFlow operations; `kerasseq.layers.Recurrent` with one step,
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


def bare_lstm(inputs, state, kernel, recurrent_kernel, bias):
    gates = inputs @ kernel + state["hidden"] @ recurrent_kernel + bias  # (batch, 4 * units)
    input_gate, forget_gate, candidate, output_gate = tf.split(gates, 4, axis=-1)
    cell = tf.sigmoid(forget_gate) * state["cell"] + tf.sigmoid(input_gate) * tf.tanh(candidate)
    return {"hidden": tf.sigmoid(output_gate) * tf.tanh(cell), "cell": cell}


def bare_gru(inputs, state, kernel, recurrent_kernel, bias, recurrent_bias):
    hidden = state["hidden"]
    update, reset, candidate = tf.split(inputs @ kernel + bias, 3, axis=-1)  # (batch, units) each
    update_share, reset_share, candidate_share = tf.split(hidden @ recurrent_kernel + recurrent_bias, 3, axis=-1)
    update = tf.sigmoid(update + update_share)
    candidate = tf.tanh(candidate + tf.sigmoid(reset + reset_share) * candidate_share)
    return {"hidden": update * hidden + (1 - update) * candidate}


BARE_CELLS = {"lstm": bare_lstm, "gru": bare_gru}


def bare_decoder(cell, decoder):
    """Embedding, cell, Luong attention and logits of a decoder with its weights, as a step for `step_loop`."""
    placement = decoder.placement
    (embedding,), cell_weights, attentional, logits = (
        [tf.constant(weight) for weight in layer.get_weights()]
        for layer in (decoder.embedding, decoder.cells[0], placement.attentional, decoder.logits)
    )

    def step(token_ids, state, constants):
        after = BARE_CELLS[cell](tf.gather(embedding, token_ids), state["layers"][0], *cell_weights)
        scores = tf.matmul(after["hidden"][:, None], constants["keys"], transpose_b=True)  # (batch, 1, source)
        weights = tf.nn.softmax(tf.where(constants["memory_mask"][:, None], scores, -1e9))
        context = tf.matmul(weights, constants["values"])[:, 0]  # (batch, dim)
        features = tf.tanh(tf.concat([context, after["hidden"]], axis=-1) @ attentional[0] + attentional[1])
        return features @ logits[0] + logits[1], {"layers": [after], "attention": {}}

    return step


def decoder_sides(cell, vocabulary_size, size, batch_size, source_length):
    model = kerasseq.models.AttentionSeq2Seq(vocabulary_size, vocabulary_size, cell, embedding_dim=size, units=size)
    sources = tf.fill([batch_size, source_length], 7)
    start = model.start(model.encode({"encoder_token_ids": sources}))
    return start, {"bare": bare_decoder(cell, model.decoder), "kerasseq": timing.decoder_step(model)}


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
    bare_weights = [tf.constant(weight) for weight in weights]
    names = layer.cell.state_names

    def bare(token_ids, state, constants):
        state = BARE_CELLS[cell](state["hidden"], state, *bare_weights)
        return state["hidden"], state

    def kerasseq_layer(token_ids, state, constants):
        _, state = layer(state["hidden"][:, None], initial_state=state)
        return state["hidden"], state

    def plain_keras_layer(token_ids, state, constants):
        output, *states = keras_layer(state["hidden"][:, None], initial_state=[state[name] for name in names])
        return output, dict(zip(names, states, strict=True))

    state = {name: tf.random.normal((batch_size, size)) for name in names}
    return (state, {}), {"bare": bare, "kerasseq": kerasseq_layer, "keras": plain_keras_layer}


def empty_step(token_ids, state, constants):
    return keras.tree.flatten(state)[0], state


def check_equal(sides, state, constants, batch_size):
    token_ids = tf.fill([batch_size], 4)
    expected = keras.tree.flatten(sides["bare"](token_ids, state, constants))
    for name, step in sides.items():
        for received, known in zip(keras.tree.flatten(step(token_ids, state, constants)), expected, strict=True):
            np.testing.assert_allclose(received, known, rtol=1e-3, atol=1e-4, err_msg=name)


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    size, steps, rounds, vocabulary_size = (16, 10, 2, 100) if arguments.quick else (256, 200, 15, 6_000)
    source_length = 20
    keras.utils.set_random_seed(1)
    results, rows = {}, []
    for batch_size in (1, 64):
        for cell in BARE_CELLS:
            for part, (start, sides) in {
                f"{cell} luong decoder": decoder_sides(cell, vocabulary_size, size, batch_size, source_length),
                f"{cell} alone": recurrence_sides(cell, size, batch_size),
            }.items():
                check_equal(sides, *start, batch_size)
                loops = {name: timing.step_loop(step, *start, steps) for name, step in sides.items()}
                loops["loop"] = timing.step_loop(empty_step, *start, steps)
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
