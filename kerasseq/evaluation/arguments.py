"""Checks of predictions and of what they are scored against."""

import collections.abc
import reprlib


def sources_and_targets(pairs):
    """The sources and the targets of pairs, two lists."""
    pairs = list(pairs) if isinstance(pairs, collections.abc.Iterable) else []
    for index, pair in enumerate(pairs):
        if isinstance(pair, (str, bytes)) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(
                f"pairs must be a list of (source, target). Received at index {index}: {reprlib.repr(pair)}."
            )
    if not pairs:
        raise ValueError("pairs must be a list of (source, target), at least one. Received: none.")
    return [source for source, _ in pairs], [target for _, target in pairs]


def with_references(predictions, references):
    """A list of str and a list of lists of str: one or more references a prediction."""
    predictions, references = same_length(predictions, references, "references")
    references = [list(entry) if isinstance(entry, (list, tuple)) else [entry] for entry in references]
    for index, entry in enumerate(references):
        if not entry:
            raise ValueError(f"Every prediction needs a reference. Received: none at index {index}.")
    check_texts("predictions", predictions)
    check_texts("references", [text for entry in references for text in entry])
    return predictions, references


def paired(predictions, others, name):
    """Two lists of str: one other text a prediction."""
    predictions, others = same_length(predictions, others, name)
    check_texts("predictions", predictions)
    check_texts(name, others, ", one each")
    return predictions, others


def same_length(predictions, others, name):
    if isinstance(predictions, str) or isinstance(others, str):
        raise ValueError(f"predictions and {name} must be lists. Received: a single string. Put it in a list.")
    for texts in (predictions, others):
        if not isinstance(texts, collections.abc.Iterable) or isinstance(texts, (set, frozenset, dict)):
            raise ValueError(f"predictions and {name} must be lists. Received: a {type(texts).__name__}.")
    predictions, others = list(predictions), list(others)
    if not predictions or len(predictions) != len(others):
        raise ValueError(
            f"predictions and {name} must be lists of the same length, at least 1. "
            f"Received: {len(predictions)} predictions, {len(others)} {name}."
        )
    return predictions, others


def check_texts(name, texts, number=""):
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{name} must be strings{number}. Received: {text!r}, of type {type(text).__name__}.")


def check_resamples(resamples):
    """Raises a `ValueError` unless there are none, or enough for a fortieth at each end of an interval of 95 %."""
    if isinstance(resamples, bool) or not isinstance(resamples, int) or (resamples != 0 and resamples < 40):
        raise ValueError(f"resamples must be 0, or an integer of at least 40. Received: resamples={resamples!r}.")
