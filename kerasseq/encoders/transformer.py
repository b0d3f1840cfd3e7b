"""Transformer encoders of tokens."""

import keras
from keras import layers

from kerasseq.encoders.base import Encoder
from kerasseq.layers.attention.multi_head import transformer_sizes
from kerasseq.layers.embedding import token_embedding
from kerasseq.layers.masking import MaskedMean, PaddingMask
from kerasseq.layers.positional_encoding import PositionalEncoding
from kerasseq.types import Tensor


@keras.saving.register_keras_serializable(package="kerasseq")
class TransformerEncoder(Encoder):
    """A stack of Transformer layers over embedded tokens, with the normalization before each sublayer.

    Args:
        vocabulary_size: int, number of source token ids.
        units: int, size of embeddings, hidden states and memory; a multiple of `num_heads`.
        num_layers: int.
        num_heads: int, number of heads of the self-attention.
        feedforward_dim: int, size of the hidden layer of the feed-forward sublayer. Default: `4 * units`.
        dropout: float in [0, 1), share dropped after the embedding, from attention weights, from each sublayer's output
            and from the hidden layer of the feed-forward sublayer.
        name: str.

    Inputs and outputs are those of `Encoder`, from `encoder_token_ids (batch, source)`. The state is the mean of the
    memory over the real positions, for decoders that have an initial state.

    Raises:
        ValueError: for sizes that are not positive integers, heads that do not divide the units, or a dropout outside
            [0, 1).

    Example:

    >>> import kerasseq
    >>> encoder = kerasseq.encoders.TransformerEncoder(100, units=32, num_layers=2)
    >>> encoder.output["memory"].shape
    (None, None, 32)

    Source: Vaswani et al. 2017, section 3, with the order of Xiong et al. 2020 ("pre-norm").
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int = 256,
        num_layers: int = 3,
        num_heads: int = 4,
        feedforward_dim: int | None = None,
        dropout: float = 0.0,
        name: str = "encoder",
    ):
        sizes = transformer_sizes(vocabulary_size, units, num_layers, num_heads, feedforward_dim, dropout)
        encoder_token_ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
        mask = PaddingMask(name="memory_mask")(encoder_token_ids)
        sequences = token_embedding(vocabulary_size, units)(encoder_token_ids)
        sequences = layers.Rescaling(units**0.5, name="scale")(sequences)  # section 3.4
        sequences = PositionalEncoding(name="positions")(sequences)
        sequences = layers.Dropout(dropout, name="embedding_dropout")(sequences)
        for index in range(num_layers):
            sequences = transformer_layer(sequences, mask, num_heads, sizes["feedforward_dim"], dropout, index)
        memory = layers.LayerNormalization(epsilon=1e-6, name="norm")(sequences)
        mean = MaskedMean(name="mean")(memory, mask)
        super().__init__(
            inputs={"encoder_token_ids": encoder_token_ids},
            outputs={"memory": memory, "memory_mask": mask, "states": [{"hidden": mean}]},
            vocabulary_size=vocabulary_size,
            name=name,
        )
        self.options = {**sizes, "dropout": dropout}

    def get_arguments(self):
        return self.options


def transformer_layer(
    sequences: Tensor, mask: Tensor, num_heads: int, feedforward_dim: int, dropout: float, index: int
) -> Tensor:
    """Two sublayers over symbolic sequences `(batch, time, units)`, each `x + dropout(f(norm(x)))`.

    `mask (batch, time)`, bool, is true for real steps, the only ones that are attended to.
    """
    units = sequences.shape[-1]

    # === Self-attention ===
    normalized = layers.LayerNormalization(epsilon=1e-6, name=f"attention_norm_{index}")(sequences)
    attention = layers.MultiHeadAttention(
        num_heads, units // num_heads, dropout=dropout, use_bias=False, name=f"attention_{index}"
    )
    attended = attention(normalized, normalized, attention_mask=mask[:, None, :])
    attended = layers.Dropout(dropout, name=f"attention_dropout_{index}")(attended)
    sequences = layers.Add(name=f"attention_sum_{index}")([sequences, attended])

    # === Feed-forward ===
    hidden = layers.LayerNormalization(epsilon=1e-6, name=f"feedforward_norm_{index}")(sequences)
    hidden = layers.Dense(feedforward_dim, activation="relu", name=f"expand_{index}")(hidden)
    hidden = layers.Dropout(dropout, name=f"hidden_dropout_{index}")(hidden)
    hidden = layers.Dense(units, name=f"contract_{index}")(hidden)
    hidden = layers.Dropout(dropout, name=f"feedforward_dropout_{index}")(hidden)
    return layers.Add(name=f"feedforward_sum_{index}")([sequences, hidden])
