"""docs/guides/command_line.md: its five commands; docs/guides/sizes.md: its table."""

import pathlib
import re
import shlex

import pytest

from kerasseq import TextGenerator
from kerasseq.command_line.sizes import SIZES
from kerasseq.serving.__main__ import main as serving

GUIDES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "guides"


def test_table_of_sizes():
    text = (GUIDES / "sizes.md").read_text(encoding="utf-8")
    rows = text.split("<!-- sizes -->")[1].split("<!-- /sizes -->")[0].splitlines()[3:]
    assert rows == [
        f"| {size.pairs:,} | {size.vocabulary_size:,} | {size.units} | {size.dropout} | {size.epochs} | "
        f"{size.learning_rate} | {size.batch_size} |"
        for size in SIZES
    ]


@pytest.mark.exports
def test_five_commands(kerasseq_command, dates, settings, tmp_path, monkeypatch):
    """From a file to the files of a model server, with tiny settings."""
    text = (GUIDES / "command_line.md").read_text(encoding="utf-8")
    commands = re.search(r"```bash\n(.*?)```", text, re.DOTALL)[1].splitlines()
    assert len(commands) == 5
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").write_bytes(dates.read_bytes())
    printed = []
    for command in commands:
        words = shlex.split(command)
        if words[:3] == ["python", "-m", "kerasseq.serving"]:
            assert serving(words[3:]) == 0
            continue
        assert words[0] == "kerasseq"
        printed.append(kerasseq_command(*words[1:], *(settings if words[1] == "train" else []))[0])
    assert printed[1] == "runs/pairs/best.keras\n" and printed[3] == "exported/pairs/1\n"
    assert [line.split()[0] for line in printed[2].splitlines()] == ["bleu", "chrf"]
    assert "pairs" in (tmp_path / "exported" / "models.config").read_text()
    sources = ["May 3, 1998", "6. Juni 2020"]
    exported = TextGenerator.load("exported/pairs").generate(sources)
    assert exported == TextGenerator.load("runs/pairs/best.keras").generate(sources)
