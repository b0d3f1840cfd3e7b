"""Pairs of images and texts to tensors and back."""

import logging
import reprlib

import keras
import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_positive_integer
from kerasseq.preprocessing.batching import batched, check_pairs, data_set_options, pad
from kerasseq.preprocessing.ids import shift_right
from kerasseq.preprocessing.image_files import DAMAGED, begins_as_image, decode_images, image_problems
from kerasseq.preprocessing.target_texts import TargetTexts, cut, kept_pairs
from kerasseq.preprocessing.vocabulary import train_vocabulary

logger = logging.getLogger(__name__)

CHECKED_TOGETHER = 64


@keras.saving.register_keras_serializable(package="kerasseq")
class ImagePreprocessor(TargetTexts):
    """Pixels of image files, and subword tokens of the texts that belong to them.

    A source is the content of a JPEG or PNG file, as bytes: RGB, gray, palette or CMYK, of 8 or 16 bits, with or
    without transparency, which shows white paper. It is decoded and squashed to `image_size`, whatever its proportions,
    by a filter that leaves no aliases; an orientation noted in EXIF is ignored. All of this runs in TensorFlow graphs,
    in training and in a model server alike. What is no image, is damaged, or has more than 50 million pixels, becomes
    mid gray, and the `remarks` say so.

    Usually made by `ImagePreprocessor.from_pairs`.

    Args:
        target_vocabulary: bytes, a serialised SentencePiece model, see `train_vocabulary`.
        image_size: int, or a tuple of height and width, in pixels.
        max_target_length: int, tokens of a target, END included.

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

    def __init__(self, target_vocabulary=None, image_size=160, max_target_length=64, **kwargs):
        vocabularies = [] if target_vocabulary is None else [target_vocabulary]
        super().__init__(vocabularies, max_target_length, **kwargs)
        self.image_size = height_and_width(image_size)
        self._compiled = None

    @classmethod
    def from_pairs(cls, pairs, vocabulary_size=4_000, image_size=160, max_target_length=64, normalization="nmt_nfkc"):
        """Trains the vocabulary on the texts of pairs.

        Args:
            pairs: list of (image, text) tuples of bytes and str.
            vocabulary_size: int, ids at most, at least 261; small data may give fewer.
            image_size: int, or a tuple of height and width, in pixels.
            max_target_length: int, tokens of a target at most, END included.
            normalization: of texts, as in `TextPreprocessor.from_pairs`.

        Returns:
            an `ImagePreprocessor`.

        Raises:
            ValueError: if there are no pairs, a pair is not bytes and a string, or a number is too small.
        """
        pairs = list(pairs)
        check_pairs(pairs, bytes)
        image_size = height_and_width(image_size)
        vocabulary = train_vocabulary([target for _, target in pairs], vocabulary_size, normalization)
        return cls(vocabulary, image_size=image_size, max_target_length=max_target_length)

    # === One batch, in the graph ===

    @property
    def source_signature(self):
        """What raw sources look like: `tf.TensorSpec([None], tf.string)`, contents of image files."""
        return tf.TensorSpec([None], tf.string, name="image_bytes")

    def encode_source(self, contents):
        """Image files to encoder inputs.

        Args:
            contents: string `(batch,)`.

        Returns:
            `{"encoder_images": float32 (batch, height, width, 3)}`, RGB from 0 to 255; mid gray where there is no
            image.
        """
        images, _ = decode_images(tf.convert_to_tensor(contents, tf.string), self.image_size)
        return {"encoder_images": images}

    def remarks(self, contents):
        """`problem`, string `(batch,)`: what is wrong with each file, empty for good ones."""
        return {"problem": image_problems(tf.convert_to_tensor(contents, tf.string))}

    def source_tokens(self, context, steps=1):
        """The places of the memory, for the axes of plots.

        Args:
            context: dict of what the encoder gives; its `places`, int32 `(batch, places, 2)`, are rows and columns.
            steps: int, without meaning for images.

        Returns:
            string `(batch, places)`, `"row,column"` from `"0,0"` on, row by row.
        """
        places = next(tensor for name, tensor in sorted(context.items()) if name.startswith("places"))  # an ensemble's
        return tf.strings.reduce_join(tf.strings.as_string(places), axis=-1, separator=",")

    def example_sources(self, count, share):
        """Image files of coloured blocks, for warming up.

        Args:
            count: int.
            share: float, their height and width as a share of `image_size`.

        Returns:
            list of `count` bytes, JPEG and PNG by turns, the same in every call.
        """
        height, width = (max(1, round(share * length)) for length in self.image_size)
        blocks = np.random.default_rng(1).integers(256, size=(count, 4, 4, 3))
        images = tf.cast(tf.image.resize(blocks, (height, width), method="nearest"), tf.uint8)
        encoders = (tf.io.encode_jpeg, tf.io.encode_png)
        return [encoders[index % 2](image).numpy() for index, image in enumerate(images)]

    @property
    def encoder_inputs(self):
        """The shapes of what `encode_source` gives, without the batch."""
        return {"encoder_images": (*self.image_size, 3)}

    # === Raw sources from Python ===

    def raw_batch(self, images):
        """Checks the contents of image files and makes a string tensor of them.

        Args:
            images: list of bytes.

        Returns:
            string tensor `(batch,)`.

        Raises:
            ValueError: if an element is not bytes, neither JPEG nor PNG, or damaged.
        """
        for index, image in enumerate(images):
            check_image(image, index)
        raw = tf.constant(images, tf.string, shape=[len(images)])
        parts = [raw[start : start + CHECKED_TOGETHER] for start in range(0, len(images), CHECKED_TOGETHER)]
        damaged = [index for part in parts for index in image_problems(part).numpy() == DAMAGED.encode()]
        if any(damaged):
            raise ValueError(
                f"Images must be JPEG or PNG files that can be decoded. Received: {sum(damaged)} of {len(damaged)} "
                f"are {DAMAGED}, those at index {', '.join(map(str, np.flatnonzero(damaged)))}. Leave them out."
            )
        return raw

    # === Data sets ===

    def dataset(self, pairs, batch_size, shuffle=False, seed=0, too_long=None, pad_to_multiple=None, augmentation=None):
        """A `tf.data.Dataset` of batches for `fit`, `evaluate` and `predict`.

        Images are decoded batch by batch, in every pass anew. An image of several texts is in a pair with each of them;
        the pairs may share the bytes.

        Args:
            pairs: list of (image, text) tuples of bytes and str; or of (features, text), features `(rows, columns,
                channels)` of a frozen backbone, as `feature_pairs` makes them.
            batch_size: int, pairs a batch.
            shuffle: `False` keeps the order. `True` shuffles every pass and puts texts of like length together, and so
                images of like contents, where their descriptions' lengths tell these: batch normalizations that train
                then need the same length for all, as with `pad_to_multiple=max_target_length`. An `EpochShuffle`, also
                given to `fit` as a callback, makes resumed runs repeat uninterrupted ones.
            seed: int, for `shuffle=True`.
            too_long: what to do with pairs whose text is longer than `max_target_length`: `"drop"` them, `"truncate"`
                them, or raise an `"error"`. Default: drop when shuffled; else truncate.
            pad_to_multiple: int, lengths of texts are rounded up to its multiples. Default: 4 when shuffled, else 1.
            augmentation: function of float32 images `(batch, height, width, 3)` and `training=True` that returns
                others, such as `keras.layers.RandomFlip("horizontal")`. Mind texts that say left and right. Default:
                none.

        Returns:
            a data set of `({"encoder_images": (batch, height, width, 3), "decoder_token_ids": (batch, target)},
            labels)`, images float32, ids and labels `(batch, target)` int32; for features `encoder_features (batch,
            rows, columns, channels)`, float32, stands in the place of the images.

        Raises:
            ValueError: if there are no pairs, none is left, or one is not what it should be.
        """
        pairs = list(pairs)
        of_features = bool(pairs) and isinstance(pairs[0], (tuple, list)) and isinstance(pairs[0][0], np.ndarray)
        check_pairs(pairs, np.ndarray if of_features else bytes)
        too_long, pad_to_multiple = data_set_options(batch_size, shuffle, too_long, pad_to_multiple)
        if augmentation is not None and not callable(augmentation):
            raise ValueError(
                "augmentation must be a function of images, such as keras.layers.RandomFlip('horizontal'). Received: "
                f"augmentation={augmentation!r}. Several become one in a keras.Sequential."
            )
        sources, targets = zip(*pairs, strict=True)
        if of_features:
            shape = check_features(sources, augmentation)
            name, encode = "encoder_features", stacked
        else:
            for index, image in enumerate(sources):
                check_image(image, index)
            shape = (*self.image_size, 3)
            name, encode = "encoder_images", self._encoded(augmentation)
        targets = self._tokenize_all(targets, "target")
        fits = [len(target) <= self.max_target_length for target in targets]
        kept = kept_pairs(fits, f"{self.max_target_length} target tokens", too_long)
        sources = [sources[row] for row in kept]
        targets = [cut(targets[row], self.max_target_length) for row in kept]

        def make_batch(rows, _):
            labels = pad([targets[row] for row in rows], pad_to_multiple)
            return {name: encode([sources[row] for row in rows]), "decoder_token_ids": shift_right(labels)}, labels

        # Rounded as in a batch: among texts of one padded length it is chance that puts images together.
        lengths = np.array([[-(-len(target) // pad_to_multiple)] for target in targets])
        ids = tf.TensorSpec([None, None], tf.int32)
        signature = ({name: tf.TensorSpec([None, *shape], tf.float32), "decoder_token_ids": ids}, ids)
        return batched(lengths, batch_size, shuffle, seed, make_batch, signature)

    def _encoded(self, augmentation):
        """A function from a list of image files to float32 `(batch, height, width, 3)`."""

        def encode(images):
            decoded, good = self._decode(tf.constant(images))
            if not np.all(good):
                logger.warning("%d images of a batch are %s, and read as mid gray.", np.sum(~good.numpy()), DAMAGED)
            return decoded if augmentation is None else augmentation(decoded, training=True)

        return encode

    @property
    def _decode(self):
        """`decode_images` to the image size, compiled."""
        if self._compiled is None:
            function = tf.function(lambda contents: decode_images(contents, self.image_size))
            self._compiled = function.get_concrete_function(self.source_signature)
        return self._compiled

    def feature_pairs(self, pairs, extractor, batch_size=64):
        """Puts the features of a frozen backbone in the place of images, so that training need not compute them anew.

        Args:
            pairs: list of tuples, each an image, bytes, and anything else, such as a text or a list of texts.
            extractor: `keras.Model` from images `(batch, height, width, 3)` to features, see
                `kerasseq.encoders.image_features`.
            batch_size: int, images that go through the extractor together.

        Returns:
            list of tuples, each float16 `(rows, columns, channels)`, and the same as before. An image that is in
            several pairs goes through the extractor once, and they share its features.

        Raises:
            ValueError: if a source is not bytes, or neither JPEG nor PNG.
        """
        import tqdm  # Deferred: only long work shows progress.

        check_positive_integer("batch_size", batch_size)
        pairs = list(pairs)
        for index, pair in enumerate(pairs):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ValueError(
                    f"pairs must be tuples (image, text). Received at index {index}: {reprlib.repr(pair)}."
                )
            check_image(pair[0], index)
        images = list(dict.fromkeys(image for image, _ in pairs))
        encode, features = self._encoded(augmentation=None), {}
        with tqdm.tqdm(total=len(images), desc="features", unit="image", delay=2) as progress:
            for start in range(0, len(images), batch_size):
                batch = images[start : start + batch_size]
                # Half precision, for a thousand images at 160 pixels have some 40 million features.
                grids = extractor.predict_on_batch(encode(batch)).astype("float16")
                features.update(zip(batch, grids, strict=True))
                progress.update(len(batch))
        return [(features[image], target) for image, target in pairs]

    # === Saving ===

    def get_config(self):
        return {**super().get_config(), "image_size": list(self.image_size)}


def height_and_width(image_size):
    """An image size as a tuple, or a `ValueError`."""
    size = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if len(size) != 2:
        raise ValueError(f"image_size must be an integer, or height and width. Received: image_size={image_size!r}.")
    for length in size:
        check_positive_integer("image_size", length)
    return size


def check_image(image, index):
    """Raises a `ValueError` unless `image` is bytes that begin as JPEG or PNG files do."""
    if not isinstance(image, bytes):
        raise ValueError(
            "Images must be bytes, the contents of JPEG or PNG files, such as pathlib.Path('photo.jpg').read_bytes(). "
            f"Received at index {index}: {type(image).__name__}."
        )
    if not begins_as_image(image):
        raise ValueError(
            f"Images must be the contents of JPEG or PNG files. Received at index {index}: {len(image)} bytes that "
            f"begin with {image[:8]!r}. Convert the file, or leave it out."
        )


def check_features(features, augmentation):
    """The shape that all features have, or a `ValueError`."""
    if augmentation is not None:
        raise ValueError("augmentation changes images. Received: features. Make features of changed images instead.")
    shapes = {array.shape for array in features}
    if len(shapes) > 1 or len(features[0].shape) != 3:
        raise ValueError(
            "Features must be arrays (rows, columns, channels), all of one shape, as feature_pairs makes them. "
            f"Received the shapes {sorted(shapes)}."
        )
    return features[0].shape


def stacked(features):
    """A batch of features, float32."""
    return np.stack(features).astype("float32")
