"""Several encoders of one source."""

import keras

from kerasseq.encoders.base import Encoder


@keras.saving.register_keras_serializable(package="kerasseq")
class EnsembleEncoder(Encoder):
    """Encodes one source with several encoders.

    Args:
        encoders: list of `Encoder`s with the same inputs.
        name: str.

    A functional model from the inputs of its members to `members`, a list of their outputs; `memory`, `memory_mask` and
    `states` are those of the first member, and so is the stride.
    """

    def __init__(self, encoders: list[Encoder], name: str = "encoder"):
        inputs = {
            key: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=key)
            for key, tensor in encoders[0].input.items()
        }
        # Layers of a functional model need unique names.
        members = [
            keras.Model(encoder.input, encoder.output, name=f"member_{index}")(inputs)
            for index, encoder in enumerate(encoders)
        ]
        super().__init__(
            inputs=inputs,
            outputs={**members[0], "members": members},
            stride=encoders[0].stride,
            vocabulary_size=encoders[0].vocabulary_size,
            name=name,
        )
        self.encoders = encoders
        limits = [encoder.max_source_length for encoder in encoders]
        self.max_source_length = min((limit for limit in limits if limit is not None), default=None)

    def get_arguments(self):
        return {"encoders": self.encoders}
