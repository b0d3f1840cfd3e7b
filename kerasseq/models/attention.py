"""The encoder-decoder with attention."""

from kerasseq.decoders import attention_bridge, attention_decoder, connect
from kerasseq.encoders import recurrent_encoder
from kerasseq.models.arguments import check_arguments


def AttentionSeq2Seq(
    source_vocabulary_size,
    target_vocabulary_size,
    cell="lstm",
    embedding_dim=256,
    units=256,
    num_layers=1,
    bidirectional=True,
    attention="luong",
    dropout=0.0,
    tie_embeddings=False,
    name="attention_seq2seq",
):
    """A recurrent encoder-decoder whose decoder looks at the whole source in every step.

    Args:
        source_vocabulary_size: int, number of source token ids.
        target_vocabulary_size: int, number of target token ids.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`, in encoder and decoder.
        embedding_dim: int, size of the token embeddings on both sides.
        units: int, size of each state, in the encoder for each direction.
        num_layers: int, number of recurrent layers in encoder and decoder.
        bidirectional: bool, whether the encoder also reads backwards.
        attention: `"luong"`, the "general" score after the recurrence, which trains on whole sequences; or
            `"bahdanau"`, the additive score inside the recurrence, which pays for a loop over the attention.
        dropout: float in [0, 1), share of units dropped after embeddings, between layers and before the logits.
        tie_embeddings: bool, whether the projection to the target vocabulary uses the target embedding's matrix.
        name: str.

    Returns:
        a functional `keras.Model` from `{"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}`,
        int32, to logits `(batch, target, target_vocabulary)`, float32. Its parts are `model.get_layer("encoder")`,
        `"bridge"` and `"decoder"`; the decoder also returns `attention (batch, target, source)`.

    Raises:
        ValueError: for an unknown cell or attention, sizes that are not positive integers or a dropout outside [0, 1).

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.AttentionSeq2Seq(
    ...     source_vocabulary_size=100, target_vocabulary_size=120, cell="gru", units=32, embedding_dim=16)
    >>> ids = keras.ops.ones((2, 7), dtype="int32")
    >>> keras.ops.shape(model({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :5]}))
    (2, 5, 120)

    Sources: Bahdanau, Cho and Bengio 2015; Luong, Pham and Manning 2015.
    """
    check_arguments(
        dropout,
        source_vocabulary_size=source_vocabulary_size,
        target_vocabulary_size=target_vocabulary_size,
        embedding_dim=embedding_dim,
        units=units,
        num_layers=num_layers,
    )
    encoder = recurrent_encoder(
        source_vocabulary_size,
        embedding_dim,
        units,
        cell=cell,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout,
    )
    bridge = attention_bridge(encoder, units, cell)
    decoder = attention_decoder(
        target_vocabulary_size,
        embedding_dim,
        units,
        memory_dim=encoder.output["memory"].shape[-1],
        cell=cell,
        attention=attention,
        num_layers=num_layers,
        dropout=dropout,
        tie_embeddings=tie_embeddings,
    )
    return connect(encoder, bridge, decoder, name)
