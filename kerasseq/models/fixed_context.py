"""What the models without attention share: a recurrent encoder, a bridge of states, a recurrent decoder."""

from kerasseq.bridges import state_bridge
from kerasseq.decoders import recurrent_decoder
from kerasseq.encoders import recurrent_encoder
from kerasseq.joining import connect
from kerasseq.models.arguments import check_arguments


def fixed_context_seq2seq(
    source_vocabulary_size,
    target_vocabulary_size,
    cell,
    embedding_dim,
    units,
    num_layers,
    bidirectional,
    dropout,
    tie_embeddings,
    name,
):
    """The model behind `VanillaSeq2Seq`, `LSTMSeq2Seq` and `GRUSeq2Seq`; see there."""
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
    bridge = state_bridge(encoder, units, cell)
    decoder = recurrent_decoder(
        target_vocabulary_size,
        embedding_dim,
        units,
        cell=cell,
        num_layers=num_layers,
        dropout=dropout,
        tie_embeddings=tie_embeddings,
    )
    return connect(encoder, bridge, decoder, name)
