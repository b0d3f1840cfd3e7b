import io
import zipfile

import pytest

from kerasseq.datasets import anki, load_anki

# Number of lines of each release, and of its distinct English sentences.
COUNTS = {"fra": (167_130, 116_830), "spa": (123_376, 105_258), "deu": (169_813, 135_534), "cmn": (24_818, 23_862)}
FIRST = {"fra": ("Go.", "Va !"), "spa": ("Go.", "Ve."), "deu": ("Hi.", "Hallo!"), "cmn": ("Hi.", "嗨。")}


@pytest.fixture
def publish_release(publish, monkeypatch):
    """A function that puts a hand-made archive in place of a release."""

    def publish_release(language, members):
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        _, digest = publish(f"anki/{language}-eng.zip", written.getvalue())
        monkeypatch.setitem(anki.RELEASES, language, anki.Release("http://127.0.0.1/never-requested", digest))

    return publish_release


def pooled(splits):
    return [pair for split in splits for pair in split]


@pytest.mark.parametrize("prefix", ["", "fra-eng/"])
def test_archive_layouts(publish_release, prefix):
    members = {
        "__MACOSX/fra-eng/fra.txt": "metadata\tnot text\n",
        f"__MACOSX/{prefix}._fra.txt": b"\x00\x05\x16\x07",
        f"{prefix}_about.txt": "About\tthis file\n",
        f"{prefix}fra.txt": "Yes.\tOui.\n",
    }
    publish_release("fra", members)
    assert pooled(load_anki("fra")) == [("Yes.", "Oui.")]


def test_lines_and_columns(publish_release):
    # U+2028, U+0085 and form feeds are text. The third column is a credit.
    lines = ["One.\tUn.\tCC-BY 2.0 (France) #1", "Two\u2028lines.\tDeux\u0085lignes.\x0c", "é è\t«\u202fça\u00a0»"]
    publish_release("fra", {"fra.txt": "\n".join(lines) + "\n"})
    expected = [("One.", "Un."), ("Two\u2028lines.", "Deux\u0085lignes.\x0c"), ("é è", "«\u202fça\u00a0»")]
    assert sorted(pooled(load_anki("fra"))) == sorted(expected)


def test_split_by_english_sentence(publish_release):
    # SHA-256 modulo 100: "Go." 84, "Cheers!" 6, "Hi." 1.
    publish_release("spa", {"spa.txt": "Hi.\tHola.\nGo.\tVe.\nCheers!\t¡Salud!\nGo.\tVaya.\n"})
    assert load_anki("spa") == ([("Go.", "Ve."), ("Go.", "Vaya.")], [("Cheers!", "¡Salud!")], [("Hi.", "Hola.")])


def test_unknown_language():
    with pytest.raises(ValueError, match="one of 'fra', 'spa', 'deu', 'cmn'. Received: language='french'"):
        load_anki("french")


@pytest.mark.parametrize("language", COUNTS)
def test_real_release(language, require_mirror, run_examples):
    require_mirror(f"anki/{language}-eng.zip")
    splits = load_anki(language)
    pairs = pooled(splits)
    num_pairs, num_sources = COUNTS[language]
    assert len(pairs) == num_pairs
    sources = [{source for source, _ in split} for split in splits]
    assert sum(map(len, sources)) == num_sources == len(set().union(*sources))
    assert FIRST[language] in pairs
    assert all(len(pair) == 2 and all(text and text == text.strip() for text in pair) for pair in pairs)
    assert not any("CC-BY" in target for _, target in pairs)
    documented = next(line for line in load_anki.__doc__.splitlines() if f'"{language}"' in line and "|" in line)
    numbers = [num_pairs, num_sources, *map(len, splits)]
    assert [cell.strip() for cell in documented.split("|")[2:-1]] == [f"{number:,}" for number in numbers]
    if language == "fra":
        run_examples(anki, load_anki=lambda language: splits)
