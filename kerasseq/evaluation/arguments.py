"""Checks of predictions and of what they are scored against."""


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
    check_texts(name, others)
    return predictions, others


def same_length(predictions, others, name):
    if isinstance(predictions, str) or isinstance(others, str):
        raise ValueError(f"predictions and {name} must be lists. Received: a single string. Put it in a list.")
    predictions, others = list(predictions), list(others)
    if not predictions or len(predictions) != len(others):
        raise ValueError(
            f"predictions and {name} must be lists of the same length, at least 1. "
            f"Received: {len(predictions)} predictions, {len(others)} {name}."
        )
    return predictions, others


def check_texts(name, texts):
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{name} must be strings. Received: {text!r}, of type {type(text).__name__}.")


def check_resamples(resamples):
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 0 or resamples == 1:
        raise ValueError(f"resamples must be 0, or an integer of at least 2. Received: resamples={resamples!r}.")
