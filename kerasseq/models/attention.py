"""The encoder-decoder with attention."""

from typing import Any

from kerasseq.arguments import check_positive_integer, check_share
from kerasseq.decoders import RecurrentDecoder
from kerasseq.encoders import RecurrentEncoder
from kerasseq.layers.attention import get_score
from kerasseq.seq2seq import Seq2Seq


def AttentionSeq2Seq(
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    cell: str = "lstm",
    embedding_dim: int = 256,
    units: int = 256,
    num_layers: int = 1,
    bidirectional: bool = True,
    attention: str = "luong",
    placement: str | None = None,
    num_heads: int = 4,
    bridge: str | None = None,
    residual: bool = False,
    dropout: float = 0.0,
    tie_embeddings: bool = False,
    name: str = "attention_seq2seq",
) -> Seq2Seq:
    """A recurrent encoder-decoder whose decoder attends to the whole source in every step.

    Args:
        source_vocabulary_size: int, number of source token ids.
        target_vocabulary_size: int, number of target token ids.
        cell: str, of encoder and decoder: `"simple_rnn"`, `"lstm"`, `"gru"` or `"ssru"` (see `kerasseq.layers.cells`).
        embedding_dim: int, size of the token embeddings on both sides.
        units: int, size of each state, in the encoder for each direction.
        num_layers: int, number of recurrent layers in encoder and decoder.
        bidirectional: bool, whether the encoder also runs backwards.
        attention: the score of a source position: `"luong"`, the "general" score of Luong et al. 2015, and their
            `"dot"` and `"concat"`; `"bahdanau"`, additive (Bahdanau et al. 2015); `"multi_head"` (Vaswani et al. 2017);
            `"location"`, additive, with the attention weights of the previous step (Chorowski et al. 2015);
            `"monotonic"`, which never moves back (Raffel et al. 2017); `"coverage"`, additive, with the sum of all
            previous attention weights (See et al. 2017).
        placement: `"after"`: the attention follows the recurrent layers, and training works on whole sequences;
            `"input_feeding"`: the same, and its result is an input of the next step (Luong et al. 2015); `"inside"`:
            the attention precedes the first layer's cell. The latter two train in a loop over the attention. Default:
            `"inside"` for `"bahdanau"`, `"location"` and `"monotonic"`, else `"after"`.
        num_heads: int, for `"multi_head"`; divides `units`.
        bridge: initial states of the decoder: `"zero"`, a `"copy"` of the encoder's final states, or a `"dense"` layer
            over them. Default: a copy where sizes agree, else dense.
        residual: bool, whether each layer from the second on adds its input to its output.
        dropout: float in [0, 1), share of units dropped after embeddings, between layers and before the logits.
        tie_embeddings: bool, whether the logits share the matrix of the target embedding.
        name: str.

    Returns:
        a `kerasseq.Seq2Seq` from `{"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}`, int32,
        to logits `(batch, target, target_vocabulary)`, float32. `model.decoder_outputs(inputs)` also has `attention
        (batch, target, source)`, and with several heads `attention_heads (batch, heads, target, source)`.

    Raises:
        ValueError: for an unknown cell, attention, placement or bridge, sizes that are not positive integers or do not
            fit together, or a dropout outside [0, 1).

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.AttentionSeq2Seq(
    ...     source_vocabulary_size=100, target_vocabulary_size=120, cell="gru", units=32, embedding_dim=16)
    >>> ids = keras.ops.ones((2, 7), dtype="int32")
    >>> keras.ops.shape(model({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :5]}))
    (2, 5, 120)

    Sources: Bahdanau, Cho and Bengio 2015; Luong, Pham and Manning 2015.
    """
    check_positive_integer("source_vocabulary_size", source_vocabulary_size)
    check_positive_integer("target_vocabulary_size", target_vocabulary_size)
    check_share("dropout", dropout)
    get_score(attention)  # Without attention there are the other builders.
    options: dict[str, Any] = {"cell": cell, "num_layers": num_layers, "residual": residual, "dropout": dropout}
    encoder = RecurrentEncoder(source_vocabulary_size, embedding_dim, units, bidirectional=bidirectional, **options)
    decoder = RecurrentDecoder(
        target_vocabulary_size, embedding_dim, units, attention=attention, placement=placement, num_heads=num_heads,
        bridge=bridge, tie_embeddings=tie_embeddings, **options,
    )  # fmt: skip
    return Seq2Seq(encoder, decoder, name=name)
