import gzip

import pytest

from kerasseq.datasets import load_multi30k, multi30k

SPLITS = ("train", "val", "test_2016_flickr")


@pytest.fixture
def publish_captions(publish, monkeypatch):
    """A function that puts captions in place of the data set: three for training, one for validation, two for tests."""
    monkeypatch.setattr(multi30k, "SPLITS", {"train": 3, "val": 1, "test_2016_flickr": 2})
    monkeypatch.setattr(multi30k, "SHA256", {})

    def publish_captions(ending, *texts):
        for split, text in zip(SPLITS, texts, strict=False):
            content = text.encode("utf-8")
            _, digest = publish(
                f"multi30k/{split}.{ending}", gzip.compress(content) if ending.endswith(".gz") else content
            )
            multi30k.SHA256[f"{split}.{ending}"] = digest

    return publish_captions


def test_languages_are_aligned_by_line(publish_captions):
    publish_captions("en.gz", "One.\nTwo\u2028parts.\nThree.\n", "Four.\n", "Five.\nSix.\n")
    # A trailing space, and no line feed at the end.
    publish_captions("cs.gz", "Jedna. \nDvě.\nTři.", "Čtyři.\n", "Pět.\nŠest.\n")
    assert load_multi30k("en", "cs") == (
        [("One.", "Jedna."), ("Two\u2028parts.", "Dvě."), ("Three.", "Tři.")],
        [("Four.", "Čtyři.")],
        [("Five.", "Pět."), ("Six.", "Šest.")],
    )


def test_tokenized_files(publish_captions):
    for language, word in (("de", "wort"), ("fr", "mot")):
        texts = [f"{word} 1 .\n{word} 2 .\n{word} 3 .\n", f"{word} 4 .\n", f"{word} 5 .\n{word} 6 .\n"]
        publish_captions(f"lc.norm.tok.{language}", *texts)
    train, validation, test = load_multi30k("fr", "de", tokenized=True)
    assert train == [(f"mot {number} .", f"wort {number} .") for number in (1, 2, 3)]
    assert validation == [("mot 4 .", "wort 4 .")]
    assert test == [("mot 5 .", "wort 5 ."), ("mot 6 .", "wort 6 .")]


def test_wrong_number_of_captions(publish_captions):
    publish_captions("en.gz", "One.\nTwo.\nThree.\n")
    publish_captions("de.gz", "Eins.\nZwei.\n")
    with pytest.raises(ValueError, match=r"train\.de\.gz: expected 3 captions.* Received: 2\."):
        load_multi30k("en", "de")


@pytest.mark.parametrize(
    "source, target, message",
    [
        ("en", "es", "target must be one of 'en', 'de', 'fr', 'cs'. Received: target='es'"),
        ("English", "de", "source must be one of 'en', 'de', 'fr', 'cs'. Received: source='English'"),
        ("de", "de", "two different languages. Received: 'de' for both"),
    ],
)
def test_unknown_and_equal_languages(source, target, message):
    with pytest.raises(ValueError, match=message):
        load_multi30k(source, target)


def test_table_of_files_is_complete():
    languages = ("en", "de", "fr", "cs")
    endings = [f"{language}.gz" for language in languages] + [f"lc.norm.tok.{language}" for language in languages]
    assert set(multi30k.SHA256) == {f"{split}.{ending}" for split in SPLITS for ending in endings}
    assert len(set(multi30k.SHA256.values())) == 24


@pytest.mark.parametrize(
    "source, target, tokenized, first",
    [
        (
            "en", "de", False,
            ("A man in an orange hat starring at something.",
             "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt."),
        ),
        ("fr", "cs", False, None),
        ("en", "de", True, None),
        (
            "fr", "cs", True,
            ("un homme avec un chapeau orange regardant quelque chose .", "muž v oranžovém klobouku na něco zírá ."),
        ),
    ],
)  # fmt: skip
def test_real_files(require_mirror, run_examples, source, target, tokenized, first):
    require_mirror(*(f"multi30k/{name}" for name in multi30k.SHA256))
    splits = load_multi30k(source, target, tokenized=tokenized)
    assert [len(split) for split in splits] == [29_000, 1_014, 1_000]
    assert all(text and text == text.strip() for split in splits for pair in split for text in pair)
    assert first in (None, splits[2][0])
    if (source, tokenized) == ("en", False):
        assert splits[0][0] == (
            "Two young, White males are outside near many bushes.",
            "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
        )
        run_examples(multi30k, load_multi30k=lambda *_: splits)
