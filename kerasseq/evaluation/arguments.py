"""Validation of predictions and references."""

import reprlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

References: TypeAlias = Iterable[str | Sequence[str]]  # One or more references per prediction.


def sources_and_targets(pairs: Iterable[Sequence[Any]]) -> tuple[list[Any], list[Any]]:
    """Splits pairs into a list of sources and a list of targets."""
    pairs = list(pairs) if isinstance(pairs, Iterable) else []
    for index, pair in enumerate(pairs):
        if isinstance(pair, (str, bytes)) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(
                f"pairs must be a list of (source, target). Received at index {index}: {reprlib.repr(pair)}."
            )
    if not pairs:
        raise ValueError("pairs must be a list of (source, target), at least one. Received: none.")
    return [source for source, _ in pairs], [target for _, target in pairs]


def with_references(predictions: Iterable[str], references: References) -> tuple[list[str], list[list[str]]]:
    """Checks predictions and references. Returns the references as one list per prediction."""
    predictions, references = same_length(predictions, references, "references")
    entries = [list(entry) if isinstance(entry, (list, tuple)) else [entry] for entry in references]
    for index, entry in enumerate(entries):
        if not entry:
            raise ValueError(f"Every prediction needs at least one reference. Received: none at index {index}.")
    check_texts("predictions", predictions)
    check_texts("references", [text for entry in entries for text in entry])
    return predictions, entries


def paired(predictions: Iterable[str], others: Iterable[str], name: str) -> tuple[list[str], list[str]]:
    """Checks predictions against another list of texts, one per prediction. `name` names that list in errors."""
    predictions, others = same_length(predictions, others, name)
    check_texts("predictions", predictions)
    check_texts(name, others, ", one each")
    return predictions, others


def same_length(predictions: Iterable[Any], others: Iterable[Any], name: str) -> tuple[list[Any], list[Any]]:
    """Converts both arguments to lists, and checks that they have the same length, at least 1."""
    if isinstance(predictions, str) or isinstance(others, str):
        raise ValueError(f"predictions and {name} must be lists. Received: a single string. Put it in a list.")
    for texts in (predictions, others):
        if not isinstance(texts, Iterable) or isinstance(texts, (set, frozenset, dict)):
            raise ValueError(f"predictions and {name} must be lists. Received: a {type(texts).__name__}.")
    predictions, others = list(predictions), list(others)
    if not predictions or len(predictions) != len(others):
        raise ValueError(
            f"predictions and {name} must be lists of the same length, at least 1. "
            f"Received: {len(predictions)} predictions, {len(others)} {name}."
        )
    return predictions, others


def check_texts(name: str, texts: Iterable[Any], number: str = "") -> None:
    """Raises a `ValueError` unless all texts are strings. `number` completes the message."""
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{name} must be strings{number}. Received: {text!r}, of type {type(text).__name__}.")


def check_resamples(resamples: Any) -> None:
    """Raises a `ValueError` unless `resamples` is 0 or large enough for two tails of 2.5%."""
    if isinstance(resamples, bool) or not isinstance(resamples, int) or (resamples != 0 and resamples < 40):
        raise ValueError(f"resamples must be 0 or an integer of at least 40. Received: resamples={resamples!r}.")


def reference_count(references: list[list[str]]) -> int | str:
    """The number of references per prediction as signatures write it: `"var"` if it varies."""
    counts = {len(entry) for entry in references}
    return counts.pop() if len(counts) == 1 else "var"
