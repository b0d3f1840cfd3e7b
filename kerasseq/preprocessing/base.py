"""The contract of preprocessors: everything that generation, export and data sets ask of one."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.flat_sequences import FlatSequences
from kerasseq.preprocessing.ids import TEXTS_AT_ONCE, padded, shift_right, string_tensor, word_numbers
from kerasseq.preprocessing.pairs import check_length
from kerasseq.preprocessing.tokenizers import TOKENIZERS, Tokenizer, as_tokenizer, load_tokenizer
from kerasseq.preprocessing.vocabulary import END_ID, NUM_SPECIAL_TOKENS
from kerasseq.processes import check_process
from kerasseq.types import Tensor


class Preprocessor(keras.layers.Layer):
    """Encodes raw sources and target texts to tensors, and decodes token ids to texts.

    Subclasses encode their kind of source: they must define `source_signature`, `encoder_inputs`, `encode_source`,
    `raw_batch` and `source_tokens`, and override what else differs from its default. The target side is the same in all
    preprocessors. Everything but `raw_batch` and `encode_prefix` runs in TensorFlow graphs, in training and in a model
    server alike.

    Ids: 0 padding, 1 unknown, 2 start, 3 end, then the tokens.

    Args:
        vocabularies: list of `Tokenizer`, bytes (serialized SentencePiece models) or tokenizers of KerasHub, that of
            the targets last. Empty if `load_assets` will read them.
        max_target_length: int, the maximum number of tokens of a target, END included.
    """

    # Names of the vocabularies' assets, in the order of `vocabularies`. The first is required.
    vocabulary_names: ClassVar[tuple[str, ...]] = ("target",)
    # The maximum number of tokens of a source, END included; None if sources are not tokens.
    max_source_length: int | None = None
    # A search stops at `length_ratio * source tokens + LENGTH_OFFSET` tokens; None for no limit of this kind.
    length_ratio: float | None = None

    def __init__(self, vocabularies: Sequence[Any] = (), max_target_length: int = 128, **kwargs: Any) -> None:
        check_process()
        super().__init__(**kwargs)
        check_length("max_target_length", max_target_length)
        self.max_target_length = max_target_length
        self._tokenizers = [as_tokenizer(vocabulary) for vocabulary in vocabularies]
        self.built = True

    # === Vocabularies ===

    @property
    def has_vocabularies(self) -> bool:
        """Whether the vocabularies are there: false after `from_config`, until `load_assets` reads them."""
        return bool(self._tokenizers)

    @property
    def tokenizers(self) -> list[Tokenizer]:
        """The tokenizers, that of the targets last.

        An exported graph that uses this preprocessor has to track them. They are replaced when TensorFlow has deleted
        their resources, so a traced graph is valid as long as the list holds the same objects.
        """
        if not self._tokenizers:
            raise ValueError(
                f"The {type(self).__name__} has no vocabulary. Pass one to the constructor, train one with from_pairs, "
                "or call load_assets."
            )
        usable = [tokenizer.usable() for tokenizer in self._tokenizers]
        if any(new is not old for new, old in zip(usable, self._tokenizers, strict=True)):
            self._tokenizers = usable
        return usable

    @property
    def target_tokenizer(self) -> Tokenizer:
        """The tokenizer of the targets."""
        return self.tokenizers[-1]

    @property
    def target_vocabulary_size(self) -> int:
        """The number of ids of the target vocabulary."""
        return self.target_tokenizer.vocabulary_size

    @property
    def source_vocabulary_size(self) -> int | None:
        """The number of ids of the source vocabulary; `None` if sources are not tokens."""
        return None

    @property
    def joint(self) -> bool:
        """Whether sources and targets share one vocabulary."""
        return False

    def word_pieces(self) -> dict[str, np.ndarray]:
        """Describes the tokens of a joint vocabulary, see `kerasseq.preprocessing.word_pieces.word_pieces`.

        Raises:
            ValueError: if sources and targets do not share one vocabulary.
        """
        raise ValueError(
            f"Expected a preprocessor with a joint vocabulary. Received: a {type(self).__name__} without one. Train "
            "one with TextPreprocessor.from_pairs(pairs, joint=True)."
        )

    # === Sources ===

    @property
    def source_signature(self) -> tf.TensorSpec:
        """The signature of a batch of raw sources. Its name is the input's name in exported models."""
        raise self._missing("source_signature")

    @property
    def encoder_inputs(self) -> dict[str, tuple[int | None, ...]]:
        """The shapes of the tensors that `encode_source` returns, without the batch."""
        raise self._missing("encoder_inputs")

    def encode_source(self, raw: Tensor) -> dict[str, Tensor]:
        """Encodes raw sources, see `source_signature`, to encoder inputs, see `encoder_inputs`. Never fails."""
        raise self._missing("encode_source")

    def raw_batch(self, sources: Sequence[Any], split: bool = False) -> Tensor:
        """Checks sources and converts them to a tensor, see `source_signature`.

        Args:
            sources: list of raw sources.
            split: bool, whether sources that are too long will be split (see `encode_parts`) rather than truncated.

        Returns:
            tensor `(batch,)`.

        Raises:
            ValueError: if an element is not a valid source.
        """
        raise self._missing("raw_batch")

    def source_tokens(self, context: dict[str, Tensor], stride: int = 1) -> Tensor:
        """Labels the positions of the memory, for the axes of plots.

        Args:
            context: dict of encoder inputs and outputs.
            stride: int, encoder input positions per memory position.

        Returns:
            string `(batch, positions)`, empty for padding.
        """
        raise self._missing("source_tokens")

    def source_words(self, context: dict[str, Tensor], stride: int = 1) -> Tensor | None:
        """Returns the number of the word at each position of the memory, int32 `(batch, positions)`, -1 for none.

        The arguments are those of `source_tokens`. Default: `None`, for sources without words.
        """
        return None

    def blank(self, raw: Tensor) -> Tensor | None:
        """Tells which sources are blank: bool `(batch,)`. Their outputs are empty, and the model is not asked.

        Default: `None`, for sources that cannot be blank, such as sounds and images.
        """
        return None

    def remarks(self, raw: Tensor) -> dict[str, Tensor]:
        """Describes problems of raw sources: tensors `(batch,)` that exported models return as additional outputs."""
        return {}

    def example_sources(self, count: int, share: float) -> list[bytes]:
        """Returns artificial sources for warm-up requests and checks, the same in every call.

        Args:
            count: int, the number of sources.
            share: float, the size of the sources as a share of the largest that is read completely.
        """
        return [b""] * count

    # === Long sources ===

    @property
    def splits_sources(self) -> bool:
        """Whether sources that are too long can be split, see `encode_parts` and `join_parts`."""
        return False

    def lines(self, raw: Tensor) -> tf.RaggedTensor:
        """Splits sources into lines, of which each is decoded on its own: `(batch, None)`. Default: one line each."""
        return tf.RaggedTensor.from_tensor(raw[:, tf.newaxis])

    def encode_parts(self, raw: Tensor, every_sentence: bool = False) -> tuple[dict[str, Tensor], Tensor]:
        """Encodes sources as `encode_source` does, but splits those that are too long into several rows.

        Args:
            raw: a batch of raw sources.
            every_sentence: bool, whether to split all sources into sentences, not only those that are too long.

        Returns:
            encoder inputs `(parts, ...)`, and int32 `(parts,)`, the index of the source of each part, in ascending
            order.
        """
        raise self._missing("encode_parts")

    def join_parts(self, texts: Tensor, owners: Tensor, count: Tensor) -> Tensor:
        """Joins the outputs of parts: string `(parts, hypotheses)` to string `(count, hypotheses)`.

        `owners`, int32 `(parts,)`, is the index of the source of each part, as returned by `encode_parts`; `count`,
        int32, the number of sources.
        """
        raise self._missing("join_parts")

    # === Targets ===

    def tokenize(self, texts: Tensor, side: str) -> tf.RaggedTensor:
        """Tokenizes texts, string `(batch,)`, and appends END: int32 `tf.RaggedTensor` `(batch, None)`.

        Invalid UTF-8 is read as U+FFFD. `side` is that of the vocabulary: `"source"` or `"target"`.
        """
        ids = self.tokenizers[{"source": 0, "target": -1}[side]].tokenize(texts)
        return tf.concat([ids, tf.fill([ids.nrows(), 1], END_ID)], axis=1)

    def encode_target(self, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes target texts, string `(batch,)`, to decoder inputs and labels.

        Returns:
            `decoder_token_ids`, START and the tokens, and labels, the tokens and END; both int32 `(batch, target)`.
            Targets that are too long are truncated to `max_target_length - 1` tokens and END.
        """
        labels = padded(self.tokenize(tf.convert_to_tensor(texts), "target"), self.max_target_length)
        return shift_right(labels), labels

    def encode_prefix(self, texts: Sequence[str | bytes]) -> Tensor:
        """Encodes texts, str or bytes in UTF-8, that outputs have to begin with.

        Returns:
            int32 `(batch, prefix)`, without START and END, padded with 0; without columns if all texts are empty.
        """
        return self.target_tokenizer.tokenize(string_tensor(texts)).to_tensor()

    def decode(self, token_ids: Tensor) -> Tensor:
        """Decodes ids, int32 `(batch, target)`, up to the first END, to texts, string `(batch,)`."""
        token_ids = tf.convert_to_tensor(token_ids, tf.int32)
        before_end = tf.math.cumsum(tf.cast(token_ids == END_ID, tf.int32), axis=1) == 0
        kept = tf.ragged.boolean_mask(token_ids, before_end & (token_ids >= NUM_SPECIAL_TOKENS))
        return self.target_tokenizer.detokenize(kept)

    def target_tokens(self, token_ids: Tensor) -> Tensor:
        """Returns the tokens of target ids, int32 `(batch, target)`: string `(batch, target)`, empty for padding."""
        return self.target_tokenizer.tokens(token_ids)

    def target_words(self, token_ids: Tensor) -> Tensor:
        """Returns the number of the word of each target id, int32 `(batch, target)`, from 0 on, -1 for none."""
        return word_numbers(self.target_tokenizer.boundaries(token_ids)[0], token_ids, with_unknown=False)

    def tokenize_all(self, texts: Sequence[str], side: str) -> FlatSequences:
        """Tokenizes a list of str to int32 arrays that end in END."""
        parts = [
            self.tokenize(string_tensor(texts[start : start + TEXTS_AT_ONCE]), side)
            for start in range(0, len(texts), TEXTS_AT_ONCE)
        ]
        values = [part.flat_values.numpy() for part in parts]
        return FlatSequences.of_lengths(values, [part.row_lengths().numpy() for part in parts], "int32")

    # === Saving ===

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_target_length": self.max_target_length}

    @property
    def vocabulary_digest(self) -> str:
        """A digest of the vocabularies: models that were trained with others do not fit."""
        digest = hashlib.sha256()
        for tokenizer in self.tokenizers:
            digest.update(hashlib.sha256(tokenizer.to_bytes()).digest())
        return digest.hexdigest()[:16]

    def save_assets(self, folder: str | os.PathLike[str]) -> None:
        """Writes the vocabularies, named after `vocabulary_names`."""
        for name, tokenizer in zip(self.vocabulary_names, self.tokenizers, strict=False):
            with open(os.path.join(folder, f"{name}.{tokenizer.suffix}"), "wb") as file:
                file.write(tokenizer.to_bytes())

    def load_assets(self, folder: str | os.PathLike[str]) -> None:
        """Reads the vocabularies that `save_assets` wrote."""
        tokenizers = [load_tokenizer(folder, name) for name in self.vocabulary_names]
        if tokenizers[0] is None:
            names = " or ".join(f"'{self.vocabulary_names[0]}.{suffix}'" for suffix in TOKENIZERS)
            raise ValueError(f"Expected a vocabulary {names} in {folder}. Received: no such file.")
        self._tokenizers = [tokenizer for tokenizer in tokenizers if tokenizer is not None]

    def _missing(self, name: str) -> NotImplementedError:
        return NotImplementedError(
            f"{type(self).__name__} must define {name}, see kerasseq.preprocessing.Preprocessor."
        )
