"""The encoder-decoder that copies."""

from typing import Any

from kerasseq.arguments import check_number, check_share
from kerasseq.decoders import RecurrentDecoder
from kerasseq.encoders import RecurrentEncoder
from kerasseq.layers import ContentSelectionLoss, CoverageLoss
from kerasseq.seq2seq import Seq2Seq


def PointerGeneratorSeq2Seq(
    vocabulary_size: int,
    cell: str = "lstm",
    embedding_dim: int = 256,
    units: int = 256,
    num_layers: int = 1,
    bidirectional: bool = True,
    attention: str = "coverage",
    placement: str | None = None,
    num_heads: int = 4,
    bridge: str | None = None,
    residual: bool = False,
    dropout: float = 0.0,
    tie_embeddings: bool = False,
    coverage_loss: float = 0.0,
    content_selection_loss: float = 0.0,
    name: str = "pointer_generator_seq2seq",
) -> Seq2Seq:
    """An attention model whose decoder either generates a token, or copies one from the source.

    For summaries, and wherever names and numbers of the source recur in the target: it can copy tokens that no training
    pair had. Source and target share one vocabulary, such as that of `TextPreprocessor.from_pairs(pairs, joint=True)`.

    The paper trains without the coverage loss first, and then with a weight of 1 for a short while: set
    `model.get_layer("coverage_loss").weight = 1.0`, and compile again.

    Args:
        vocabulary_size: int, number of token ids of source and target.
        cell, embedding_dim, units, num_layers, bidirectional, placement, num_heads, bridge, residual, dropout,
            tie_embeddings: as in `AttentionSeq2Seq`.
        attention: a name as in `AttentionSeq2Seq`. The default, `"coverage"`, is the paper's.
        coverage_loss: float of at least 0, the weight of the loss against attending to the same position twice, see
            `kerasseq.layers.CoverageLoss`. It is part of the loss that `fit` minimizes and `evaluate` reports.
        content_selection_loss: float of at least 0, the weight of the loss of a content selector, which trains the
            encoder to tell which positions are copied, see `kerasseq.layers.ContentSelectionLoss`. With 0 there is no
            selector.
        name: str.

    Returns:
        a `kerasseq.Seq2Seq` from `{"encoder_token_ids": (batch, source), "decoder_token_ids": (batch, target)}`, int32,
        to log-probabilities `(batch, target, vocabulary)`, float32, each at least `log(1e-10)`.
        `model.decoder_outputs(inputs)` also has `attention (batch, target, source)` and `generation_probability (batch,
        target)`, the probability that a token is generated rather than copied.

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
    check_share("dropout", dropout)
    check_number("coverage_loss", coverage_loss)
    check_number("content_selection_loss", content_selection_loss)
    options: dict[str, Any] = {"cell": cell, "num_layers": num_layers, "residual": residual, "dropout": dropout}
    encoder = RecurrentEncoder(vocabulary_size, embedding_dim, units, bidirectional=bidirectional, **options)
    decoder = RecurrentDecoder(
        vocabulary_size, embedding_dim, units, attention=attention, placement=placement, num_heads=num_heads,
        bridge=bridge, tie_embeddings=tie_embeddings, copy=True, **options,
    )  # fmt: skip
    losses = [CoverageLoss(coverage_loss, name="coverage_loss")]
    if content_selection_loss:
        losses.append(ContentSelectionLoss(units, content_selection_loss, name="content_selection_loss"))
    return Seq2Seq(encoder, decoder, losses, name=name)
