import doctest
import gzip
import hashlib
import itertools
import os
import pathlib

import pytest

from kerasseq.datasets import load_multi30k, multi30k


def needs_mirror():
    folder = os.environ.get("KERASSEQ_DATA_DIR")
    if not folder:
        pytest.skip("KERASSEQ_DATA_DIR is not set")
    for name in multi30k.SHA256:
        if not (pathlib.Path(folder).expanduser() / "multi30k" / name).is_file():
            pytest.skip(f"the folder in KERASSEQ_DATA_DIR has no multi30k/{name}")


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put hand-made files in place of the data set: three training pairs, one for validation, two for the test."""
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(multi30k, "SPLITS", {"train": 3, "val": 1, "test_2016_flickr": 2})
    monkeypatch.setattr(multi30k, "SHA256", {})
    (tmp_path / "multi30k").mkdir()

    def publish(name, text):
        content = gzip.compress(text.encode("utf-8")) if name.endswith(".gz") else text.encode("utf-8")
        (tmp_path / "multi30k" / name).write_bytes(content)
        multi30k.SHA256[name] = hashlib.sha256(content).hexdigest()

    return publish


def test_sides_pair_up_by_line(publish):
    publish("train.en.gz", "One.\nTwo\u2028parts.\nThree.\n")
    publish("train.cs.gz", "Jedna. \nDvě.\nTři.")  # White space at an end of a line, no line feed after the last.
    publish("val.en.gz", "Four.\n")
    publish("val.cs.gz", "Čtyři.\n")
    publish("test_2016_flickr.en.gz", "Five.\nSix.\n")
    publish("test_2016_flickr.cs.gz", "Pět.\nŠest.\n")
    assert load_multi30k("en", "cs") == (
        [("One.", "Jedna."), ("Two\u2028parts.", "Dvě."), ("Three.", "Tři.")],
        [("Four.", "Čtyři.")],
        [("Five.", "Pět."), ("Six.", "Šest.")],
    )


def test_tokenized_files(publish):
    for language, word in (("de", "wort"), ("fr", "mot")):
        publish(f"train.lc.norm.tok.{language}", f"{word} 1 .\n{word} 2 .\n{word} 3 .\n")
        publish(f"val.lc.norm.tok.{language}", f"{word} 4 .\n")
        publish(f"test_2016_flickr.lc.norm.tok.{language}", f"{word} 5 .\n{word} 6 .\n")
    train, validation, test = load_multi30k("fr", "de", tokenized=True)
    assert train == [(f"mot {number} .", f"wort {number} .") for number in (1, 2, 3)]
    assert validation == [("mot 4 .", "wort 4 .")]
    assert test == [("mot 5 .", "wort 5 ."), ("mot 6 .", "wort 6 .")]


def test_wrong_number_of_captions(publish):
    publish("train.en.gz", "One.\nTwo.\nThree.\n")
    publish("train.de.gz", "Eins.\nZwei.\n")
    with pytest.raises(ValueError, match=r"train\.de\.gz: expected 3 captions.* Received: 2\."):
        load_multi30k("en", "de")


@pytest.mark.parametrize(
    "source, target, message", [("en", "es", "target='es'"), ("English", "de", "source='English'")]
)
def test_unknown_language(source, target, message):
    with pytest.raises(ValueError, match=f"must be one of 'en', 'de', 'fr', 'cs'. Received: {message}"):
        load_multi30k(source, target)


def test_equal_languages():
    with pytest.raises(ValueError, match="two different languages. Received: 'de' for both"):
        load_multi30k("de", "de")


def test_table_of_files_is_complete():
    expected = {
        f"{split}.{ending}"
        for split in ("train", "val", "test_2016_flickr")
        for language in ("en", "de", "fr", "cs")
        for ending in (f"{language}.gz", f"lc.norm.tok.{language}")
    }
    assert set(multi30k.SHA256) == expected
    assert len(set(multi30k.SHA256.values())) == len(expected)


@pytest.mark.parametrize("tokenized", [False, True])
@pytest.mark.parametrize("source, target", list(itertools.combinations(("en", "de", "fr", "cs"), 2)))
def test_real_files(source, target, tokenized):
    needs_mirror()
    sides = load_multi30k(source, target, tokenized=tokenized)
    assert [len(side) for side in sides] == [29_000, 1_014, 1_000]
    assert all(text and text == text.strip() for side in sides for pair in side for text in pair)


def test_known_captions():
    needs_mirror()
    train, _, test = load_multi30k()
    assert train[0] == (
        "Two young, White males are outside near many bushes.",
        "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
    )
    assert test[0] == (
        "A man in an orange hat starring at something.",
        "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.",
    )
    assert load_multi30k("fr", "cs", tokenized=True)[2][0] == (
        "un homme avec un chapeau orange regardant quelque chose .",
        "muž v oranžovém klobouku na něco zírá .",
    )


def test_example():
    needs_mirror()
    result = doctest.testmod(multi30k)
    assert result.attempted and not result.failed
