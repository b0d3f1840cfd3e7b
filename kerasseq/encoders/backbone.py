"""Encoders with a backbone of KerasHub: pretrained models of texts and images."""

import reprlib
from typing import Any

import keras
from keras import layers, ops

from kerasseq.encoders.base import Encoder
from kerasseq.encoders.images import FeatureEncoder, ImageEncoder, image_features
from kerasseq.layers.inner_layers import freeze_weights, frozen_weights
from kerasseq.layers.masking import MaskedMean, PaddingMask

NUM_SPECIAL_TOKENS = 4  # kerasseq's ids 0 to 3: padding, unknown, start, end
# The inputs of a text backbone, and how they begin in an encoder-decoder.
TEXT_INPUTS = ("token_ids", "padding_mask", "segment_ids")
ENCODER = "encoder_"


def from_backbone(
    backbone: keras.Model,
    tokenizer: Any = None,
    image_size: int | tuple[int, int] | None = None,
    normalization: str | None = None,
    name: str = "encoder",
) -> Encoder:
    """An encoder with a pretrained backbone.

    `backbone.trainable = False`, before or after this call, freezes its weights; otherwise they are fine-tuned. Later,
    or in a loaded model, set `encoder.trainable` (or `encoder.backbone.trainable`) to `True` or `False`, then compile
    the model. Dropout of a frozen backbone stays on in training: build it with `dropout=0.0` to turn it off.

    Args:
        backbone: for texts a model of `keras_hub.models` from `token_ids` and `padding_mask` to hidden states, such as
            `BertBackbone`, or an encoder-decoder such as `BartBackbone`, of which the encoder is taken. For images one
            of `keras_hub.models` or `keras.applications`, to a grid of features or a sequence of patches.
        tokenizer: the tokenizer of KerasHub that belongs to a text backbone. Pass it to the preprocessor too,
            `TextPreprocessor(tokenizer, target_vocabulary)`.
        image_size: of an image backbone: int, or height and width. Default: that of the backbone's own input.
        normalization: the pixel values that an image backbone expects: `None`, `"tf"`, `"torch"` or `"caffe"`, see
            `kerasseq.layers.ImageNormalization`.
        name: str.

    Returns:
        a `BackboneEncoder` for texts, an `ImageEncoder` for images.

    Raises:
        ValueError: if the backbone reads neither texts nor images, has no padding mask, or does not fit the tokenizer.

    Example:

    >>> import keras, keras_hub, kerasseq
    >>> tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "three"]
    >>> tokenizer = keras_hub.tokenizers.BertTokenizer(tokens)
    >>> backbone = keras_hub.models.BertBackbone(
    ...     vocabulary_size=8, num_layers=1, num_heads=2, hidden_dim=16, intermediate_dim=32
    ... )  # or, pretrained: keras_hub.models.BertBackbone.from_preset("bert_small_en_uncased")
    >>> target_vocabulary = kerasseq.preprocessing.train_vocabulary(["eins", "zwei", "drei"] * 9, vocabulary_size=280)
    >>> preprocessor = kerasseq.preprocessing.TextPreprocessor(tokenizer, target_vocabulary)
    >>> encoder = kerasseq.encoders.from_backbone(backbone, tokenizer)
    >>> decoder = kerasseq.decoders.TransformerDecoder(preprocessor.target_vocabulary_size, units=32, num_layers=1)
    >>> model = kerasseq.Seq2Seq(encoder, decoder)
    >>> keras.ops.shape(encoder(preprocessor.encode_source(["one two three", "two"]))["memory"])
    (2, 4, 16)
    """
    if not isinstance(backbone, keras.Model) or not hasattr(backbone, "input"):
        raise ValueError(
            "backbone must be a functional keras.Model, such as keras_hub.models.BertBackbone. Received: "
            f"backbone={backbone!r}."
        )
    backbone = plain_images(backbone)
    if isinstance(backbone.input, dict):
        if image_size is not None or normalization is not None:
            raise ValueError(
                "image_size and normalization are for backbones of images. Received: a backbone that reads "
                f"{sorted(backbone.input)}."
            )
        size, special_ids = vocabulary_of(backbone, tokenizer)
        return BackboneEncoder(backbone, size, **special_ids, name=name)
    if tokenizer is not None:
        raise ValueError("tokenizer is for backbones of texts. Received: a backbone of images. Leave it out.")
    extractor = image_features(grid_of_patches(backbone), image_size, normalization)
    features = FeatureEncoder(extractor.output_shape[1:], name="feature_encoder")
    return ImageEncoder(extractor, features, name=name)


# === Texts ===


@keras.saving.register_keras_serializable(package="kerasseq")
class BackboneEncoder(Encoder):
    """A text backbone of KerasHub as an encoder; see `from_backbone`.

    Source ids are the tokenizer's ids plus 4; 0 to 3 are kerasseq's special ids. END becomes the backbone's end token.
    Its start token is prepended, and the start token's position is dropped from the memory, whose positions are those
    of the source ids. The state is the start token's hidden state, or the mean over the source without such a token.

    Args:
        backbone: model of `keras_hub.models` from `token_ids` and `padding_mask`.
        vocabulary_size: int, number of source token ids, kerasseq's 4 included.
        padding_id: int, the backbone's own id of padding.
        end_id: int, its id of the end of a text.
        start_id: int, its id of the start of a text. Default: texts begin with their first token.
        name: str.

    Attributes:
        backbone: the layers of the backbone that encode, a functional model with its weights, to open and to freeze.
        max_source_length: int, the most source tokens that the backbone has positions for, END included. `None`
            without a limit.

    Raises:
        ValueError: if the backbone has other inputs, or no hidden states.
    """

    def __init__(
        self,
        backbone: keras.Model,
        vocabulary_size: int,
        padding_id: int,
        end_id: int,
        start_id: int | None = None,
        name: str = "encoder",
    ):
        encoding_layers = encoding_part(backbone)
        encoder_token_ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
        mask = PaddingMask(name="memory_mask")(encoder_token_ids)
        packed = PackedIds(padding_id, end_id, start_id, name="packed_ids")(encoder_token_ids)
        sequences = encoding_layers({key: packed[key.removeprefix(ENCODER)] for key in encoding_layers.input})
        if start_id is None:
            memory = sequences
            state = MaskedMean(name="mean")(memory, mask)
        else:
            memory = layers.Cropping1D((1, 0), name="memory")(sequences)
            state = sequences[:, 0]
        super().__init__(
            inputs={"encoder_token_ids": encoder_token_ids},
            outputs={"memory": memory, "memory_mask": mask, "states": [{"hidden": state}]},
            vocabulary_size=vocabulary_size,
            name=name,
        )
        if not self.trainable:  # The layers of the backbone were frozen, one by one as they are seen from here.
            encoding_layers.trainable = False
        self.backbone = encoding_layers
        limit = getattr(backbone, "max_sequence_length", None)
        self.max_source_length = limit if limit is None or start_id is None else limit - 1
        # In a function, so that Keras does not save the weights of an unused decoder or pooler.
        self._original = lambda: backbone
        self.ids = {"padding_id": padding_id, "end_id": end_id, "start_id": start_id}

    def get_arguments(self):
        backbone = keras.saving.serialize_keras_object(self._original())
        backbone["config"]["trainable"] = True  # "frozen" says which weights are not.
        return {"backbone": backbone, "vocabulary_size": self.vocabulary_size, **self.ids}

    def get_config(self):
        return {**super().get_config(), "frozen": frozen_weights(self)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        options = {key: value for key, value in config.items() if key != "frozen"}
        encoder = super().from_config(options, custom_objects)
        freeze_weights(encoder, config["frozen"])
        return encoder


@keras.saving.register_keras_serializable(package="kerasseq")
class PackedIds(layers.Layer):
    """Packs source ids as a backbone reads them.

    Args:
        padding_id: int, the backbone's own id of padding.
        end_id: int, its id of the end of a text.
        start_id: int, its id of the start of a text, which is put first; `None` for none.

    Call arguments:
        token_ids: int `(batch, source)`, kerasseq's ids.

    Returns:
        dict of int32 `(batch, source)`, or `(batch, 1 + source)` with a start: `token_ids`, `padding_mask`, 1 for
        tokens, and `segment_ids`, all 0.

    Example:

    >>> import keras
    >>> packed = PackedIds(padding_id=1, end_id=2, start_id=0)(keras.ops.array([[14, 15, 3, 0]]))
    >>> keras.ops.convert_to_numpy(packed["token_ids"]).tolist()
    [[0, 10, 11, 2, 1]]
    >>> keras.ops.convert_to_numpy(packed["padding_mask"]).tolist()
    [[1, 1, 1, 1, 0]]
    """

    def __init__(self, padding_id, end_id, start_id=None, **kwargs):
        super().__init__(**kwargs)
        self.padding_id = padding_id
        self.end_id = end_id
        self.start_id = start_id

    def call(self, token_ids):
        # Backbones have no common unknown token, and their tokenizers name all that is unknown themselves.
        start_id = self.padding_id if self.start_id is None else self.start_id
        special = ops.convert_to_tensor([self.padding_id, self.padding_id, start_id, self.end_id], dtype="int32")
        token_ids = ops.cast(token_ids, "int32")
        own = ops.take(special, ops.minimum(token_ids, NUM_SPECIAL_TOKENS - 1), axis=0)
        own = ops.where(token_ids < NUM_SPECIAL_TOKENS, own, token_ids - NUM_SPECIAL_TOKENS)
        mask = ops.cast(token_ids != 0, "int32")
        if self.start_id is not None:
            first = ops.ones((ops.shape(token_ids)[0], 1), dtype="int32")
            own = ops.concatenate([first * self.start_id, own], axis=1)
            mask = ops.concatenate([first, mask], axis=1)
        return {"token_ids": own, "padding_mask": mask, "segment_ids": ops.zeros_like(own)}

    def compute_output_spec(self, token_ids):
        batch, source = token_ids.shape
        length = source if source is None or self.start_id is None else source + 1
        return {name: keras.KerasTensor((batch, length), dtype="int32") for name in TEXT_INPUTS}

    def get_config(self):
        ids = {"padding_id": self.padding_id, "end_id": self.end_id, "start_id": self.start_id}
        return {**super().get_config(), **ids}


def encoding_part(backbone: keras.Model) -> keras.Model:
    """The layers of a text backbone from ids to hidden states `(batch, time, dim)`, without poolers and decoders."""
    inputs = backbone.input if isinstance(backbone.input, dict) else {}
    prefix = ENCODER if is_encoder_decoder(backbone) else ""
    names = [prefix + name for name in TEXT_INPUTS]
    own = {name: inputs[name] for name in names if name in inputs}
    if not {*names[:2]} <= set(own) or (set(inputs) > set(own) and not prefix):
        raise ValueError(
            "A text backbone must read token_ids and padding_mask, and nothing else but segment_ids. Without a mask, "
            f"padding would change the outputs. Received: a {type(backbone).__name__} that reads {sorted(inputs)}."
        )
    outputs = backbone.output
    sequences = outputs.get(f"{prefix}sequence_output") if isinstance(outputs, dict) else outputs
    if len(getattr(sequences, "shape", ())) != 3:
        raise ValueError(
            f"A text backbone must return hidden states (batch, time, dim), or a dict with '{prefix}sequence_output'. "
            f"Received: a {type(backbone).__name__} that returns {outputs}."
        )
    part = keras.Model(own, sequences, name="backbone")
    if not any(weight.trainable for weight in part.weights):
        part.trainable = False  # Otherwise setting it to True would be ignored, as no change.
    return part


def is_encoder_decoder(backbone: keras.Model) -> bool:
    """Whether a text backbone has inputs of an encoder and of a decoder."""
    return isinstance(backbone.input, dict) and f"{ENCODER}token_ids" in backbone.input


def vocabulary_of(backbone: keras.Model, tokenizer: Any) -> tuple[int, dict[str, Any]]:
    """The number of source ids and the backbone's special ids, by the arguments of `BackboneEncoder`."""
    names = {"padding_id": "pad_token_id", "end_id": "end_token_id", "start_id": "start_token_id"}
    ids = {argument: getattr(tokenizer, name, None) for argument, name in names.items()}
    if ids["padding_id"] is None or ids["end_id"] is None or not callable(getattr(tokenizer, "vocabulary_size", None)):
        raise ValueError(
            "A text backbone needs its tokenizer of KerasHub, with pad_token_id and end_token_id, such as "
            f"keras_hub.tokenizers.BertTokenizer. Received: tokenizer={reprlib.repr(tokenizer)} "
            f"({type(tokenizer).__name__}). A trained vocabulary goes into the TextPreprocessor, for the targets."
        )
    # KerasHub's T5 names a start token, the end token, for the decoder only.
    if is_encoder_decoder(backbone) and ids["start_id"] in (ids["padding_id"], ids["end_id"]):
        ids["start_id"] = None
    size = tokenizer.vocabulary_size()
    if size > getattr(backbone, "vocabulary_size", size):
        raise ValueError(
            f"The tokenizer has {size} tokens, the backbone embeds {backbone.vocabulary_size}. Load both from one "
            "preset."
        )
    return size + NUM_SPECIAL_TOKENS, ids


# === Images ===


def plain_images(backbone: keras.Model) -> keras.Model:
    """A model of one named input of images, such as DINOv2, as one of a plain tensor; others as is."""
    inputs = backbone.input
    if not isinstance(inputs, dict) or len(inputs) != 1:
        return backbone
    ((name, images),) = inputs.items()
    if len(images.shape) != 4:
        return backbone
    plain = keras.Input(images.shape[1:], name="images")
    model = keras.Model(plain, backbone({name: plain}), name="images_of_backbone")
    model.patch_size = getattr(backbone, "patch_size", None)
    return model


def grid_of_patches(backbone: keras.Model) -> keras.Model:
    """A vision transformer from `(batch, 1 + patches, dim)` as one to `(batch, rows, columns, dim)`; others as is."""
    patch_size = getattr(backbone, "patch_size", None)
    if patch_size is None or isinstance(backbone.output, dict) or len(backbone.output.shape) != 3:
        return backbone
    height, width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    shape = backbone.input_shape[1:]
    rows, columns = shape[0] // height, shape[1] // width
    tokens, dim = backbone.output.shape[1:]
    images = keras.Input(shape, name="images")
    if tokens < rows * columns:
        raise ValueError(
            f"The backbone must return a grid, or one vector for each of its {rows * columns} patches. Received: a "
            f"{type(backbone).__name__} that returns {tokens} vectors. Reshape its output to (batch, rows, columns, "
            "dim)."
        )
    # Class and register tokens come first.
    patches = layers.Cropping1D((tokens - rows * columns, 0), name="patches")(backbone(images))
    return keras.Model(images, layers.Reshape((rows, columns, dim), name="grid")(patches), name="patch_grid")
