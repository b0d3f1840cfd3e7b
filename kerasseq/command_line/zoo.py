"""Which model the argument MODEL of the commands is."""

import pathlib

from kerasseq.export.versions import versions
from kerasseq.generator import TextGenerator

BEST = "best.keras"  # of a run folder


def load_generator(model: str) -> TextGenerator:
    """Loads a `.keras` file, the best model of a run folder, or an exported model."""
    path = pathlib.Path(model).expanduser()
    return TextGenerator.load(path / BEST if (path / BEST).is_file() else path)


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
