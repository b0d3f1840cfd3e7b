"""Human-readable dates and their ISO 8601 form: a generated task that small models learn in minutes."""

import datetime
import random
import typing
from collections.abc import Callable, Sequence

from kerasseq.datasets.splits import TextPairs, TextSplits, split_by_source

FIRST_YEAR, LAST_YEAR = 1950, 2049  # A hundred years, so two digits identify the year.
MINIMUM_EXAMPLES, MAXIMUM_EXAMPLES = 20, 1_000_000


class Language(typing.NamedTuple):
    """Names of months (from January) and weekdays (from Monday), and date forms that use them."""

    months: list[str]
    short_months: list[str]
    weekdays: list[str]
    short_weekdays: list[str]
    ordinal: Callable[[int], str]  # day of the month -> str
    forms: tuple[str, ...]


def _english_ordinal(day: int) -> str:
    suffix = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{suffix}"


LANGUAGES = {
    "en": Language(
        months="January February March April May June July August September October November December".split(),
        short_months="Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(),
        weekdays="Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
        short_weekdays="Mon Tue Wed Thu Fri Sat Sun".split(),
        ordinal=_english_ordinal,
        forms=(
            "{month_name} {day}, {year}",
            "{month_name} {ordinal}, {year}",
            "{weekday}, {month_name} {day}, {year}",
            "{weekday_short} {month_short} {day} {year}",
            "{month_short} {day}, {year}",
            "{month_short} {day} '{yy:02}",
            "{day} {month_name} {year}",
            "{ordinal} {month_name} {year}",
            "{weekday} {day} {month_name} {year}",
            "{weekday_short} {day} {month_short} {yy:02}",
            "{weekday_short}, {day:02} {month_short} {year}",
            "{day:02}-{month_short}-{year}",
            "the {ordinal} of {month_name}, {year}",
            "{weekday} the {ordinal} of {month_name} {year}",
        ),
    ),
    "de": Language(
        months="Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split(),
        short_months="Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.".split(),
        weekdays="Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split(),
        short_weekdays="Mo Di Mi Do Fr Sa So".split(),
        ordinal=lambda day: f"{day}.",
        forms=(
            "{ordinal} {month_name} {year}",
            "{ordinal} {month_name} {yy:02}",
            "{ordinal} {month_short} {year}",
            "den {ordinal} {month_name} {year}",
            "{weekday}, {ordinal} {month_name} {year}",
            "{weekday}, den {ordinal} {month_name} {year}",
            "{weekday_short}, {ordinal} {month_short} {year}",
            "{weekday_short}, {day:02}.{month:02}.{year}",
        ),
    ),
    "es": Language(
        months="enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split(),
        short_months="ene feb mar abr may jun jul ago sept oct nov dic".split(),
        weekdays="lunes martes miércoles jueves viernes sábado domingo".split(),
        short_weekdays="lun mar mié jue vie sáb dom".split(),
        ordinal=str,
        forms=(
            "{day} de {month_name} de {year}",
            "el {day} de {month_name} de {year}",
            "{day} de {month_name} del {year}",
            "{weekday}, {day} de {month_name} de {year}",
            "{weekday} {day} de {month_name} de {year}",
            "{weekday_short}, {day} {month_short} {year}",
            "{day} {month_short} {yy:02}",
        ),
    ),
    "fr": Language(
        months="janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
        short_months="janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.".split(),
        weekdays="lundi mardi mercredi jeudi vendredi samedi dimanche".split(),
        short_weekdays="lun. mar. mer. jeu. ven. sam. dim.".split(),
        ordinal=lambda day: "1er" if day == 1 else str(day),
        forms=(
            "{ordinal} {month_name} {year}",
            "le {ordinal} {month_name} {year}",
            "{ordinal} {month_name} {yy:02}",
            "{ordinal} {month_short} {year}",
            "{weekday} {ordinal} {month_name} {year}",
            "le {weekday} {ordinal} {month_name} {year}",
            "{weekday_short} {ordinal} {month_short} {year}",
        ),
    ),
    "it": Language(
        months="gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre".split(),
        short_months="gen feb mar apr mag giu lug ago set ott nov dic".split(),
        weekdays="lunedì martedì mercoledì giovedì venerdì sabato domenica".split(),
        short_weekdays="lun mar mer gio ven sab dom".split(),
        ordinal=lambda day: "1º" if day == 1 else str(day),
        forms=(
            "{ordinal} {month_name} {year}",
            "{ordinal} {month_name} {yy:02}",
            "{day} {month_short} {year}",
            "{weekday} {ordinal} {month_name} {year}",
            "{weekday}, {ordinal} {month_name} {year}",
            "{weekday_short} {day} {month_short} {yy:02}",
        ),
    ),
}

# One order of day, month and year per separator, so every string has a unique answer.
NUMERIC_FORMS = (
    "{day:02}.{month:02}.{year}",
    "{day}.{month}.{year}",
    "{day:02}.{month:02}.{yy:02}",
    "{day}.{month}.{yy:02}",
    "{month:02}/{day:02}/{year}",
    "{month}/{day}/{year}",
    "{month:02}/{day:02}/{yy:02}",
    "{month}/{day}/{yy:02}",
    "{day:02}-{month:02}-{year}",
    "{year}-{month:02}-{day:02}",
    "{year}/{month:02}/{day:02}",
    "{year}.{month:02}.{day:02}",
    "{year}{month:02}{day:02}",
)

FORMS = [("en", form) for form in NUMERIC_FORMS] + [
    (code, form) for code, language in LANGUAGES.items() for form in language.forms
]

CASINGS = (str, str, str, str.lower, str.upper)  # Three in five keep the usual case.


def load_dates(num_examples: int = 20_000, seed: int = 0) -> TextSplits:
    """Generates dates in many human-readable forms, with their ISO 8601 form.

    The task needs no download, and a small model learns it. Dates range from 1950 to 2049. Their forms are English,
    German, Spanish, French, Italian and numeric, with or without the weekday, sometimes in lower or upper case. Every
    string has exactly one answer, by these conventions:

    - dots separate day.month.year (`"03.05.98"`), hyphens day-month-year (`"03-05-1998"`), slashes month/day/year
      (`"5/3/1998"`); after a leading four-digit year, month and day follow, with any separator or none;
    - two-digit years from 50 to 99 are in the twentieth century, those from 00 to 49 in the twenty-first.

    All strings of a date are in the same split, which `split_by_source` selects by the ISO form, so splits are disjoint
    under all seeds. Source: generated by this function; no licence applies.

    Args:
        num_examples: int, number of pairs in all three splits together, from 20 to 1,000,000. Defaults to 20,000.
        seed: int, random seed for dates, forms and casing. The same seed gives the same pairs. Defaults to 0.

    Returns:
        tuple `(train, validation, test)` of lists of `(text, iso_date)` string tuples in random order. Validation and
        test have 5% of the pairs each, rounded down. No pair occurs twice.

    Raises:
        ValueError: if `num_examples` is not an integer within its bounds.

    Example:

    >>> train, validation, test = load_dates()
    >>> len(train), len(validation), len(test)
    (18000, 1000, 1000)
    >>> train[0]
    ('mar. 1er sept. 2026', '2026-09-01')
    """
    if not isinstance(num_examples, int) or not MINIMUM_EXAMPLES <= num_examples <= MAXIMUM_EXAMPLES:
        raise ValueError(
            f"num_examples must be an integer from {MINIMUM_EXAMPLES} to {MAXIMUM_EXAMPLES:,}. "
            f"Received: num_examples={num_examples!r}."
        )
    first = datetime.date(FIRST_YEAR, 1, 1)
    num_dates = (datetime.date(LAST_YEAR + 1, 1, 1) - first).days
    dates = [first + datetime.timedelta(days=day) for day in range(num_dates)]
    train, validation, test = split_by_source(((date.isoformat(), date) for date in dates), key=None)
    held_out = num_examples // 20
    generator = random.Random(seed)
    return (
        _draw(generator, train, num_examples - 2 * held_out),
        _draw(generator, validation, held_out),
        _draw(generator, test, held_out),
    )


def _draw(generator: random.Random, dates: Sequence[tuple[str, datetime.date]], size: int) -> TextPairs:
    examples: dict[str, str] = {}  # text -> ISO date, in drawing order. Repeated texts are ignored.
    while len(examples) < size:
        iso_date, date = generator.choice(dates)
        code, form = generator.choice(FORMS)
        casing = generator.choice(CASINGS)
        examples[casing(render(date, code, form))] = iso_date
    return list(examples.items())


def render(date: datetime.date, code: str, form: str) -> str:
    """Formats a date in one of the `FORMS`, such as `"{weekday}, {day}. {month_name}"`."""
    language = LANGUAGES[code]
    return form.format(
        day=date.day,
        ordinal=language.ordinal(date.day),
        month=date.month,
        month_name=language.months[date.month - 1],
        month_short=language.short_months[date.month - 1],
        weekday=language.weekdays[date.weekday()],
        weekday_short=language.short_weekdays[date.weekday()],
        year=date.year,
        yy=date.year % 100,
    )
