"""Encoders: a source becomes a memory, its mask and final states."""

import keras
from keras import layers

from kerasseq.layers import PaddingMask, Recurrent


def recurrent_encoder(
    vocabulary_size, embedding_dim, units, cell="lstm", num_layers=1, bidirectional=False, dropout=0.0, name="encoder"
):
    """A stack of recurrent layers over embedded tokens.

    Args:
        vocabulary_size: int, number of source token ids.
        embedding_dim: int, size of the token embeddings.
        units: int, size of each state, for each direction.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        num_layers: int, number of stacked layers.
        bidirectional: bool, whether each layer also runs backwards. Doubles the sizes of memory and states.
        dropout: float, share of units dropped between layers and from the memory.
        name: str.

    Returns:
        a functional `keras.Model` from `{"encoder_token_ids": (batch, source)}` to `{"memory": (batch, source, dim),
        "memory_mask": (batch, source), "states": [(batch, dim), ...]}`, where dim is `units`, or `2 * units` if
        bidirectional. The states are those of the first layer, then those of the second, and so on.
    """
    encoder_token_ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    memory_mask = PaddingMask(name="memory_mask")(encoder_token_ids)
    memory = layers.Embedding(vocabulary_size, embedding_dim, name="embedding")(encoder_token_ids)
    memory = layers.Dropout(dropout, name="embedding_dropout")(memory)
    final_states = []
    for index in range(num_layers):
        forward = Recurrent(units, cell=cell, name=f"forward_{index}")
        memory_forward, states = forward(memory, sequence_mask=memory_mask)  # (batch, source, units)
        if bidirectional:
            backward = Recurrent(units, cell=cell, reverse=True, name=f"backward_{index}")
            memory_backward, states_backward = backward(memory, sequence_mask=memory_mask)
            concatenate = layers.Concatenate(name=f"both_directions_{index}")
            memory = concatenate([memory_forward, memory_backward])  # (batch, source, 2 * units)
            states = [
                layers.Concatenate(name=f"both_states_{index}_{which}")(pair)
                for which, pair in enumerate(zip(states, states_backward, strict=True))
            ]
        else:
            memory = memory_forward
        memory = layers.Dropout(dropout, name=f"dropout_{index}")(memory)
        final_states += states
    return keras.Model(
        {"encoder_token_ids": encoder_token_ids},
        {"memory": memory, "memory_mask": memory_mask, "states": final_states},
        name=name,
    )
