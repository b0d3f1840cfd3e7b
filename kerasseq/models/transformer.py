"""The Transformer."""

from kerasseq.decoders import TransformerDecoder
from kerasseq.encoders import TransformerEncoder
from kerasseq.seq2seq import Seq2Seq


def TransformerSeq2Seq(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    units: int = 256,
    num_layers: int = 3,
    num_decoder_layers: int | None = None,
    num_heads: int = 4,
    feedforward_dim: int | None = None,
    dropout: float = 0.1,
    cell: str | None = None,
    tie_embeddings: bool = False,
    name: str = "transformer_seq2seq",
) -> Seq2Seq:
    """A Transformer, or with `cell="ssru"` a Transformer encoder with a recurrent decoder of the same structure.

    Train it with learning-rate warm-up, such as `keras.optimizers.schedules.CosineDecay(0.0, decay_steps=steps -
    warmup_steps, warmup_target=1e-3, warmup_steps=warmup_steps)`, where `steps = epochs * len(batches)` and
    `warmup_steps` is 2,000, or the first tenth of the steps on small data.

    Args:
        source_vocabulary_size: int, number of source token ids.
        target_vocabulary_size: int, number of target token ids.
        units: int, size of embeddings and hidden states; a multiple of `num_heads`.
        num_layers: int, number of layers of the encoder.
        num_decoder_layers: int. Default: `num_layers`.
        num_heads: int, number of heads of each attention.
        feedforward_dim: int, size of the hidden layer of the feed-forward sublayers. Default: `4 * units`.
        dropout: float in [0, 1), see `kerasseq.encoders.TransformerEncoder` and `kerasseq.decoders.TransformerDecoder`.
        cell: str, a name in `kerasseq.layers.cells.CELLS`: a recurrent layer in place of the decoder's self-attention.
            The state of `"ssru"` does not grow with the length (Kim et al. 2019). Default: self-attention.
        tie_embeddings: bool, whether the logits share the matrix of the target embedding.
        name: str.

    Returns:
        a `kerasseq.Seq2Seq` from `{"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}`, int32,
        to logits `(batch, target, target_vocabulary)`, float32. `model.decoder_outputs(inputs)` also has `attention
        (batch, target, source)` and `attention_heads (batch, heads, target, source)`, those of the last layer.

    Raises:
        ValueError: for sizes that are not positive integers, heads that do not divide the units, a dropout outside
            [0, 1), or an unknown cell.

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.TransformerSeq2Seq(
    ...     source_vocabulary_size=100, target_vocabulary_size=120, units=32, num_layers=2)
    >>> ids = keras.ops.ones((2, 7), dtype="int32")
    >>> keras.ops.shape(model({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :5]}))
    (2, 5, 120)

    Source: Vaswani et al. 2017, with the order of Xiong et al. 2020 ("pre-norm").
    """
    encoder = TransformerEncoder(source_vocabulary_size, units, num_layers, num_heads, feedforward_dim, dropout)
    decoder = TransformerDecoder(
        target_vocabulary_size,
        units,
        num_layers if num_decoder_layers is None else num_decoder_layers,
        num_heads,
        feedforward_dim,
        dropout,
        cell=cell,
        tie_embeddings=tie_embeddings,
    )
    return Seq2Seq(encoder, decoder, name=name)
