"""Encoders of images."""

import keras
from keras import layers

from kerasseq.encoders.base import Encoder
from kerasseq.layers.empty_batch import AsManyRows, AtLeastOneRow
from kerasseq.layers.grid_regions import GridRegions
from kerasseq.layers.image_normalization import ImageNormalization
from kerasseq.layers.masking import FullMask


@keras.saving.register_keras_serializable(package="kerasseq")
class ImageFeatures(keras.Model):
    """A backbone from pixels to a grid of features, to encode images with, or to compute their features beforehand.

    Args:
        backbone: `keras.Model` from images to `(batch, rows, columns, channels)`, such as a model of
            `keras.applications` with `include_top=False`, or `kerasseq.backbones.SqueezeNet`.
        image_size: int, or height and width. Default: that of the backbone's own input.
        normalization: the pixel values that the backbone expects: `None`, `"tf"`, `"torch"` or `"caffe"`, see
            `kerasseq.layers.ImageNormalization`.
        name: str.

    A functional model from images `(batch, height, width, 3)`, RGB from 0 to 255, to features `(batch, rows, columns,
    channels)`. It shares the weights of the backbone, and trains them unless `backbone.trainable = False`.

    Raises:
        ValueError: if the backbone is no model, takes images of another size, or returns no grid.

    Example:

    >>> import keras
    >>> from kerasseq.encoders import image_features
    >>> backbone = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, weights=None)
    >>> image_features(backbone, normalization="tf").output.shape
    (None, 3, 3, 1280)
    """

    def __init__(
        self,
        backbone: keras.Model,
        image_size: int | tuple[int, int] | None = None,
        normalization: str | None = None,
        name: str = "image_features",
    ):
        images = keras.Input(image_shape(backbone, image_size), name="images")
        normalized = ImageNormalization(normalization, name="normalization")(images)
        features = backbone(AtLeastOneRow(name="at_least_one_row")(normalized))
        if len(getattr(features, "shape", ())) != 4 or None in features.shape[1:]:
            raise ValueError(
                "backbone must return a grid of features (batch, rows, columns, channels). Received: "
                f"{getattr(features, 'shape', features)}. Build it with include_top=False and pooling=None."
            )
        outputs = AsManyRows(name="as_many_rows")(features, images)
        super().__init__(inputs=images, outputs=outputs, name=name)
        self.backbone = backbone
        self.image_size = image_size
        self.normalization = normalization

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "image_size": self.image_size,
            "normalization": self.normalization,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        backbone = keras.saving.deserialize_keras_object(config["backbone"], custom_objects)
        return cls(**{**config, "backbone": backbone})


image_features = ImageFeatures  # the name of a builder, as those in `kerasseq.backbones` and `kerasseq.models`


@keras.saving.register_keras_serializable(package="kerasseq")
class FeatureEncoder(Encoder):
    """Turns a grid of image features into a memory of regions, the annotation vectors of Xu et al. 2015, section 3.1.1.

    Args:
        feature_shape: tuple `(rows, columns, channels)`.
        name: str.

    A functional model from `{"encoder_features": (batch, rows, columns, channels)}` to the outputs of `Encoder`, with a
    memory `(batch, regions, channels)`, row by row, each region normalized over its channels, and the mean of all
    regions as the state (section 3.1.2); and to `regions`, int32 `(batch, regions, 2)`, their rows and columns.

    Raises:
        ValueError: for another kind of shape.
    """

    def __init__(self, feature_shape: tuple[int, int, int], name: str = "encoder"):
        if not isinstance(feature_shape, (tuple, list)) or len(feature_shape) != 3 or None in feature_shape:
            raise ValueError(f"feature_shape must be (rows, columns, channels). Received: {feature_shape!r}.")
        rows, columns, channels = feature_shape
        features = keras.Input((rows, columns, channels), name="encoder_features")
        # The last activation of a backbone is unbounded: SqueezeNet's reaches 900, which saturates cells.
        normalized = layers.LayerNormalization(name="feature_normalization")(features)
        memory = layers.Reshape((rows * columns, channels), name="memory")(normalized)
        outputs = {
            "memory": memory,
            "memory_mask": FullMask(name="memory_mask")(memory),
            "regions": GridRegions(name="regions")(features),
            "states": [{"hidden": layers.GlobalAveragePooling1D(name="mean")(memory)}],
        }
        super().__init__(inputs={"encoder_features": features}, outputs=outputs, name=name)
        self.feature_shape = (rows, columns, channels)

    def get_arguments(self):
        return {"feature_shape": list(self.feature_shape)}


@keras.saving.register_keras_serializable(package="kerasseq")
class ImageEncoder(Encoder):
    """A backbone in front of a `FeatureEncoder`.

    Args:
        extractor: the model from images to features, see `image_features`.
        feature_encoder: a `FeatureEncoder` for features of that shape.
        name: str.

    A functional model from `{"encoder_images": (batch, height, width, 3)}`, RGB from 0 to 255, to the outputs of
    `feature_encoder`, whose weights it shares.

    Raises:
        ValueError: if the two do not fit.

    Example:

    >>> import kerasseq
    >>> extractor = kerasseq.encoders.image_features(kerasseq.backbones.SqueezeNet((64, 64, 3), weights=None))
    >>> features = kerasseq.encoders.FeatureEncoder(extractor.output_shape[1:])
    >>> kerasseq.encoders.ImageEncoder(extractor, features).output["memory"].shape
    (None, 9, 512)
    """

    def __init__(self, extractor: keras.Model, feature_encoder: FeatureEncoder, name: str = "encoder"):
        if not isinstance(extractor, ImageFeatures):
            raise ValueError(
                "extractor must be the model that computes the features, kerasseq.encoders.image_features(backbone, "
                f"normalization=...). Received: {extractor!r}."
            )
        expected, received = feature_encoder.feature_shape, tuple(extractor.output_shape[1:])
        if expected != received:
            raise ValueError(
                f"The encoder reads features of the shape {expected}. Received: an extractor that returns {received}. "
                "Pass the extractor that computed the features."
            )
        images = keras.Input(extractor.input_shape[1:], name="encoder_images")
        outputs = feature_encoder({"encoder_features": extractor(images)})
        super().__init__(inputs={"encoder_images": images}, outputs=outputs, name=name)
        self.extractor = extractor
        self.feature_encoder = feature_encoder

    def get_arguments(self):
        return {"extractor": self.extractor, "feature_encoder": self.feature_encoder}


def image_shape(backbone, image_size):
    """The shape of the images that a backbone takes, or a `ValueError`."""
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
            f"backbone with input_shape={shape}, or set image_size to its height and width."
        )
    if None in shape:
        raise ValueError(
            f"image_size is required where the backbone takes images of any size: {taken}. Received: "
            f"image_size={image_size!r}."
        )
    return shape
