"""The contract of tokenizers."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS
from kerasseq.types import Tensor


class Tokenizer(tf.Module):
    """Converts texts to token ids and back.

    Ids: 0 padding, 1 unknown, 2 start, 3 end, then the tokens. Tokenizers neither add nor interpret START and END.
    Nothing in a text is read as one of them, except that what has no token of its own is unknown.

    A tokenizer is a `tf.Module`: it tracks its tables and models, so a graph that uses it can be exported if the
    exported object tracks the tokenizer. To add a kind of tokenizer, subclass this in a file of its own and list the
    class in `kerasseq.preprocessing.tokenizers.TOKENIZERS`.
    """

    # File extension of the assets of this kind of tokenizer.
    suffix: ClassVar[str]
    # The first id that stands for text alone, neither a special token nor a byte.
    first_text_id: int = NUM_SPECIAL_TOKENS

    vocabulary_size: int

    # === In the graph ===

    def tokenize(self, texts: Tensor) -> tf.RaggedTensor:
        """Converts texts, string `(batch,)`, to ids, ragged int32 `(batch, None)`.

        Invalid UTF-8 is read as U+FFFD.
        """
        raise NotImplementedError

    def detokenize(self, token_ids: Tensor) -> Tensor:
        """Converts ids, ragged or dense int32 `(batch, None)`, to texts, string `(batch,)`."""
        raise NotImplementedError

    def id_to_string(self, token_ids: Tensor) -> Tensor:
        """Returns the token of each id: a string tensor of the shape of `token_ids`."""
        raise NotImplementedError

    def string_to_id(self, tokens: Tensor) -> Tensor:
        """Returns the id of each token, the inverse of `id_to_string`; 1 for unknown tokens."""
        raise NotImplementedError

    def tokens(self, token_ids: Tensor) -> Tensor:
        """As `id_to_string`, but with empty strings for padding."""
        return tf.where(token_ids == 0, "", self.id_to_string(token_ids))

    def boundaries(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Returns whether a word begins at each token, and whether a character does: bool, of the shape of the ids."""
        everywhere = tf.ones_like(token_ids, tf.bool)
        return everywhere, everywhere

    # === In Python ===

    def to_bytes(self) -> bytes:
        """Returns the content of the asset that `from_bytes` reads."""
        raise NotImplementedError

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Makes the tokenizer from what `to_bytes` returned."""
        raise NotImplementedError

    def usable(self) -> Self:
        """Returns this tokenizer, or a new equal one if TensorFlow has deleted its resources."""
        return self

    def sampler(self, alpha: float) -> Callable[[Sequence[str], int], list[np.ndarray]]:
        """Returns a function from texts and a seed to random segmentations, as arrays of ids without END.

        Args:
            alpha: float above 0, the exponent of the segmentations' probabilities.
        """
        raise ValueError(
            "subword_sampling requires a tokenizer with several segmentations of a text, such as SubwordTokenizer. "
            f"Received: {type(self).__name__}."
        )

    def word_pieces(self) -> dict[str, np.ndarray]:
        """Describes where words begin and end in tokens, see `kerasseq.preprocessing.word_pieces.word_pieces`."""
        raise ValueError(
            "SourceWords requires a tokenizer that knows where words begin, such as SubwordTokenizer or WordTokenizer. "
            f"Received: {type(self).__name__}. Leave it out, or train a preprocessor with tokens='subwords'."
        )

    def example_texts(self, count: int, length: int) -> list[bytes]:
        """Returns texts of `length` random tokens in UTF-8, the same in every call."""
        ids = np.random.default_rng(1).integers(self.first_text_id, self.vocabulary_size, (count, length), "int32")
        return self.detokenize(ids).numpy().tolist()
