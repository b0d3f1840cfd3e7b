"""Tokenizers of KerasHub, rebuilt from operations that every model server has."""

import base64
from typing import Any

import tensorflow as tf

from kerasseq.preprocessing.tokenizers.base import Tokenizer
from kerasseq.preprocessing.tokenizers.byte_pair import BytePairTokenizer
from kerasseq.preprocessing.tokenizers.sentence_piece import SentencePieceTokenizer
from kerasseq.preprocessing.tokenizers.word_piece import WordPieceTokenizer
from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS, UNKNOWN_ID

# Words, numbers, marks, white space, accents, scripts, emoji. No two line breaks in a row: before it merges byte pairs,
# KerasHub takes them for one word, which GPT-2 and other models do not.
PROBES = (
    "The quick brown fox jumped over 13 lazy dogs, and 12345.67 cats!",
    "  Don't   you'll\nsee(it) at https://example.org/?a=b_c\tnow ",
    "Ünïcödé, straße, ΓΕΙΆ σου; مرحبا بالعالم. 你好世界 こんにちは 👍🏽",
    "",
)


def from_hub(tokenizer: Any) -> Tokenizer:
    """A `Tokenizer` with the vocabulary of a tokenizer of KerasHub; the ids are those of KerasHub plus 4.

    It holds the vocabulary itself, so that its asset needs neither KerasHub nor the original files, and its graph has
    no state. (KerasHub's `BytePairTokenizer` caches every word that it meets, for as long as a server runs.) Special
    tokens in texts are read as text.

    Args:
        tokenizer: a `keras_hub.tokenizers.WordPieceTokenizer`, `BytePairTokenizer` or `SentencePieceTokenizer`, or a
            subclass, such as `keras_hub.models.BertTokenizer`.

    Raises:
        ValueError: for other tokenizers, and for those that tokenize in another way than their base class.
    """
    import keras_hub  # Deferred: importing kerasseq stays cheap.

    kinds = {
        keras_hub.tokenizers.WordPieceTokenizer: from_word_piece,
        keras_hub.tokenizers.BytePairTokenizer: from_byte_pair,
        keras_hub.tokenizers.SentencePieceTokenizer: from_sentence_piece,
    }
    build = next((build for kind, build in kinds.items() if isinstance(tokenizer, kind)), None)
    if build is None:
        raise ValueError(
            f"A tokenizer of KerasHub must be one of {', '.join(kind.__name__ for kind in kinds)}, or a subclass. "
            f"Received: a {type(tokenizer).__name__}. Write a subclass of kerasseq.preprocessing.Tokenizer for it."
        )
    with tf.init_scope():
        rebuilt = build(tokenizer)
        check_equal(rebuilt, tokenizer)
    return rebuilt


def from_word_piece(tokenizer: Any) -> WordPieceTokenizer:
    return WordPieceTokenizer(
        tokenizer.get_vocabulary(), tokenizer.oov_token, tokenizer.suffix_indicator, tokenizer.lowercase,
        tokenizer.strip_accents, tokenizer.split_on_cjk,
    )  # fmt: skip


def from_byte_pair(tokenizer: Any) -> BytePairTokenizer:
    ids = dict(tokenizer.vocabulary)
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError(
            f"The vocabulary of a {type(tokenizer).__name__} must have the ids 0 to {len(tokens) - 1}. Received: "
            f"ids up to {max(ids.values(), default=None)}. Write a subclass of kerasseq.preprocessing.Tokenizer for it."
        )
    merges = [merge for merge in tokenizer.merges if not merge.lstrip().startswith("#version:")]
    return BytePairTokenizer(tokens, merges, tokenizer.add_prefix_space)


def from_sentence_piece(tokenizer: Any) -> SentencePieceTokenizer:
    # Its own model may have been deleted, see `SubwordTokenizer.usable`; `check_equal` needs it.
    tokenizer.set_proto(tokenizer.proto)
    return SentencePieceTokenizer(base64.b64encode(tokenizer.proto).decode("ascii"), tokenizer.get_vocabulary())


def check_equal(rebuilt: Tokenizer, original: Any) -> None:
    """Raises a `ValueError` unless two tokenizers give a few texts the same tokens, apart from unknown ones."""
    # In a graph, as in training: KerasHub's eager road splits the words of byte pairs in another way.
    expected = tf.function(original.tokenize, autograph=False)(tf.constant(PROBES))
    if not isinstance(expected, tf.RaggedTensor):
        raise ValueError(
            "A tokenizer of KerasHub must return ragged ids. Received: a tokenizer with "
            f"sequence_length={original.sequence_length}. Build it with sequence_length=None."
        )
    for text, row, own_row in zip(PROBES, expected.to_list(), rebuilt.tokenize(PROBES).to_list(), strict=True):
        known = [token_id for token_id in row if token_id >= 0]
        received = [token_id - NUM_SPECIAL_TOKENS for token_id in own_row if token_id != UNKNOWN_ID]
        if known != received:
            raise ValueError(
                f"{type(original).__name__} does not tokenize as its base class, so it cannot be rebuilt for model "
                f"servers. Expected for {text!r}: {known}. Received: {received}. Write a subclass of "
                "kerasseq.preprocessing.Tokenizer for it."
            )
