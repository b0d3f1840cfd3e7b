"""The precision that layers compute in."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def default_dtype_policy(policy: Any) -> Iterator[None]:
    """Sets the default dtype policy of the layers that are created in a `with` block.

    Args:
        policy: a policy, its name, or `None` to leave the default as it is.
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(policy))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
