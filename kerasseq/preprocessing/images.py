"""The preprocessor of images and their texts."""

import logging
import reprlib
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_positive_integer
from kerasseq.preprocessing.base import Preprocessor
from kerasseq.preprocessing.batching import Batching, Shuffle, batched, pad
from kerasseq.preprocessing.image_files import DAMAGED, check_image, decode_images, image_problems
from kerasseq.preprocessing.pairs import check_pairs, check_weights, data_set_options, kept_pairs, of_kept, truncated
from kerasseq.preprocessing.tokenizers import Tokenizer
from kerasseq.preprocessing.vocabulary import train_vocabulary
from kerasseq.progress import progress_bar
from kerasseq.types import Pair, Tensor

logger = logging.getLogger(__name__)

IMAGES_AT_ONCE = 64  # checked in one call, to bound the memory


@keras.saving.register_keras_serializable(package="kerasseq")
class ImagePreprocessor(Preprocessor):
    """Decodes image files to pixels, and tokenizes the texts that belong to them.

    Sources are the contents of JPEG or PNG files, bytes: RGB, gray, palette or CMYK, with 8 or 16 bits. Transparent
    images are shown on white. Images are resized to `image_size` with antialiasing and without keeping the aspect
    ratio; EXIF orientation is ignored. All of this runs in TensorFlow graphs, in training and in a model server alike.
    Sources that are not images, are damaged, or have more than 50 million pixels are decoded to mid gray, and reported
    by `remarks`. Usually made by `ImagePreprocessor.from_pairs`.

    Args:
        target_vocabulary: bytes, a serialized SentencePiece model, see `train_vocabulary`; or a `Tokenizer`.
        image_size: int, or a tuple of height and width, in pixels.
        max_target_length: int, the maximum number of tokens of a target, END included.

    Example:

    >>> import kerasseq
    >>> pairs, _, _ = kerasseq.datasets.load_drawn_scenes(100)
    >>> preprocessor = kerasseq.preprocessing.ImagePreprocessor.from_pairs(pairs, vocabulary_size=290, image_size=32)
    >>> preprocessor.encode_source([pairs[0][0], b"no image"])["encoder_images"].shape
    TensorShape([2, 32, 32, 3])
    >>> inputs, labels = next(iter(preprocessor.dataset(pairs, batch_size=8)))
    >>> preprocessor.decode(labels)[0].numpy().decode() == pairs[0][1]
    True
    """

    def __init__(
        self,
        target_vocabulary: Tokenizer | bytes | None = None,
        image_size: int | tuple[int, int] = 160,
        max_target_length: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__([] if target_vocabulary is None else [target_vocabulary], max_target_length, **kwargs)
        self.image_size = height_and_width(image_size)
        # Traced once: the graphs of all samplers and signatures call them.
        self._files_to_images = tf.function(
            lambda raw: decode_images(raw, self.image_size), [self.source_signature], autograph=False
        )
        self._files_to_problems = tf.function(image_problems, [self.source_signature], autograph=False)

    @classmethod
    def from_pairs(
        cls,
        pairs: Sequence[Pair],
        vocabulary_size: int = 4_000,
        image_size: int | tuple[int, int] = 160,
        max_target_length: int = 64,
        normalization: str | None = None,
    ) -> Self:
        """Trains the vocabulary on the texts of pairs.

        Args:
            pairs: list of (image, text) tuples of bytes and str.
            vocabulary_size: int, the maximum number of ids, at least 261; small data may yield fewer.
            image_size, max_target_length: as in the constructor.
            normalization: as in `train_vocabulary`.

        Raises:
            ValueError: if there are no pairs, a pair is not bytes and a string, or a number is too small.
        """
        texts = [text for _, text in check_pairs(pairs, bytes)]
        image_size = height_and_width(image_size)
        vocabulary = train_vocabulary(texts, vocabulary_size, normalization)
        return cls(vocabulary, image_size=image_size, max_target_length=max_target_length)

    # === Sources ===

    @property
    def source_signature(self) -> tf.TensorSpec:
        return tf.TensorSpec([None], tf.string, name="image_bytes")

    @property
    def encoder_inputs(self) -> dict[str, tuple[int | None, ...]]:
        return {"encoder_images": (*self.image_size, 3)}

    def encode_source(self, raw: Tensor) -> dict[str, Tensor]:
        """Decodes files, string `(batch,)`, to `{"encoder_images": float32 (batch, height, width, 3)}`.

        The images are RGB from 0 to 255; mid gray for files that cannot be decoded.
        """
        images, _ = self._files_to_images(tf.convert_to_tensor(raw, tf.string))
        return {"encoder_images": images}

    def raw_batch(self, sources: Sequence[bytes], split: bool = False) -> Tensor:
        for index, image in enumerate(sources):
            check_image(image, index)
        raw = tf.constant(sources, tf.string, shape=[len(sources)])
        parts = [raw[start : start + IMAGES_AT_ONCE] for start in range(0, len(sources), IMAGES_AT_ONCE)]
        damaged = [problem == DAMAGED.encode() for part in parts for problem in self._files_to_problems(part).numpy()]
        if any(damaged):
            raise ValueError(
                f"Images must be JPEG or PNG files that can be decoded. Received: {sum(damaged)} of {len(damaged)} "
                f"are {DAMAGED}, those at index {', '.join(map(str, np.flatnonzero(damaged)))}. Leave them out."
            )
        return raw

    def remarks(self, raw: Tensor) -> dict[str, Tensor]:
        """Returns `problem`, string `(batch,)`: what is wrong with each file, empty if nothing is."""
        return {"problem": self._files_to_problems(tf.convert_to_tensor(raw, tf.string))}

    def example_sources(self, count: int, share: float) -> list[bytes]:
        """Returns coloured blocks, JPEG and PNG in turn; `share` is that of their height and width in `image_size`."""
        height, width = (max(1, round(share * length)) for length in self.image_size)
        blocks = np.random.default_rng(1).integers(256, size=(count, 4, 4, 3))
        images = tf.cast(tf.image.resize(blocks, (height, width), method="nearest"), tf.uint8)
        encoders = (tf.io.encode_jpeg, tf.io.encode_png)
        return [encoders[index % 2](image).numpy() for index, image in enumerate(images)]

    def source_tokens(self, context: dict[str, Tensor], stride: int = 1) -> Tensor:
        """Returns the `regions (batch, regions, 2)` of the encoder as `"row,column"`, from `"0,0"` on, row by row."""
        return tf.strings.reduce_join(tf.strings.as_string(context["regions"]), axis=-1, separator=",")

    # === Data sets ===

    def dataset(
        self,
        pairs: Sequence[Pair],
        batch_size: int,
        shuffle: Shuffle = False,
        seed: int = 0,
        too_long: str | None = None,
        pad_to_multiple: int | None = None,
        augmentation: Callable[..., Tensor] | None = None,
        weights: Sequence[float] | None = None,
    ) -> tf.data.Dataset:
        """Builds a `tf.data.Dataset` of batches for `fit`, `evaluate` and `predict`.

        Images are decoded batch by batch, in every pass. An image with several texts is in one pair with each of them;
        the pairs may share its bytes.

        Args:
            pairs: list of (image, text) tuples of bytes and str; or of (features, text), features `(rows, columns,
                channels)` of a frozen backbone, as `feature_pairs` returns them.
            batch_size, shuffle, seed, too_long, pad_to_multiple: as in `TextPreprocessor.dataset`, for lengths of
                texts. If the length of a text depends on the kind of image, shuffled batches are not representative of
                the data, which harms trainable batch normalization: pad all texts to one length, with
                `pad_to_multiple=max_target_length`.
            augmentation: function of float32 images `(batch, height, width, 3)` and `training=True` that returns
                augmented images, such as `keras.layers.RandomFlip("horizontal")`. Beware of texts that mention left and
                right. Default: none.
            weights: as in `TextPreprocessor.dataset`.

        Returns:
            a data set of `({"encoder_images": (batch, height, width, 3), "decoder_token_ids": (batch, target)},
            labels)`, images float32, ids and labels `(batch, target)` int32. Pairs of features have `encoder_features
            (batch, rows, columns, channels)`, float32, instead of the images. With `weights`, the third element is
            float32 `(batch,)`.

        Raises:
            ValueError: if there are no pairs, none is left, one is invalid, or `weights` are not one number of at least
                0 for each pair.
        """
        pairs = list(pairs)
        of_features = bool(pairs) and isinstance(pairs[0], (tuple, list)) and isinstance(pairs[0][0], np.ndarray)
        check_pairs(pairs, np.ndarray if of_features else bytes)
        too_long, pad_to_multiple = data_set_options(batch_size, shuffle, too_long, pad_to_multiple)
        if augmentation is not None and not callable(augmentation):
            raise ValueError(
                "augmentation must be a function of images, such as keras.layers.RandomFlip('horizontal'). Received: "
                f"augmentation={augmentation!r}. Combine several in a keras.Sequential."
            )
        weights_of_pairs = check_weights(weights, len(pairs))
        sources, targets = zip(*pairs, strict=True)
        encode: Callable[[Sequence[Any]], Tensor]
        if of_features:
            if augmentation is not None:
                raise ValueError(
                    "augmentation applies to images. Received: features. Pass pairs of images instead, or compute the "
                    "features of augmented images."
                )
            name, shape, encode = "encoder_features", feature_shape(sources), stack_features
        else:
            for index, image in enumerate(sources):
                check_image(image, index)
            name, shape, encode = "encoder_images", (*self.image_size, 3), self._augmented(augmentation)
        target_ids = self.tokenize_all(targets, "target")
        fits = [len(ids) <= self.max_target_length for ids in target_ids]
        kept = kept_pairs(fits, f"{self.max_target_length} target tokens", too_long)
        kept_sources = [sources[row] for row in kept]
        kept_targets = [truncated(target_ids[row], self.max_target_length) for row in kept]

        def make_batch(rows, _):
            labels = pad([kept_targets[row] for row in rows], pad_to_multiple)
            return {name: encode([kept_sources[row] for row in rows])}, labels

        # Padded lengths: texts of one padded length are batched at random.
        lengths = np.array([[-(-len(target) // pad_to_multiple)] for target in kept_targets])
        signature = {name: tf.TensorSpec([None, *shape], tf.float32)}
        return batched(
            lengths, Batching(batch_size, shuffle=bool(shuffle)), shuffle, seed, make_batch, signature,
            self.vocabulary_digest, of_kept(weights_of_pairs, kept),
        )  # fmt: skip

    def _augmented(self, augmentation: Callable[..., Tensor] | None) -> Callable[[Sequence[bytes]], Tensor]:
        """Returns a function from a list of image files to augmented images, float32 `(batch, height, width, 3)`."""

        def encode(files):
            images, is_image = self._files_to_images(tf.constant(files))
            if not np.all(is_image):
                logger.warning("%d images of a batch are %s: decoded to mid gray.", np.sum(~is_image.numpy()), DAMAGED)
            return images if augmentation is None else augmentation(images, training=True)

        return encode

    def feature_pairs(
        self, pairs: Sequence[tuple[bytes, Any]], extractor: keras.Model, batch_size: int = 64
    ) -> list[tuple[np.ndarray, Any]]:
        """Replaces images by the features of a frozen backbone, so that training does not compute them in every pass.

        Args:
            pairs: list of (image, anything) tuples; anything may be a text or a list of texts.
            extractor: `keras.Model` from images `(batch, height, width, 3)` to features, see
                `kerasseq.encoders.image_features`.
            batch_size: int, images per batch of the extractor.

        Returns:
            list of (features, anything) tuples, features float16 `(rows, columns, channels)`. The features of an image
            in several pairs are computed once and shared.

        Raises:
            ValueError: if a source is not bytes, or neither JPEG nor PNG.
        """
        check_positive_integer("batch_size", batch_size)
        pairs = list(pairs)
        for index, pair in enumerate(pairs):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ValueError(
                    f"pairs must be tuples (image, text). Received at index {index}: {reprlib.repr(pair)}."
                )
            check_image(pair[0], index)
        images = list(dict.fromkeys(image for image, _ in pairs))
        decode = self._augmented(None)
        features: dict[bytes, np.ndarray] = {}
        with progress_bar("features", "image", total=len(images)) as progress:
            for start in range(0, len(images), batch_size):
                batch = images[start : start + batch_size]
                # Half precision: a thousand images of 160 x 160 pixels have some 40 million features.
                arrays = extractor.predict_on_batch(decode(batch)).astype("float16")
                features.update(zip(batch, arrays, strict=True))
                progress.update(len(batch))
        return [(features[image], target) for image, target in pairs]

    # === Saving ===

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "image_size": list(self.image_size)}


def height_and_width(image_size: Any) -> tuple[int, int]:
    """Returns an image size as a tuple. Raises a `ValueError` if it is invalid."""
    size = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if len(size) != 2:
        raise ValueError(f"image_size must be an integer, or height and width. Received: image_size={image_size!r}.")
    for length in size:
        check_positive_integer("image_size", length)
    return size


def feature_shape(features: Sequence[np.ndarray]) -> tuple[int, ...]:
    """The shape of the features of each image. Raises a `ValueError` if they have several."""
    shapes = {array.shape for array in features}
    if len(shapes) > 1 or len(features[0].shape) != 3:
        raise ValueError(
            "Features must be arrays (rows, columns, channels) of one shape, as feature_pairs returns them. "
            f"Received: the shapes {sorted(shapes)}."
        )
    return features[0].shape


def stack_features(features: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks features to a float32 batch."""
    return np.stack(features).astype("float32")
