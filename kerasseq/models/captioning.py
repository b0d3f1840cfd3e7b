"""Captions of images: Show, Attend and Tell."""

import keras

from kerasseq.arguments import check_number, check_positive_integer
from kerasseq.decoders import RecurrentDecoder
from kerasseq.encoders import Encoder, FeatureEncoder, ImageEncoder, ImageFeatures, image_features
from kerasseq.layers import DoublyStochasticLoss
from kerasseq.seq2seq import Seq2Seq


def CaptioningSeq2Seq(
    target_vocabulary_size: int,
    backbone: keras.Model | None,
    image_size: int | tuple[int, int] | None = None,
    normalization: str | None = None,
    feature_shape: tuple[int, int, int] | None = None,
    cell: str = "lstm",
    embedding_dim: int = 256,
    units: int = 512,
    num_layers: int = 1,
    attention: str = "bahdanau",
    placement: str | None = None,
    num_heads: int = 4,
    bridge: str | None = "dense",
    dropout: float = 0.0,
    tie_embeddings: bool = False,
    doubly_stochastic_loss: float = 0.0,
    name: str = "captioning_seq2seq",
) -> Seq2Seq:
    """A decoder that attends to the regions of an image.

    The backbone is trained with the rest unless `backbone.trainable = False`, which also freezes the statistics of its
    batch normalizations. A frozen backbone returns the same features in every epoch, so training is much faster on
    features that are computed once, with the backbone put in front afterwards:

    ```python
    backbone = kerasseq.backbones.SqueezeNet((160, 160, 3))
    backbone.trainable = False
    extractor = kerasseq.encoders.image_features(backbone, normalization="caffe")
    model = kerasseq.models.CaptioningSeq2Seq(
        preprocessor.target_vocabulary_size, backbone=None, feature_shape=extractor.output_shape[1:])
    model.compile("adam", kerasseq.losses.MaskedCrossentropy())
    pairs = preprocessor.feature_pairs(train, extractor)
    model.fit(preprocessor.dataset(pairs, batch_size=64, shuffle=True), epochs=10, shuffle=False)
    model = kerasseq.models.with_backbone(model, extractor)
    captioner = kerasseq.TextGenerator(model, preprocessor)
    ```

    Args:
        target_vocabulary_size: int, number of target token ids.
        backbone: `keras.Model` from images to a grid of features, such as a model of `keras.applications` with
            `include_top=False`, or `kerasseq.backbones.SqueezeNet`; `None` for a model on features.
        image_size: int, or height and width, as that of the preprocessor. Default: that of the backbone's own input.
        normalization: the pixel values that the backbone expects: `None`, `"tf"`, `"torch"` or `"caffe"`, see
            `kerasseq.layers.ImageNormalization`.
        feature_shape: tuple `(rows, columns, channels)`, without a backbone.
        cell, embedding_dim, units, num_layers, attention, placement, num_heads, dropout, tie_embeddings: as in
            `AttentionSeq2Seq`, of the decoder.
        bridge: initial states of the decoder: a `"dense"` layer over the mean of all regions, or `"zero"`.
        doubly_stochastic_loss: float of at least 0, the weight of the loss that spreads the attention over all regions
            in the course of a caption, see `kerasseq.layers.DoublyStochasticLoss`; the paper has 1. It is part of the
            loss that `fit` minimizes and `evaluate` reports.
        name: str.

    Returns:
        a `kerasseq.Seq2Seq` from `{"encoder_images": (batch, height, width, 3), "decoder_token_ids": (batch, target)}`,
        float32 from 0 to 255 and int32, to logits `(batch, target, target_vocabulary)`, float32; without a backbone
        from `encoder_features (batch, rows, columns, channels)` in place of the images. `model.decoder_outputs(inputs)`
        also has `attention (batch, target, regions)`, regions row by row.

    Raises:
        ValueError: as `AttentionSeq2Seq` and `kerasseq.encoders.image_features`, and for a negative weight of the loss.

    Example:

    >>> import keras, kerasseq
    >>> backbone = kerasseq.backbones.SqueezeNet((64, 64, 3), weights=None)
    >>> model = kerasseq.models.CaptioningSeq2Seq(
    ...     100, backbone, normalization="caffe", units=32, embedding_dim=16, doubly_stochastic_loss=1.0)
    >>> images, ids = keras.ops.ones((2, 64, 64, 3)), keras.ops.ones((2, 5), dtype="int32")
    >>> keras.ops.shape(model({"encoder_images": images, "decoder_token_ids": ids}))
    (2, 5, 100)

    Source: Xu et al. 2015, with soft attention, without its gate. The default placement of `"bahdanau"`, inside the
    cell, is theirs.
    """
    check_positive_integer("target_vocabulary_size", target_vocabulary_size)
    check_number("doubly_stochastic_loss", doubly_stochastic_loss)
    if (backbone is None) == (feature_shape is None):
        raise ValueError(
            "A captioner needs either a backbone, or backbone=None and feature_shape=(rows, columns, channels). "
            f"Received: backbone={backbone!r}, feature_shape={feature_shape!r}."
        )
    encoder: Encoder
    if feature_shape is not None:
        encoder = FeatureEncoder(feature_shape)
    else:
        extractor = image_features(backbone, image_size, normalization)
        encoder = ImageEncoder(extractor, FeatureEncoder(extractor.output_shape[1:], name="feature_encoder"))
    decoder = RecurrentDecoder(
        target_vocabulary_size, embedding_dim, units, cell=cell, num_layers=num_layers, attention=attention,
        placement=placement, num_heads=num_heads, bridge=bridge, dropout=dropout, tie_embeddings=tie_embeddings,
    )  # fmt: skip
    losses = [DoublyStochasticLoss(doubly_stochastic_loss, name="doubly_stochastic_loss")]
    return Seq2Seq(encoder, decoder, losses, name=name)


def with_backbone(model: Seq2Seq, extractor: ImageFeatures, name: str | None = None) -> Seq2Seq:
    """Puts a backbone in front of a model that was trained on its features.

    Args:
        model: a model that `CaptioningSeq2Seq` built with `backbone=None`.
        extractor: the model that computed the features, see `kerasseq.encoders.image_features`.
        name: str. Default: that of `model`.

    Returns:
        a `kerasseq.Seq2Seq` as `CaptioningSeq2Seq` returns with a backbone. It shares all weights with `model` and with
        the backbone.

    Raises:
        ValueError: if `model` does not read features, or features of another shape than those of `extractor`, or if
            that is not from `image_features`.

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.CaptioningSeq2Seq(100, None, feature_shape=(3, 3, 512), units=32, embedding_dim=16)
    >>> backbone = kerasseq.backbones.SqueezeNet((64, 64, 3), weights=None)
    >>> extractor = kerasseq.encoders.image_features(backbone, normalization="caffe")
    >>> sorted(kerasseq.models.with_backbone(model, extractor).input)
    ['decoder_token_ids', 'encoder_images']
    """
    if not isinstance(model, Seq2Seq) or not isinstance(model.encoder, FeatureEncoder):
        raise ValueError(
            "with_backbone takes a model that reads features, such as CaptioningSeq2Seq(..., backbone=None, "
            f"feature_shape=(rows, columns, channels)). Received: {model!r}."
        )
    losses = [type(loss).from_config(loss.get_config()) for loss in model.auxiliary_losses]
    return Seq2Seq(ImageEncoder(extractor, model.encoder), model.decoder, losses, name=name or model.name)
