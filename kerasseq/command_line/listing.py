"""Which models there are, released ones and those on this machine. Needs no TensorFlow."""

import json
import pathlib

from kerasseq import zoo
from kerasseq.command_line.shell import UsageError
from kerasseq.zoo.presets import RUN, kind_of


def released_models() -> list[tuple[str, str]]:
    """The released models, each with its newest version, and what it does."""
    cards = map(zoo.card, zoo.list())
    return [(f"{card.name}/{card.version}", f"{card.title}, {card.size / 1e6:.0f} MB") for card in cards]


def models_at(path: str) -> list[tuple[str, str]]:
    """The model at a path, or else the models in a folder, and what each is, see `kind_of`; of runs, how far they are.

    Raises:
        UsageError: if there is a file of another kind.
    """
    place = pathlib.Path(path).expanduser()
    if place.is_file() and not kind_of(place):
        raise UsageError(
            "PATH must be a folder or a model (.keras file, run, preset, exported model). Received: "
            f"{path}, a file of another kind."
        )
    candidates = [place] if kind_of(place) else sorted(place.iterdir())
    return [
        (str(candidate), kind + progress(candidate, kind)) for candidate in candidates if (kind := kind_of(candidate))
    ]


def progress(folder: pathlib.Path, kind: str) -> str:
    """How far a run is; nothing for other models."""
    if kind != "run" or not (folder / RUN).is_file():
        return ""
    results = folder / "results.json"
    if not results.is_file():
        return ", not finished"
    found = json.loads(results.read_text(encoding="utf-8"))
    scores = {name: value for name, value in found["best"].items() if name.startswith("val_")}
    shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
    return f", best epoch {found['best']['epoch']} of {found['epochs']}: {shown}"
