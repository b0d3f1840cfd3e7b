"""Argument checks shared by many modules."""

import numbers
from collections.abc import Iterable
from typing import Any


def check_positive_integer(name: str, value: Any) -> None:
    """Raises a `ValueError` unless `value` is an integer of at least 1. NumPy integers pass, booleans do not."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer. Received: {name}={value!r}.")


def check_share(name: str, value: Any) -> None:
    """Raises a `ValueError` unless `value` is a number in [0, 1)."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= float(value) < 1:
        raise ValueError(f"{name} must be in [0, 1). Received: {name}={value!r}.")


def check_number(name: str, value: Any) -> Any:
    """Returns `value`, or raises a `ValueError` unless it is a finite number of at least 0."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= float(value) < float("inf"):
        raise ValueError(f"{name} must be a number of at least 0. Received: {name}={value!r}.")
    return value


def check_choice(name: str, value: Any, choices: Iterable[Any], otherwise: str = "") -> None:
    """Raises a `ValueError` unless `value` is among `choices`. `otherwise` completes their list in the message."""
    choices = list(choices)  # A list, because unhashable values must reach the error message.
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {listed}{otherwise}. Received: {name}={value!r}.")
