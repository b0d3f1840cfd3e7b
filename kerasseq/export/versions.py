"""The numbered versions in a model's folder."""

import os
import re

VERSION = re.compile("[1-9][0-9]{0,17}")  # Servers read 64 bits, and no other spelling of a number.


def versions(model_folder: str | os.PathLike) -> list[int]:
    """The version numbers in a model's folder, in ascending order."""
    if not os.path.isdir(model_folder):
        return []
    return sorted(int(name) for name in os.listdir(model_folder) if VERSION.fullmatch(name))


def next_version(model_folder: str | os.PathLike) -> int:
    """One more than the highest version in a model's folder."""
    return max(versions(model_folder), default=0) + 1
