"""What the README and the model cards say of the released models is what the models and their metrics say."""

import ast
import hashlib
import json
import os
import pathlib
import re

import pytest

import kerasseq

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRANSLATION = ROOT / "saved_models" / "translation_en_fr"
SUMMARIZATION = ROOT / "saved_models" / "summarization_en"


@pytest.fixture(scope="module")
def translator():
    return kerasseq.TextGenerator.load(TRANSLATION)


def test_the_readme_s_example(translator):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sentences = re.search(r'from_preset\("translation_en_fr"\)\ntranslator\.generate\((\[.*\])\)', readme)[1]
    translations = re.search(r"^gives `(\[.*\])`$", readme, re.MULTILINE)[1]
    assert translator.generate(ast.literal_eval(sentences)) == ast.literal_eval(translations)


@pytest.mark.exports
def test_the_card_s_samples(translator):
    card = (TRANSLATION / "README.md").read_text(encoding="utf-8")
    table = card[card.index("| English | Model | Reference |") :]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()[2:] if line.startswith("|")]
    quoted = re.findall(r'"([^"]+)"\s+gives\s+"([^"]+)"', " ".join(card.split()))
    assert len(rows) == 6 and len(quoted) == 9
    english, french = map(list, zip(*rows, *quoted, strict=True))
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


# === The summarizer ===


@pytest.fixture(scope="module")
def summarizer():
    return kerasseq.TextGenerator.load(SUMMARIZATION)


@pytest.fixture(scope="module")
def summarization_card():
    return (SUMMARIZATION / "README.md").read_text(encoding="utf-8")


@pytest.mark.exports
def test_the_readme_s_example_of_a_summary(summarizer):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r'^sentence = ("[^"]+")$', readme, re.MULTILINE)
    (expected,) = re.findall(r'^summarizer\.generate\(sentence\)  # ("[^"]+")$', readme, re.MULTILINE)
    assert summarizer.generate(ast.literal_eval(sentence)) == ast.literal_eval(expected)


@pytest.mark.exports
def test_the_summarization_card_s_samples(summarizer, summarization_card):
    table = summarization_card[summarization_card.index("| Sentence | Model | Reference |") :]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()[2:] if line.startswith("|")]
    assert len(rows) >= 6
    assert summarizer.generate([sentence for sentence, _ in rows]) == [output for _, output in rows]


def test_the_summarization_numbers_are_those_of_the_metrics(summarizer, summarization_card):
    metrics = json.loads((SUMMARIZATION / "metrics.json").read_text(encoding="utf-8"))
    names = {
        "beam search": "pointer-generator",
        "greedy": "pointer-generator, greedy",
        "beam search, any words": "pointer-generator, any words",
        "plain attention": "plain attention",
        "plain attention, source words only": "plain attention, source words only",
        "copy everything": "copy everything",
        "first 12 tokens and a full stop": "first 12 tokens and a full stop",
        "first 12 words": "first 12 words",
    }
    for line_start, name in names.items():
        (line,) = [line for line in summarization_card.splitlines() if line.startswith(f"| {line_start} |")]
        scores = metrics["test"][name]
        expected = [f"{scores[key]:.3f}" for key in ("token_f1", "token_f1_whitespace")]
        expected.append(" / ".join(f"{scores['rouge'][key]:.1f}" for key in ("rouge1", "rouge2", "rougeL")))
        expected += [f"{scores['compression_rate']:.2f}", str(scores["outputs_with_new_words"])]
        assert [cell.strip() for cell in line.split("|")[2:7]] == expected
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{metrics['test']['pointer-generator']['token_f1']:.3f}" in readme
    assert summarizer.model.count_params() == metrics["parameters"]
    assert any(isinstance(constraint, kerasseq.search.SourceWords) for constraint in summarizer.sampler.constraints)


@pytest.mark.exports
def test_the_summarizer_invents_nothing(summarizer):
    sources = [
        "Zyx Qwrtzk paid $12.75 million for 3,141 shares of Umpf-Lerbach/Xo on Tuesday, police said.",
        "In a move that surprised nobody, O'Hara-Smythe's 27-year-old nephew bought 4.5 acres near Ballyvaughan.",
        "HELLO WORLD",
        "",
    ]
    assert kerasseq.evaluation.new_words(summarizer.generate(sources), sources)["outputs"] == 0


@pytest.mark.parametrize("folder", [TRANSLATION, SUMMARIZATION], ids=["translation", "summarization"])
def test_a_release_has_at_most_40_mb(folder):
    (version,) = [path for path in folder.iterdir() if path.name.isdecimal()]
    assert sum(path.stat().st_size for path in version.rglob("*") if path.is_file()) <= 40e6


# === Outputs never change by accident ===

# The first 32 bits of the SHA-256 of each output, written when the models were released.
OUTPUTS = json.loads((ROOT / "tests" / "released_outputs.json").read_text(encoding="utf-8"))


def validation_sources(name):
    """500 distinct sources of the validation split."""
    if name == "translation_en_fr":
        _, validation, _ = kerasseq.datasets.load_anki("fra")
        distinct = list(dict.fromkeys(source for source, _ in validation))
        return distinct[:: len(distinct) // 500][:500]
    _, validation, _ = kerasseq.datasets.load_sentence_compression()
    return [source for source, _ in validation][::2][:500]


@pytest.mark.exports
@pytest.mark.skipif("KERASSEQ_DATA_DIR" not in os.environ, reason="needs the mirror of the data sets")
@pytest.mark.parametrize("sampler", ["own", "greedy"])
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["translation_en_fr", "summarization_en"])
def test_outputs_are_those_of_the_release(request, name, sampler, every):
    generator = request.getfixturevalue({"translation_en_fr": "translator", "summarization_en": "summarizer"}[name])
    constraints = generator.sampler.constraints
    chosen = None if sampler == "own" else kerasseq.search.GreedySampler(constraints)
    outputs = generator.generate(validation_sources(name)[::every], sampler=chosen)
    digests = [hashlib.sha256(output.encode()).hexdigest()[:8] for output in outputs]
    assert digests == OUTPUTS[f"{name} {sampler}"].split()[::every]
