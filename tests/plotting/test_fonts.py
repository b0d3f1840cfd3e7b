import matplotlib
from matplotlib import font_manager

from kerasseq.plotting.fonts import covering_fonts


def test_missing_font_files_are_skipped(monkeypatch):
    gone = font_manager.FontEntry(fname="/nowhere/gone.ttf", name="A Sans", weight=400)
    installed = [entry for entry in font_manager.fontManager.ttflist if entry.name == "DejaVu Sans"]  # lacks 好
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [gone, *installed])
    assert covering_fonts("好")[1] == ["好"]


def test_other_installed_fonts_are_used(caplog):
    # cmr10 lacks Cyrillic and Arabic, which other fonts of matplotlib have.
    with matplotlib.rc_context({"font.family": ["cmr10"]}):
        families, missing = covering_fonts("Привет مرحبا")
    assert families[0] == "cmr10" and len(families) > 1 and not missing
    assert not any("Last Resort" in family for family in families)
    assert covering_fonts("plain é") == (matplotlib.rcParams["font.family"], [])
    assert not caplog.records


def test_control_characters_are_missing(caplog):
    assert covering_fonts("a\x1f\nb\u200b")[1] == ["\x1f", "\u200b"]
    assert not caplog.records
