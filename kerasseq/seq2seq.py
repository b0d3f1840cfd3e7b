"""The encoder-decoder model."""

import reprlib

import keras

from kerasseq.decoders.base import Decoder
from kerasseq.encoders.base import Encoder, check_loadable
from kerasseq.layers.inner_layers import freeze_weights, frozen_weights, serialized
from kerasseq.layers.losses import AuxiliaryLoss, CTCLoss
from kerasseq.precision import default_dtype_policy
from kerasseq.projection import remembered_projections
from kerasseq.replicas import global_counts
from kerasseq.types import Context, State, Tensor


@keras.saving.register_keras_serializable(package="kerasseq")
class Seq2Seq(keras.Model):
    """A functional model of an encoder and a decoder.

    `fit` and `predict` run the decoder under teacher forcing, from the encoder's inputs and `decoder_token_ids (batch,
    target)` to logits `(batch, target, vocabulary)`. A search runs it step by step:

    ```python
    context = model.encode(inputs)
    state, constants = model.start(context)
    outputs = model.step(token_ids, state, constants)
    ```

    Args:
        encoder: a `kerasseq.encoders.Encoder`.
        decoder: a `kerasseq.decoders.Decoder`.
        losses: list of layers of `kerasseq.layers` that add a loss to the model, such as `CoverageLoss()`.
        name: str.

    Attributes:
        encoder, decoder, auxiliary_losses: the parts, to open, to freeze, or to build another model of.
        vocabulary_digest: str, which vocabularies the model was trained with, or `None`. `fit` takes it from a data set
            of a preprocessor, and `kerasseq.TextGenerator.load` from its files; other vocabularies are refused. Set it
            to `None` to train the model with other ones.
        loss_in_blocks: bool, whether `fit` computes `MaskedCrossentropy` and its gradients from the features before the
            logits, some tokens at a time, so that the logits of a batch are never all there. On TensorFlow without XLA
            or eager execution; wherever else a loss or a metric reads the logits, they are computed as ever. Set it
            before the first training step. Default: `True`.

    Raises:
        ValueError: if a part is no encoder, decoder or loss, or a loss needs a tensor that the parts do not provide.

    Example:

    >>> import keras, kerasseq
    >>> encoder = kerasseq.encoders.RecurrentEncoder(100, 16, 32, num_layers=3, bidirectional=True, pyramidal=True)
    >>> decoder = kerasseq.decoders.RecurrentDecoder(120, embedding_dim=16, units=48, attention="luong")
    >>> model = kerasseq.Seq2Seq(encoder, decoder)
    >>> ids = keras.ops.ones((2, 7), dtype="int32")
    >>> keras.ops.shape(model({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :5]}))
    (2, 5, 120)
    """

    def __init__(
        self, encoder: Encoder, decoder: Decoder, losses: list[AuxiliaryLoss] | tuple = (), name: str = "seq2seq"
    ):
        for argument, value, kind in (("encoder", encoder, Encoder), ("decoder", decoder, Decoder)):
            if not isinstance(value, kind):
                raise ValueError(
                    f"{argument} must be a kerasseq.{argument}s.{kind.__name__}. Received: {argument}={value!r}."
                )
        check_loadable(encoder)  # Before a training whose result no file could hold.
        inputs = {
            key: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=key) for key, tensor in encoder.input.items()
        }
        decoder_token_ids = keras.Input((None,), dtype="int32", name="decoder_token_ids")
        context = {**inputs, **encoder(inputs)}
        outputs = decoder(decoder_token_ids, context)
        logits = outputs["logits"]
        available = {**context, **outputs, "decoder_token_ids": decoder_token_ids}
        for loss in losses:
            logits = loss(logits, select(loss, available))
        super().__init__(inputs={**inputs, "decoder_token_ids": decoder_token_ids}, outputs=logits, name=name)
        self.encoder = encoder
        self.decoder = decoder
        self.auxiliary_losses = list(losses)
        self.vocabulary_digest: str | None = None
        self.loss_in_blocks = True

    # === Step by step ===

    def encode(self, inputs: dict[str, Tensor], training: bool = False) -> Context:
        """Runs the encoder, once per source.

        Args:
            inputs: dict of the encoder's inputs; others are ignored.
            training: bool.

        Returns:
            the context of the decoder: a dict with the inputs and outputs of the encoder.
        """
        # A functional model binds a dict by the order of its keys, so it must be called with exactly its own.
        missing = sorted(set(self.encoder.input) - set(inputs))
        if missing:
            raise ValueError(
                f"The encoder reads {sorted(self.encoder.input)}. Missing: {missing}. Received: {sorted(inputs)}."
            )
        inputs = {name: inputs[name] for name in self.encoder.input}
        return {**inputs, **self.encoder(inputs, training=training)}

    def start(self, context: Context) -> tuple[State, State]:
        """The decoder's initial state and constants; see `kerasseq.decoders.Decoder.start`."""
        return self.decoder.start(context)

    def step(self, token_ids: Tensor, state: State, constants: State) -> dict[str, Tensor]:
        """One step of the decoder; see `kerasseq.decoders.Decoder.step`."""
        return self.decoder.step(token_ids, state, constants)

    @property
    def has_ctc(self) -> bool:
        """Whether there is a `CTCLoss`, whose probabilities of target tokens `ctc_log_probabilities` returns."""
        return any(isinstance(loss, CTCLoss) for loss in self.auxiliary_losses)

    def ctc_log_probabilities(self, context: Context) -> Tensor:
        """The log-probabilities of target tokens and of the blank, id 0, at each position of the memory.

        Args:
            context: the result of `encode`.

        Returns:
            float32 `(batch, positions, vocabulary)`.

        Raises:
            ValueError: if the model has no `CTCLoss`.
        """
        for loss in self.auxiliary_losses:
            if isinstance(loss, CTCLoss):
                return loss.log_probabilities(context)
        raise ValueError("CTC probabilities need a model with a CTCLoss, as SpeechSeq2Seq(..., ctc_loss=0.5) has one.")

    # === Under teacher forcing ===

    def decoder_outputs(self, inputs: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """All results of the decoder under teacher forcing, such as the attention weights.

        Args:
            inputs: dict of the model's inputs.
            training: bool.

        Returns:
            the dict that the decoder returns, see `kerasseq.decoders.Decoder`.

        Example:

        >>> import keras, kerasseq
        >>> model = kerasseq.models.AttentionSeq2Seq(100, 120, units=32, embedding_dim=16)
        >>> ids = keras.ops.ones((2, 7), dtype="int32")
        >>> outputs = model.decoder_outputs({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :5]})
        >>> keras.ops.shape(outputs["attention"])
        (2, 5, 7)
        """
        return self.decoder(inputs["decoder_token_ids"], self.encode(inputs, training), training=training)

    # === Training ===

    def fit(self, x=None, *args, class_weight=None, **kwargs):
        """As that of Keras; refuses data of other vocabularies than those that the model was trained with.

        The data sets of preprocessors know their vocabularies; what `take`, `map` and others make of them does not.
        Losses that take the outputs for probabilities are refused, because the model returns logits; so is
        `class_weight`, which is for one class per row: Keras would take the position of the largest id for the class.
        """
        if class_weight is not None:
            raise ValueError(
                "class_weight is for one class per row; targets are sequences of tokens. Weigh pairs by "
                "preprocessor.dataset(pairs, ..., weights=[...]), or tokens by a sample_weight (batch, target). "
                f"Received: class_weight={reprlib.repr(class_weight)}."
            )
        check_data(self, x)
        digest = getattr(x, "vocabulary_digest", self.vocabulary_digest)
        if digest is not None and getattr(kwargs.get("validation_data"), "vocabulary_digest", digest) != digest:
            raise ValueError(
                "validation_data has other vocabularies than the model or its training data. Make both data sets with "
                "one preprocessor."
            )
        self.vocabulary_digest = digest
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        """As that of Keras; refuses data of other vocabularies than those that the model was trained with."""
        check_data(self, x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """As that of Keras: logits of target tokens; refuses texts, which `TextGenerator.generate` takes."""
        check_data(self, x)
        return super().predict(x, *args, **kwargs)

    def make_train_function(self, force: bool = False):
        """Builds the optimizer, then the function of a training step; `fit` and `train_on_batch` call this."""
        check_loss(self.loss)
        # TensorFlow traces a step that creates variables twice. Keras does this itself for other backends and replicas.
        if keras.backend.backend() == "tensorflow" and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def train_step(self, *arguments):
        """A training step of one replica, which knows the number of tokens of the global batch; `fit` calls this."""
        # In a graph that the framework prunes; XLA fuses operations itself, and needs shapes that blocks do not have.
        is_graph = keras.backend.backend() == "tensorflow" and not self.run_eagerly and not self.jit_compile
        with global_counts(arguments[-1]), remembered_projections(self.loss_in_blocks and is_graph):
            return super().train_step(*arguments)

    def test_step(self, *arguments):
        """As `train_step`, for `evaluate`."""
        with global_counts(arguments[-1]):
            return super().test_step(*arguments)

    # === Saving ===

    def get_config(self):
        return {
            "encoder": serialized(self.encoder),
            "decoder": serialized(self.decoder),
            "losses": [serialized(loss) for loss in self.auxiliary_losses],
            "frozen": frozen_weights(self),
            "vocabulary_digest": self.vocabulary_digest,
            "dtype": self.dtype_policy.name,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder, decoder, *losses = (
            keras.saving.deserialize_keras_object(part, custom_objects)
            for part in (config["encoder"], config["decoder"], *config["losses"])
        )
        # `compile` looks at the policy of the model: under mixed_float16 it scales the loss.
        with default_dtype_policy(config.get("dtype")):
            model = cls(encoder, decoder, losses, name=config["name"])
        model.vocabulary_digest = config.get("vocabulary_digest")
        # Layers within a decoder do not serialize their flags.
        freeze_weights(model, config.get("frozen", ()))
        return model


def check_loss(loss) -> None:
    """Raises a `ValueError` for losses of Keras that take the outputs for probabilities, as they do by default."""
    for part in keras.tree.flatten(loss):
        if takes_probabilities(part):
            raise ValueError(
                "The model returns logits, and padding must not be learned: pass kerasseq.losses.MaskedCrossentropy(). "
                f"Received: loss={part!r}."
            )


def takes_probabilities(loss) -> bool:
    """Whether a loss, or the loss of this name, takes the outputs for probabilities."""
    loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    if isinstance(loss, keras.losses.Loss):
        return loss.get_config().get("from_logits") is False
    return loss in (keras.losses.sparse_categorical_crossentropy, keras.losses.categorical_crossentropy)


def check_data(model: Seq2Seq, data) -> None:
    """Raises a `ValueError` if data are texts, or a data set has other vocabularies than the model."""
    first = next(iter(data), None) if isinstance(data, list | tuple) else None
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if isinstance(first, str | bytes):
        raise ValueError(
            "x must be batches of token ids: preprocessor.dataset(pairs, batch_size=64) makes them of pairs, and "
            f"TextGenerator(model, preprocessor).generate takes texts. Received: x={reprlib.repr(data)}."
        )
    digest = getattr(data, "vocabulary_digest", None)
    if digest is not None:
        check_digest(model, digest)


def check_digest(model: Seq2Seq, digest: str) -> None:
    """Raises a `ValueError` if the model was trained with other vocabularies, of the same sizes."""
    if model.vocabulary_digest not in (None, digest):
        raise ValueError(
            "The model was trained with another vocabulary, perhaps of the same size, whose ids are other tokens. Pass "
            "the preprocessor that the model was trained with: TextGenerator.load returns it, as `preprocessor`, from "
            "what TextGenerator.save or export wrote. To train the model with this vocabulary, set "
            "model.vocabulary_digest = None."
        )


def select(loss: AuxiliaryLoss, available: Context) -> Context:
    """The tensors that a loss requires."""
    if not isinstance(loss, AuxiliaryLoss):
        raise ValueError(f"losses must be layers such as kerasseq.layers.CoverageLoss(). Received: {loss!r}.")
    missing = sorted(set(loss.required) - set(available))
    if missing:
        raise ValueError(
            f"{type(loss).__name__} needs {missing}, which this encoder and decoder do not provide. Available: "
            f"{sorted(available)}."
        )
    return {name: available[name] for name in loss.required}


def weights_by_name(model: Seq2Seq) -> dict[str, Tensor]:
    """The weights of a model by names that do not depend on how it was built, in the order of `model.weights`.

    A name is the part and the path within it; where members of an ensemble share a name, a number is added.
    """
    parts = {id(weight): "encoder" for weight in model.encoder.weights}
    parts |= {id(weight): "decoder" for weight in model.decoder.weights}
    weights: dict[str, Tensor] = {}
    for weight in model.weights:
        part = parts.get(id(weight), "losses")
        # A member of an ensemble is built inside another decoder after loading, and alone before.
        path = weight.path.rpartition("decoder/")[2] if part == "decoder" else weight.path
        name, number = f"{part}/{path}", 1
        while name in weights:
            number += 1
            name = f"{part}/{path}#{number}"
        weights[name] = weight
    return weights
