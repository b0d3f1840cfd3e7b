"""Tokenizers: texts to token ids and back, in TensorFlow graphs."""

import os
import reprlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from kerasseq.preprocessing.tokenizers.base import Tokenizer
from kerasseq.preprocessing.tokenizers.byte_pair import BytePairTokenizer
from kerasseq.preprocessing.tokenizers.characters import CharacterTokenizer
from kerasseq.preprocessing.tokenizers.hub import from_hub
from kerasseq.preprocessing.tokenizers.sentence_piece import SentencePieceTokenizer
from kerasseq.preprocessing.tokenizers.subwords import SubwordTokenizer
from kerasseq.preprocessing.tokenizers.word_piece import WordPieceTokenizer
from kerasseq.preprocessing.tokenizers.words import WordTokenizer

__all__ = [
    "CharacterTokenizer",
    "SubwordTokenizer",
    "Tokenizer",
    "WordTokenizer",
    "as_tokenizer",
    "kinds_of_sides",
    "load_tokenizer",
    "train_tokenizer",
]

# The names of tokenizers that are made from texts.
KINDS: dict[str, Any] = {"characters": CharacterTokenizer, "subwords": SubwordTokenizer, "words": WordTokenizer}

# The suffix of an asset's file name tells which tokenizer reads it.
TOKENIZERS: dict[str, type[Tokenizer]] = {
    tokenizer.suffix: tokenizer
    for tokenizer in (*KINDS.values(), WordPieceTokenizer, BytePairTokenizer, SentencePieceTokenizer)
}


def load_tokenizer(folder: str | os.PathLike[str], name: str) -> Tokenizer | None:
    """Reads the tokenizer called `name` from a folder of assets; returns `None` if there is no such file."""
    for suffix, tokenizer in TOKENIZERS.items():
        path = os.path.join(folder, f"{name}.{suffix}")
        if os.path.exists(path):
            with open(path, "rb") as file:
                return tokenizer.from_bytes(file.read())
    return None


def as_tokenizer(vocabulary: Any) -> Tokenizer:
    """Returns a `Tokenizer` for what a preprocessor takes as a vocabulary.

    Args:
        vocabulary: a `Tokenizer`, which is returned as it is; bytes, a serialized SentencePiece model, for a
            `SubwordTokenizer`; or a tokenizer of KerasHub, which is rebuilt, see `from_hub`.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(vocabulary, bytes):
        return SubwordTokenizer(vocabulary)
    if isinstance(vocabulary, Tokenizer):
        return vocabulary
    hub = sys.modules.get("keras_hub")  # Not imported: where it is not loaded yet, nothing can be a tokenizer of it.
    if hub is not None and isinstance(vocabulary, hub.tokenizers.Tokenizer):
        return from_hub(vocabulary)
    raise ValueError(
        "A vocabulary must be bytes, as returned by kerasseq.preprocessing.train_vocabulary, a Tokenizer, or a "
        f"tokenizer of KerasHub. Received: {reprlib.repr(vocabulary)} ({type(vocabulary).__name__}). The bytes of a "
        "file are pathlib.Path(path).read_bytes()."
    )


def kinds_of_sides(
    tokens: Any, joint: bool = False, normalization: str | None = None, protected_tokens: Sequence[str] = ()
) -> tuple[str, str]:
    """Returns the names of the kinds of tokens of sources and targets, see `TextPreprocessor.from_pairs`.

    Raises:
        ValueError: if a name is unknown, sides of different kinds are to share one vocabulary, no side has a use for a
            normalization, or one has none for protected tokens.
    """
    sides = (tokens, tokens) if isinstance(tokens, str) else tokens
    if not isinstance(sides, (tuple, list)) or len(sides) != 2 or any(kind not in KINDS for kind in sides):
        raise ValueError(
            f"tokens must be one of {', '.join(map(repr, KINDS))}, or a pair of them for sources and targets. "
            f"Received: tokens={tokens!r}."
        )
    source, target = sides
    if joint and source != target:
        raise ValueError(
            f"A joint vocabulary holds tokens of one kind. Received: tokens={tokens!r} and joint=True. Pass "
            f"tokens={target!r}, or joint=False."
        )
    if "subwords" not in sides and normalization is not None:
        raise ValueError(
            f"normalization is that of subwords; characters and words are normalized to NFC. Received: normalization="
            f"{normalization!r} and tokens={tokens!r}. Leave it out."
        )
    if protected_tokens and any(kind != "subwords" for kind in sides):
        raise ValueError(
            "protected_tokens are those of subwords: characters are not joined, and words are separated by white space "
            f"alone. Received: protected_tokens={protected_tokens!r} and tokens={tokens!r}. Leave them out."
        )
    return source, target


def train_tokenizer(
    kind: str, texts: Iterable[str], vocabulary_size: int | None = None, **options_of_subwords: Any
) -> Tokenizer:
    """Makes a tokenizer of one of `KINDS` from texts."""
    return KINDS[kind].from_texts(texts, vocabulary_size, **(options_of_subwords if kind == "subwords" else {}))
