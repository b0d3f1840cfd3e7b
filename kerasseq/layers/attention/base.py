"""The contract of attention scores: a score for each source position, a softmax, a weighted sum of the values."""

import keras
from keras import ops

from kerasseq.arguments import check_positive_integer
from kerasseq.types import State, Tensor


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the last axis in float32, with exact zeros where `mask` is false.

    A row without any real position gets weights of zero.
    """
    scores = ops.cast(scores, "float32")
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    # Keras warns about a softmax over a single position.
    weights = ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores, axis=-1)
    return weights if mask is None else weights * ops.cast(mask, "float32")


class Attention(keras.layers.Layer):
    """Attention of a decoder over the memory: its projections, its state and its step.

    `prepare` projects the memory once per source; a call then attends for the steps of a whole target, and `step` for
    one. A subclass defines `score`, or `call` where there is more to it.

    Args:
        units: int, size of the keys.

    Call arguments:
        query: float `(batch, target, query_dim)`, the decoder's hidden states.
        constants: dict, the result of `prepare(memory)`: `keys (batch, source, units)` and `values (batch, source,
            dim)`.
        state: dict, the result of `initial_state(memory_mask)`, or of the call before. Empty for a score without a
            state. Default: empty.
        memory_mask: bool `(batch, source)`, true for real positions. Default: all are real.

    Returns:
        context `(batch, target, dim)`; attention weights `(batch, target, source)`, or `(batch, heads, target, source)`
        for several heads, in float32; and the next state.

    Attributes:
        has_state: bool, whether there is a state that depends on earlier attention weights.
        projects_keys: bool, whether the keys are a projection of the memory.
        num_heads: int, number of heads; `None` where the weights have no axis of heads.
    """

    has_state = False
    projects_keys = True
    num_heads: int | None = None

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        check_positive_integer("units", units)
        self.units = int(units)
        if self.projects_keys:
            self.keys = keras.layers.Dense(units, use_bias=False, dtype=self.dtype_policy, name="attention_keys")

    def build_projections(self, memory_shape: tuple) -> dict[str, tuple]:
        """Builds the projections that `prepare` applies, and returns the shapes of its result."""
        self.keys.build(memory_shape)
        return {"keys": (*memory_shape[:-1], self.units), "values": memory_shape}

    def prepare(self, memory: Tensor) -> State:
        """Projects the memory, once per source: `(batch, source, dim)` -> `keys` and `values`."""
        return {"keys": self.keys(memory), "values": memory}

    def initial_state(self, memory_mask: Tensor) -> State:
        """The state before the first step, from the mask `(batch, source)`."""
        return {}

    def score(self, query: Tensor, keys: Tensor) -> Tensor:
        """Scores `(batch, target, source)` of the queries `(batch, target, query_dim)`."""
        raise NotImplementedError

    def draw_noise(self, query: Tensor, values: Tensor, training: bool | None) -> Tensor | None:
        """Noise on the scores of all steps, float `(batch, target, source)`, or `None`.

        Recurrences with attention in their loop draw it beforehand: not every backend draws random numbers in a loop.
        """
        return None

    def step(
        self, query: Tensor, constants: State, state: State, memory_mask: Tensor | None = None, noise: Tensor = None
    ) -> tuple[Tensor, Tensor, State]:
        """One step: `query (batch, query_dim)` -> context `(batch, dim)`, weights `(batch, [heads,] source)`, state.

        `noise (batch, source)` is this step's part of `draw_noise`.
        """
        context, weights, state = self(query[:, None], constants, state, memory_mask=memory_mask)
        return context[:, 0], weights[..., 0, :], state

    def step_weights_shape(self, batch: Tensor, source: Tensor) -> tuple:
        """The shape of the weights of one step."""
        return batch, source

    def call(self, query, constants, state=None, memory_mask=None, training=False):
        scores = self.score(query, constants["keys"])  # (batch, target, source)
        weights = masked_softmax(scores, None if memory_mask is None else memory_mask[:, None, :])
        context = ops.matmul(ops.cast(weights, constants["values"].dtype), constants["values"])
        return context, weights, {}

    def compute_output_spec(self, query, constants, state=None, memory_mask=None, training=None):
        batch, target, _ = query.shape
        _, source, values_dim = constants["values"].shape
        context = keras.KerasTensor((batch, target, values_dim), dtype=self.compute_dtype)
        *leading, source = self.step_weights_shape(batch, source)
        weights = keras.KerasTensor((*leading, target, source), dtype="float32")
        next_state = {name: keras.KerasTensor(value.shape, dtype="float32") for name, value in (state or {}).items()}
        return context, weights, next_state

    def get_config(self):
        return {**super().get_config(), "units": self.units}
