"""Which model the argument MODEL of the commands is."""

import pathlib
from typing import Any

from kerasseq.generator import TextGenerator
from kerasseq.zoo.presets import BEST


def load_generator(model: str) -> TextGenerator:
    """Loads what `TextGenerator.from_preset` takes: a name, a path, an address."""
    return TextGenerator.from_preset(model)


def identity(model: str) -> list[Any]:
    """What tells whether MODEL is still the same: its name, or its path and the sizes and times of its files."""
    path = pathlib.Path(model).expanduser()
    if not path.exists():
        return [model]
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    if (path / BEST).is_file():
        files = [path / BEST]
    stats = {str(file): file.stat() for file in files if file.is_file()}
    return [str(path.resolve()), *([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats.items())]
