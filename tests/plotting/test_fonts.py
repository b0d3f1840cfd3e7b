import matplotlib
from matplotlib import font_manager

from kerasseq.plotting.fonts import covering_fonts


def test_fonts_that_are_gone_are_passed_over(monkeypatch):
    gone = font_manager.FontEntry(fname="/nowhere/gone.ttf", name="A Sans", weight=400)
    installed = [entry for entry in font_manager.fontManager.ttflist if entry.name == "DejaVu Sans"]  # without 好
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [gone, *installed])
    assert covering_fonts("好")[1] == ["好"]


def test_an_installed_font_stands_in(caplog):
    # With a default font of few characters, others of matplotlib's own have the Arabic and Cyrillic ones.
    with matplotlib.rc_context({"font.family": ["cmr10"]}):
        families, missing = covering_fonts("Привет مرحبا")
    assert families[0] == "cmr10" and len(families) > 1 and not missing
    assert not any("Last Resort" in family for family in families)
    assert covering_fonts("plain é") == (matplotlib.rcParams["font.family"], [])
    assert not caplog.records


def test_no_font_has_control_characters(caplog):
    assert covering_fonts("a\x1f\nb\u200b")[1] == ["\x1f", "\u200b"]
    assert not caplog.records
