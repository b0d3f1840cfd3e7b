"""The slips, capitals and careless texts that the released translator has learned from."""

import importlib.util
import pathlib
import random

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "saved_models" / "translation_en_fr" / "everyday.py"
TEXT = "Where does the train to Lyon leave?"


@pytest.fixture(scope="module")
def everyday():
    specification = importlib.util.spec_from_file_location("everyday", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def is_one_slip(text, typed):
    """Whether `typed` is `text` with one letter left out, doubled, exchanged, or two that changed places."""
    for place in range(len(text)):
        before, here, behind = text[:place], text[place], text[place + 1 :]
        if typed in (before + behind, before + here + here + behind, before + behind[:1] + here + behind[1:]):
            return True
        if len(typed) == len(text) and typed[:place] == before and typed[place + 1 :] == behind:
            return True
    return False


def test_slips(everyday):
    choose = random.Random(1)
    slips = {everyday.slip(TEXT, choose) for _ in range(500)}
    assert len(slips) > 50
    for typed in slips:
        assert is_one_slip(TEXT, typed), typed
        # The first letters of words, and words of less than four letters, are as they were.
        assert [word[0] for word in typed.split()] == [word[0] for word in TEXT.split()]
        assert " the " in typed and " to " in typed


@pytest.mark.parametrize("text", ["", "I am he.", "日本", "1234 5678"])
def test_texts_without_a_long_word_stay_as_they_are(everyday, text):
    assert everyday.slip(text, random.Random(1)) == text


def test_shares(everyday):
    pairs = [(f"Number {'x' * index} goes here.", f"Le numéro {index} va là.") for index in range(1_000)]
    foreign = [f"Satz {index}." for index in range(100)]
    added = everyday.everyday(pairs, foreign, seed=1)
    assert added == everyday.everyday(pairs, foreign, seed=1) != everyday.everyday(pairs, foreign, seed=2)
    targets = {target for _, target in pairs}
    slips = [(source, target) for source, target in added if target in targets]
    careless = [pair for pair in added if pair[1][:2] == "le"]
    capitals = [pair for pair in added if pair[1][:2] == "LE"]
    copies = [pair for pair in added if pair[0] == pair[1]]
    assert [len(kind) for kind in (slips, careless, capitals, copies)] == [80, 30, 30, 20]
    assert len(added) == 160
    for source, target in careless:
        assert source == source.lower() and source.endswith("here") and target.endswith("va là")
    assert all(side.isupper() and side.endswith(".") for pair in capitals for side in pair)
    assert all(source in foreign for source, _ in copies)
