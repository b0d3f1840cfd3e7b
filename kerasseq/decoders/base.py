"""The contract of decoders."""

import keras
from keras import ops

from kerasseq.types import Context, State, Tensor


class Decoder(keras.layers.Layer):
    """Emits tokens one by one while it attends to a memory.

    A decoder runs in two ways that agree. Step by step, as in a search:

    ```python
    state, constants = decoder.start(context)
    outputs = decoder.step(token_ids, state, constants)  # token_ids (batch,), START first
    ```

    and over whole sequences under teacher forcing, `decoder(decoder_token_ids, context)`, which is faster in training.
    A search repeats `constants` for its hypotheses, reorders `state`, and does not know which decoder it runs.

    Subclasses define `start`, `call`, and either `step` or `run`, which the default `step` calls; and set the
    attributes.

    Call arguments:
        decoder_token_ids: int `(batch, target)`, START and the target.
        context: dict with the inputs and outputs of the encoder: `memory (batch, source, dim)`, `memory_mask (batch,
            source)`, `states`, and for texts `encoder_token_ids (batch, source)`.

    Returns:
        dict of `logits`, float32 `(batch, target, vocabulary)`, and with `has_attention` the attention weights
        `attention`, float32 `(batch, target, source)`; with `num_heads` also `attention_heads`, float32 `(batch,
        heads, target, source)`; with `has_generation_probability` also `generation_probability`, float32 `(batch,
        target)`.

    Attributes:
        vocabulary_size: int, number of target token ids.
        has_attention: bool, whether there are attention weights.
        copies: bool, whether source tokens are copied, which needs one vocabulary for both sides.
        has_generation_probability: bool, whether there are generation probabilities.
        num_heads: int, number of heads in `attention_heads`; `None` without them.
    """

    vocabulary_size: int
    has_attention = False
    copies = False
    has_generation_probability = False
    num_heads: int | None = None

    def start(self, context: Context) -> tuple[State, State]:
        """The initial state and the constants of a batch.

        Args:
            context: as in the call.

        Returns:
            the state before the first step, a nested dict of tensors, batch first: all that changes from step to step,
            of the same structure and dtypes as the state that `step` returns; and the constants, a nested dict of
            tensors, batch first, computed once per source; what all rows share is under the key `shared`. Shapes are
            constant, except for an axis whose length is statically unknown in the initial state, which may grow, as the
            keys of past steps do.
        """
        raise NotImplementedError

    def step(self, token_ids: Tensor, state: State, constants: State) -> dict[str, Tensor]:
        """Reads one token.

        Args:
            token_ids: int `(batch,)`, the previous token; START first.
            state, constants: as `start` returns them.

        Returns:
            the results of a call without the axis `target`, and `state`, the next state.
        """
        outputs, state = self.run(token_ids[:, None], state, constants)
        time_axes = {"attention_heads": 2}
        outputs = {name: ops.squeeze(value, axis=time_axes.get(name, 1)) for name, value in outputs.items()}
        return {**outputs, "state": state}

    def run(
        self, token_ids: Tensor, state: State, constants: State, training: bool = False
    ) -> tuple[dict[str, Tensor], State]:
        """Several steps under teacher forcing: `token_ids (batch, steps)` -> the results of a call, and the state."""
        raise NotImplementedError

    def call(self, decoder_token_ids, context, training=False):
        raise NotImplementedError

    def compute_output_spec(self, decoder_token_ids, context, training=False):
        batch, target = decoder_token_ids.shape
        outputs = {"logits": keras.KerasTensor((batch, target, self.vocabulary_size), dtype="float32")}
        if self.has_attention:
            source = context["memory"].shape[1]
            outputs["attention"] = keras.KerasTensor((batch, target, source), dtype="float32")
        if self.num_heads:
            shape = (batch, self.num_heads, target, context["memory"].shape[1])
            outputs["attention_heads"] = keras.KerasTensor(shape, dtype="float32")
        if self.has_generation_probability:
            outputs["generation_probability"] = keras.KerasTensor((batch, target), dtype="float32")
        return outputs
