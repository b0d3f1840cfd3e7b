"""Training pairs with strings that a translator hands on as they are: placeholders, addresses, names, codes, emoji.

Numbers keep their digits. Their separators become French where it is certain that they are quantities: "1,234.56
tonnes" is "1 234,56 tonnes", but version 1.2 stays version 1.2.
"""

import functools
import pathlib
import random
import re
import sys
import unicodedata

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "recipes"))
import everyday  # noqa: E402

# Of the pairs, added to them.
SHARES = {
    "number": 0.02, "quantity": 0.01, "amount": 0.005, "name": 0.02, "placeholder": 0.02, "email": 0.005, "url": 0.01,
    "file": 0.005, "code": 0.01, "emoji": 0.01,
}  # fmt: skip

# === Strings ===

WORDS = (
    "name user_name city date count total price file path id email first_name lastName title url n index value day "
    "month amount item order_id number minutes"
).split()
PLACEHOLDERS = [
    "{□}", "{□}", "{□}", "{{□}}", "{{ □ }}", "${□}", "%(□)s", "<□>", "[□]", "%s", "%s", "%d", "%.2f", "{}", "{0}",
    "{1}", "%1$s", "$1", ":□",
]  # fmt: skip
DOMAINS = "com org net fr ca eu io co.uk gouv.fr info".split()
FILES = "pdf txt csv docx py json jpg png xlsx zip tar.gz mp3 html md yaml log exe".split()
FOLDERS = ["/home/□/", "/var/log/", "C:\\Users\\□\\", "~/", "./", "data/", "src/□/", "../"]
PARTICLES = ["", "", "", "", "", "de ", "van ", "von ", "Mc", "O'", "Le ", "Di ", "Ben "]
EMOJI_RANGES = [(0x1F300, 0x1F64F), (0x1F680, 0x1F6C5), (0x1F90D, 0x1F9FF), (0x2600, 0x26C4), (0x2702, 0x2764)]


def word(choose):
    return everyday.invented_name(choose).lower()


def digits(choose, fewest, most):
    return "".join(choose.choices("0123456789", k=choose.randint(fewest, most)))


def placeholder(choose):
    return choose.choice(PLACEHOLDERS).replace("□", choose.choice(WORDS))


def host(choose):
    return f"{word(choose)}{choose.choice(['', '', '-' + word(choose), digits(choose, 1, 2)])}.{choose.choice(DOMAINS)}"


def email(choose):
    joint = choose.choice([".", "_", "-", ""])
    suffix = choose.choice(["", "", digits(choose, 1, 4), "+" + word(choose)])
    return f"{word(choose)}{joint}{word(choose)}{suffix}@{host(choose)}"


def url(choose):
    """An address with a path, and perhaps a query and a fragment."""
    address = choose.choice(["https://", "https://www.", "http://", "www."]) + host(choose)
    for _ in range(choose.randint(0, 3)):
        address += "/" + choose.choice([word(choose), digits(choose, 1, 6), f"{word(choose)}-{word(choose)}"])
    address += choose.choice(["", "", "/", ".html" if address.count("/") > 2 else ""])
    if choose.random() < 0.4:
        keys = choose.sample(["q", "id", "page", "lang", "utm_source", "v"], choose.randint(1, 3))
        address += "?" + "&".join(f"{key}={choose.choice([word(choose), digits(choose, 1, 5)])}" for key in keys)
    return address + (f"#{word(choose)}" if choose.random() < 0.1 else "")


def file(choose):
    folder = choose.choice(["", "", choose.choice(FOLDERS).replace("□", word(choose))])
    stem = word(choose) + choose.choice(["", "_" + word(choose), "-" + word(choose), digits(choose, 1, 4), "_v2"])
    return f"{folder}{choose.choice([stem, stem, stem.upper(), stem.capitalize()])}.{choose.choice(FILES)}"


def code(choose):
    """A number of an order, a version, a network address, a date or a time in figures, a tag, a telephone number."""
    letters = "".join(choose.choices("ABCDEFGHJKLMNPRSTUVXZ", k=choose.randint(1, 3)))
    number = choose.randrange
    return choose.choice([
        f"{letters}{choose.choice(['-', '', '/'])}{digits(choose, 2, 6)}",
        f"{letters}{digits(choose, 1, 2)}-{digits(choose, 3, 5)}-{letters[0]}",
        f"v{number(10)}.{number(20)}.{number(20)}",
        f"{number(10)}.{number(20)}{choose.choice(['', f'.{number(9)}', 'rc1'])}",
        ".".join(str(number(256)) for _ in range(4)),
        f"{number(1990, 2040)}-{number(1, 13):02}-{number(1, 29):02}", f"{number(24):02}:{number(60):02}",
        f"#{digits(choose, 2, 6)}", f"#{word(choose)}", f"@{word(choose)}{digits(choose, 0, 3)}",
        f"+{number(1, 99)} {digits(choose, 3, 3)} {digits(choose, 3, 3)} {digits(choose, 3, 4)}",
        f"{choose.getrandbits(128):032x}", f"0x{choose.getrandbits(16):04X}",
    ])  # fmt: skip


def name(choose):
    """A first name and a family name, real and invented ones."""
    first = choose.choice([choose.choice(everyday.real_names()), everyday.invented_name(choose)])
    last = choose.choice(PARTICLES) + everyday.invented_name(choose)
    second = choose.choice(["", "", "", f"{choose.choice('ABCDEFGJKLMPRST')}. ", f"{everyday.invented_name(choose)} "])
    return choose.choice([f"{first} {second}{last}", f"{first} {second}{last}-{everyday.invented_name(choose)}"])


@functools.cache
def known_emoji():
    """Emoji of one character each, in order, as far as this version of Unicode in Python knows them."""
    characters = [chr(point) for start, end in EMOJI_RANGES for point in range(start, end + 1)]
    return [one for one in characters if unicodedata.category(one) == "So"]


def emoji(choose):
    """One to three emoji, among them flags, and hands of several colours."""
    return "".join(
        choose.choice([
            choose.choice(known_emoji()), choose.choice(known_emoji()), choose.choice(everyday.EMOJI),
            choose.choice("👍👋👏🙏💪✌🤝") + chr(choose.randrange(0x1F3FB, 0x1F400)),
            "".join(chr(0x1F1E6 + ord(letter) - ord("A")) for letter in choose.choice(["FR", "GB", "CA", "BE", "CH"])),
            "❤\ufe0f", "👩\u200d💻", "👨\u200d👩\u200d👧",
        ])
        for _ in range(choose.choice([1, 1, 1, 2, 3]))
    )  # fmt: skip


# === Where they stand ===

# Sentences with a place for a string, by its kind.
CARRIERS = {
    "placeholder": [
        ("Hello □,", "Bonjour □,"), ("Welcome, □!", "Bienvenue, □ !"),
        ("□ is not available.", "□ n'est pas disponible."),
        ("Are you sure you want to delete □?", "Voulez-vous vraiment supprimer □ ?"),
        ("Please enter □.", "Veuillez saisir □."), ("Error: □", "Erreur : □"),
        ("□ has been saved.", "□ a été enregistré."), ("You have received □ from □.", "Vous avez reçu □ de □."),
    ],
    "email": [
        ("Write to □ for more information.", "Écrivez à □ pour plus d'informations."),
        ("My address is □.", "Mon adresse est □."), ("E-mail: □", "E-mail : □"),
        ("Please send your answer to □.", "Veuillez envoyer votre réponse à □."),
        ("You can reach us at □ at any time.", "Vous pouvez nous joindre à □ à tout moment."),
    ],
    "url": [
        ("See □ for details.", "Voir □ pour plus de détails."), ("Our website is □.", "Notre site web est □."),
        ("You will find more at □.", "Vous en trouverez davantage sur □."),
        ("Click on this link: □", "Cliquez sur ce lien : □"), ("The page □ does not exist.", "La page □ n'existe pas."),
        ("Have you seen □?", "As-tu vu □ ?"),
    ],
    "file": [
        ("Open the file □.", "Ouvrez le fichier □."), ("I can't find □.", "Je ne trouve pas □."),
        ("The file □ is too large.", "Le fichier □ est trop gros."), ("Save it as □.", "Enregistrez-le sous □."),
        ("Where is □?", "Où est □ ?"), ("Don't delete □!", "Ne supprimez pas □ !"),
    ],
    "code": [
        ("Your order number is □.", "Votre numéro de commande est □."), ("The code is □.", "Le code est □."),
        ("We are talking about □ here.", "Nous parlons ici de □."), ("Please quote □.", "Veuillez indiquer □."),
        ("What does □ mean?", "Que signifie □ ?"),
    ],
    "amount": [
        ("It costs □.", "Ça coûte □."), ("I paid □ for this book.", "J'ai payé ce livre □."),
        ("That makes □, please.", "Ça fait □, s'il vous plaît."), ("Total: □", "Total : □"),
        ("The damage amounts to □.", "Les dégâts s'élèvent à □."), ("He owes me □.", "Il me doit □."),
        ("Is it really worth □?", "Est-ce que ça vaut vraiment □ ?"), ("We need another □.", "Il nous faut encore □."),
        ("The price rose from □ to □.", "Le prix est passé de □ à □."),
    ],
}  # fmt: skip
SLOT = re.compile("□")
DETERMINER = {
    "English": re.compile(r"\b(?:the|an?|this|our|your|their|my|his|her)\s+(?:[\w-]+\s+)?$", re.IGNORECASE),
    "French": re.compile(r"(?:\b(?:les?|la|du|des|aux?|une?|cette|cet|ce|notre|votre|leur)\s+|['’-])$", re.IGNORECASE),
}  # fmt: skip
ENDED = re.compile(r"\s*([.!?])$")


def carried(kind, make, choose):
    """A sentence of `CARRIERS` with strings of this kind: the same on both sides, in the same order."""
    english, french = choose.choice(CARRIERS[kind])
    strings = [make(choose) for _ in SLOT.findall(english)]
    return tuple(filled(side, strings) for side in (english, french))


def filled(text, strings):
    remaining = iter(strings)
    return SLOT.sub(lambda _: next(remaining), text)


def in_place_of_a_name(pair, string, possessive=False):
    """A pair with a string where both sides have the same name, once, or nothing if they have none.

    Args:
        pair: tuple (English, French).
        string: str.
        possessive: bool, whether "'s" may follow.
    """
    for known in everyday.NAME.findall(pair[0]):
        pattern = re.compile(rf"(?<!\w){known}(?!\w)")
        places = [[match.start() for match in pattern.finditer(side)] for side in pair]
        if list(map(len, places)) != [1, 1]:
            continue
        before = [side[: place[0]] for side, place in zip(pair, places, strict=True)]
        behind = pair[0][places[0][0] + len(known) :]
        if DETERMINER["English"].search(before[0]) or DETERMINER["French"].search(before[1]):
            continue  # A noun, whose gender and number the words around it show.
        if behind.startswith("-") or (behind.startswith("'") and not possessive):
            continue
        if string[0].lower() in "aeiouyhéèêâîôàœ" and everyday.ELIDED.search(before[1]):
            continue  # The word before it would lose its vowel.
        return tuple(pattern.sub(lambda _: string, side) for side in pair)
    return None


def in_place_of_a_number(pair, string):
    """A pair with a string where both sides have the same number and no other, or nothing."""
    found = [re.findall(r"(?<![\w.,])\d+(?![\w.,%]*\w|%)", side) for side in pair]
    if found[0] != found[1] or len(found[0]) != 1 or found != [everyday.NUMBER.findall(side) for side in pair]:
        return None
    return tuple(everyday.NUMBER.sub(lambda _: string, side) for side in pair)


def at_the_end(pair, string, choose):
    """A pair with a string in brackets before the end of both sides, or behind a colon."""
    ends = [ENDED.search(side) for side in pair]
    if not all(ends) or ends[0][1] != ends[1][1]:
        return None
    english, french = (side[: end.start()] for side, end in zip(pair, ends, strict=True))
    mark = ends[0][1]
    if mark == "." and choose.random() < 0.5:
        return f"{english}: {string}", f"{french} : {string}"
    return f"{english} ({string}){mark}", f"{french} ({string}){'' if mark == '.' else ' '}{mark}"


def placed(pair, kind, make, choose, possessive=False):
    """A pair with a string of a kind: alone, in a carrier, at the end of the pair, or where it has a name."""
    string, chance = make(choose), choose.random()
    if chance < 0.1:
        return string, string
    if chance < 0.3:
        return carried(kind, make, choose)
    if chance < 0.6:
        return at_the_end(pair, string, choose)
    return in_place_of_a_name(pair, string, possessive)


def with_placeholder(pair, choose):
    if choose.random() < 0.3:
        return in_place_of_a_number(pair, placeholder(choose))
    return placed(pair, "placeholder", placeholder, choose, possessive=True)


def with_emoji(pair, choose):
    """A pair with emoji behind both sides, or before them."""
    string = emoji(choose)
    if choose.random() < 0.8:
        return tuple(f"{side} {string}" for side in pair)
    return tuple(f"{string} {side}" for side in pair)


# === Quantities ===

# A number before a plural on both sides counts or measures something: it is no date, no time and no number of a thing.
COUNTED = {
    "English": re.compile(r"(?<![\w.,:/$€£#°-])(?<!\bNo )(?<!\bin )(\d{1,6}) (?=[a-z]{2,}s\b)"),
    "French": re.compile(r"(?<![\w.,:/°-])(?<!° )(\d{1,6}) (?=[a-zéèêœàâîôû]{2,}[sx]\b)"),
}
CURRENCIES = "$€£"


def french_number(english):
    """A number with its separators as French writes them: "1,234.56" is "1 234,56"."""
    return english.translate(str.maketrans(",.", " ,"))


def quantity(choose):
    """A number of at least 2, for French has plurals from there on, as English writes it."""
    number = choose.choice([choose.uniform(2, 100), choose.uniform(1_000, 10_000), choose.uniform(10_000, 5_000_000)])
    return f"{number:,.{choose.choice([0, 0, 1, 2])}f}"


def quantified(pair, choose):
    """A pair with another quantity, or nothing unless both sides have one number, the same, which counts something."""
    found = [COUNTED[language].findall(side) for language, side in zip(COUNTED, pair, strict=True)]
    digits_found = [everyday.NUMBER.findall(side) for side in pair]
    if found[0] != found[1] or len(found[0]) != 1 or digits_found != found or int(found[0][0]) < 2:
        return None
    number = quantity(choose)
    return everyday.NUMBER.sub(number, pair[0]), everyday.NUMBER.sub(french_number(number), pair[1])


def with_amount(pair, choose):
    """A sentence of `CARRIERS` with amounts of money: "$1,234.50" in English, "1 234,50 $" in French."""
    english, french = choose.choice(CARRIERS["amount"])
    currency, numbers = choose.choice(CURRENCIES), [quantity(choose) for _ in SLOT.findall(english)]
    return (
        filled(english, [f"{currency}{number}" for number in numbers]),
        filled(french, [f"{french_number(number)} {currency}" for number in numbers]),
    )


# === All kinds ===

# By the key of `SHARES`: functions of a pair and a `random.Random`, to another pair, or to nothing if it has no place.
KINDS = {
    "number": everyday.renumbered,
    "quantity": quantified,
    "amount": with_amount,
    "name": lambda pair, choose: in_place_of_a_name(pair, name(choose), possessive=True),
    "placeholder": with_placeholder,
    "email": lambda pair, choose: placed(pair, "email", email, choose),
    "url": lambda pair, choose: placed(pair, "url", url, choose),
    "file": lambda pair, choose: placed(pair, "file", file, choose),
    "code": lambda pair, choose: placed(pair, "code", code, choose),
    "emoji": with_emoji,
}


def protected(pairs, seed, shares=SHARES):
    """Pairs to add to others.

    Args:
        pairs: list of (English, French).
        seed: int.
        shares: dict, from a key of `KINDS` to a share of the pairs; kinds that are not there are not added.

    Returns:
        list of (English, French), kind by kind.
    """
    choose = random.Random(seed)
    return [
        changed
        for kind, share in shares.items()
        for changed in everyday.those_that_can(
            lambda pair, change=KINDS[kind]: change(pair, choose), kind, pairs, share, choose
        )
    ]
