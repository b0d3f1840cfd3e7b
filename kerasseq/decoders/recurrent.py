"""Recurrent decoders, with and without attention."""

import keras
from keras import layers, ops

from kerasseq.arguments import check_positive_integer, check_share
from kerasseq.decoders.base import Decoder
from kerasseq.decoders.bridge import Bridge
from kerasseq.decoders.heads import logits_of, target_embedding, tied_projection, vocabulary_head, without_projection
from kerasseq.decoders.placements import Options, get_placement
from kerasseq.layers.attention import make_attention
from kerasseq.layers.cells import Cell
from kerasseq.layers.pointer_generator import PointerGenerator
from kerasseq.precision import default_dtype_policy


@keras.saving.register_keras_serializable(package="kerasseq")
class RecurrentDecoder(Decoder):
    """A stack of recurrent layers that may attend to the memory in every step.

    Placements of the attention:

    - `"after"`: the top layer's state attends, and `h~ = tanh(W_c [c; h] + b)` (Luong et al. 2015, equation 5) is the
      feature. Training works on whole sequences.
    - `"input_feeding"`: the same, and h~ is an input of the next step (Luong et al. 2015, section 3.3). Training loops
      over all layers and the attention.
    - `"inside"`: the first layer's previous state attends, its cell reads the context, and `tanh(W [h; c; y] + b)` is
      the feature, with the previous token y (a tanh in place of the maxout of Bahdanau et al. 2015, A.2.2). Training
      loops over the first layer and the attention.

    Args:
        vocabulary_size: int, number of target token ids.
        embedding_dim: int, size of the token embeddings.
        units: int, size of each state, of the keys and of the attentional hidden state.
        cell: str, a name in `kerasseq.layers.cells.CELLS`: `"simple_rnn"`, `"lstm"`, `"gru"` or `"ssru"`.
        num_layers: int, number of stacked recurrent layers.
        attention: a name as in `kerasseq.models.AttentionSeq2Seq`. Default: no attention.
        placement: `"after"`, `"input_feeding"` or `"inside"`. Default: `"inside"` for `"bahdanau"`, `"location"` and
            `"monotonic"`, else `"after"`.
        num_heads: int, for `"multi_head"`.
        bridge: the initial states, see `kerasseq.decoders.Bridge`.
        residual: bool, whether each layer from the second on adds its input to its output.
        dropout: float in [0, 1), share of units dropped after the embedding, between layers and before the logits.
        tie_embeddings: bool, whether the logits share the embedding's matrix; the attentional hidden state then has the
            size `embedding_dim`, and without attention a dense layer maps the outputs to it where sizes differ.
        copy: bool, whether source tokens are copied, see `kerasseq.models.PointerGeneratorSeq2Seq`. The logits are then
            log-probabilities. The generation probability depends on the readout (see above; for input feeding h~) and
            the previous token, and the attentional hidden state is linear in the readout (See et al. 2017, equations 4
            and 8).
        name: str.

    Call arguments and results are those of `Decoder`.

    Raises:
        ValueError: for an unknown cell, attention, placement or bridge, heads that do not divide the units, `"dot"`
            with a memory of another size than the states, or copying without attention.

    Example:

    >>> import keras, kerasseq
    >>> encoder = kerasseq.encoders.RecurrentEncoder(100, embedding_dim=16, units=32)
    >>> decoder = kerasseq.decoders.RecurrentDecoder(120, embedding_dim=16, units=32, attention="luong")
    >>> model = kerasseq.Seq2Seq(encoder, decoder)  # builds both
    >>> context = model.encode({"encoder_token_ids": keras.ops.ones((2, 7), dtype="int32")})
    >>> state, constants = decoder.start(context)
    >>> outputs = decoder.step(keras.ops.array([2, 2]), state, constants)  # START
    >>> keras.ops.shape(outputs["logits"]), keras.ops.shape(outputs["attention"])
    ((2, 120), (2, 7))
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        units: int,
        cell: str = "lstm",
        num_layers: int = 1,
        attention: str | None = None,
        placement: str | None = None,
        num_heads: int = 4,
        bridge: str | None = None,
        residual: bool = False,
        dropout: float = 0.0,
        tie_embeddings: bool = False,
        copy: bool = False,
        name: str = "decoder",
        **kwargs,
    ):
        super().__init__(autocast=False, name=name, **kwargs)
        sizes = {
            "vocabulary_size": vocabulary_size, "embedding_dim": embedding_dim, "units": units,
            "num_layers": num_layers, "num_heads": num_heads,
        }  # fmt: skip
        for argument, value in sizes.items():
            check_positive_integer(argument, value)
        check_share("dropout", dropout)
        if copy and attention is None:
            raise ValueError("copy=True copies tokens by attention. Received: attention=None.")
        self.options = {
            **sizes, "cell": cell, "attention": attention, "placement": placement, "bridge": bridge,
            "residual": residual, "dropout": dropout, "tie_embeddings": tie_embeddings, "copy": copy,
        }  # fmt: skip
        self.vocabulary_size = vocabulary_size
        self.has_attention = attention is not None
        self.copies = self.has_generation_probability = copy

        # === Layers ===
        with default_dtype_policy(self.dtype_policy):
            self.bridge = Bridge(units, cell, num_layers, bridge, name="bridge")
            self.embedding = target_embedding(vocabulary_size, embedding_dim, tie_embeddings)
            self.embedding_dropout = layers.Dropout(dropout, name="embedding_dropout")
            self.attention = make_attention(attention, units, num_heads=num_heads) if attention is not None else None
            self.num_heads = None if self.attention is None else self.attention.num_heads
            options = Options(units, cell, num_layers, residual, dropout, embedding_dim if tie_embeddings else units)
            make_placement = get_placement(placement, attention)
            self.placement = make_placement(options, self.attention, "linear" if copy else "tanh", name="placement")
            projects = attention is None and tie_embeddings and units != embedding_dim
            self.to_embedding = layers.Dense(embedding_dim, name="to_embedding") if projects else None
            self.logits = None if tie_embeddings else vocabulary_head(vocabulary_size)
            self.pointer_generator = PointerGenerator(name="pointer_generator") if copy else None

    @property
    def cells(self) -> list[Cell]:
        """The cell of each recurrent layer, with its weights."""
        return self.placement.cells

    def build(self, decoder_token_ids_shape, context_shape):
        embedding_dim, units = self.options["embedding_dim"], self.options["units"]
        batch, target = decoder_token_ids_shape
        memory_shape = tuple(context_shape["memory"])
        self.bridge.build(context_shape["states"])
        self.embedding.build((batch, target))
        constants_shape = {} if self.attention is None else self.attention.build_projections(memory_shape)
        self.placement.build((batch, target, embedding_dim), constants_shape)
        if self.to_embedding is not None:
            self.to_embedding.build((batch, target, units))
        if self.logits is not None:
            self.logits.build((batch, target, self.placement.features_dim))
        if self.pointer_generator is not None:
            readout_dim = self.placement.readout_dim(constants_shape)
            self.pointer_generator.build(None, None, (batch, target, readout_dim + embedding_dim), None)

    def start(self, context):
        states = self.placement.initial_state(self.bridge(context["states"]), context["memory_mask"])
        constants = {}
        if self.attention is not None:
            constants = {**self.attention.prepare(context["memory"]), "memory_mask": context["memory_mask"]}
        if self.copies:
            constants["source_token_ids"] = context["encoder_token_ids"]
        if self.logits is None:
            constants |= tied_projection(self.embedding, ops.shape(context["memory_mask"])[0])
        return states, constants

    def run(self, token_ids, state, constants, training=False):
        embedded = self.embedding_dropout(self.embedding(token_ids), training=training)
        features, readout, weights, state = self.placement(embedded, state, constants, training=training)
        if self.to_embedding is not None:
            features = self.to_embedding(features)
        logits = logits_of(features, self.logits, self.embedding, constants)
        outputs = {"logits": logits}
        if self.num_heads:
            outputs |= {"attention": ops.mean(weights, axis=1), "attention_heads": weights}
        elif self.attention is not None:
            outputs["attention"] = weights
        if self.pointer_generator is not None:
            features = ops.concatenate([*readout, embedded], axis=-1)
            outputs["logits"], outputs["generation_probability"] = self.pointer_generator(
                logits, outputs["attention"], features, constants["source_token_ids"]
            )
        return outputs, state

    def call(self, decoder_token_ids, context, training=False):
        state, constants = self.start(context)
        outputs, _ = self.run(decoder_token_ids, state, without_projection(constants), training=training)
        return outputs

    def get_config(self):
        return {**super().get_config(), **self.options}
