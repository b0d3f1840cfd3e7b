"""The encoder-decoder for speech."""

from typing import Any

from kerasseq.arguments import check_number, check_positive_integer
from kerasseq.decoders import RecurrentDecoder
from kerasseq.encoders import FramesEncoder
from kerasseq.layers import CTCLoss
from kerasseq.seq2seq import Seq2Seq


def SpeechSeq2Seq(
    target_vocabulary_size: int,
    num_bins: int = 40,
    cell: str = "lstm",
    embedding_dim: int = 128,
    units: int = 256,
    num_layers: int = 3,
    num_decoder_layers: int = 1,
    bidirectional: bool = True,
    subsampling: str = "convolutional",
    filters: int = 32,
    attention: str = "location",
    placement: str | None = None,
    num_heads: int = 4,
    bridge: str | None = None,
    residual: bool = False,
    dropout: float = 0.0,
    spec_augment: dict | None = None,
    tie_embeddings: bool = False,
    ctc_loss: float = 0.0,
    name: str = "speech_seq2seq",
) -> Seq2Seq:
    """A recurrent encoder-decoder that transcribes speech: Listen, Attend and Spell.

    Args:
        target_vocabulary_size: int, number of target token ids.
        num_bins: int, size of a frame, the preprocessor's `num_bins`.
        cell, embedding_dim, units, bidirectional, placement, num_heads, bridge, residual, dropout, tie_embeddings: as
            in `AttentionSeq2Seq`.
        num_layers: int, number of recurrent layers in the encoder.
        num_decoder_layers: int, number of recurrent layers in the decoder.
        subsampling, filters: how frames become positions of the memory, see `kerasseq.encoders.FramesEncoder`.
        attention: as in `AttentionSeq2Seq`. `"location"` depends on the previous attention weights, and so keeps its
            place in repetitive speech (Chorowski et al. 2015).
        spec_augment: dict of arguments of `kerasseq.layers.SpecAugment`, which masks parts of the frames in training;
            `{}` for its defaults. Default: nothing is masked.
        ctc_loss: float of at least 0, the weight of a loss that trains the encoder alone to align tokens with frames,
            see `kerasseq.layers.CTCLoss`.
        name: str.

    Returns:
        a `kerasseq.Seq2Seq` from `{"encoder_frames": (batch, frames, bins), "encoder_mask": (batch, frames),
        "decoder_token_ids": (batch, target)}`, float32, bool and int32, to logits `(batch, target, target_vocabulary)`,
        float32. A position of the memory covers `model.encoder.stride` frames.

    Raises:
        ValueError: as `AttentionSeq2Seq`, and for an unknown subsampling.

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.SpeechSeq2Seq(30, num_bins=40, units=16, embedding_dim=8, num_layers=2)
    >>> inputs = {
    ...     "encoder_frames": keras.ops.ones((2, 50, 40)),
    ...     "encoder_mask": keras.ops.ones((2, 50), dtype="bool"),
    ...     "decoder_token_ids": keras.ops.ones((2, 5), dtype="int32"),
    ... }
    >>> keras.ops.shape(model(inputs))
    (2, 5, 30)

    Sources: Chan, Jaitly, Le and Vinyals 2016; Chorowski, Bahdanau, Serdyuk, Cho and Bengio 2015; Kim, Hori and
    Watanabe 2017.
    """
    check_positive_integer("target_vocabulary_size", target_vocabulary_size)
    check_positive_integer("num_decoder_layers", num_decoder_layers)
    check_number("ctc_loss", ctc_loss)
    options: dict[str, Any] = {"cell": cell, "residual": residual, "dropout": dropout}
    encoder = FramesEncoder(
        num_bins, units, num_layers=num_layers, bidirectional=bidirectional, subsampling=subsampling, filters=filters,
        spec_augment=spec_augment, **options,
    )  # fmt: skip
    decoder = RecurrentDecoder(
        target_vocabulary_size, embedding_dim, units, num_layers=num_decoder_layers, attention=attention,
        placement=placement, num_heads=num_heads, bridge=bridge, tie_embeddings=tie_embeddings, **options,
    )  # fmt: skip
    losses = [CTCLoss(target_vocabulary_size, ctc_loss, name="ctc_loss")] if ctc_loss else []
    return Seq2Seq(encoder, decoder, losses, name=name)
