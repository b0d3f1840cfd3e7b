"""The models that the project has released: `models.json`."""

import dataclasses
import difflib
import functools
import importlib.resources
import json
import re
from typing import Any

REPOSITORY = "https://github.com/kerasseq/kerasseq"  # Where the project and its models live: written here alone.
MODELS = "models.json"
NAME = re.compile(r"(?P<name>\w+)(/(?P<version>[1-9]\d*))?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Card:
    """What to know about a released model before using it.

    Attributes:
        name: str.
        version: int.
        title: str, what the model does.
        languages: list of str, codes such as `"en"`, of the sources first.
        size: int, bytes to download.
        parameters: int, number of weights.
        licence: str, of the model, with whom to credit.
        scores: dict of str to float, from the model card.
        not_for: list of str, what the model should not be used for.
        page: str, address of the whole model card.
    """

    name: str
    version: int
    title: str
    languages: list[str]
    size: int
    parameters: int
    licence: str
    scores: dict[str, float]
    not_for: list[str]
    page: str

    def __str__(self) -> str:
        scores = "\n".join(f"  {name}: {score}" for name, score in self.scores.items())
        not_for = "\n".join(f"  - {use}" for use in self.not_for)
        return (
            f"{self.name}/{self.version}: {self.title}\n"
            f"languages: {', '.join(self.languages)}\n"
            f"size: {self.size / 1e6:.0f} MB, {self.parameters / 1e6:.1f} million parameters\n"
            f"licence: {self.licence}\n"
            f"scores:\n{scores}\n"
            f"not for:\n{not_for}\n"
            f"more: {self.page}"
        )


@functools.cache
def models() -> dict[str, dict[str, Any]]:
    """The content of `models.json`: of each name and version, the files and the fields of the card."""
    return json.loads((importlib.resources.files("kerasseq.zoo") / MODELS).read_text(encoding="utf-8"))


def names() -> list[str]:
    """The names of the released models, which `TextGenerator.from_preset` takes.

    Example:

    >>> import kerasseq
    >>> "translation_en_fr" in kerasseq.zoo.list()
    True
    """
    return sorted(models())


def split(preset: str) -> tuple[str, int | None] | None:
    """`"translation_en_fr/2"` as a name and a version, `None` for the newest; `None` if it is no released name."""
    match = NAME.fullmatch(preset)
    if match is None or match["name"] not in models():
        return None
    return match["name"], int(match["version"]) if match["version"] else None


def newest(name: str) -> int:
    """The version that a name without one stands for."""
    return max(map(int, models()[name]))


def release(name: str, version: int) -> dict[str, Any]:
    """The entry of a version in `models.json`."""
    versions = models()[name]
    if str(version) not in versions:
        raise ValueError(
            f"The versions of {name} that this release of kerasseq knows: {', '.join(sorted(versions, key=int))}. "
            f"Received: {version}. Update kerasseq for newer ones, and see an older release for older ones."
        )
    return versions[str(version)]


def page(revision: str, path: str, kind: str) -> str:
    """The address of a file or folder of the repository; `kind` is `"blob"` to read, `"raw"` to download."""
    return f"{REPOSITORY}/{kind}/{revision}/{path}"


def card(name: str) -> Card:
    """Languages, size, licence and scores of a released model, and what it is not for.

    Args:
        name: str, one of `kerasseq.zoo.list()`, with a version if need be: `"translation_en_fr/2"`.

    Returns:
        a `Card`. `print` shows it.

    Raises:
        ValueError: if there is no such model or version.

    Example:

    >>> import kerasseq
    >>> card = kerasseq.zoo.card("translation_en_fr/2")
    >>> card.languages, card.scores["BLEU, beam search"]
    (['en', 'fr'], 50.2)
    """
    found = split(name)
    if found is None:
        raise ValueError(unknown(name))
    known, version = found
    version = version or newest(known)
    entry = release(known, version)
    fields = {field: entry[field] for field in ("title", "languages", "parameters", "licence", "scores", "not_for")}
    size = sum(file["size"] for file in entry["files"].values())
    readme = page(entry["revision"], f"saved_models/{known}/README.md", "blob")
    return Card(name=known, version=version, size=size, page=readme, **fields)


def unknown(preset: str) -> str:
    """The error message for an unknown name."""
    alike = difflib.get_close_matches(preset, names(), n=1)
    hint = f" Did you mean {alike[0]!r}?" if alike else ""
    return f"Expected one of {names()}, with a version if need be, as {names()[0]}/2. Received: {preset!r}.{hint}"
