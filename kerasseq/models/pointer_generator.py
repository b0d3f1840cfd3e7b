"""The encoder-decoder that copies."""

from kerasseq.arguments import check_number
from kerasseq.decoders import RecurrentDecoder
from kerasseq.encoders import RecurrentEncoder
from kerasseq.layers import ContentSelectionLoss, CoverageLoss
from kerasseq.models.arguments import check_arguments
from kerasseq.seq2seq import Seq2Seq


def PointerGeneratorSeq2Seq(
    vocabulary_size,
    cell="lstm",
    embedding_dim=256,
    units=256,
    num_layers=1,
    bidirectional=True,
    attention="coverage",
    placement=None,
    num_heads=4,
    bridge=None,
    residual=False,
    dropout=0.0,
    tie_embeddings=False,
    coverage_loss=0.0,
    content_selection_loss=0.0,
    name="pointer_generator_seq2seq",
):
    """An attention model whose decoder either generates a token, or copies one from where it looks in the source.

    For summaries, and wherever names and numbers of the source return in the target: a token that was in no training
    pair can be copied all the same. Source and target share one vocabulary, such as that of
    `TextPreprocessor.from_pairs(pairs, joint=True)`.

    The paper trains without the coverage loss first, and then with a weight of 1 for a short while: set
    `model.get_layer("coverage_loss").weight = 1.0`, and compile again.

    Args:
        vocabulary_size: int, number of token ids of source and target.
        cell, embedding_dim, units, num_layers, bidirectional, placement, num_heads, bridge, residual, dropout,
            tie_embeddings: as in `AttentionSeq2Seq`.
        attention: a name as in `AttentionSeq2Seq`. The default, `"coverage"`, is the paper's, which knows how much each
            position was looked at so far.
        coverage_loss: float of at least 0, the weight of the loss against looking at the same position twice, see
            `kerasseq.layers.CoverageLoss`. It is part of what `fit` minimises, and of the loss that `evaluate` gives.
        content_selection_loss: float of at least 0, the weight of the loss of a content selector, which learns what is
            copied at all and makes the encoder that it shares with the decoder see that, see
            `kerasseq.layers.ContentSelectionLoss`. Its logits are the bridge's output `selection (batch, source)`. With
            0 there is no selector.
        name: str.

    Returns:
        a functional `keras.Model` from `{"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}`,
        int32, to log-probabilities `(batch, target, vocabulary)`, float32, each at least `log(1e-10)`. The sub-model
        `"decoder"` also returns `attention (batch, target, source)` and `generation_probability (batch, target)`, how
        likely a token is generated and not copied.

    Raises:
        ValueError: as `AttentionSeq2Seq`, and for a negative weight of a loss.

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.PointerGeneratorSeq2Seq(vocabulary_size=100, units=32, embedding_dim=16)
    >>> ids = keras.ops.ones((2, 7), dtype="int32")
    >>> keras.ops.shape(model({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :5]}))
    (2, 5, 100)

    Source: See, Liu and Manning 2017; for the content selector Gehrmann, Deng and Rush 2018.
    """
    check_arguments(
        dropout,
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        units=units,
        num_layers=num_layers,
        num_heads=num_heads,
    )
    check_number("coverage_loss", coverage_loss)
    check_number("content_selection_loss", content_selection_loss)
    encoder = RecurrentEncoder(
        vocabulary_size,
        embedding_dim,
        units,
        cell=cell,
        num_layers=num_layers,
        bidirectional=bidirectional,
        residual=residual,
        dropout=dropout,
    )
    decoder = RecurrentDecoder(
        vocabulary_size,
        embedding_dim,
        units,
        cell=cell,
        num_layers=num_layers,
        attention=attention,
        placement=placement,
        num_heads=num_heads,
        bridge=bridge,
        residual=residual,
        dropout=dropout,
        tie_embeddings=tie_embeddings,
        copy=True,
    )
    losses = [CoverageLoss(coverage_loss, name="coverage_loss")]
    if content_selection_loss:
        losses.append(ContentSelectionLoss(units, content_selection_loss, name="content_selection_loss"))
    return Seq2Seq(encoder, decoder, losses, name=name)
