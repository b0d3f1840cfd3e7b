"""The simplest encoder-decoder."""

from kerasseq.models.fixed_context import fixed_context_seq2seq
from kerasseq.seq2seq import Seq2Seq


def VanillaSeq2Seq(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    embedding_dim: int = 256,
    units: int = 256,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    tie_embeddings: bool = False,
    name: str = "vanilla_seq2seq",
) -> Seq2Seq:
    """An encoder-decoder of simple recurrent networks, without attention.

    `h_t = tanh(W [h_{t-1}; x_t] + b)` in encoder and decoder. The encoder's final state is the context vector,
    the only path from the source to the decoder. Gradients vanish over long sequences.

    Args:
        source_vocabulary_size: int, number of source token ids.
        target_vocabulary_size: int, number of target token ids.
        embedding_dim: int, size of the token embeddings on both sides.
        units: int, size of each state, in the encoder for each direction.
        num_layers: int, number of recurrent layers in encoder and decoder.
        bidirectional: bool, whether the encoder also runs backwards; a dense layer then maps its states to those of the
            decoder.
        dropout: float in [0, 1), share of units dropped after embeddings and between layers.
        tie_embeddings: bool, whether the logits share the matrix of the target embedding.
        name: str.

    Returns:
        a `kerasseq.Seq2Seq` from `{"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}`, int32,
        to logits `(batch, target, target_vocabulary)`, float32.

    Raises:
        ValueError: for sizes that are not positive integers or a dropout outside [0, 1).

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.VanillaSeq2Seq(
    ...     source_vocabulary_size=100, target_vocabulary_size=120, units=32, embedding_dim=16)
    >>> ids = keras.ops.ones((2, 7), dtype="int32")
    >>> keras.ops.shape(model({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :5]}))
    (2, 5, 120)

    Source: Elman 1990 for the cell; Cho et al. 2014 and Sutskever et al. 2014 for the encoder-decoder.
    """
    return fixed_context_seq2seq(
        source_vocabulary_size=source_vocabulary_size,
        target_vocabulary_size=target_vocabulary_size,
        cell="simple_rnn",
        embedding_dim=embedding_dim,
        units=units,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout,
        tie_embeddings=tie_embeddings,
        name=name,
    )
