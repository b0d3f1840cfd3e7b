"""What tokenizers with a list of tokens have in common, whether these are characters or words."""

import numbers
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

import tensorflow as tf

from kerasseq.preprocessing.ids import TEXTS_AT_ONCE, string_tensor
from kerasseq.preprocessing.tokenizers.listed import SPECIAL_TOKENS, ListedTokenizer
from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS, UNKNOWN_ID, check_texts
from kerasseq.preprocessing.vocabulary_size import DEFAULT_VOCABULARY_SIZE
from kerasseq.types import Tensor


class TokenList(ListedTokenizer):
    """The base class of tokenizers that look tokens up in a list.

    Subclasses define `split`, `separator` and `unit`.

    Args:
        tokens: list of str, the tokens in the order of their ids, from 4 on.
    """

    separator: ClassVar[str]  # between the tokens of a text
    unit: ClassVar[str]  # what a token is, for errors

    def __init__(self, tokens: Sequence[str]) -> None:
        super().__init__({"tokens": self._checked(tokens)}, name=self.suffix)

    @classmethod
    def from_texts(cls, texts: Iterable[str], vocabulary_size: int | None = None) -> Self:
        """Makes a tokenizer of the most frequent tokens of texts.

        Args:
            texts: iterable of str.
            vocabulary_size: int, the maximum number of ids, those of padding, unknown, start and end included. The most
                frequent tokens get ids, of equally frequent ones the first in the order of Unicode. Defaults to 8,000.

        Returns:
            a tokenizer.

        Raises:
            ValueError: if there are no texts, one is not a str, or `vocabulary_size` is not an integer of at least 5.
        """
        if vocabulary_size is None:
            vocabulary_size = DEFAULT_VOCABULARY_SIZE
        if not isinstance(vocabulary_size, numbers.Integral) or vocabulary_size <= NUM_SPECIAL_TOKENS:
            raise ValueError(
                f"vocabulary_size must be an integer of at least {NUM_SPECIAL_TOKENS + 1}: {NUM_SPECIAL_TOKENS} "
                f"special tokens and those of the texts. Received: vocabulary_size={vocabulary_size!r}."
            )
        texts = check_texts(texts)
        counts: Counter[bytes] = Counter()
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            tokens = cls.split(string_tensor(texts[start : start + TEXTS_AT_ONCE]))
            counts.update(tokens.flat_values.numpy().tolist())
        for token in SPECIAL_TOKENS:
            counts.pop(token.encode(), None)
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        return cls([token.decode() for token in ordered[: vocabulary_size - NUM_SPECIAL_TOKENS]])

    @classmethod
    def split(cls, texts: Tensor) -> tf.RaggedTensor:
        """Splits texts, string `(batch,)`, into normalized tokens, ragged string `(batch, None)`."""
        raise NotImplementedError

    @classmethod
    def _checked(cls, tokens: Sequence[str]) -> list[str]:
        """Returns the tokens normalized, or raises a `ValueError`."""
        if isinstance(tokens, (set, frozenset)):
            raise ValueError(
                "tokens must be a list: the place of a token is its id, and a set has another order in every process. "
                f"Received: a {type(tokens).__name__}. Pass sorted(tokens)."
            )
        tokens = list(tokens)
        for index, token in enumerate(tokens):
            if not isinstance(token, str):
                raise ValueError(f"Tokens must be strings. Received at index {index}: {token!r}.")
        if not tokens:
            raise ValueError(f"tokens must hold at least one {cls.unit}. Received: none.")
        given = string_tensor(tokens)
        normal = [token.decode() for token in normalized(given).numpy()]
        parts = cls.split(given).to_list()
        for index, (token, own) in enumerate(zip(normal, parts, strict=True)):
            if own != [token.encode()] or token in SPECIAL_TOKENS:
                raise ValueError(
                    f"Every token must be one {cls.unit} in NFC, and none of {', '.join(SPECIAL_TOKENS)}. Received at "
                    f"index {index}: {tokens[index]!r}."
                )
        if twice := [token for token, count in Counter(normal).items() if count > 1]:
            raise ValueError(
                "Every token must be in the list once: its place is its id. Received more than once: "
                f"{', '.join(map(repr, twice[:5]))}. Pass list(dict.fromkeys(tokens)) to keep the first ones."
            )
        return normal

    # === In the graph ===

    def tokenize(self, texts: Tensor) -> tf.RaggedTensor:
        tokens = self.split(texts)
        ids = self.string_to_id(tokens.flat_values)
        # The names of special tokens are unknown words in a text.
        return tokens.with_flat_values(tf.where(ids < NUM_SPECIAL_TOKENS, UNKNOWN_ID, ids))

    def detokenize(self, token_ids: Tensor) -> Tensor:
        """Joins the tokens of ids; special ids, the unknown one among them, are left out."""
        kept = tf.ragged.boolean_mask(token_ids, token_ids >= NUM_SPECIAL_TOKENS)
        return tf.strings.reduce_join(self.id_to_string(kept), axis=-1, separator=self.separator)


def normalized(texts: Tensor) -> Tensor:
    """Texts, string, in NFC; invalid UTF-8 becomes U+FFFD."""
    import tensorflow_text  # Deferred: importing kerasseq stays cheap.

    return tensorflow_text.normalize_utf8(
        tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace"), "NFC"
    )
