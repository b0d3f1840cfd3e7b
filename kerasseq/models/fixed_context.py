"""What the models without attention share: a recurrent encoder and a recurrent decoder."""

from kerasseq.decoders import RecurrentDecoder
from kerasseq.encoders import RecurrentEncoder
from kerasseq.models.arguments import check_arguments
from kerasseq.seq2seq import Seq2Seq


def fixed_context_seq2seq(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    cell: str,
    embedding_dim: int,
    units: int,
    num_layers: int,
    bidirectional: bool,
    dropout: float,
    tie_embeddings: bool,
    name: str,
) -> Seq2Seq:
    """The model behind `VanillaSeq2Seq`, `LSTMSeq2Seq` and `GRUSeq2Seq`; see there."""
    check_arguments(
        dropout,
        source_vocabulary_size=source_vocabulary_size,
        target_vocabulary_size=target_vocabulary_size,
        embedding_dim=embedding_dim,
        units=units,
        num_layers=num_layers,
    )
    encoder = RecurrentEncoder(
        source_vocabulary_size,
        embedding_dim,
        units,
        cell=cell,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout,
    )
    decoder = RecurrentDecoder(
        target_vocabulary_size,
        embedding_dim,
        units,
        cell=cell,
        num_layers=num_layers,
        dropout=dropout,
        tie_embeddings=tie_embeddings,
    )
    return Seq2Seq(encoder, decoder, name=name)
