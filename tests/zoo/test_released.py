"""What `models.json` says of the released models is what the repository has."""

import json
import pathlib
import re
import subprocess

import pytest

import kerasseq
from kerasseq.zoo import presets, released

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAVED_MODELS = ROOT / "saved_models"
RELEASES = [(name, version) for name, versions in released.models().items() for version in versions]


def test_all_models_of_the_repository_are_released():
    assert kerasseq.zoo.list() == sorted({path.parent.parent.name for path in SAVED_MODELS.glob("*/*/saved_model.pb")})
    for name in kerasseq.zoo.list():
        assert (SAVED_MODELS / name / str(released.newest(name))).is_dir()


@pytest.mark.parametrize("name, version", RELEASES)
def test_files_are_those_of_the_repository(name, version):
    """The repository has the newest version of each model in its folders."""
    if int(version) != released.newest(name):
        pytest.skip("an older version, which the history has")
    described = presets.describe(SAVED_MODELS / name / version)["files"]
    assert released.models()[name][version]["files"] == described
    assert kerasseq.zoo.card(name).size == sum(
        path.stat().st_size for path in (SAVED_MODELS / name / version).rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("name, version", RELEASES)
def test_the_pinned_revision_has_the_files(name, version):
    """Where the history is at hand: the blobs of that commit are the files of the working tree."""
    revision = released.models()[name][version]["revision"]
    assert re.fullmatch("[0-9a-f]{40}", revision)
    folder = f"saved_models/{name}/{version}"

    def git(*arguments):
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)

    listed = git("ls-tree", "-r", "--format=%(objectname) %(path)", revision, "--", folder)
    if listed.returncode:
        pytest.skip("no history")
    blobs = dict(reversed(line.split(" ", 1)) for line in listed.stdout.splitlines())
    files = [f"{folder}/{file}" for file in released.models()[name][version]["files"]]
    assert sorted(blobs) == sorted(files)
    present = [file for file in files if (ROOT / file).is_file()]
    hashed = git("hash-object", "--", *(str(ROOT / file) for file in present)).stdout.split()
    assert [blobs[file] for file in present] == hashed


def test_scores_are_those_of_the_metrics():
    metrics = {name: json.loads((SAVED_MODELS / name / "metrics.json").read_text("utf-8")) for name in released.names()}
    for name in (name for name in metrics if name.startswith("translation_")):
        beam, copy = metrics[name]["beam_5"], metrics[name]["copy_nearest_training_sentence"]
        assert kerasseq.zoo.card(name).scores == {
            "BLEU, beam search": round(beam["bleu"]["score"], 1),
            "chrF, beam search": round(beam["chrf"]["score"], 1),
            "BLEU, copy of the nearest training sentence": round(copy["bleu"]["score"], 1),
        }
    summarization = metrics["summarization_en"]["test"]
    assert kerasseq.zoo.card("summarization_en").scores == {
        "token F1, beam search": round(summarization["pointer-generator"]["token_f1"], 3),
        "token F1, first 12 tokens and a full stop": round(
            summarization["first 12 tokens and a full stop"]["token_f1"], 3
        ),
        "token F1, copy everything": round(summarization["copy everything"]["token_f1"], 3),
    }
    digits = metrics["digits_en"]["test"]
    assert kerasseq.zoo.card("digits_en").scores == {
        "word error rate, %": round(digits["wer"], 2),
        "strings without an error, %": round(100 * digits["strings_right"] / digits["strings"], 1),
    }
    for name in released.names():
        assert kerasseq.zoo.card(name).parameters == metrics[name]["parameters"]


def test_titles_are_those_of_the_cards():
    for name in released.names():
        card = kerasseq.zoo.card(name)
        assert (SAVED_MODELS / name / "README.md").read_text("utf-8").startswith(f"# {card.title}\n")
        assert card.languages and card.licence and card.not_for
        assert card.page.startswith(f"{kerasseq.zoo.REPOSITORY}/blob/")


def test_the_table_of_models(load_benchmark):
    """`tests/test_benchmark_tables.py` compares it with those in the documentation."""
    rows = load_benchmark("tables").models().splitlines()[2:]
    for row, card in zip(rows, map(kerasseq.zoo.card, kerasseq.zoo.list()), strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[:3] == [f"`{card.name}`", card.title, f"{card.size / 1e6:.0f} MB"]
        assert card.licence.startswith(cells[4])


def test_the_address_stands_in_one_place():
    """The notebooks are made with it."""
    host_and_path = kerasseq.zoo.REPOSITORY.removeprefix("https://")
    files = [
        path
        for folder in ("kerasseq", "tutorials", "docs", "saved_models", ".github")
        for path in (ROOT / folder).rglob("*")
    ]
    found = [
        path.relative_to(ROOT).as_posix()
        for path in [*files, *ROOT.glob("*.md"), *ROOT.glob("*.cfg"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml")]
        if path.suffix in {".py", ".md", ".json", ".cfg", ".toml", ".yml", ".yaml"}
        and host_and_path in path.read_text("utf-8")
    ]
    assert found == ["kerasseq/zoo/released.py"]


def test_a_card_is_readable():
    printed = str(kerasseq.zoo.card("translation_en_fr/2"))
    assert printed.startswith("translation_en_fr/2: English to French\nlanguages: en, fr\nsize: 27 MB, 5.7 million")
    assert "  BLEU, beam search: 50.2\n" in printed and "\nnot for:\n  - legal, medical" in printed


@pytest.mark.parametrize(
    "name, message",
    [
        ("translation_en_fi", "Expected one of .*'translation_en_fr'.*Received: 'translation_en_fi'. Did you mean"),
        (
            "translation_en_fr/99",
            "The versions of translation_en_fr that this release of kerasseq knows: 2. Received: 99",
        ),
        ("translation_en_fr/", "Received: 'translation_en_fr/'. Did you mean 'translation_en_fr'"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        kerasseq.zoo.card(name)
