"""One layer of a Transformer decoder."""

from typing import Any

from keras import layers, ops

from kerasseq.layers.attention import MultiHeadAttention
from kerasseq.layers.recurrent import Recurrent
from kerasseq.types import State, Tensor


class TransformerDecoderLayer(layers.Layer):
    """Three sublayers, each `x + dropout(f(norm(x)))`: self-attention, attention over the memory, feed-forward.

    The state holds the keys and values of all past steps, so a step computes those of its own token alone. With `cell`,
    a recurrent layer takes the place of the self-attention (Kim et al. 2019, section 3.1), and its state that of the
    keys and values.

    Args:
        units, num_heads, feedforward_dim, dropout, cell: as in `kerasseq.decoders.TransformerDecoder`.

    Call arguments:
        sequences: float `(batch, steps, units)`.
        constants: the result of `prepare(memory)`.
        memory_mask: bool `(batch, source)`, true for real positions.
        state: the result of `initial_state(batch_size)`, or of the call before. Default: there are no past steps.

    Returns:
        outputs `(batch, steps, units)`; attention weights over the memory `(batch, heads, steps, source)`, float32; and
        the next state.

    Example:

    >>> import keras
    >>> layer = TransformerDecoderLayer(8, num_heads=2, feedforward_dim=16)
    >>> layer.build((2, 1, 8), (2, 7, 12))
    >>> constants, mask = layer.prepare(keras.random.normal((2, 7, 12))), keras.ops.ones((2, 7), dtype="bool")
    >>> outputs, weights, state = layer(keras.random.normal((2, 1, 8)), constants, mask, layer.initial_state(2))
    >>> keras.ops.shape(outputs), keras.ops.shape(weights), keras.ops.shape(state["keys"])
    ((2, 1, 8), (2, 2, 1, 7), (2, 1, 8))
    """

    def __init__(
        self, units: int, num_heads: int, feedforward_dim: int, dropout: float = 0.0, cell: str | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.units = units
        self.recurrent = None if cell is None else Recurrent(units, cell=cell, name="recurrent")
        self.self_attention: Any = None if cell else MultiHeadAttention(units, num_heads, name="self_attention")
        self.attention = MultiHeadAttention(units, num_heads, name="attention")
        self.expand = layers.Dense(feedforward_dim, activation="relu", name="expand")
        self.contract = layers.Dense(units, name="contract")
        self.norms = [
            layers.LayerNormalization(epsilon=1e-6, name=f"{sublayer}_norm")
            for sublayer in ("past", "memory", "feedforward")
        ]
        self.dropout = layers.Dropout(dropout, name="dropout")

    def build(self, sequences_shape, memory_shape):
        steps = (*sequences_shape[:-1], self.units)
        for norm in self.norms:
            norm.build(steps)
        if self.recurrent is not None:
            self.recurrent.build(steps)
        else:
            self.self_attention.build(steps, self.self_attention.build_projections(steps))
        self.attention.build(steps, self.attention.build_projections(memory_shape))
        self.expand.build(steps)
        self.contract.build((*steps[:-1], self.expand.units))

    def prepare(self, memory: Tensor) -> State:
        """Projects the memory `(batch, source, dim)` to keys and values, once per source."""
        return self.attention.prepare(memory)

    def initial_state(self, batch_size: Tensor) -> State:
        """The state before the first step."""
        if self.recurrent is not None:
            return self.recurrent.cell.initial_state(batch_size)
        # Zero steps, with a statically unknown length: TensorFlow loops reject state whose static shape changes.
        (no_steps,) = ops.nonzero(ops.zeros((1,)))
        empty = ops.take(ops.zeros((batch_size, 1, self.units), dtype=self.compute_dtype), no_steps, axis=1)
        return {"keys": empty, "values": empty}

    def call(self, sequences, constants, memory_mask, state=None, training=False):
        past_norm, memory_norm, feedforward_norm = self.norms
        normalized = past_norm(sequences)
        if self.recurrent is not None:
            past, state = self.recurrent(normalized, initial_state=state, training=training)
        else:
            past, state = self.attend_to_past(normalized, state)
        outputs = sequences + self.dropout(past, training=training)
        context, weights, _ = self.attention(memory_norm(outputs), constants, memory_mask=memory_mask)
        outputs = outputs + self.dropout(context, training=training)
        hidden = self.dropout(self.expand(feedforward_norm(outputs)), training=training)
        return outputs + self.dropout(self.contract(hidden), training=training), weights, state

    def attend_to_past(self, normalized: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Self-attention of each step over itself and all steps before it."""
        state = state or {}
        now = self.self_attention.prepare(normalized)
        state = {
            name: ops.concatenate([state[name], value], axis=1) if name in state else value
            for name, value in now.items()
        }
        mask = None
        if normalized.shape[1] != 1:
            steps, seen = ops.shape(normalized)[1], ops.shape(state["keys"])[1]
            positions = ops.arange(seen)
            mask = (positions <= positions[seen - steps :, None])[None]  # (1, steps, seen)
        context, _, _ = self.self_attention(normalized, state, memory_mask=mask)
        return context, state
