"""Tokenizers: texts to token ids and back, in TensorFlow graphs."""

import os

from kerasseq.preprocessing.tokenizers.base import Tokenizer
from kerasseq.preprocessing.tokenizers.subwords import SubwordTokenizer

__all__ = ["SubwordTokenizer", "Tokenizer", "as_tokenizer", "load_tokenizer"]

# The suffix of an asset's file name tells which tokenizer reads it.
TOKENIZERS: dict[str, type[Tokenizer]] = {tokenizer.suffix: tokenizer for tokenizer in (SubwordTokenizer,)}


def load_tokenizer(folder: str | os.PathLike[str], name: str) -> Tokenizer | None:
    """Reads the tokenizer called `name` from a folder of assets; returns `None` if there is no such file."""
    for suffix, tokenizer in TOKENIZERS.items():
        path = os.path.join(folder, f"{name}.{suffix}")
        if os.path.exists(path):
            with open(path, "rb") as file:
                return tokenizer.from_bytes(file.read())
    return None


def as_tokenizer(vocabulary: Tokenizer | bytes) -> Tokenizer:
    """Returns a `Tokenizer` unchanged, and a `SubwordTokenizer` for a serialized SentencePiece model."""
    if isinstance(vocabulary, bytes):
        return SubwordTokenizer(vocabulary)
    if not isinstance(vocabulary, Tokenizer):
        raise ValueError(
            "A vocabulary must be bytes, as returned by kerasseq.preprocessing.train_vocabulary, or a Tokenizer. "
            f"Received: {vocabulary!r} ({type(vocabulary).__name__})."
        )
    return vocabulary
