"""Checks of arguments that many parts share."""

import numbers


def check_positive_integer(name, value):
    """Raises a `ValueError` unless `value` is an integer of at least 1; NumPy's count, booleans do not."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer. Received: {name}={value!r}.")


def check_share(name, value):
    """Raises a `ValueError` unless `value` is a number from 0 up to, but not, 1."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1). Received: {name}={value!r}.")


def check_number(name, value):
    """Raises a `ValueError` unless `value` is a finite number of at least 0; returns it."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of at least 0. Received: {name}={value!r}.")
    return value
