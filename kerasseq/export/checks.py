"""Compares the answers of a SavedModel with those of the generator it was made from."""

import os
from typing import Any

import numpy as np
import tensorflow as tf

from kerasseq.export.description import EXTRA
from kerasseq.export.warm_up import read_warm_up
from kerasseq.preprocessing import Preprocessor
from kerasseq.progress import progress_bar

TOLERANCE = 1e-3  # of scores


def check_answers(functions: dict[str, Any], folder: str, preprocessor: Preprocessor) -> None:
    """Loads a SavedModel and raises a `ValueError` unless it answers as the functions that were saved in it."""
    loaded = tf.saved_model.load(folder)
    source = preprocessor.source_signature
    # Empty, short and long sources.
    sources = tf.constant([b"", b"a", *preprocessor.example_sources(1, 1.5)])
    scores = functions["nbest"](**{source.name: sources})["score"].numpy()
    # Rounding in another kernel may swap hypotheses with nearly equal scores.
    decided = np.all(scores[:, :1] - scores[:, 1:2] > TOLERANCE, axis=1)
    for name, function in progress_bar("check", "signature", of=functions.items()):
        served = loaded.signatures[name](**{source.name: sources})
        expected = function(**{source.name: sources})
        if set(served) != set(expected) or not same(served, expected, decided):
            raise ValueError(
                f"The signature {name!r} of the SavedModel does not answer as the generator. Expected: "
                f"{expected['text'].numpy()}, {expected['score'].numpy()}. Received: {served['text'].numpy()}, "
                f"{served['score'].numpy()}. Nothing was written."
            )
    # A server refuses a version with a warm-up request that fails.
    for name, inputs in read_warm_up(os.path.join(folder, EXTRA)):
        try:
            loaded.signatures[name](**inputs)
        except tf.errors.OpError as error:
            raise ValueError(
                f"The signature {name!r} fails on a warm-up request: {error.message}. Nothing was written."
            ) from error


def check_scores(functions: dict[str, Any], folder: str, preprocessor: Preprocessor) -> None:
    """As `check_answers`, for the signature of scores, if there is one."""
    source = preprocessor.source_signature
    inputs = {source.name: tf.constant([b"", b"a", *preprocessor.example_sources(1, 1.5)])}
    inputs["target"] = tf.constant([b"a b", b"", b"a"])
    for name, function in functions.items():
        expected = function(**inputs)["score"].numpy()
        received = tf.saved_model.load(folder).signatures[name](**inputs)["score"].numpy()
        if not np.allclose(received, expected, atol=TOLERANCE):
            raise ValueError(
                f"The signature {name!r} of the SavedModel does not answer as the generator. Expected: {expected}. "
                f"Received: {received}. Nothing was written."
            )


def same(served: dict, expected: dict, decided: np.ndarray) -> bool:
    """Whether the scores of two answers agree, and the best texts in rows without near ties."""
    texts, others = (answer["text"].numpy().reshape(len(decided), -1)[decided, 0] for answer in (served, expected))
    return np.array_equal(texts, others) and np.allclose(served["score"], expected["score"], atol=TOLERANCE)
