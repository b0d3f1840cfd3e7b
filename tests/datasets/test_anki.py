import doctest
import hashlib
import os
import pathlib
import zipfile

import pytest

from kerasseq.datasets import anki, load_anki

# Number of lines of each release, and of its distinct English sentences.
COUNTS = {"fra": (167_130, 116_830), "spa": (123_376, 105_258), "deu": (169_813, 135_534), "cmn": (24_818, 23_862)}
FIRST = {"fra": ("Go.", "Va !"), "spa": ("Go.", "Ve."), "deu": ("Hi.", "Hallo!"), "cmn": ("Hi.", "嗨。")}


def needs_mirror(language):
    folder = os.environ.get("KERASSEQ_DATA_DIR")
    if not folder:
        pytest.skip("KERASSEQ_DATA_DIR is not set")
    if not (pathlib.Path(folder).expanduser() / "anki" / f"{language}-eng.zip").is_file():
        pytest.skip(f"the folder in KERASSEQ_DATA_DIR has no anki/{language}-eng.zip")


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put a hand-made archive in place of a release."""

    def publish(language, members):
        path = tmp_path / "mirror" / "anki" / f"{language}-eng.zip"
        path.parent.mkdir(parents=True)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path / "mirror"))
        monkeypatch.setitem(anki.RELEASES, language, anki.Release("http://127.0.0.1/never-asked", digest))

    return publish


def pooled(sides):
    return [pair for side in sides for pair in side]


@pytest.mark.parametrize("prefix", ["", "fra-eng/"])
def test_archive_layouts(publish, prefix):
    publish(
        "fra",
        {
            "__MACOSX/fra-eng/fra.txt": "metadata\tnot text\n",
            f"__MACOSX/{prefix}._fra.txt": b"\x00\x05\x16\x07",
            f"{prefix}_about.txt": "About\tthis file\n",
            f"{prefix}fra.txt": "Yes.\tOui.\n",
        },
    )
    assert pooled(load_anki("fra")) == [("Yes.", "Oui.")]


def test_lines_and_columns(publish):
    # U+2028, U+0085 and a form feed end a line for `str.splitlines`, but not here; the third column is a credit.
    lines = ["One.\tUn.\tCC-BY 2.0 (France) #1", "Two\u2028lines.\tDeux\u0085lignes.\x0c", "é è\t«\u202fça\u00a0»"]
    publish("fra", {"fra.txt": "\n".join(lines) + "\n"})
    assert sorted(pooled(load_anki("fra"))) == sorted(
        [("One.", "Un."), ("Two\u2028lines.", "Deux\u0085lignes.\x0c"), ("é è", "«\u202fça\u00a0»")]
    )


def test_sides_by_english_sentence(publish):
    # SHA-256 modulo 100: "Go." 84, "Cheers!" 6, "Hi." 1.
    publish("spa", {"spa.txt": "Hi.\tHola.\nGo.\tVe.\nCheers!\t¡Salud!\nGo.\tVaya.\n"})
    train, validation, test = load_anki("spa")
    assert train == [("Go.", "Ve."), ("Go.", "Vaya.")]
    assert validation == [("Cheers!", "¡Salud!")]
    assert test == [("Hi.", "Hola.")]


def test_unknown_language():
    with pytest.raises(ValueError, match="one of 'fra', 'spa', 'deu', 'cmn'. Received: language='french'"):
        load_anki("french")


@pytest.mark.parametrize("language", COUNTS)
def test_real_release(language):
    needs_mirror(language)
    sides = load_anki(language)
    pairs = pooled(sides)
    num_pairs, num_sources = COUNTS[language]
    assert len(pairs) == num_pairs
    sources = [{source for source, _ in side} for side in sides]
    assert sum(map(len, sources)) == num_sources == len(set().union(*sources))
    assert FIRST[language] in pairs
    assert all(len(pair) == 2 and all(side and side == side.strip() for side in pair) for pair in pairs)
    assert not any("CC-BY" in target for _, target in pairs)
    row = "| ".join(f"{len(side):,}".ljust(8) for side in sides)
    documented = next(line for line in load_anki.__doc__.splitlines() if f'"{language}"' in line and "|" in line)
    assert row.split() == documented.split()[-6:-1]


def test_example():
    needs_mirror("fra")
    result = doctest.testmod(anki)
    assert result.attempted and not result.failed
