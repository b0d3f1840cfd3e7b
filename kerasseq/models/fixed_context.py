"""Encoder-decoders without attention: the encoder's final states are all that the decoder knows of the source."""

from typing import Any

from kerasseq.arguments import check_positive_integer, check_share
from kerasseq.decoders import RecurrentDecoder
from kerasseq.encoders import RecurrentEncoder
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
    return fixed_context(
        "simple_rnn", source_vocabulary_size, target_vocabulary_size, embedding_dim, units, num_layers, bidirectional,
        dropout, tie_embeddings, name,
    )  # fmt: skip


def LSTMSeq2Seq(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    embedding_dim: int = 256,
    units: int = 256,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    tie_embeddings: bool = False,
    name: str = "lstm_seq2seq",
) -> Seq2Seq:
    """An LSTM encoder-decoder, without attention. Arguments, result and errors are those of `VanillaSeq2Seq`.

    The encoder's final hidden and cell states are the context vector, the only path from the source to the decoder.

    Example:

    >>> import kerasseq
    >>> kerasseq.models.LSTMSeq2Seq(100, 120, units=32, embedding_dim=16).output.shape
    (None, None, 120)

    Source: Sutskever, Vinyals and Le 2014; the reversal of the source is left to the data.
    """
    return fixed_context(
        "lstm", source_vocabulary_size, target_vocabulary_size, embedding_dim, units, num_layers, bidirectional,
        dropout, tie_embeddings, name,
    )  # fmt: skip


def GRUSeq2Seq(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    embedding_dim: int = 256,
    units: int = 256,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    tie_embeddings: bool = False,
    name: str = "gru_seq2seq",
) -> Seq2Seq:
    """A GRU encoder-decoder, without attention. Arguments, result and errors are those of `VanillaSeq2Seq`.

    The encoder's final states are the context vector: all that the decoder knows of the source.

    Example:

    >>> import kerasseq
    >>> kerasseq.models.GRUSeq2Seq(100, 120, units=32, embedding_dim=16).output.shape
    (None, None, 120)

    Source: Cho et al. 2014, with the context as the decoder's first state instead of an input to every step.
    """
    return fixed_context(
        "gru", source_vocabulary_size, target_vocabulary_size, embedding_dim, units, num_layers, bidirectional,
        dropout, tie_embeddings, name,
    )  # fmt: skip


def fixed_context(
    cell: str,
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    embedding_dim: int,
    units: int,
    num_layers: int,
    bidirectional: bool,
    dropout: float,
    tie_embeddings: bool,
    name: str,
) -> Seq2Seq:
    """A recurrent encoder and a recurrent decoder of one cell."""
    check_positive_integer("source_vocabulary_size", source_vocabulary_size)
    check_positive_integer("target_vocabulary_size", target_vocabulary_size)
    check_share("dropout", dropout)
    options: dict[str, Any] = {"cell": cell, "num_layers": num_layers, "dropout": dropout}
    encoder = RecurrentEncoder(source_vocabulary_size, embedding_dim, units, bidirectional=bidirectional, **options)
    decoder = RecurrentDecoder(target_vocabulary_size, embedding_dim, units, tie_embeddings=tie_embeddings, **options)
    return Seq2Seq(encoder, decoder, name=name)
