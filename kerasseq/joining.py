"""The three sub-models joined: encoder, bridge and decoder become one model.

A sub-model declares what it needs by the names of its inputs; `select_inputs` hands over exactly those.
"""

import keras


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


def connect(encoder, bridge, decoder, name, add_losses=None):
    """Joins the three sub-models to the model that `fit` trains.

    Args:
        encoder, bridge, decoder: functional `keras.Model`s named `"encoder"`, `"bridge"` and `"decoder"`.
        name: str.
        add_losses: function of the logits and a dict of all inputs and outputs of the three, the decoder's first, which
            returns the logits: it sends them through layers that add losses to the model. Default: there are none.

    Returns:
        a functional `keras.Model` from the encoder's inputs and `decoder_token_ids (batch, target)` to logits
        `(batch, target, target_vocabulary)`.

    Raises:
        ValueError: if the decoder declares an input that nothing provides, or of another size.

    Example:

    >>> from kerasseq import bridges, decoders, encoders, joining
    >>> encoder = encoders.recurrent_encoder(100, 16, 32, num_layers=3, bidirectional=True, pyramidal=True)
    >>> bridge = bridges.attention_bridge(encoder, 48, "lstm", num_layers=1)
    >>> decoder = decoders.attention_decoder(120, 16, 48, memory_dim=encoder.output["memory"].shape[-1])
    >>> model = joining.connect(encoder, bridge, decoder, name="pyramid")
    >>> model.output.shape
    (None, None, 120)
    """
    inputs = {key: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=key) for key, tensor in encoder.input.items()}
    inputs["decoder_token_ids"] = keras.Input((None,), dtype="int32", name="decoder_token_ids")
    check_parts(encoder, bridge, decoder)
    context, outputs = teacher_forced(encoder, bridge, decoder, inputs)
    logits = outputs["logits"]
    if add_losses is not None:
        logits = add_losses(logits, {**context, **outputs})
    return keras.Model(inputs, logits, name=name)


def check_parts(encoder, bridge, decoder):
    """Raises a `ValueError` where what the decoder declares is not of the sizes that encoder and bridge give."""
    given = {**encoder.output, **bridge.output}
    for name in set(decoder.input) & set(given):
        expected, received = (
            [tensor.shape[1:] for tensor in keras.tree.flatten(tensors)]
            for tensors in (decoder.input[name], given[name])
        )
        if len(expected) != len(received) or not all(map(same_sizes, expected, received)):
            raise ValueError(
                f"The decoder's input {name!r} has the shapes {expected}, encoder and bridge give {received}. Build "
                "bridge and decoder with the same cell, units, num_layers, attention and placement, and the decoder "
                "with memory_dim=encoder.output['memory'].shape[-1]."
            )


def same_sizes(expected, received):
    """Whether two shapes agree where both are known: the places of an image are, while a decoder leaves them open."""
    pairs = zip(expected, received, strict=False)
    return len(expected) == len(received) and all(None in pair or pair[0] == pair[1] for pair in pairs)


def decoder_outputs(model, name="decoder_outputs"):
    """A model with all that its decoder gives under teacher forcing: to look at the attention, or to put a loss on it.

    Args:
        model: functional `keras.Model` with the sub-models `"encoder"`, `"bridge"` and `"decoder"`.
        name: str.

    Returns:
        a functional `keras.Model` from the same inputs to a dict with `logits (batch, target, target_vocabulary)`,
        `states`, and for models with attention `attention (batch, target, source)`, with several heads also
        `attention_heads (batch, heads, target, source)`. It shares the weights of `model`.

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.AttentionSeq2Seq(100, 120, units=32, embedding_dim=16)
    >>> ids = keras.ops.ones((2, 7), dtype="int32")
    >>> inputs = {"encoder_token_ids": ids, "decoder_token_ids": ids[:, :5]}
    >>> outputs = kerasseq.joining.decoder_outputs(model)(inputs, training=True)
    >>> keras.ops.shape(outputs["attention"])
    (2, 5, 7)
    """
    parts = (model.get_layer(part) for part in ("encoder", "bridge", "decoder"))
    _, outputs = teacher_forced(*parts, model.input)
    return keras.Model(model.input, outputs, name=name)


def teacher_forced(encoder, bridge, decoder, inputs):
    """All that the decoder takes from encoder inputs and `decoder_token_ids`, and all that it gives: two dicts."""
    context = {**inputs, **encoder(select_inputs(encoder, inputs))}
    context = {**context, **bridge(select_inputs(bridge, context))}
    return context, decoder(select_inputs(decoder, context))
