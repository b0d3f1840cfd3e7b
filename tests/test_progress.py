"""Printing where a terminal, log or disk does not take it."""

import io
import sys

import pytest

from kerasseq.progress import progress_bar, say


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {"absent": lambda: None, "closed": closed, "full": Full}


@pytest.mark.parametrize("name", STREAMS)
def test_lost_texts_end_nothing(name, monkeypatch):
    monkeypatch.setattr(sys, "stdout", STREAMS[name]())
    monkeypatch.setattr(sys, "stderr", STREAMS[name]())
    say("一二")
    with progress_bar("générer", "source", total=2) as progress:
        progress.delay = 0
        progress.update(2)
    assert list(progress_bar("générer", "source", of="ab")) == ["a", "b"]


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", r"\u4e00 caf\xe9 \U0001f44d"), ("cp1252", "\\u4e00 café \\U0001f44d"), ("utf-8", "一 café 👍")],
)
def test_characters_that_a_terminal_lacks_are_escaped(encoding, shown, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, write_through=True))
    say("一 café 👍")
    assert written.getvalue().decode(encoding) == shown + "\n"


@pytest.mark.parametrize(("encoding", "block"), [("ascii", "#"), ("utf-8", "█")])
def test_bars_are_drawn_with_what_there_is(encoding, block, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding=encoding, write_through=True))
    with progress_bar("générer", "source", total=2) as progress:
        progress.delay = 0
        progress.update(2)
    assert block in written.getvalue().decode(encoding)
