"""The contract of losses that are part of a model."""

import keras

from kerasseq.arguments import check_number
from kerasseq.types import Context, Tensor


class AuxiliaryLoss(keras.layers.Layer):
    """A loss on what happens inside a model, beside the loss that the model is compiled with.

    The layer passes the logits through, and adds `weight * loss` to the quantity that `fit` minimizes and `evaluate`
    reports. `kerasseq.Seq2Seq(..., losses=[...])` calls it. Subclasses define `loss` and list the tensors it needs in
    `required`.

    Args:
        weight: float of at least 0. May be changed before `compile`: `model.get_layer("coverage_loss").weight = 1.0`.
            With 0 nothing is added.

    Call arguments:
        logits: any tensor.
        context: dict of tensors by name, those in `required`: inputs of the model, outputs of the encoder, and outputs
            of the decoder under teacher forcing.

    Returns:
        `logits`, unchanged.
    """

    required: tuple[str, ...] = ()

    def __init__(self, weight: float = 1.0, **kwargs):
        # In another precision Keras would round the logits that pass through.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.weight = check_number("weight", weight)

    def loss(self, context: Context) -> Tensor:
        """The loss of a batch, a float32 scalar."""
        raise NotImplementedError

    def call(self, logits, context):
        if self.weight:
            self.add_loss(self.weight * self.loss(context))
        return logits

    def compute_output_spec(self, logits, context):
        return keras.KerasTensor(logits.shape, dtype=logits.dtype)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
