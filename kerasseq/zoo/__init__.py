"""Released models by name, and models that others publish."""

from kerasseq.zoo.locate import fetch
from kerasseq.zoo.released import REPOSITORY, Card, card
from kerasseq.zoo.released import names as list

__all__ = [
    "REPOSITORY",
    "Card",
    "card",
    "fetch",
    "list",
]
