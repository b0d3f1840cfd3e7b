"""Bridges: what the encoder gave becomes the decoder's first states, and all that is computed once a sentence."""

import keras
from keras import layers

from kerasseq.layers import StartAlignment, ZeroState
from kerasseq.layers.cells import get_cell
from kerasseq.layers.kinds import get_kind, get_placement

BRIDGES = ("zero", "copy", "dense")


def state_inputs(dims):
    return [keras.Input((dim,), name=f"state_{index}") for index, dim in enumerate(dims)]


def start_states(states, units, cell, num_layers, bridge):
    """The decoder's first states, from the encoder's.

    Args:
        states: list of symbolic `(batch, dim)`, the encoder's final states: the first layer's, then the second's; or of
            an encoder without recurrence, whatever sums up the source.
        units: int, size of the decoder's states.
        cell: str, of encoder and decoder.
        num_layers: int, of the decoder. Default (`None`): as many as the encoder's.
        bridge: `"zero"`, `"copy"`, `"dense"` or `None`, see `state_bridge`.

    Returns:
        list of symbolic `(batch, units)`.
    """
    if bridge not in (None, *BRIDGES):
        raise ValueError(
            f"bridge must be one of {', '.join(map(repr, BRIDGES))}, or None to copy where sizes agree. "
            f"Received: bridge={bridge!r}."
        )
    num_states = get_cell(cell).num_states
    num_layers = num_layers or max(len(states) // num_states, 1)
    if bridge == "zero":
        return [ZeroState(units, name=f"start_state_{index}")(states[0]) for index in range(num_layers * num_states)]
    if len(states) % num_states:
        if bridge == "copy":
            raise ValueError(
                f"bridge='copy' needs an encoder with the states of the decoder's cell. Received: {len(states)} "
                f"encoder states, {num_states} a layer of cell={cell!r}. Choose bridge='dense' or 'zero'."
            )
        # The encoder has no such cells: each state of the decoder sees all that it gives.
        all_states = layers.Concatenate(name="all_states")(states) if len(states) > 1 else states[0]
        states = [all_states] * (num_layers * num_states)
        bridge = "dense"
    elif len(states) != num_layers * num_states:
        if bridge == "copy":
            raise ValueError(
                f"bridge='copy' needs as many layers in the decoder as in the encoder. Received: {num_layers} decoder "
                f"layers for {len(states) // num_states} encoder layers. Choose bridge='dense' or 'zero'."
            )
        # Each layer of the decoder sees the hidden states of all encoder layers, or all their memory cells.
        states = [
            layers.Concatenate(name=f"all_layers_{which}")(states[which::num_states]) if len(states) > num_states
            else states[which]
            for which in range(num_states)
        ] * num_layers  # fmt: skip
        bridge = "dense"
    start = []
    for index, state in enumerate(states):
        if bridge == "copy" and state.shape[-1] != units:
            raise ValueError(
                f"bridge='copy' needs encoder states of the decoder's size. Received: states of {state.shape[-1]} for "
                f"{units} units (a bidirectional encoder has twice its units). Choose bridge='dense' or 'zero'."
            )
        if bridge != "dense" and state.shape[-1] == units:
            start.append(layers.Identity(name=f"start_state_{index}")(state))
        else:
            # An LSTM's memory cell is unbounded, all other states are outputs of a tanh.
            activation = "linear" if index % num_states else "tanh"
            start.append(layers.Dense(units, activation=activation, name=f"start_state_{index}")(state))
    return start


def state_bridge(encoder, units, cell, num_layers=None, bridge=None, name="bridge"):
    """Hands the encoder's final states, the context vector of the sentence, to the decoder.

    Args:
        encoder: functional `keras.Model`, for the sizes of its outputs.
        units: int, size of the decoder's states.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`, of encoder and decoder.
        num_layers: int, of the decoder. Default: as many as the encoder's.
        bridge: `"zero"` starts from zeros; `"copy"` from the encoder's states, layer by layer; `"dense"` from a dense
            layer over them (after Bahdanau et al. 2015, A.2.2, who take the backward state alone), and where the
            encoder has another number of layers, over those of all its layers, or for an encoder without such cells
            over all its states (Xu et al. 2015, section 3.1.2). Default: copy where sizes and layers agree, else dense.
        name: str.

    Returns:
        a functional `keras.Model` from `{"states": [...]}` to `{"states": [(batch, units), ...]}`.

    Raises:
        ValueError: for an unknown bridge, or a copy of states that do not fit.
    """
    states = state_inputs(state.shape[-1] for state in encoder.output["states"])
    start = start_states(states, units, cell, num_layers, bridge)
    return keras.Model({"states": states}, {"states": start}, name=name)


def attention_bridge(
    encoder,
    units,
    cell,
    attention="luong",
    placement=None,
    num_layers=None,
    attentional_units=None,
    bridge=None,
    copy=False,
    content_selection=False,
    name="bridge",
):
    """A `state_bridge` that also prepares the attention, once a sentence.

    Args:
        encoder: functional `keras.Model`, for the sizes of its outputs.
        units: int, size of the decoder's states and of the keys.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`, of encoder and decoder.
        attention, placement: str, as in `kerasseq.decoders.attention_decoder`.
        num_layers: int, of the decoder. Default: as many as the encoder's.
        attentional_units: int, size of the attentional hidden state, for input feeding. Default: `units`.
        bridge: str, as in `state_bridge`.
        copy: bool, whether the decoder copies source tokens: the bridge then takes `encoder_token_ids (batch, source)`
            and hands them on as `source_token_ids`.
        content_selection: bool, whether a content selector of one hidden layer judges the memory, see
            `kerasseq.layers.ContentSelectionLoss`.
        name: str.

    Returns:
        a functional `keras.Model` from `{"memory": (batch, source, dim), "states": [...]}`, and `memory_mask (batch,
        source)` for attention with a state, to `{"states": [...]}` and the projections that the attention needs: `keys
        (batch, source, units)` and, for several heads, `values (batch, source, units)`; for content selection also the
        logits `selection (batch, source)`, float32. The states are those of the cells `(batch, units)`; for input
        feeding the attentional hidden state `(batch, attentional_units)`; for attention with a state that state
        `(batch, source)`.
    """
    kind = get_kind(attention)
    states = state_inputs(state.shape[-1] for state in encoder.output["states"])
    memory = keras.Input((None, encoder.output["memory"].shape[-1]), name="memory")
    inputs, outputs = {"memory": memory, "states": states}, {}
    if kind.keys:
        outputs["keys"] = layers.Dense(units, use_bias=False, name="attention_keys")(memory)
    if kind.values:
        outputs["values"] = layers.Dense(units, use_bias=False, name="attention_values")(memory)
    if copy:
        inputs["encoder_token_ids"] = keras.Input((None,), dtype="int32", name="encoder_token_ids")
        outputs["source_token_ids"] = layers.Identity(dtype="int32", name="source_token_ids")(
            inputs["encoder_token_ids"]
        )
    if content_selection:
        judged = layers.Dense(units, activation="tanh", name="selector_hidden")(memory)
        judged = layers.Dense(1, dtype="float32", name="selector")(judged)
        outputs["selection"] = layers.Reshape((-1,), dtype="float32", name="selection")(judged)
    start = start_states(states, units, cell, num_layers, bridge)
    if get_placement(placement, attention) == "input_feeding":
        start.append(ZeroState(attentional_units or units, name="start_attentional")(memory))
    if kind.start is not None:
        inputs["memory_mask"] = keras.Input((None,), dtype="bool", name="memory_mask")
        start.append(StartAlignment(kind.start, name="start_alignment")(inputs["memory_mask"]))
    return keras.Model(inputs, {**outputs, "states": start}, name=name)
