"""Selects installed fonts that cover the characters of a text, in any script."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.font_manager import FontEntry

logger = logging.getLogger(__name__)


def covering_fonts(text: str) -> tuple[list[str], list[str]]:
    """Font families that together cover a text, matplotlib's current ones first.

    Also returns the sorted list of characters that no installed font has, including control characters.
    """
    import matplotlib
    from matplotlib import font_manager

    families = list(matplotlib.rcParams["font.family"])
    missing = {char for char in text if char.isprintable()}
    unprintable = {char for char in text if not char.isprintable() and char != "\n"}
    for family in families:
        missing -= glyphs(font_manager.findfont(font_manager.FontProperties(family=[family])), missing)
    if missing:
        for entry in sorted(font_manager.fontManager.ttflist, key=preference):
            # Last-resort fonts map every character to a placeholder.
            if "Last Resort" in entry.name or entry.name in families:
                continue
            if found := glyphs(entry.fname, missing):
                families.append(entry.name)
                missing -= found
            if not missing:
                break
    if missing:
        logger.warning(
            "No installed font has the characters %s: they are drawn as boxes. Install a font that has them, such as "
            "Noto Sans for their script, and delete the folder matplotlib.get_cachedir().",
            " ".join(f"{char} (U+{ord(char):04X})" for char in sorted(missing)[:10]) + " ..." * (len(missing) > 10),
        )
    return families, sorted(missing | unprintable)


def preference(entry: FontEntry) -> tuple[bool, bool, bool, str]:
    """Sort key of font entries: upright, regular and sans-serif fonts first."""
    return (
        entry.style != "normal",
        entry.weight not in (400, "normal", "regular"),
        "Sans" not in entry.name,
        entry.name,
    )


def glyphs(path: str | os.PathLike[str], characters: Iterable[str]) -> set[str]:
    """The characters for which a font file has a glyph."""
    from matplotlib import font_manager

    try:
        font = font_manager.get_font(path)
    except (OSError, RuntimeError):  # matplotlib's font list may be outdated.
        return set()
    return {char for char in characters if font.get_char_index(ord(char))}
