"""The texts that the translators of `saved_models/` learn from."""

import pathlib
import random

import pytest
from helpers import load_script

SAVED_MODELS = pathlib.Path(__file__).resolve().parent.parent / "saved_models"


@pytest.fixture(scope="module")
def first_words():
    return load_script(SAVED_MODELS / "recipes" / "first_words.py")


@pytest.fixture(scope="module")
def everyday():
    return load_script(SAVED_MODELS / "recipes" / "everyday.py")


# === First words ===


def test_first_words_in_their_forms(first_words):
    french = dict(first_words.pairs("en", "fr"))
    assert french["Hello"] == "Bonjour" and french["Hello."] == "Bonjour." and french["Hello!"] == "Bonjour !"
    assert french["hello"] == "bonjour" and french["HELLO"] == "BONJOUR"
    assert french["How are you?"] == "Comment allez-vous ?" and french["how are you"] == "comment allez-vous"
    assert french["2 + 2 = 4"] == "2 + 2 = 4" and "" not in french


def test_a_word_with_two_translations_has_the_usual_one(first_words):
    """Both "Hello" and "Hi" are "Hallo"."""
    german = first_words.pairs("de", "en")
    assert [english for word, english in german if word == "Hallo"] == ["Hello"]


@pytest.mark.parametrize("target", ["fr", "de", "es"])
def test_forty_visitors(first_words, target):
    visitors = first_words.visitors("en", target)
    assert len(visitors) == 40 and dict(visitors)[""] == ""
    learned = dict(first_words.pairs("en", target))
    assert all(learned[text] == expected for text, expected in visitors if text.strip())


def test_agreement(first_words):
    assert first_words.agrees("Bonjour !", "bonjour") and first_words.agrees("", "")
    assert not first_words.agrees("Hello", "Bonjour") and not first_words.agrees("...", "")


# === Everyday sentences in other languages ===


def test_statements_are_joined_where_the_order_of_words_stays(everyday):
    choose = random.Random(1)
    first, second = ("I am tired.", "Ich bin müde."), ("She left.", "Sie ist gegangen.")
    found = {everyday.joined(first, second, choose, "de") for _ in range(100)}
    assert found == {
        ("I am tired, and she left.", "Ich bin müde und sie ist gegangen."),
        ("I am tired, but she left.", "Ich bin müde, aber sie ist gegangen."),
        ("I am tired because she left.", "Ich bin müde, denn sie ist gegangen."),
    }
    # A noun keeps its capital, so the pair is left out.
    assert everyday.joined(first, ("The dog left.", "Hunde gingen."), choose, "de") is None
    spanish = {everyday.joined(("I ran.", "Corrí."), ("I went.", "Iba."), choose, "es")[1] for _ in range(100)}
    assert "Corrí e iba." in spanish and "Corrí y iba." not in spanish


def test_slips_are_in_what_is_typed(everyday):
    pairs = [("Where is the house?", "Wo ist das Gebäude?")] * 100
    for english, german in everyday.everyday(pairs, [], 1, {"slip": 1.0}, "de", from_english=False):
        assert english == "Where is the house?" and len(german) >= len("Wo ist das Gebäude?") - 1
    assert len({german for _, german in everyday.everyday(pairs, [], 1, {"slip": 1.0}, "de", False)}) > 5


def test_number_words_of_a_language(everyday):
    pytest.importorskip("num2words", reason="needs the packages of the extra train")
    words = dict(everyday.number_words("de"))
    choose = random.Random(1)
    for _ in range(50):
        english, german = everyday.renumbered(
            ("I have twenty-two cats.", "Ich habe zweiundzwanzig Katzen."), choose, "de"
        )
        number = english.removeprefix("I have ").removesuffix(" cats.")
        assert german == f"Ich habe {words[number]} Katzen."
