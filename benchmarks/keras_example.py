"""The baseline: an LSTM encoder-decoder of plain `keras.layers`, written as the Keras examples write it."""

import keras
from keras import layers


def keras_example(source_vocabulary_size, target_vocabulary_size, units, embedding_dim, attention):
    """Builds the training model and, from the same layers, the two models of the inference loop.

    Args:
        source_vocabulary_size: int.
        target_vocabulary_size: int.
        units: int.
        embedding_dim: int.
        attention: bool. `False` is the plain encoder-decoder. `True` has the sizes of
            `AttentionSeq2Seq(cell="lstm", attention="luong")`: both directions in the encoder, `keras.layers.Attention`
            over projected keys, a dense tanh layer before the softmax.

    Returns:
        training, from `[source ids, target ids]` to probabilities `(batch, target, target_vocabulary_size)`; encoder,
        from source ids to all that the decoder needs of them, the two states first; and decoder, from
        `[target ids, *what the encoder gave]` to `[probabilities, hidden state, memory cell]`.
    """
    # === Encoder ===
    source = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(source_vocabulary_size, embedding_dim, mask_zero=True)(source)
    recurrent = layers.LSTM(units, return_sequences=attention, return_state=True)
    if attention:
        memory, *states = layers.Bidirectional(recurrent)(embedded)
        hidden, cell = (layers.Concatenate()(pair) for pair in (states[0::2], states[1::2]))
        keys = layers.Dense(units, use_bias=False)(memory)
        start = [layers.Dense(units, activation="tanh")(hidden), layers.Dense(units)(cell)]
        encoded = [*start, keys, memory, keras.ops.not_equal(source, 0)]
    else:
        _, *encoded = recurrent(embedded)

    # === Decoder ===
    target = keras.Input((None,), dtype="int32")
    decoder_inputs = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in encoded]
    embedding = layers.Embedding(target_vocabulary_size, embedding_dim, mask_zero=True)
    decoder_recurrent = layers.LSTM(units, return_sequences=True, return_state=True)
    attend = layers.Attention()
    attentional = layers.Dense(units, activation="tanh")
    probabilities = layers.Dense(target_vocabulary_size, activation="softmax")

    def decode(target, hidden, cell, keys=None, memory=None, memory_mask=None):
        outputs, *states = decoder_recurrent(embedding(target), initial_state=[hidden, cell])
        if attention:
            context = attend([outputs, memory, keys], mask=[None, memory_mask])
            outputs = attentional(layers.Concatenate()([context, outputs]))
        return [probabilities(outputs), *states]

    training = keras.Model([source, target], decode(target, *encoded)[0])
    encoder = keras.Model(source, encoded)
    decoder = keras.Model([target, *decoder_inputs], decode(target, *decoder_inputs))
    return training, encoder, decoder
