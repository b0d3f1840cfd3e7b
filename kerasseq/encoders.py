"""Encoders: a source becomes a memory, its mask and final states."""

import keras
from keras import layers

from kerasseq.layers import (
    AsManyRows,
    AtLeastOneRow,
    ConvolutionalSubsampling,
    FullMask,
    GridPlaces,
    ImageNormalization,
    PaddingMask,
    PairSteps,
    Recurrent,
    SpecAugment,
)

SUBSAMPLINGS = ("convolutional", "pyramidal")


def recurrent_encoder(
    vocabulary_size,
    embedding_dim,
    units,
    cell="lstm",
    num_layers=1,
    bidirectional=False,
    residual=False,
    layer_normalization=False,
    pyramidal=False,
    dropout=0.0,
    name="encoder",
):
    """A stack of recurrent layers over embedded tokens.

    Args:
        vocabulary_size: int, number of source token ids.
        embedding_dim: int, size of the token embeddings.
        units, cell, num_layers, bidirectional, residual, layer_normalization, pyramidal, dropout: as in
            `encoder_stack`.
        name: str.

    Returns:
        a functional `keras.Model` from `{"encoder_token_ids": (batch, source)}` to `{"memory": (batch, source, dim),
        "memory_mask": (batch, source), "states": [(batch, dim), ...]}`, where dim is `units`, or `2 * units` if
        bidirectional. The states are those of the first layer, then those of the second, and so on. A pyramidal
        encoder's memory is shorter than the source.
    """
    encoder_token_ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    mask = PaddingMask(name="memory_mask")(encoder_token_ids)
    embedded = layers.Embedding(vocabulary_size, embedding_dim, name="embedding")(encoder_token_ids)
    embedded = layers.Dropout(dropout, name="embedding_dropout")(embedded)
    memory, memory_mask, states = encoder_stack(
        embedded,
        mask,
        units,
        cell=cell,
        num_layers=num_layers,
        bidirectional=bidirectional,
        residual=residual,
        layer_normalization=layer_normalization,
        pyramidal=pyramidal,
        dropout=dropout,
    )
    return keras.Model(
        {"encoder_token_ids": encoder_token_ids},
        {"memory": memory, "memory_mask": memory_mask, "states": states},
        name=name,
    )


def frames_encoder(
    num_bins,
    units,
    cell="lstm",
    num_layers=3,
    bidirectional=True,
    subsampling="convolutional",
    filters=32,
    residual=False,
    layer_normalization=False,
    dropout=0.0,
    spec_augment=None,
    name="encoder",
):
    """A stack of recurrent layers over the frames of a sound, made fewer.

    Args:
        num_bins: int, size of a frame.
        units, cell, num_layers, bidirectional, residual, layer_normalization, dropout: as in `encoder_stack`.
        subsampling: `"convolutional"`: two convolutions before the recurrent layers, each with half as many frames and
            bins (as in Amodei et al. 2016); `"pyramidal"`: each recurrent layer from the second on reads two steps of
            the one below (Chan et al. 2016).
        filters: int, of the convolutions.
        spec_augment: dict of arguments of `kerasseq.layers.SpecAugment`, which hides parts of the frames in training;
            `{}` for its defaults. Default: nothing is hidden.
        name: str.

    Returns:
        a functional `keras.Model` from `{"encoder_frames": (batch, frames, bins), "encoder_mask": (batch, frames)}`,
        float32 and bool, to `{"memory": (batch, positions, dim), "memory_mask": (batch, positions), "states": [...]}`
        as `recurrent_encoder` gives it. Positions are a quarter of the frames, and for `"pyramidal"` a half for each
        layer above the first.

    Raises:
        ValueError: for an unknown subsampling, or a pyramid with residual connections.
    """
    if subsampling not in SUBSAMPLINGS:
        raise ValueError(
            f"subsampling must be one of {', '.join(map(repr, SUBSAMPLINGS))}. Received: subsampling={subsampling!r}."
        )
    encoder_frames = keras.Input((None, num_bins), name="encoder_frames")
    encoder_mask = keras.Input((None,), dtype="bool", name="encoder_mask")
    sequences, mask = encoder_frames, encoder_mask
    if spec_augment is not None:
        if not isinstance(spec_augment, dict):
            raise ValueError(
                "spec_augment must be a dict of arguments of kerasseq.layers.SpecAugment, {} for its defaults, or None "
                f"for none. Received: spec_augment={spec_augment!r}."
            )
        sequences = SpecAugment(**spec_augment, name="spec_augment")(sequences, mask)
    if subsampling == "convolutional":
        sequences = layers.Reshape((-1, num_bins, 1), name="one_channel")(sequences)
        for index in range(2):
            subsample = ConvolutionalSubsampling(filters, name=f"subsampling_{index}")
            sequences, mask = subsample(sequences, mask)  # (batch, positions, bins, filters)
        sequences = layers.Reshape((-1, sequences.shape[2] * filters), name="channels_of_all_bins")(sequences)
    memory, memory_mask, states = encoder_stack(
        sequences,
        mask,
        units,
        cell=cell,
        num_layers=num_layers,
        bidirectional=bidirectional,
        residual=residual,
        layer_normalization=layer_normalization,
        pyramidal=subsampling == "pyramidal",
        dropout=dropout,
    )
    return keras.Model(
        {"encoder_frames": encoder_frames, "encoder_mask": encoder_mask},
        {"memory": memory, "memory_mask": memory_mask, "states": states},
        name=name,
    )


def encoder_stack(
    sequences, mask, units, cell, num_layers, bidirectional, residual, layer_normalization, pyramidal, dropout
):
    """Recurrent layers one upon the other, for sources of any kind.

    Args:
        sequences: symbolic float `(batch, time, features)`.
        mask: symbolic bool `(batch, time)`, true for real steps.
        units: int, size of each state, for each direction.
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        num_layers: int, number of stacked layers.
        bidirectional: bool, whether each layer also runs backwards. Doubles the sizes of memory and states.
        residual: bool, whether each layer from the second on adds its input to its output (Wu et al. 2016, section
            3.1).
        layer_normalization: bool, whether the cells are normalized, see `kerasseq.layers.Recurrent`.
        pyramidal: bool, whether each layer from the second on reads two steps of the one below at once, and so halves
            the length (Chan et al. 2016, section 3.1).
        dropout: float, share of units dropped between layers and from the memory.

    Returns:
        memory `(batch, steps, dim)`, its mask `(batch, steps)` and the list of final states `(batch, dim)`.

    Raises:
        ValueError: if residual and pyramidal come together, whose sizes do not fit.
    """
    if residual and pyramidal:
        raise ValueError(
            "A pyramidal encoder has no residual connections: the lengths of its layers differ. Received: "
            "residual=True, pyramidal=True. Choose one of them."
        )
    memory, final_states = sequences, []
    for index in range(num_layers):
        if pyramidal and index:
            memory, mask = PairSteps(name=f"pair_steps_{index}")(memory, sequence_mask=mask)
        below = memory
        forward = Recurrent(units, cell=cell, layer_normalization=layer_normalization, name=f"forward_{index}")
        memory, states = forward(below, sequence_mask=mask)  # (batch, steps, units)
        if bidirectional:
            backward = Recurrent(
                units, cell=cell, reverse=True, layer_normalization=layer_normalization, name=f"backward_{index}"
            )
            memory_backward, states_backward = backward(below, sequence_mask=mask)
            concatenate = layers.Concatenate(name=f"both_directions_{index}")
            memory = concatenate([memory, memory_backward])  # (batch, steps, 2 * units)
            states = [
                layers.Concatenate(name=f"both_states_{index}_{which}")(pair)
                for which, pair in enumerate(zip(states, states_backward, strict=True))
            ]
        memory = layers.Dropout(dropout, name=f"dropout_{index}")(memory)
        if residual and index:
            memory = layers.Add(name=f"residual_{index}")([below, memory])
        final_states += states
    return memory, mask, final_states


def source_vocabulary_size(encoder):
    """The number of source tokens that an encoder knows, or `None` where its sources are not tokens."""
    for layer in encoder.layers:
        if layer.name == "embedding":
            return layer.input_dim
        # An ensemble's encoder holds those of its members.
        if isinstance(layer, keras.Model) and (size := source_vocabulary_size(layer)):
            return size
    return None


def steps_per_position(encoder):
    """How many steps of the source each position of the memory stands for: 1, or a power of 2 for a pyramid."""
    if not any(None in tensor.shape[1:] for tensor in encoder.input.values()):
        return 1  # Images have no steps.
    steps = 1 << 20  # Longer than any source, so that every pyramid ends in a position or more. Nothing is computed.
    inputs = {
        name: keras.Input([steps if size is None else size for size in tensor.shape[1:]], dtype=tensor.dtype)
        for name, tensor in encoder.input.items()
    }
    # An ensemble's encoder has a memory for each member; where their lengths differ, the longest counts.
    outputs = encoder(inputs)
    lengths = [outputs[name].shape[1] or steps for name in outputs if name.startswith("memory_mask")]
    return max(steps // max(lengths), 1) if lengths else 1


# === Images ===


def image_features(backbone, image_size=None, normalization=None, name="image_features"):
    """A backbone from pixels to a grid of features, to encode images with, or to compute their features beforehand.

    Args:
        backbone: `keras.Model` from images to `(batch, rows, columns, channels)`, such as a model of
            `keras.applications` with `include_top=False`, or `kerasseq.backbones.SqueezeNet`.
        image_size: int, or height and width. Default: that of the backbone's own input.
        normalization: what the backbone expects of pixels: `None`, `"tf"`, `"torch"` or `"caffe"`, see
            `kerasseq.layers.ImageNormalization`.
        name: str.

    Returns:
        a functional `keras.Model` from images `(batch, height, width, 3)`, RGB from 0 to 255, to features `(batch,
        rows, columns, channels)`. It shares the weights of the backbone, and trains them unless `backbone.trainable =
        False`.

    Raises:
        ValueError: if the backbone is no model, takes images of another size, or gives no grid.

    Example:

    >>> import keras
    >>> from kerasseq.encoders import image_features
    >>> backbone = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, weights=None)
    >>> image_features(backbone, normalization="tf").output.shape
    (None, 3, 3, 1280)
    """
    if not isinstance(backbone, keras.Model):
        raise ValueError(
            "backbone must be a keras.Model from images to a grid of features, such as "
            f"keras.applications.MobileNetV2(include_top=False). Received: {backbone!r}."
        )
    taken = tuple(backbone.input_shape[1:])
    size = image_size if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    shape = tuple(taken[:2] if image_size is None else size) + (3,)
    fits = len(taken) == len(shape) == 3
    if not fits or any(own not in (None, length) for own, length in zip(taken, shape, strict=True)):
        raise ValueError(
            f"backbone takes images of the shape {taken}, image_size={image_size!r} makes them {shape}. Build the "
            f"backbone with input_shape={shape}, or give image_size its height and width."
        )
    if None in shape:
        raise ValueError(
            f"image_size must be known, for the backbone leaves it open: {taken}. Received: image_size={image_size!r}."
        )
    images = keras.Input(shape, name="images")
    normalized = ImageNormalization(normalization, name="normalization")(images)
    features = backbone(AtLeastOneRow(name="at_least_one_row")(normalized))
    if len(getattr(features, "shape", ())) != 4 or None in features.shape[1:]:
        raise ValueError(
            "backbone must give a grid of features (batch, rows, columns, channels). Received: "
            f"{getattr(features, 'shape', features)}. Build it with include_top=False and pooling=None."
        )
    return keras.Model(images, AsManyRows(name="as_many_rows")(features, images), name=name)


def image_encoder(backbone=None, image_size=None, normalization=None, feature_shape=None, name="encoder"):
    """An image becomes a memory of its places, the annotation vectors of Xu et al. 2015, section 3.1.1.

    Args:
        backbone, image_size, normalization: as in `image_features`. Where a model is to be trained on features that
            were computed beforehand, the backbone is `None`.
        feature_shape: tuple `(rows, columns, channels)` of such features.
        name: str.

    Returns:
        a functional `keras.Model` from `{"encoder_images": (batch, height, width, 3)}`, RGB from 0 to 255, or
        `{"encoder_features": (batch, rows, columns, channels)}`, to `{"memory": (batch, places, channels),
        "memory_mask": (batch, places), "places": int32 (batch, places, 2), their rows and columns, "states": [(batch,
        channels)]}`. Places go row by row, each normalized over its channels, and all are real; the state is their mean
        (section 3.1.2). The backbone is in its layer `"image_features"`.

    Raises:
        ValueError: as `image_features`, and unless there is either a backbone or a shape of features.

    Example:

    >>> from kerasseq.encoders import image_encoder
    >>> encoder = image_encoder(feature_shape=(5, 5, 512))
    >>> encoder.output["memory"].shape, encoder.output["states"][0].shape
    ((None, 25, 512), (None, 512))
    """
    if (backbone is None) == (feature_shape is None):
        raise ValueError(
            "An image encoder has either a backbone, or backbone=None and feature_shape=(rows, columns, channels). "
            f"Received: backbone={backbone!r}, feature_shape={feature_shape!r}."
        )
    if backbone is None:
        if len(feature_shape) != 3 or None in feature_shape:
            raise ValueError(f"feature_shape must be (rows, columns, channels). Received: {feature_shape!r}.")
        features = keras.Input(feature_shape, name="encoder_features")
        inputs = {"encoder_features": features}
    else:
        extractor = image_features(backbone, image_size, normalization)
        images = keras.Input(extractor.input_shape[1:], name="encoder_images")
        inputs, features = {"encoder_images": images}, extractor(images)
    _, rows, columns, channels = features.shape
    # What a backbone's last activation lets through has no bounds: SqueezeNet's reaches 900, which saturates cells.
    normalized = layers.LayerNormalization(name="feature_normalization")(features)
    memory = layers.Reshape((rows * columns, channels), name="memory")(normalized)
    outputs = {
        "memory": memory,
        "memory_mask": FullMask(name="memory_mask")(memory),
        "places": GridPlaces(name="places")(features),
        "states": [layers.GlobalAveragePooling1D(name="mean")(memory)],
    }
    return keras.Model(inputs, outputs, name=name)
