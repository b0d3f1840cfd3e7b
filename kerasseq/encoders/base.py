"""The contract of encoders."""

import inspect

import keras

from kerasseq.precision import default_dtype_policy
from kerasseq.types import Tensor

RESTORED = {"dtype", "trainable"}  # by `from_config` itself


class Encoder(keras.Model):
    """A functional model from a source to a memory.

    Args:
        inputs: dict of symbolic inputs by name: `encoder_token_ids (batch, source)` for texts.
        outputs: dict of symbolic outputs: `memory (batch, source, dim)`; `memory_mask (batch, source)`, bool, true for
            real positions; and `states`, a list with a dict for each layer: its final states, by the names of the
            encoder's own cell: `{"hidden": (batch, dim)}`, for an LSTM `"hidden"` and `"cell"`, for an SSRU `"cell"`.
            Without recurrence, `"hidden"` is a summary of the source.
        stride: int, number of source steps for each position of the memory.
        vocabulary_size: int, number of source token ids. `None` where sources are not tokens.
        name: str.

    Attributes:
        max_source_length: int, the most source tokens that can be encoded, END included. `None` without a limit.

    Raises:
        ValueError: if `memory`, `memory_mask` or `states` is missing among the outputs, or of another form.

    Example:

    >>> import keras, kerasseq
    >>> ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    >>> mask = kerasseq.layers.PaddingMask()(ids)
    >>> memory = keras.layers.Embedding(100, 16)(ids)
    >>> mean = keras.layers.GlobalAveragePooling1D()(memory, mask=mask)
    >>> outputs = {"memory": memory, "memory_mask": mask, "states": [{"hidden": mean}]}
    >>> encoder = kerasseq.encoders.Encoder({"encoder_token_ids": ids}, outputs, vocabulary_size=100)
    >>> decoder = kerasseq.decoders.RecurrentDecoder(120, embedding_dim=16, units=32, attention="luong")
    >>> model = kerasseq.Seq2Seq(encoder, decoder)
    >>> model.output.shape
    (None, None, 120)
    """

    max_source_length: int | None = None

    def __init__(
        self,
        inputs: dict[str, Tensor],
        outputs: dict[str, Tensor],
        stride: int = 1,
        vocabulary_size: int | None = None,
        name: str = "encoder",
    ):
        if not isinstance(inputs, dict) or not isinstance(outputs, dict):
            raise ValueError(
                f"An encoder has dicts of inputs and outputs by name. Received: inputs={inputs!r}, outputs={outputs!r}."
            )
        missing = {"memory", "memory_mask", "states"} - set(outputs)
        if missing:
            raise ValueError(
                f"An encoder has the outputs 'memory', 'memory_mask' and 'states'. Missing: {sorted(missing)}. "
                f"Received: {sorted(outputs)}."
            )
        if getattr(outputs["memory_mask"], "dtype", None) != "bool":
            raise ValueError(
                "memory_mask must be bool, true for real positions. Received: "
                f"memory_mask={outputs['memory_mask']!r}. Make it with kerasseq.layers.PaddingMask, or with "
                "keras.ops.cast(mask, 'bool')."
            )
        states = outputs["states"]
        are_dicts = isinstance(states, (list, tuple)) and all(isinstance(state, dict) and state for state in states)
        if not are_dicts or not states:
            raise ValueError(
                "states must be a list with a dict for each layer, such as [{'hidden': summary}] with a tensor "
                f"(batch, dim). Received: states={states!r}."
            )
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self.stride = stride
        self.vocabulary_size = vocabulary_size

    @property
    def trainable(self) -> bool:
        """Whether any weight is trained. An assignment sets the flags of all weights and layers."""
        # Not a stored flag: an encoder around a frozen model would keep `True`, and Keras ignores an assignment of the
        # value that a flag already has.
        return not self.weights or any(weight.trainable for weight in self.weights)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for flag in (not value, value):  # The first time, for flags within that have the value, and frozen weights.
            keras.Model.trainable.fset(self, flag)

    @property
    def memory_dim(self) -> int:
        """The size of a memory vector."""
        return self.output["memory"].shape[-1]

    def get_arguments(self) -> dict:
        """Constructor arguments without `name`."""
        # A plain Encoder has no arguments, so its graph is serialized.
        graph = keras.Model(self.input, self.output, name=self.name)
        return {"graph": graph, "stride": self.stride, "vocabulary_size": self.vocabulary_size}

    def get_config(self):
        check_loadable(self)
        arguments = {name: keras.saving.serialize_keras_object(value) for name, value in self.get_arguments().items()}
        return {**arguments, "name": self.name, "trainable": self.trainable, "dtype": self.dtype_policy.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        with default_dtype_policy(config.get("dtype")):
            options = {
                name: keras.saving.deserialize_keras_object(value, custom_objects)
                for name, value in config.items()
                if name not in RESTORED
            }
            graph = options.pop("graph", None)
            encoder = cls(**options) if graph is None else cls(graph.input, graph.output, **options)
        encoder.trainable = config.get("trainable", True)
        return encoder


def check_loadable(encoder: Encoder) -> None:
    """Raises a `ValueError` if `from_config` could not find an encoder's class, or call it."""
    kind = type(encoder)
    if keras.saving.get_registered_object(keras.saving.get_registered_name(kind)) is None:
        raise ValueError(
            f"An encoder's class must be registered, or no file of it can be loaded. Received: {kind.__name__}, which "
            "is not. Write @keras.saving.register_keras_serializable(package='mine') above it; if a model is trained "
            f"already, call keras.saving.register_keras_serializable(package='mine')({kind.__name__})."
        )
    own = {name for base in kind.__mro__[: kind.__mro__.index(Encoder)] for name in vars(base)}
    if "from_config" in own and "get_arguments" not in own:
        return  # It is rebuilt in a way of its own.
    any_positions, any_names = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    parameters = {name: value.kind for name, value in inspect.signature(kind.__init__).parameters.items()}
    named = {name for name, form in parameters.items() if form not in (any_positions, any_names)}
    expected = named - {"self"} - RESTORED
    received = {"name", *encoder.get_arguments()}
    if "graph" in received:
        received = received - {"graph"} | {"inputs", "outputs"}
    if expected - received or (received - expected and any_names not in parameters.values()):
        raise ValueError(
            "An encoder's constructor must take name and what get_arguments returns, or no file of the encoder can be "
            f"loaded. Expected for {kind.__name__}: {sorted(expected)}. Received: {sorted(received)}. Define a "
            "get_arguments that returns all arguments of the constructor but name."
        )


keras.saving.register_keras_serializable(package="kerasseq")(Encoder)
