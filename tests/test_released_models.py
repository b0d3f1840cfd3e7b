"""What the README and the model cards say of the released models is what the models and their metrics say."""

import ast
import json
import pathlib
import re

import pytest

import kerasseq

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRANSLATION = ROOT / "saved_models" / "translation_en_fr"


@pytest.fixture(scope="module")
def translator():
    return kerasseq.TextGenerator.load(TRANSLATION)


def test_the_readme_s_example(translator):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sentences = re.search(r'load\("saved_models/translation_en_fr"\)\ntranslator\.generate\((\[.*\])\)', readme)[1]
    translations = re.search(r"^gives `(\[.*\])`$", readme, re.MULTILINE)[1]
    assert translator.generate(ast.literal_eval(sentences)) == ast.literal_eval(translations)


def test_the_card_s_samples(translator):
    card = (TRANSLATION / "README.md").read_text(encoding="utf-8")
    table = card[card.index("| English | Model | Reference |") :]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()[2:] if line.startswith("|")]
    quoted = re.findall(r'"([^"]+)"\s+gives\s+"([^"]+)"', " ".join(card.split()))
    assert len(rows) == 6 and len(quoted) == 3
    for english, french in rows + quoted:
        assert translator.generate(english) == french


def test_the_numbers_are_those_of_the_metrics(translator):
    metrics = json.loads((TRANSLATION / "metrics.json").read_text(encoding="utf-8"))
    card = (TRANSLATION / "README.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = {"beam search, width 5": "beam_5", "greedy": "greedy", "copy": "copy_nearest_training_sentence"}
    for line_start, name in names.items():
        (line,) = [line for line in card.splitlines() if line.startswith(f"| {line_start}")]
        expected = [metrics[name][score]["score"] for score in ("bleu", "chrf", "bleu_all_references")]
        assert [cell.strip() for cell in line.split("|")[2:5]] == [f"{score:.1f}" for score in expected]
        assert f"{metrics[name]['bleu']['score']:.1f}" in readme
    assert translator.model.count_params() == metrics["parameters"]
    assert translator.sampler.length_penalty == metrics["beam_5"]["length_penalty"]
    assert metrics["test_sources_in_training"] == 0
