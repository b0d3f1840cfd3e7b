"""Where attention is placed in a recurrent decoder.

A placement maps embedded tokens, a state and the constants to features, attention weights and the next state. Every
placement has the same state: `layers`, a list with the state of each layer's cell; `attention`, the state of the
attention; and `attentional` where the attentional hidden state is an input of the next step.
"""

import typing
from typing import Any

from keras import layers, ops

from kerasseq.arguments import check_choice
from kerasseq.layers.attention import Attention, get_score
from kerasseq.layers.cells import Cell
from kerasseq.layers.input_feeding import InputFeeding
from kerasseq.layers.recurrent import Recurrent
from kerasseq.layers.recurrent_attention import RecurrentAttention
from kerasseq.layers.single_step import without_time_axis
from kerasseq.types import State, Tensor


class Options(typing.NamedTuple):
    """The options that placements share, as in `kerasseq.decoders.RecurrentDecoder`."""

    units: int
    cell: str
    num_layers: int
    residual: bool
    dropout: float
    attentional_units: int


class Result(typing.NamedTuple):
    """Features for the vocabulary, the tensors they were made of, attention weights, and the next state."""

    features: Tensor
    readout: list
    weights: Tensor | None
    state: State


class RecurrentStack(layers.Layer):
    """Layers `recurrent_{index}` from `first` on, with dropout after each."""

    def __init__(self, options: Options, first: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.residual = options.residual
        self.first = first
        indices = range(first, options.num_layers)
        self.recurrent = [Recurrent(options.units, cell=options.cell, name=f"recurrent_{index}") for index in indices]
        self.dropouts = [layers.Dropout(options.dropout, name=f"dropout_{index}") for index in indices]

    def build(self, sequences_shape, states_shape=None):
        for layer in self.recurrent:
            layer.build(sequences_shape)
            sequences_shape = (*sequences_shape[:-1], layer.units)

    def call(self, sequences, states, training=False):
        outputs, final_states = sequences, []
        for index, (recurrent, dropout) in enumerate(zip(self.recurrent, self.dropouts, strict=True), self.first):
            below = outputs
            outputs, state = recurrent(below, initial_state=states[index - self.first], training=training)
            outputs = dropout(outputs, training=training)
            if self.residual and index:
                outputs = below + outputs
            final_states.append(state)
        return outputs, final_states


class Placement(layers.Layer):
    """Base class of placements.

    Args:
        options: the `Options`.
        attention: the attention layer; `None` without attention.
        activation: of the attentional hidden state.
    """

    attention: Any
    stack: RecurrentStack

    def __init__(self, options: Options, attention: Attention | None, activation: str = "tanh", **kwargs):
        # Alignments keep their float32 under mixed precision: the layers within cast what they need.
        super().__init__(autocast=False, **kwargs)
        self.options = options
        self.attention = attention

    @property
    def cells(self) -> list[Cell]:
        """The cell of each recurrent layer."""
        return [layer.cell for layer in self.stack.recurrent]

    @property
    def features_dim(self) -> int:
        """The size of the features."""
        return self.options.attentional_units

    def readout_dim(self, constants_shape: dict[str, tuple]) -> int:
        """The total size of the readout."""
        return self.options.units + constants_shape["values"][-1]

    def initial_state(self, states: list[State], memory_mask: Tensor) -> State:
        """The state before the first step, from the initial state of each layer's cell."""
        return {"layers": states, "attention": self.attention.initial_state(memory_mask)}


class WithoutAttention(Placement):
    """The recurrent layers alone: the initial state is all that the decoder knows of the source."""

    def __init__(self, options: Options, attention: None = None, activation: str = "tanh", **kwargs):
        super().__init__(options, attention, activation, **kwargs)
        self.stack = RecurrentStack(options, name="stack")

    @property
    def features_dim(self):
        return self.options.units

    def initial_state(self, states, memory_mask):
        return {"layers": states}

    def build(self, embedded_shape, constants_shape):
        self.stack.build(embedded_shape)

    def call(self, embedded, state, constants, training=False):
        outputs, states = self.stack(embedded, state["layers"], training=training)
        return Result(outputs, [outputs], None, {"layers": states})


class AttentionalPlacement(Placement):
    """The attentional hidden state is not an input of the next step, so it is computed for all steps at once."""

    def __init__(self, options: Options, attention: Attention, activation: str = "tanh", **kwargs):
        super().__init__(options, attention, activation, **kwargs)
        self.attentional = layers.Dense(options.attentional_units, activation=activation, name="attentional")
        self.attentional_dropout = layers.Dropout(options.dropout, name="attentional_dropout")

    def attentional_state(self, parts: list[Tensor], training: bool) -> Tensor:
        """`W [...] + b` of the concatenated parts, with activation and dropout."""
        features = without_time_axis(self.attentional, ops.concatenate(parts, axis=-1))
        return self.attentional_dropout(features, training=training)


class AttentionAfter(AttentionalPlacement):
    """The top layer's state attends, and `h~ = tanh(W_c [c; h] + b)` (Luong et al. 2015, equation 5) is the feature."""

    def __init__(self, options: Options, attention: Attention, activation: str = "tanh", **kwargs):
        super().__init__(options, attention, activation, **kwargs)
        self.stack = RecurrentStack(options, name="stack")

    def build(self, embedded_shape, constants_shape):
        units, steps = self.options.units, embedded_shape[:-1]
        self.stack.build(embedded_shape)
        self.attention.build((*steps, units), constants_shape)
        self.attentional.build((*steps, constants_shape["values"][-1] + units))

    def call(self, embedded, state, constants, training=False):
        outputs, states = self.stack(embedded, state["layers"], training=training)
        context, weights, alignment = self.attention(
            outputs, constants, state["attention"], memory_mask=constants["memory_mask"], training=training
        )
        features = self.attentional_state([context, outputs], training)
        return Result(features, [context, outputs], weights, {"layers": states, "attention": alignment})


class AttentionInside(AttentionalPlacement):
    """The first layer's previous state attends, and its cell reads the context.

    The feature is `tanh(W [h; c; y] + b)`, with the previous token (a tanh in place of the maxout of Bahdanau et al.
    2015, A.2.2).
    """

    def __init__(self, options: Options, attention: Attention, activation: str = "tanh", **kwargs):
        super().__init__(options, attention, activation, **kwargs)
        self.inside = RecurrentAttention(options.units, attention, cell=options.cell, name="recurrent_0")
        self.dropout = layers.Dropout(options.dropout, name="dropout_0")
        self.stack = RecurrentStack(options, first=1, name="stack")

    @property
    def cells(self):
        return [self.inside.recurrent.cell, *super().cells]

    def initial_state(self, states, memory_mask):
        first = {name: ops.cast(value, self.inside.compute_dtype) for name, value in states[0].items()}
        return super().initial_state([first, *states[1:]], memory_mask)

    def build(self, embedded_shape, constants_shape):
        units, steps = self.options.units, embedded_shape[:-1]
        self.inside.build(embedded_shape, constants_shape)
        self.stack.build((*steps, units))
        self.attentional.build((*steps, units + constants_shape["values"][-1] + embedded_shape[-1]))

    def call(self, embedded, state, constants, training=False):
        first = {"cell": state["layers"][0], "attention": state["attention"]}
        memory_mask = constants["memory_mask"]
        outputs, context, weights, first = self.inside(embedded, first, constants, memory_mask, training=training)
        outputs = self.dropout(outputs, training=training)
        outputs, states = self.stack(outputs, state["layers"][1:], training=training)
        features = self.attentional_state([outputs, context, embedded], training)
        state = {"layers": [first["cell"], *states], "attention": first["attention"]}
        return Result(features, [outputs, context], weights, state)


class AttentionFedBack(Placement):
    """As `AttentionAfter`, and h~ is an input of the next step (Luong et al. 2015, section 3.3).

    h~ keeps its tanh whatever the activation, because the next step reads it.
    """

    def __init__(self, options: Options, attention: Attention, activation: str = "tanh", **kwargs):
        super().__init__(options, attention, activation, **kwargs)
        self.feeding = InputFeeding(attention=attention, name="input_feeding", **options._asdict())
        self.attentional = self.feeding.attentional

    @property
    def cells(self):
        return [layer.cell for layer in self.feeding.recurrent]

    def readout_dim(self, constants_shape):
        return self.options.attentional_units

    def initial_state(self, states, memory_mask):
        shape, dtype = (ops.shape(memory_mask)[0], self.options.attentional_units), self.feeding.compute_dtype
        states = [{name: ops.cast(value, dtype) for name, value in state.items()} for state in states]
        return {**super().initial_state(states, memory_mask), "attentional": ops.zeros(shape, dtype=dtype)}

    def build(self, embedded_shape, constants_shape):
        self.feeding.build(embedded_shape, constants_shape)

    def call(self, embedded, state, constants, training=False):
        memory_mask = constants["memory_mask"]
        features, weights, state = self.feeding(embedded, state, constants, memory_mask, training=training)
        return Result(features, [features], weights, state)


PLACEMENTS = {"after": AttentionAfter, "input_feeding": AttentionFedBack, "inside": AttentionInside}


def get_placement(placement: str | None, attention: str | None) -> type[Placement]:
    """The class of a placement, a score's default for `None`; raises a `ValueError` for an unknown name."""
    if attention is None:
        return WithoutAttention
    placement = get_score(attention).placement if placement is None else placement
    check_choice("placement", placement, PLACEMENTS, ", or None for the default of the attention")
    return PLACEMENTS[placement]
