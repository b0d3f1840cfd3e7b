"""Decoders: token ids and what the encoder gave become logits."""

import typing

import keras
from keras import layers, ops

from kerasseq.bridges import state_inputs
from kerasseq.layers import InputFeeding, PointerGenerator, Recurrent, RecurrentAttention
from kerasseq.layers.cells import get_cell
from kerasseq.layers.kinds import get_kind, get_placement


def token_embedding(vocabulary_size, embedding_dim, tie_embeddings):
    if tie_embeddings:
        return layers.ReversibleEmbedding(
            vocabulary_size,
            embedding_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=embedding_dim**-0.5),
            reverse_dtype="float32",
            name="embedding",
        )
    return layers.Embedding(vocabulary_size, embedding_dim, name="embedding")


def vocabulary_logits(features, embedding, vocabulary_size, tie_embeddings):
    if tie_embeddings:
        return layers.Identity(dtype="float32", name="logits")(embedding(features, reverse=True))
    # Keras's default would begin with logits so near to 0 that hardly a gradient gets through to the features: it looks
    # at the size of the vocabulary too. This one gives logits the size of the features, as tied embeddings do.
    return layers.Dense(vocabulary_size, kernel_initializer="lecun_normal", dtype="float32", name="logits")(features)


def recurrent_decoder(
    vocabulary_size,
    embedding_dim,
    units,
    cell="lstm",
    num_layers=1,
    residual=False,
    layer_normalization=False,
    dropout=0.0,
    tie_embeddings=False,
    name="decoder",
):
    """A stack of recurrent layers that knows the source by its start states alone.

    Args:
        vocabulary_size: int, number of target token ids.
        embedding_dim: int, size of the token embeddings.
        units: int, size of each state.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        num_layers: int, number of stacked layers.
        residual: bool, whether each layer from the second on adds its input to its output.
        layer_normalization: bool, whether the cells are normalized, see `kerasseq.layers.Recurrent`.
        dropout: float, share of units dropped between layers and before the projection to the vocabulary.
        tie_embeddings: bool, whether the projection to the vocabulary uses the embedding's matrix; a dense layer first
            takes the outputs to `embedding_dim` where it differs from `units`.
        name: str.

    Returns:
        a functional `keras.Model` from `{"decoder_token_ids": (batch, steps), "states": [(batch, units), ...]}` to
        `{"logits": (batch, steps, vocabulary), "states": [...]}`.
    """
    decoder_token_ids = keras.Input((None,), dtype="int32", name="decoder_token_ids")
    states = state_inputs([units] * num_layers * get_cell(cell).num_states)
    embedding = token_embedding(vocabulary_size, embedding_dim, tie_embeddings)
    outputs = layers.Dropout(dropout, name="embedding_dropout")(embedding(decoder_token_ids))
    stack = Stack(units, cell, num_layers, residual, layer_normalization, dropout)
    outputs, final_states = recurrent_stack(outputs, states, stack)
    if tie_embeddings and units != embedding_dim:
        outputs = layers.Dense(embedding_dim, name="to_embedding")(outputs)
    logits = vocabulary_logits(outputs, embedding, vocabulary_size, tie_embeddings)
    return keras.Model(
        {"decoder_token_ids": decoder_token_ids, "states": states},
        {"logits": logits, "states": final_states},
        name=name,
    )


class Stack(typing.NamedTuple):
    """The options of a decoder's recurrent layers, as in `recurrent_decoder`."""

    units: int
    cell: str
    num_layers: int
    residual: bool
    layer_normalization: bool
    dropout: float


def recurrent_stack(outputs, states, stack, first=0):
    """Layers `recurrent_{index}` from `first` on, with dropout after each; returns outputs and final states."""
    num_states = get_cell(stack.cell).num_states
    final_states = []
    for index in range(first, stack.num_layers):
        recurrent = Recurrent(
            stack.units, cell=stack.cell, layer_normalization=stack.layer_normalization, name=f"recurrent_{index}"
        )
        below = outputs
        outputs, after = recurrent(below, initial_states=states[num_states * index : num_states * (index + 1)])
        outputs = layers.Dropout(stack.dropout, name=f"dropout_{index}")(outputs)
        if stack.residual and index:
            outputs = layers.Add(name=f"residual_{index}")([below, outputs])
        final_states += after
    return outputs, final_states


def attention_decoder(
    vocabulary_size,
    embedding_dim,
    units,
    memory_dim,
    cell="lstm",
    attention="luong",
    placement=None,
    num_heads=4,
    num_layers=1,
    residual=False,
    layer_normalization=False,
    dropout=0.0,
    tie_embeddings=False,
    copy=False,
    name="decoder",
):
    """A recurrent decoder that looks at the memory in every step.

    Where the attention stands:

    - `"after"`: the top layer's state asks, and `h~ = tanh(W_c [c; h] + b)` (Luong et al. 2015, equation 5) is read
      out. Training works on whole sequences.
    - `"input_feeding"`: the same, and h~ is an input of the next step (Luong et al. 2015, section 3.3). Training loops
      over all layers and the attention.
    - `"inside"`: the first layer's previous state asks, the context enters its cell, and `tanh(W [h; c; y] + b)` reads
      it out together with the previous token (a tanh in place of the maxout of Bahdanau et al. 2015, A.2.2). Training
      loops over the first layer and the attention.

    Args:
        vocabulary_size: int, number of target token ids.
        embedding_dim: int, size of the token embeddings.
        units: int, size of each state and of the attentional hidden state.
        memory_dim: int, size of the memory vectors.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        attention: one of the names in `kerasseq.models.AttentionSeq2Seq`.
        placement: `"after"`, `"input_feeding"` or `"inside"`. Default: `"inside"` for `"bahdanau"`, `"location"` and
            `"monotonic"`, else `"after"`.
        num_heads: int, for `"multi_head"`.
        num_layers: int, number of stacked recurrent layers.
        residual: bool, whether each layer from the second on adds its input to its output.
        layer_normalization: bool, whether the cells are normalized, see `kerasseq.layers.Recurrent`.
        dropout: float, share of units dropped between layers and before the projection to the vocabulary.
        tie_embeddings: bool, whether the projection to the vocabulary uses the embedding's matrix; the attentional
            hidden state then has the size `embedding_dim`.
        copy: bool, whether source tokens are copied, see `kerasseq.models.PointerGeneratorSeq2Seq`. The generation
            probability depends on all that is read out (see above; for input feeding h~) and the previous token, and
            the attentional hidden state is linear in what is read out (See et al. 2017, equations 4 and 8).
        name: str.

    Returns:
        a functional `keras.Model` from `decoder_token_ids (batch, steps)`, `states`, `keys (batch, source, units)`
        (not for `"dot"`), `memory (batch, source, dim)`, or for `"multi_head"` instead `values (batch, source, units)`,
        and `memory_mask (batch, source)`, to `{"logits": (batch, steps, vocabulary), "states": [...], "attention":
        (batch, steps, source)}`; with several heads, `attention` is their mean, and `attention_heads (batch, heads,
        steps, source)` stands beside it. The states are described in `kerasseq.bridges.attention_bridge`. With `copy`
        there is one more input, `source_token_ids (batch, source)`, the logits are log-probabilities, and
        `generation_probability (batch, steps)` stands beside them.

    Raises:
        ValueError: for an unknown cell, attention or placement, heads that do not divide the units, or `"dot"` with a
            memory of another size than the states.
    """
    kind = get_kind(attention)
    placement = get_placement(placement, attention)
    attentional_units = embedding_dim if tie_embeddings else units
    if not kind.keys and memory_dim != units:
        raise ValueError(
            f"attention={attention!r} multiplies the decoder's states with the memory, so both need one size. "
            f"Received: {units} units, a memory of {memory_dim}. Choose an encoder in one direction, as with "
            "bidirectional=False, or attention='luong', which projects the memory."
        )

    # === Inputs ===
    decoder_token_ids = keras.Input((None,), dtype="int32", name="decoder_token_ids")
    dims = [units] * num_layers * get_cell(cell).num_states
    if placement == "input_feeding":
        dims.append(attentional_units)
    if kind.start is not None:
        dims.append(None)
    states = state_inputs(dims)
    memory_name = "values" if kind.values else "memory"
    memory = keras.Input((None, units if kind.values else memory_dim), name=memory_name)
    memory_mask = keras.Input((None,), dtype="bool", name="memory_mask")
    inputs = {
        "decoder_token_ids": decoder_token_ids, "states": states, memory_name: memory, "memory_mask": memory_mask,
    }  # fmt: skip
    keys = memory
    if kind.keys:
        keys = inputs["keys"] = keras.Input((None, units), name="keys")
    if copy:
        inputs["source_token_ids"] = keras.Input((None,), dtype="int32", name="source_token_ids")

    # === Recurrence and attention ===
    embedding = token_embedding(vocabulary_size, embedding_dim, tie_embeddings)
    embedded = layers.Dropout(dropout, name="embedding_dropout")(embedding(decoder_token_ids))
    place = {"after": attention_after, "input_feeding": attention_fed_back, "inside": attention_inside}[placement]
    attentional, readout, weights, final_states = place(
        embedded,
        states,
        keys,
        memory,
        memory_mask,
        attention=kind.make(units=units, num_heads=num_heads, name="attention"),
        attentional_units=attentional_units,
        stack=Stack(units, cell, num_layers, residual, layer_normalization, dropout),
        activation="linear" if copy else "tanh",
    )

    # === Outputs ===
    outputs = {
        "logits": vocabulary_logits(attentional, embedding, vocabulary_size, tie_embeddings),
        "states": final_states,
        "attention": weights,
    }
    if len(weights.shape) == 4:
        outputs["attention_heads"] = weights
        outputs["attention"] = ops.mean(weights, axis=1)
    if copy:
        features = layers.Concatenate(name="pointer_features")([*readout, embedded])
        outputs["logits"], outputs["generation_probability"] = PointerGenerator(name="pointer_generator")(
            outputs["logits"], outputs["attention"], features, inputs["source_token_ids"]
        )
    return keras.Model(inputs, outputs, name=name)


# === Placements: embedded tokens and states to the attentional hidden state, what it reads, weights, final states ===


def attention_after(embedded, states, keys, memory, memory_mask, attention, attentional_units, stack, activation):
    count = stack.num_layers * get_cell(stack.cell).num_states
    outputs, final_states = recurrent_stack(embedded, states[:count], stack)
    context, weights, *alignment = attention(outputs, keys, memory, *states[count:], source_mask=memory_mask)
    readout = [context, outputs]
    attentional = attentional_state(readout, attentional_units, activation, stack.dropout)
    return attentional, readout, weights, final_states + alignment


def attention_inside(embedded, states, keys, memory, memory_mask, attention, attentional_units, stack, activation):
    num_states = get_cell(stack.cell).num_states
    count = stack.num_layers * num_states
    inside = RecurrentAttention(
        stack.units,
        cell=stack.cell,
        attention=attention,
        layer_normalization=stack.layer_normalization,
        name="recurrent_0",
    )
    first_states = [*states[:num_states], *states[count:]]
    outputs, context, weights, first = inside(embedded, first_states, keys, memory, source_mask=memory_mask)
    outputs = layers.Dropout(stack.dropout, name="dropout_0")(outputs)
    outputs, rest = recurrent_stack(outputs, states[:count], stack, first=1)
    final_states = [*first[:num_states], *rest, *first[num_states:]]
    readout = [outputs, context]
    attentional = attentional_state([*readout, embedded], attentional_units, activation, stack.dropout)
    return attentional, readout, weights, final_states


def attention_fed_back(embedded, states, keys, memory, memory_mask, attention, attentional_units, stack, activation):
    # Input feeding has a tanh of its own: what the next step reads is bounded.
    feeding = InputFeeding(
        attentional_units=attentional_units, attention=attention, name="input_feeding", **stack._asdict()
    )
    attentional, weights, final_states = feeding(embedded, states, keys, memory, source_mask=memory_mask)
    return attentional, [attentional], weights, final_states


def attentional_state(readout, units, activation, dropout):
    """`W [...] + b` of all that is read out, and its tanh."""
    features = layers.Concatenate(name="readout")(readout)
    attentional = layers.Dense(units, activation=activation, name="attentional")(features)
    return layers.Dropout(dropout, name="attentional_dropout")(attentional)
