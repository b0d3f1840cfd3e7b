import datetime
import doctest
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from kerasseq.datasets import dates as dates_module
from kerasseq.datasets import load_dates

# The tests' own words for the weekdays, from Monday, as they stand at the beginning of a date.
WEEKDAYS = [
    "monday mon montag mo lunes lundi lunedì lun",
    "tuesday tue dienstag di martes mardi martedì mar",
    "wednesday wed mittwoch mi miércoles mié mercredi mercoledì mer",
    "thursday thu donnerstag do jueves jue jeudi jeu giovedì gio",
    "friday fri freitag fr viernes vendredi vie ven venerdì",
    "saturday sat samstag sa sábado sáb samedi sam sabato sab",
    "sunday sun sonntag so domingo dimanche dim dom domenica",
]
WEEKDAY_NUMBER = {word: number for number, words in enumerate(WEEKDAYS) for word in words.split()}

# Beginnings of the months in all five languages; no month's beginning is one of another month's too.
MONTHS = [
    "jan gen ene",
    "feb fev fév",
    "mar mär",
    "apr abr avr",
    "mai may mag",
    "jun juin giu",
    "jul juil lug",
    "aug ago aoû",
    "sep set",
    "oct okt ott",
    "nov",
    "dec dez dic déc",
]

# What Python's own parser can read (month and weekday names in English, whatever their case).
READABLE = [
    "%B %d, %Y", "%A, %B %d, %Y", "%a %b %d %Y", "%b %d '%y", "%d %B %Y", "%A %d %B %Y", "%a %d %b %y",
    "%a, %d %b %Y", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%m/%d/%y", "%d-%m-%Y", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d",
]  # fmt: skip


@pytest.fixture(scope="module")
def sides():
    return load_dates()


@pytest.fixture(scope="module")
def pairs(sides):
    return [pair for side in sides for pair in side]


def parsed(text):
    """The date that `strptime` reads, or None."""
    for form in READABLE:
        try:
            date = datetime.datetime.strptime(text, form).date()
        except ValueError:
            continue
        # `strptime` turns 50 to 68 into 2050 to 2068.
        return date.replace(year=date.year - 100) if date.year >= 2050 else date
    return None


def test_sizes(sides):
    assert [len(side) for side in sides] == [18_000, 1_000, 1_000]
    assert [len(side) for side in load_dates(num_examples=20)] == [18, 1, 1]
    assert [len(side) for side in load_dates(num_examples=119)] == [109, 5, 5]


def test_answers_are_iso_dates_of_the_hundred_years(pairs):
    answers = [datetime.date.fromisoformat(answer) for _, answer in pairs]
    assert all(answer == date.isoformat() for (_, answer), date in zip(pairs, answers, strict=True))
    assert {date.year for date in answers} == set(range(1950, 2050))
    assert {(date.month, date.day) for date in answers} >= {(2, 29), (12, 31), (1, 1)}


def test_python_reads_the_same_dates(pairs):
    readings = [(text, answer, parsed(text)) for text, answer in pairs]
    read = [(text, answer, date) for text, answer, date in readings if date is not None]
    assert len(read) > 6_000
    assert [text for text, answer, date in read if date.isoformat() != answer] == []


def test_day_month_and_year_stand_in_every_text(pairs):
    for text, answer in pairs:
        date = datetime.date.fromisoformat(answer)
        if re.fullmatch(r"\d{8}", text):
            assert text == f"{date.year:04}{date.month:02}{date.day:02}"
            continue
        numbers = re.findall(r"\d+", text)
        expected = Counter([date.day, date.year if any(len(number) == 4 for number in numbers) else date.year % 100])
        if len(numbers) == 3:
            expected[date.month] += 1
        else:
            words = re.findall(r"[^\W\d_]+", text.lower())
            assert any(word.startswith(tuple(MONTHS[date.month - 1].split())) for word in words), text
        assert Counter(map(int, numbers)) == expected, text


def test_weekdays_are_those_of_the_dates(pairs):
    seen = Counter()
    for text, answer in pairs:
        date = datetime.date.fromisoformat(answer)
        word = re.match(r"(?:(?:le|el|the) )?([^\W\d_]*)", text.lower())[1]
        if word == "mar" and re.match(r"mar \d+(, | ')", text.lower()):
            continue  # March, as in "Mar 5, 1998".
        if word in WEEKDAY_NUMBER:
            assert date.weekday() == WEEKDAY_NUMBER[word], text
            seen[word] += 1
    assert set(seen) == set(WEEKDAY_NUMBER)


def test_no_text_has_two_answers():
    # Every form of every date of years whose last digits can be mistaken for days and months, in both centuries.
    answers = {}
    day = datetime.timedelta(days=1)
    for first, last in ((1950, 1952), (1998, 2013), (2028, 2032)):
        date = datetime.date(first, 1, 1)
        while date.year <= last:
            for code, form in dates_module.FORMS:
                text = dates_module.render(date, code, form).lower()
                assert answers.setdefault(text, date) == date, text
            date += day
    assert len(answers) > 300_000


@pytest.mark.parametrize(
    "text, answer",
    [
        ("the 3rd of May, 1998", "1998-05-03"),
        ("Sunday, May 3, 1998", "1998-05-03"),
        ("03.05.98", "1998-05-03"),
        ("5/3/98", "1998-05-03"),
        ("03-05-1998", "1998-05-03"),
        ("Tue 5 May 98", "1998-05-05"),
        ("Feb 29 '00", "2000-02-29"),
        ("Sonntag, den 3. Mai 1998", "1998-05-03"),
        ("1. März 49", "2049-03-01"),
        ("domingo, 3 de mayo de 1998", "1998-05-03"),
        ("le dimanche 3 mai 1998", "1998-05-03"),
        ("1er août 50", "1950-08-01"),
        ("1º maggio 1998", "1998-05-01"),
        ("dom 3 mag 98", "1998-05-03"),
    ],
)
def test_known_forms(text, answer):
    date = datetime.date.fromisoformat(answer)
    assert text in {dates_module.render(date, code, form) for code, form in dates_module.FORMS}


@pytest.mark.parametrize(
    "day, ordinal",
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"),
     (22, "22nd"), (23, "23rd"), (30, "30th"), (31, "31st")],
)  # fmt: skip
def test_english_ordinals(day, ordinal):
    assert dates_module.render(datetime.date(1998, 5, day), "en", "{ordinal}") == ordinal


def test_every_form_occurs_in_every_casing(pairs):
    pairs = pairs[:5_000]
    texts = {text for text, _ in pairs}
    for code, form in dates_module.FORMS:
        for casing in (str, str.lower, str.upper):
            written = {
                casing(dates_module.render(datetime.date.fromisoformat(answer), code, form)) for _, answer in pairs
            }
            assert written & texts, (code, form, casing)


@pytest.mark.parametrize("seed", [0, 1])
def test_sides_share_no_date_and_no_pair_occurs_twice(seed):
    sides = load_dates(seed=seed)
    days = [{answer for _, answer in side} for side in sides]
    assert sum(map(len, days)) == len(set().union(*days))
    texts = [text for side in sides for text, _ in side]
    assert len(set(texts)) == len(texts) == 20_000


def test_sides_stay_apart_under_all_seeds():
    train = {answer for _, answer in load_dates(seed=1)[0]}
    for other in load_dates(seed=2)[1:]:
        assert not train & {answer for _, answer in other}


def test_seed_decides(sides):
    assert load_dates(seed=0) == sides
    assert load_dates(seed=1)[0] != sides[0]


def test_same_in_processes_that_hash_strings_differently():
    program = (
        "import hashlib; from kerasseq.datasets import load_dates; "
        "print(hashlib.sha256(repr(load_dates(2_000, seed=3)).encode()).hexdigest(), hash('a'))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for hash_seed in ("1", "2")
    ]
    assert outputs[0][1] != outputs[1][1]
    assert outputs[0][0] == outputs[1][0]


@pytest.mark.parametrize("num_examples", [19, 0, -1, 1_000_001, 100.0, "100", None])
def test_wrong_number_of_examples(num_examples):
    with pytest.raises(ValueError, match="whole number from 20 to 1,000,000. Received: num_examples="):
        load_dates(num_examples=num_examples)


def test_example():
    result = doctest.testmod(dates_module)
    assert result.attempted and not result.failed
