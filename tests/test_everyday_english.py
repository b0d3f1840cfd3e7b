"""The slips, capitals and careless texts that the released translator has learned from."""

import pathlib
import random
import re

import pytest
from helpers import load_script

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "saved_models" / "recipes" / "everyday.py"
TEXT = "Where does the train to Lyon leave?"
BESIDE = [row[place : place + 2] for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm") for place in range(len(row) - 1)]


@pytest.fixture(scope="module")
def everyday():
    return load_script(SCRIPT)


def is_one_slip(text, typed):
    """Whether a letter of `text` is left out, doubled, that of a key beside it, or has changed places with the next."""
    for place in range(len(text)):
        before, here, behind = text[:place], text[place], text[place + 1 :]
        if typed in (before + behind, before + here + here + behind, before + behind[:1] + here + behind[1:]):
            return True
        if any({here, other} == set(keys) and typed == before + other + behind for keys in BESIDE for other in keys):
            return True
    return False


def test_slips(everyday):
    choose = random.Random(1)
    slips = {everyday.slip(TEXT, choose) for _ in range(500)}
    assert len(slips) > 50 and "Where dpes the train to Lyon leave?" in slips
    for typed in slips:
        assert is_one_slip(TEXT, typed), typed
        # The first letters of words, and words of less than four letters, are as they were.
        assert [word[0] for word in typed.split()] == [word[0] for word in TEXT.split()]
        assert " the " in typed and " to " in typed


@pytest.mark.parametrize("text", ["", "I am he.", "日本", "1234 5678", "a_b_c_d"])
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


def test_names_are_the_same_other_name_on_both_sides(everyday):
    pytest.importorskip("faker", reason="needs the packages of the extra train")
    choose = random.Random(1)
    names = set()
    for _ in range(300):
        source, target = everyday.renamed(("I saw Tom, and Tom saw me.", "J'ai vu Tom, et Tom m'a vu."), choose)
        (name,) = set(source.removeprefix("I saw ").removesuffix(" saw me.").split(", and "))
        assert name[0].isupper() and target == f"J'ai vu {name}, et {name} m'a vu."
        names.add(name)
    assert len(names) > 200 and {name[0] for name in names} >= set("AEIO")
    # "de" would become "d'" before a vowel.
    pair = ("The house of Tom is big.", "La maison de Tom est grande.")
    assert not any(everyday.renamed(pair, choose)[1].split()[3][0] in "AEIO" for _ in range(300))
    assert everyday.renamed(("I saw Mary.", "J'ai vu Marie."), choose) is None


def test_numbers_are_the_same_other_numbers_on_both_sides(everyday):
    choose = random.Random(1)
    for _ in range(100):
        source, target = everyday.renumbered(("On April 12, 1989.", "Le 12 avril 1989."), choose)
        day, year = source.removeprefix("On April ").removesuffix(".").split(", ")
        assert len(day) == 2 and len(year) == 4 and target == f"Le {day} avril {year}."
    assert everyday.renumbered(("I am 30.", "J'ai trente ans."), choose) is None


def test_numbers_in_words(everyday):
    pytest.importorskip("num2words", reason="needs the packages of the extra train")
    choose = random.Random(1)
    words = dict(everyday.number_words())
    assert len(words) == 98 and words["seventy-one"] == "soixante et onze" and words["eighty"] == "quatre-vingts"
    for _ in range(100):
        source, target = everyday.renumbered(("Her twenty-two cats.", "Ses vingt-deux chats."), choose)
        english = source.removeprefix("Her ").removesuffix(" cats.")
        assert target == f"Ses {words[english]} chats."
    assert everyday.renumbered(("I have two cats and two dogs.", "J'ai deux chats et deux chiens."), choose) is None
    assert everyday.renumbered(("Someone often weighs it.", "On le pèse souvent."), choose) is None


def test_joined_statements(everyday):
    choose = random.Random(1)
    first, second = ("I am tired.", "Je suis fatigué."), ("She left.", "Elle est partie.")
    found = {everyday.joined(first, second, choose) for _ in range(100)}
    assert found == {
        ("I am tired, and she left.", "Je suis fatigué, et elle est partie."),
        ("I am tired, but she left.", "Je suis fatigué, mais elle est partie."),
        ("I am tired because she left.", "Je suis fatigué parce qu'elle est partie."),
        ("I am tired, so she left.", "Je suis fatigué, donc elle est partie."),
    }
    assert everyday.joined(first, ("Tom left.", "Tom est parti."), choose) is None
    assert everyday.joined(first, ("She left?", "Elle est partie ?"), choose) is None
    assert everyday.joined(first, ("I left.", "Je suis parti."), choose)[0].endswith(" I left.")


def test_the_last_shares(everyday):
    for package in ("faker", "num2words"):
        pytest.importorskip(package, reason="needs the packages of the extra train")
    pairs = [(f"I saw Tom {index} times.", f"J'ai vu Tom {index} fois.") for index in range(1_000)]
    added = everyday.everyday(pairs, [f"Satz {index}." for index in range(100)], 1, everyday.LAST_SHARES)
    assert len(added) == sum(int(share * 1_000) for share in everyday.LAST_SHARES.values())
    changed = [pair for pair in added if pair not in pairs and pair[0] != pair[1]]
    joints = [source for source, _ in changed if re.search(" times(, (and|but|so)| because) I saw ", source)]
    names = [source for source, _ in changed if re.fullmatch(r"I saw (?!Tom )\w+ \d+ times\.", source)]
    assert len(joints) == 60 and len(names) == 120
    oddities = [source for source, target in added if source == target and "Satz" not in source]
    assert len(oddities) == 10 and all(oddities)
