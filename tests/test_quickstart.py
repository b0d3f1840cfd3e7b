import os
import pathlib
import re
import subprocess
import sys

import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATES = ["3rd of May, 1998", "5 mai 2021"]


def run_quickstart(output, *arguments):
    """Runs the script in a process of its own, as a reader of the README does; returns what it printed."""
    script = str(ROOT / "tutorials" / "quickstart.py")
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", script, *DATES, "--output", str(output), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def answers(printed):
    """{date: what the SavedModel made of it}, of the section after the export."""
    section = printed.split("4. Export for serving")[1].split("5. A released model")[0]
    return dict(re.findall(r"^  (.+) -> (.*)$", section, re.MULTILINE))


def ask(saved_model, dates):
    import tensorflow_text  # noqa: F401  (registers the operations of the tokenizer)

    loaded = tf.saved_model.load(str(saved_model))
    return [text.decode() for text in loaded.signatures["serving_default"](text=tf.constant(dates))["text"].numpy()]


@pytest.mark.notebooks
def test_writes_all_it_names_and_the_saved_model_answers(tmp_path):
    # As an earlier run left it: running again writes the figures anew, and the next version of the model.
    (tmp_path / "dates" / "1").mkdir(parents=True)
    figures = [tmp_path / "learning_curves.png", tmp_path / "attention.png"]
    for figure in figures:
        figure.write_bytes(b"old")

    printed = run_quickstart(tmp_path, "--epochs", "1", "--examples", "200")

    assert re.search(r"Exact match on 10 test dates: \d+\.\d%", printed)
    assert all(figure.read_bytes().startswith(b"\x89PNG") and str(figure) in printed for figure in figures)
    assert f"SavedModel: {tmp_path / 'dates' / '2'}" in printed
    assert list(answers(printed)) == DATES
    assert ask(tmp_path / "dates" / "2", DATES) == list(answers(printed).values())
    translated, shortened = printed.split("5. A released model: English to French")[1].split("6. Another one")
    assert "  I would like a cup of tea. -> " in translated
    assert "  A woman was injured by a falling tree in the Gresham neighborhood, according to " in shortened
    assert "-> A woman was injured" in shortened


@pytest.mark.slow
def test_reaches_99_percent_on_test_dates(tmp_path):
    printed = run_quickstart(tmp_path)
    accuracy = float(re.search(r"Exact match on 1000 test dates: ([\d.]+)%", printed)[1])
    assert accuracy >= 99.0
    assert answers(printed) == {"3rd of May, 1998": "1998-05-03", "5 mai 2021": "2021-05-05"}
    assert ask(tmp_path / "dates" / "1", ["Sonntag, 23. März 2033"]) == ["2033-03-23"]
