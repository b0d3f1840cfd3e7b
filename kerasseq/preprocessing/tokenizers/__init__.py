"""Tokenizers: texts to token ids and back, in TensorFlow graphs."""

import os
import sys
from typing import Any

from kerasseq.preprocessing.tokenizers.base import Tokenizer
from kerasseq.preprocessing.tokenizers.byte_pair import BytePairTokenizer
from kerasseq.preprocessing.tokenizers.hub import from_hub
from kerasseq.preprocessing.tokenizers.sentence_piece import SentencePieceTokenizer
from kerasseq.preprocessing.tokenizers.subwords import SubwordTokenizer
from kerasseq.preprocessing.tokenizers.word_piece import WordPieceTokenizer

__all__ = ["SubwordTokenizer", "Tokenizer", "as_tokenizer", "load_tokenizer"]

# The suffix of an asset's file name tells which tokenizer reads it.
TOKENIZERS: dict[str, type[Tokenizer]] = {
    tokenizer.suffix: tokenizer
    for tokenizer in (SubwordTokenizer, WordPieceTokenizer, BytePairTokenizer, SentencePieceTokenizer)
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
        f"tokenizer of KerasHub. Received: {vocabulary!r} ({type(vocabulary).__name__})."
    )
