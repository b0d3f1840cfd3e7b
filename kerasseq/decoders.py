"""Bridges and decoders: what the encoder gave becomes the decoder's start, and token ids become logits.

A decoder declares what it needs by the names of its inputs; `select_inputs` hands over exactly those.
"""

import keras
from keras import layers

from kerasseq.layers import LuongAttention, Recurrent, RecurrentAttention
from kerasseq.layers.cells import get_cell


def select_inputs(sub_model, available):
    """The entries of `available` that `sub_model` declares as inputs.

    Keras flattens dictionaries in key order, so one key too many or too few would bind tensors to the wrong inputs.

    Args:
        sub_model: functional `keras.Model` with a dictionary of inputs.
        available: dict of tensors by name.

    Raises:
        ValueError: if a declared input is not available.
    """
    missing = sorted(set(sub_model.input) - set(available))
    if missing:
        raise ValueError(
            f"The {sub_model.name!r} model declares inputs that nothing provides: {missing}. "
            f"Available: {sorted(available)}. Let the encoder or the bridge return them under these names."
        )
    return {name: available[name] for name in sub_model.input}


def connect(encoder, bridge, decoder, name):
    """Joins the three sub-models to the model that `fit` trains: encoder inputs and `decoder_token_ids` -> logits."""
    encoder_inputs = {
        key: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=key) for key, tensor in encoder.input.items()
    }
    decoder_token_ids = keras.Input((None,), dtype="int32", name="decoder_token_ids")
    encoded = {**encoder_inputs, **encoder(encoder_inputs)}
    context = {**encoded, **bridge(select_inputs(bridge, encoded))}
    outputs = decoder(select_inputs(decoder, {**context, "decoder_token_ids": decoder_token_ids}))
    return keras.Model({**encoder_inputs, "decoder_token_ids": decoder_token_ids}, outputs["logits"], name=name)


# === Bridges ===


def state_inputs(dims):
    return [keras.Input((dim,), name=f"state_{index}") for index, dim in enumerate(dims)]


def start_states(states, units, cell):
    """The decoder's first states: a copy where the sizes agree, else a dense layer (Bahdanau et al. 2015, A.2.2)."""
    num_states = get_cell(cell).num_states
    start = []
    for index, state in enumerate(states):
        if state.shape[-1] == units:
            start.append(layers.Identity(name=f"start_state_{index}")(state))
        else:
            # An LSTM's memory cell is unbounded, all other states are outputs of a tanh.
            activation = "linear" if index % num_states else "tanh"
            start.append(layers.Dense(units, activation=activation, name=f"start_state_{index}")(state))
    return start


def state_bridge(encoder, units, cell, name="bridge"):
    """Hands the encoder's final states, the context vector of the sentence, to the decoder.

    Args:
        encoder: functional `keras.Model`, for the sizes of its outputs.
        units: int, size of the decoder's states.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        name: str.

    Returns:
        a functional `keras.Model` from `{"states": [...]}` to `{"states": [(batch, units), ...]}`.
    """
    states = state_inputs(state.shape[-1] for state in encoder.output["states"])
    return keras.Model({"states": states}, {"states": start_states(states, units, cell)}, name=name)


def attention_bridge(encoder, units, cell, name="bridge"):
    """A `state_bridge` that also projects the memory to attention keys, once a sentence.

    Args:
        encoder: functional `keras.Model`, for the sizes of its outputs.
        units: int, size of the decoder's states and of the keys.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        name: str.

    Returns:
        a functional `keras.Model` from `{"memory": (batch, source, dim), "states": [...]}` to
        `{"keys": (batch, source, units), "states": [(batch, units), ...]}`.
    """
    states = state_inputs(state.shape[-1] for state in encoder.output["states"])
    memory = keras.Input((None, encoder.output["memory"].shape[-1]), name="memory")
    keys = layers.Dense(units, use_bias=False, name="attention_keys")(memory)
    start = start_states(states, units, cell)
    return keras.Model({"memory": memory, "states": states}, {"keys": keys, "states": start}, name=name)


# === Decoders ===


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
    return layers.Dense(vocabulary_size, dtype="float32", name="logits")(features)


def recurrent_decoder(
    vocabulary_size, embedding_dim, units, cell="lstm", num_layers=1, dropout=0.0, tie_embeddings=False, name="decoder"
):
    """A stack of recurrent layers that knows the source by its start states alone.

    Args:
        vocabulary_size: int, number of target token ids.
        embedding_dim: int, size of the token embeddings.
        units: int, size of each state.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        num_layers: int, number of stacked layers.
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
    outputs, final_states = recurrent_stack(outputs, states, units, cell, range(num_layers), dropout)
    if tie_embeddings and units != embedding_dim:
        outputs = layers.Dense(embedding_dim, name="to_embedding")(outputs)
    logits = vocabulary_logits(outputs, embedding, vocabulary_size, tie_embeddings)
    return keras.Model(
        {"decoder_token_ids": decoder_token_ids, "states": states},
        {"logits": logits, "states": final_states},
        name=name,
    )


def recurrent_stack(outputs, states, units, cell, indices, dropout):
    """Layers `recurrent_{index}` one upon the other, with dropout after each; returns outputs and final states."""
    num_states = get_cell(cell).num_states
    final_states = []
    for index in indices:
        recurrent = Recurrent(units, cell=cell, name=f"recurrent_{index}")
        outputs, after = recurrent(outputs, initial_states=states[num_states * index : num_states * (index + 1)])
        outputs = layers.Dropout(dropout, name=f"dropout_{index}")(outputs)
        final_states += after
    return outputs, final_states


def attention_decoder(
    vocabulary_size,
    embedding_dim,
    units,
    memory_dim,
    cell="lstm",
    attention="luong",
    num_layers=1,
    dropout=0.0,
    tie_embeddings=False,
    name="decoder",
):
    """A recurrent decoder that looks at the memory in every step.

    `"luong"` attends after the recurrence: `h~ = tanh(W_c [c; h])` from the top layer's outputs (Luong et al. 2015,
    equation 5), so training works on whole sequences. `"bahdanau"` attends inside: the context enters the first layer's
    cell, and `tanh(W [h; c; y])` reads it out together with the previous token (a tanh in place of the maxout of
    Bahdanau et al. 2015, A.2.2); training loops over the attention.

    Args:
        vocabulary_size: int, number of target token ids.
        embedding_dim: int, size of the token embeddings.
        units: int, size of each state and of the attentional hidden state.
        memory_dim: int, size of the memory vectors.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        attention: `"luong"` or `"bahdanau"`.
        num_layers: int, number of stacked recurrent layers.
        dropout: float, share of units dropped between layers and before the projection to the vocabulary.
        tie_embeddings: bool, whether the projection to the vocabulary uses the embedding's matrix; the attentional
            hidden state then has the size `embedding_dim`.
        name: str.

    Returns:
        a functional `keras.Model` from `{"decoder_token_ids": (batch, steps), "states": [(batch, units), ...],
        "keys": (batch, source, units), "memory": (batch, source, dim), "memory_mask": (batch, source)}` to
        `{"logits": (batch, steps, vocabulary), "states": [...], "attention": (batch, steps, source)}`.
    """
    # === Inputs ===
    decoder_token_ids = keras.Input((None,), dtype="int32", name="decoder_token_ids")
    states = state_inputs([units] * num_layers * get_cell(cell).num_states)
    keys = keras.Input((None, units), name="keys")
    memory = keras.Input((None, memory_dim), name="memory")
    memory_mask = keras.Input((None,), dtype="bool", name="memory_mask")

    # === Recurrence and attention ===
    embedding = token_embedding(vocabulary_size, embedding_dim, tie_embeddings)
    embedded = layers.Dropout(dropout, name="embedding_dropout")(embedding(decoder_token_ids))
    if attention == "luong":
        outputs, final_states = recurrent_stack(embedded, states, units, cell, range(num_layers), dropout)
        context, weights = LuongAttention(name="attention")(outputs, keys, memory, source_mask=memory_mask)
        readout = [context, outputs]
    elif attention == "bahdanau":
        num_states = get_cell(cell).num_states
        inside = RecurrentAttention(units, cell=cell, name="recurrent_0")
        outputs, context, weights, first = inside(embedded, states[:num_states], keys, memory, source_mask=memory_mask)
        outputs = layers.Dropout(dropout, name="dropout_0")(outputs)
        outputs, rest = recurrent_stack(outputs, states, units, cell, range(1, num_layers), dropout)
        final_states = first + rest
        readout = [outputs, context, embedded]
    else:
        raise ValueError(f"attention must be one of 'luong', 'bahdanau'. Received: attention={attention!r}.")

    # === Logits ===
    attentional = layers.Dense(embedding_dim if tie_embeddings else units, activation="tanh", name="attentional")(
        layers.Concatenate(name="readout")(readout)
    )
    attentional = layers.Dropout(dropout, name="attentional_dropout")(attentional)
    logits = vocabulary_logits(attentional, embedding, vocabulary_size, tie_embeddings)
    return keras.Model(
        {
            "decoder_token_ids": decoder_token_ids,
            "states": states,
            "keys": keys,
            "memory": memory,
            "memory_mask": memory_mask,
        },
        {"logits": logits, "states": final_states, "attention": weights},
        name=name,
    )
