"""Transformer decoders."""

import keras
from keras import layers, ops

from kerasseq.decoders.base import Decoder
from kerasseq.decoders.heads import logits_of, target_embedding, tied_projection, vocabulary_head
from kerasseq.layers.attention.multi_head import transformer_sizes
from kerasseq.layers.positional_encoding import PositionalEncoding
from kerasseq.layers.transformer_decoder_layer import TransformerDecoderLayer
from kerasseq.precision import default_dtype_policy
from kerasseq.types import Context, State


@keras.saving.register_keras_serializable(package="kerasseq")
class TransformerDecoder(Decoder):
    """A stack of Transformer layers, with the normalization before each sublayer.

    Training runs all steps at once. The state of a search holds the keys and values of past steps, so a step costs one
    token and an attention over the past.

    Args:
        vocabulary_size: int, number of target token ids.
        units: int, size of embeddings and hidden states; a multiple of `num_heads`.
        num_layers: int.
        num_heads: int, number of heads of each attention.
        feedforward_dim: int, size of the hidden layer of the feed-forward sublayer. Default: `4 * units`.
        dropout: float in [0, 1), share of units dropped after the embedding, from each sublayer's output and from the
            hidden layer of the feed-forward sublayer.
        cell: str, a name in `kerasseq.layers.cells.CELLS`: a recurrent layer in place of each self-attention, such as
            `"ssru"` (Kim et al. 2019). Its state does not grow with the length. Default: self-attention.
        tie_embeddings: bool, whether the logits share the embedding's matrix.
        name: str.

    Call arguments and results are those of `Decoder`. The attention weights are those of the last layer, `attention`
    their mean over the heads. The memory may have any size; the encoder's states are not used.

    Raises:
        ValueError: for sizes that are not positive integers, heads that do not divide the units, a dropout outside
            [0, 1), or an unknown cell.

    Example:

    >>> import keras, kerasseq
    >>> encoder = kerasseq.encoders.RecurrentEncoder(100, embedding_dim=16, units=24, bidirectional=True)
    >>> decoder = kerasseq.decoders.TransformerDecoder(120, units=32, num_layers=2)
    >>> model = kerasseq.Seq2Seq(encoder, decoder)
    >>> context = model.encode({"encoder_token_ids": keras.ops.ones((2, 7), dtype="int32")})
    >>> state, constants = decoder.start(context)
    >>> outputs = decoder.step(keras.ops.array([2, 2]), state, constants)  # START
    >>> keras.ops.shape(outputs["logits"]), keras.ops.shape(outputs["attention"])
    ((2, 120), (2, 7))

    Source: Vaswani et al. 2017, section 3, with the order of Xiong et al. 2020 ("pre-norm").
    """

    has_attention = True

    def __init__(
        self,
        vocabulary_size: int,
        units: int = 256,
        num_layers: int = 3,
        num_heads: int = 4,
        feedforward_dim: int | None = None,
        dropout: float = 0.0,
        cell: str | None = None,
        tie_embeddings: bool = False,
        name: str = "decoder",
        **kwargs,
    ):
        super().__init__(autocast=False, name=name, **kwargs)
        sizes = transformer_sizes(vocabulary_size, units, num_layers, num_heads, feedforward_dim, dropout)
        self.options = {**sizes, "dropout": dropout, "cell": cell, "tie_embeddings": tie_embeddings}
        self.vocabulary_size = vocabulary_size
        self.num_heads = num_heads

        # === Layers ===
        with default_dtype_policy(self.dtype_policy):
            self.embedding = target_embedding(vocabulary_size, units, tie_embeddings)
            self.positions = PositionalEncoding(name="positions")
            self.embedding_dropout = layers.Dropout(dropout, name="embedding_dropout")
            self.stack = [
                TransformerDecoderLayer(
                    units, num_heads, sizes["feedforward_dim"], dropout, cell, name=f"layer_{index}"
                )
                for index in range(num_layers)
            ]
            self.norm = layers.LayerNormalization(epsilon=1e-6, name="norm")
            self.logits = None if tie_embeddings else vocabulary_head(vocabulary_size)

    def build(self, decoder_token_ids_shape, context_shape):
        steps = (*decoder_token_ids_shape, self.options["units"])
        self.embedding.build(decoder_token_ids_shape)
        for layer in self.stack:
            layer.build(steps, tuple(context_shape["memory"]))
        self.norm.build(steps)
        if self.logits is not None:
            self.logits.build(steps)

    def start(self, context):
        batch_size = ops.shape(context["memory"])[0]
        state = {
            "position": ops.zeros((batch_size,), dtype="int32"),
            "layers": [layer.initial_state(batch_size) for layer in self.stack],
        }
        constants = self.constants(context)
        if self.logits is None:
            constants |= tied_projection(self.embedding, batch_size)
        return state, constants

    def constants(self, context: Context) -> State:
        """The keys and values of the memory in each layer, and its mask."""
        projections = [layer.prepare(context["memory"]) for layer in self.stack]
        return {"layers": projections, "memory_mask": context["memory_mask"]}

    def run(self, token_ids, state, constants, training=False):
        embedded = self.embedding(token_ids) * self.options["units"] ** 0.5  # section 3.4
        sequences = self.positions(embedded, state["position"])
        sequences = self.embedding_dropout(sequences, training=training)
        states, mask = [], constants["memory_mask"]
        for layer, past, projections in zip(self.stack, state["layers"], constants["layers"], strict=True):
            sequences, weights, past = layer(sequences, projections, mask, past, training=training)
            states.append(past)
        outputs = {
            "logits": logits_of(self.norm(sequences), self.logits, self.embedding, constants),
            "attention": ops.mean(weights, axis=1),
            "attention_heads": weights,
        }
        return outputs, {"position": state["position"] + ops.shape(token_ids)[1], "layers": states}

    def call(self, decoder_token_ids, context, training=False):
        state = {"position": ops.zeros((1,), dtype="int32"), "layers": [None] * len(self.stack)}
        return self.run(decoder_token_ids, state, self.constants(context), training=training)[0]

    def get_config(self):
        return {**super().get_config(), **self.options}
