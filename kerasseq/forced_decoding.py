"""Scores given targets, and encodes prefixes of outputs."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing import Preprocessor
from kerasseq.preprocessing.ids import string_tensor
from kerasseq.preprocessing.vocabulary import UNKNOWN_ID
from kerasseq.seq2seq import Seq2Seq
from kerasseq.types import Tensor


def log_probabilities(model: Seq2Seq, preprocessor: Preprocessor, raw: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Log-probabilities of targets, to be called in a `tf.function`; see `TextGenerator.log_probabilities`."""
    decoder_token_ids, labels = preprocessor.encode_target(targets)
    context = model.encode(preprocessor.encode_source(raw))
    logits = model.decoder(decoder_token_ids, context, training=False)["logits"]
    values = tf.gather(tf.nn.log_softmax(logits), labels, batch_dims=2)
    return {
        "log_probabilities": tf.where(labels == 0, 0.0, values),
        "tokens": tf.math.count_nonzero(labels, axis=1, dtype=tf.int32),
        **preprocessor.remarks(raw),
    }


def target_lengths(preprocessor: Preprocessor, targets: Sequence[str]) -> np.ndarray:
    """The numbers of tokens of targets, END included; raises a `ValueError` for those that are too long."""
    lengths = preprocessor.tokenize(string_tensor(targets), "target").row_lengths().numpy()
    limit = preprocessor.max_target_length
    if (lengths > limit).any():
        index = int(np.argmax(lengths > limit))
        raise ValueError(
            f"Targets must have at most max_target_length={limit} tokens, END included. Received at index {index}: "
            f"{lengths[index]} tokens. Shorten it, or train with a preprocessor with a higher limit."
        )
    return lengths


def encode_prefixes(preprocessor: Preprocessor, prefixes: Any, count: int, max_length: int) -> Tensor:
    """Token ids `(count, prefix)` of the beginnings of outputs; raises a `ValueError` for impossible ones.

    Args:
        preprocessor: that of the targets.
        prefixes: list of `count` str, or one str for all outputs.
        count: int, the number of outputs.
        max_length: int, the most tokens of an output, END included.
    """
    if isinstance(prefixes, (str, bytes)):
        prefixes = [prefixes] * count
    if isinstance(prefixes, Iterable):
        prefixes = list(prefixes)
    if not isinstance(prefixes, list) or len(prefixes) != count:
        number = f"{len(prefixes)} for {count} sources" if hasattr(prefixes, "__len__") else repr(prefixes)
        raise ValueError(
            f"prefixes must be a list with a string for each source, or a single string. Received: {number}."
        )
    for index, prefix in enumerate(prefixes):
        if not isinstance(prefix, (str, bytes)):
            raise ValueError(f"prefixes must be strings, '' for none. Received at index {index}: {prefix!r}.")
    prefix_ids = preprocessor.encode_prefix(prefixes)
    unknown = (prefix_ids.numpy() == UNKNOWN_ID).any(axis=1)
    if unknown.any():
        index = int(np.argmax(unknown))
        raise ValueError(
            "Outputs begin with their prefixes, so these must consist of tokens of the target vocabulary. Received "
            f"at index {index}: {prefixes[index]!r}, with characters or words that it lacks."
        )
    if prefix_ids.shape[1] >= max_length:
        raise ValueError(
            f"The longest of the prefixes has {prefix_ids.shape[1]} tokens, which leaves no room within "
            f"max_length={max_length}, END included. Shorten it, or raise max_length."
        )
    return prefix_ids
