"""Fonts for every script: which of the installed ones have the characters of a text."""

import logging

logger = logging.getLogger(__name__)


def covering_fonts(text):
    """Font families that together have the glyphs of a text.

    Args:
        text: str.

    Returns:
        list of families, matplotlib's current one first, and the list of characters that no installed font has, control
        characters among them.
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
            # The last-resort font has a placeholder for every character, and a picture of none.
            if "Last Resort" in entry.name or entry.name in families:
                continue
            if found := glyphs(entry.fname, missing):
                families.append(entry.name)
                missing -= found
            if not missing:
                break
    if missing:
        logger.warning(
            "No installed font has the characters %s: they show as boxes. Install a font that has them, such as Noto "
            "Sans of their script, and delete the folder matplotlib.get_cachedir().",
            " ".join(f"{char} (U+{ord(char):04X})" for char in sorted(missing)[:10]) + " ..." * (len(missing) > 10),
        )
    return families, sorted(missing | unprintable)


def preference(entry):
    """Sorts matplotlib's font entries: upright and regular ones first, sans serif before others."""
    return (
        entry.style != "normal",
        entry.weight not in (400, "normal", "regular"),
        "Sans" not in entry.name,
        entry.name,
    )


def glyphs(path, characters):
    """The characters for which the font in a file has a glyph, as a set."""
    from matplotlib import font_manager

    try:
        font = font_manager.get_font(path)
    except (OSError, RuntimeError):  # matplotlib's list of fonts may be older than what is installed.
        return set()
    return {char for char in characters if font.get_char_index(ord(char))}
