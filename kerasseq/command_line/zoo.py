"""Which model the argument MODEL of the commands is, and which there are."""

import pathlib
from typing import Any

from kerasseq import zoo
from kerasseq.export.versions import versions
from kerasseq.generator import TextGenerator

BEST = "best.keras"  # of a run folder


def load_generator(model: str) -> TextGenerator:
    """Loads the best model of a run folder, or what `TextGenerator.from_preset` takes: a name, a path, an address."""
    best = pathlib.Path(model).expanduser() / BEST
    return TextGenerator.load(best) if best.is_file() else TextGenerator.from_preset(model)


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


def released_models() -> list[tuple[str, str]]:
    """The released models, each with its newest version, and what it does."""
    cards = map(zoo.card, zoo.list())
    return [(f"{card.name}/{card.version}", f"{card.title}, {card.size / 1e6:.0f} MB") for card in cards]


def models_in(folder: str) -> list[tuple[str, str]]:
    """The models in a folder, by path, and what each is: a file, a run, or an exported model with its versions."""
    found = []
    for path in sorted(pathlib.Path(folder).expanduser().iterdir()):
        if path.suffix == ".keras":
            found.append((str(path), "file"))
        elif (path / BEST).is_file():
            found.append((str(path), "run"))
        elif path.is_dir() and versions(str(path)):
            found.append((str(path), f"versions {', '.join(map(str, sorted(versions(str(path)))))}"))
    return found
