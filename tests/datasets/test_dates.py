import datetime
import hashlib
import re
from collections import Counter

import pytest

from kerasseq.datasets import dates, load_dates

# Weekdays at the start of a date, from Monday, written independently of the library.
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

# Prefixes of the months in all five languages. No prefix fits two months.
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

# Forms that `strptime` can parse, with English names of months and weekdays in any case.
READABLE = [
    "%B %d, %Y", "%A, %B %d, %Y", "%a %b %d %Y", "%b %d '%y", "%d %B %Y", "%A %d %B %Y", "%a %d %b %y",
    "%a, %d %b %Y", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%m/%d/%y", "%d-%m-%Y", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d",
]  # fmt: skip


@pytest.fixture(scope="module")
def splits():
    return load_dates()


@pytest.fixture(scope="module")
def pairs(splits):
    return [pair for split in splits for pair in split]


def parsed(text):
    """The date that `strptime` reads, or None."""
    for form in READABLE:
        try:
            date = datetime.datetime.strptime(text, form).date()
        except ValueError:
            continue
        # `strptime` reads the years 50 to 68 as 2050 to 2068.
        return date.replace(year=date.year - 100) if date.year >= 2050 else date
    return None


@pytest.mark.parametrize(
    "num_examples, sizes", [(20_000, [18_000, 1_000, 1_000]), (20, [18, 1, 1]), (119, [109, 5, 5])]
)
def test_sizes(num_examples, sizes):
    assert [len(split) for split in load_dates(num_examples)] == sizes


def test_answers_are_iso_dates_of_a_hundred_years(pairs):
    answers = [datetime.date.fromisoformat(answer) for _, answer in pairs]
    assert all(answer == date.isoformat() for (_, answer), date in zip(pairs, answers, strict=True))
    assert {date.year for date in answers} == set(range(1950, 2050))
    assert {(date.month, date.day) for date in answers} >= {(2, 29), (12, 31), (1, 1)}


def test_python_reads_the_same_dates(pairs):
    readings = [(text, answer, parsed(text)) for text, answer in pairs[::5]]
    read = [(text, answer, date) for text, answer, date in readings if date is not None]
    assert len(read) > 1_200
    assert [text for text, answer, date in read if date.isoformat() != answer] == []


def test_texts_have_day_month_and_year(pairs):
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


def test_weekdays_match_the_dates(pairs):
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


def test_every_text_has_one_answer():
    """All forms of all dates in years whose last two digits can be days and months, in both centuries."""
    answers = {}
    day = datetime.timedelta(days=1)
    for first, last in ((1950, 1952), (1998, 2013), (2028, 2032)):
        date = datetime.date(first, 1, 1)
        while date.year <= last:
            for code, form in dates.FORMS:
                text = dates.render(date, code, form).lower()
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
        *((f"the {ordinal} of May, 1998", f"1998-05-{int(ordinal[:-2]):02}")
          for ordinal in "1st 2nd 4th 11th 12th 13th 21st 22nd 23rd 30th 31st".split()),
    ],
)  # fmt: skip
def test_known_forms(text, answer):
    date = datetime.date.fromisoformat(answer)
    assert text in {dates.render(date, code, form) for code, form in dates.FORMS}


def test_every_form_occurs_in_every_casing(pairs):
    for code, form in dates.FORMS:
        for casing in (str, str.lower, str.upper):
            texts = ((casing(dates.render(datetime.date.fromisoformat(iso), code, form)), text) for text, iso in pairs)
            assert any(rendered == text for rendered, text in texts), (code, form, casing)


def test_splits_share_no_date_and_no_pair_occurs_twice(splits):
    other = load_dates(seed=1)
    assert other[0] != splits[0]
    for first in (splits, other):
        for second in (splits, other):
            answers = [{answer for _, answer in split} for split in (first[0], second[1], second[2])]
            assert sum(map(len, answers)) == len(set().union(*answers))
        texts = [text for split in first for text, _ in split]
        assert len(set(texts)) == len(texts) == 20_000


def test_a_seed_gives_the_same_pairs_in_every_process():
    """Also if strings have different hashes, as in every run of Python."""
    digest = hashlib.sha256(repr(load_dates(2_000, seed=3)).encode()).hexdigest()
    assert digest == "1d8b79a936a32704035dba46f9802e8c2a23b2d63d320062c78c465b5fcc1a06"


@pytest.mark.parametrize("num_examples", [19, 0, -1, 1_000_001, 100.0, "100", None])
def test_wrong_number_of_examples(num_examples):
    with pytest.raises(ValueError, match="must be an integer from 20 to 1,000,000. Received: num_examples="):
        load_dates(num_examples=num_examples)


def test_example(splits, run_examples):
    run_examples(dates, load_dates=lambda: splits)
