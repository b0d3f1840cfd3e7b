"""Repairs of English-French pairs, and cheap signs that two sides are no translations of each other."""

import re
import unicodedata

# === Both languages ===

CHARACTERS = str.maketrans({
    "’": "'", "‘": "'", "‛": "'", "ʼ": "'", "´": "'", "“": '"', "”": '"', "„": '"', "…": "...", "‐": "-", "‑": "-",
    "ﬁ": "fi", "ﬂ": "fl",
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff"),  # Without width.
})  # fmt: skip
# Notes of protocols on the speaker and the language, such as "rapporteur. - (DE)", and dashes that are left of them.
BEGINNING = re.compile(r"^(?:(?:[a-zàâéèêîôû][\w' ]{0,60}\.\s+[–-]\s+)?\([A-Z]{2}\)\s+|[.,;:–—-]+\s+)+")
BEFORE_COMMA = re.compile(r"(?<=\w)\s+(?=[,.](?:\s|$))")
DASH = re.compile(r"(?<= )--(-?)(?= )")
SECOND_MARK = re.compile(r"(?<=[.:;!?])\s+[.:]$")

# === English ===

CONTRACTION = re.compile(r"(?<=\w)' (?=(?:s|t|m|re|ve|ll|d)\b)")
BEFORE_MARK = re.compile(r"(?<=\w)\s+(?=[;:!?](?:\s|$))")

# === French ===

ELISION = re.compile(r"\b([cdjlmnst]|\w*qu|aujourd)' (?=[\w«\"])", re.IGNORECASE)
INVERSION = re.compile(r"(?<=\w)(?: -|- )(?=(?:t-)?(?:je|tu|ils?|elles?|on|nous|vous|ce|ci|là)\b)")
QUOTED = re.compile(r'(?<![\w"])"([^"«»]*\w[^"«»]*)"(?![\w"])')
DOUBLE_MARK = re.compile(r"(?<=[\w)\]»%°])([;!?]+|:)(?=[\s»\")\]]|$)")
PERCENT = re.compile(r"(?<=\d)\s*%(?=[\s.,;:!?)»\"]|$)")
NUMERO = re.compile(r"\b([Nn])[oº°]\s*(?=\d)")
OE = re.compile(
    r"\b(?:man|dés)?oeuvr|\b(?:contre|ran)?coeur|\bécoeur|\b(?:con)?soeur|\bboeuf|\boeufs?\b|\bnoeud|\bvoeux?\b|\boeil"
    r"|\bmoeurs\b|\bchoeur|\bfoet(?:us|a)|\boecum|\boesoph|\boestrog|\boedème|\boenolog",
    re.IGNORECASE,
)
# Where a letter œ was, when the words are no others without it. So "vu", "sur", "murs" and "il" stay as they are,
# unless a word before or behind them tells that they were "vœu", "sœur", "mœurs" and "œil".
LOST_OE = re.compile(
    r"\b((?:man|dés)(?=uvr)|(?:contre)?c(?=urs?\b)|ranc(?=urs?\b)|éc(?=ur(?:an|é|em|er\b|e\b))|v(?=ux\b|u pieux\b)"
    r"|un v(?=u\b)|n(?=uds?\b)|b(?=ufs?\b)|ch(?=urs?\b)|cons(?=urs?\b)|f(?=t(?:us|al|ale)\b)|[dl]['’](?=il\b(?! y))"
    r"|(?:nos|vos|mes|ses) s(?=urs\b)|(?:ma|ta|sa) s(?=ur\b)|bonnes m(?=urs\b)"
    r"|(?=uvr[aeiéèo]|ufs?\b|illères?\b|illets?\b|cuméni|nologi|strogène|sophag))",
    re.IGNORECASE,
)
MISREAD_OE = re.compile(r"\?(?=u[a-z])|(?<=['’])\?(?=il\b)")
PLAIN_WORD = re.compile(r"[^\W\d_]['\w-]*(?=[\s,:;]|$)")


def french_blanks(text, english=""):
    """A French text with a blank before ; : ! and ?, where these end a word, but for colons in code of both sides."""

    def spaced(match):
        is_code = match[1] == ":" and text[: match.end()].split()[-1] in words
        return match[1] if is_code else f" {match[1]}"

    words = english.split()
    return DOUBLE_MARK.sub(spaced, text)


def guillemets(text, english=""):
    """A French text with guillemets in the place of quotation marks, but for what the English side quotes as well."""
    return QUOTED.sub(lambda match: match[0] if match[0] in english else f"« {match[1].strip()} »", text)


def with_ligatures(text):
    """A French text with the letter œ where it was lost for certain: "mes vux" and "mes v?ux" are "mes vœux"."""
    text = MISREAD_OE.sub("œ", text)
    return LOST_OE.sub(lambda match: match[1] + ("œ" if match.end() else "Œ"), text)


def clean(pair):
    """A pair with what goes wrong throughout the corpora mended.

    Apostrophes are straight, and so are quotation marks, but for guillemets in French. Dashes are no hyphens. Blanks
    are single and not within words ("qu' il", "puis -je", "Union' s"), nor before commas and full stops. French has
    blanks before ; : ! ? % and within guillemets, and the letter œ. Notes on the speaker's language before a text are
    gone. The French text begins with a capital letter and ends with a full stop if the English one does.

    Args:
        pair: tuple (English, French).
    """
    english, french = (plain(side) for side in pair)
    english = BEFORE_MARK.sub("", CONTRACTION.sub("'", english))
    french = INVERSION.sub("-", ELISION.sub(r"\1'", french))
    french = OE.sub(lambda match: re.sub("oe", "œ", match[0].replace("OE", "Œ").replace("Oe", "Œ")), french)
    french = guillemets(re.sub(r"\s*»", " »", re.sub(r"«\s*", "« ", french)), english)
    french = NUMERO.sub(r"\1° ", PERCENT.sub(" %", french_blanks(french, english)))
    return english, alike(english, french.strip())


def plain(text):
    text = " ".join(unicodedata.normalize("NFC", text).translate(CHARACTERS).split())
    text = DASH.sub(lambda match: "—" if match[1] else "–", text)
    return BEFORE_COMMA.sub("", SECOND_MARK.sub("", BEGINNING.sub("", text)))


def alike(english, french):
    """The French text with the first letter and the full stop at the end as the English one has them."""
    word = PLAIN_WORD.match(french)
    if word and english[:1].isupper() and word[0] not in english.split():
        french = french[0].upper() + french[1:]
    if english.endswith("."):
        french = re.sub(r"\s*;$", "", french)
        if french[-1:].isalnum():
            french += "."
    elif english[-1:].isalnum() and french.count(".") == 1:
        french = french.removesuffix(".")
    return french


# === Signs that the sides don't match ===

THOUSANDS = re.compile(r"(?<=\d)[,. ](?=\d{3}(?!\d))")
LENGTHS = 0.5, 2.0  # of a French side by that of an English one, each and 10 characters more
CAPITALS = 8  # letters at least, for abbreviations are no sign
COMMON_WORDS = {
    "English": {"the", "of", "and", "is", "are", "with", "for", "that", "this", "be", "to"},
    "French": {"le", "la", "les", "de", "des", "du", "et", "est", "un", "une", "pour", "que", "qui", "dans"},
}
DEFINITION = re.compile(r"\b(?:means|meaning|includes)\b.*\([^()\".]{2,60}\)[.;]?$")
CITATION = re.compile(r"\W*(?:SOR/|SI/|S\.C\.|R\.S\.|C\.R\.C\.|\d{4}, c\.)")
REPEALED = re.compile(r"\[(?:Repealed|Revoked)")


def numbers(text):
    """The groups of digits of a text, sorted, where thousands are not parted."""
    return sorted(re.findall(r"\d+", THOUSANDS.sub("", text)))


def have_other_lengths(english, french):
    return not LENGTHS[0] <= (len(french) + 10) / (len(english) + 10) <= LENGTHS[1]


def have_other_capitals(english, french):
    letters = min(sum(map(str.isalpha, side)) for side in (english, french))
    return english.isupper() != french.isupper() and letters >= CAPITALS


def is_in(language, text):
    """Whether a text has at least two of the common words of a language, and more than of the other one."""
    words = re.findall(r"\w+", text.lower())
    counts = {name: sum(word in common for word in words) for name, common in COMMON_WORDS.items()}
    return counts[language] >= 2 and counts[language] == max(counts.values()) > min(counts.values())


# By what they are told in a report: functions of both sides.
SIGNS = {
    "an empty side": lambda english, french: not english or not french,
    "other numbers": lambda english, french: numbers(english) != numbers(french),
    "another length": have_other_lengths,
    "capitals on one side": have_other_capitals,
    "a side in the other language": lambda english, french: is_in("French", english) or is_in("English", french),
    # Of laws: "ministre Le ministre des Finances. (Minister)" is no sentence, and a citation neither.
    "a definition": lambda english, french: bool(DEFINITION.search(english)) and french.endswith((")", ").", ");")),
    "a citation": lambda english, french: bool(CITATION.match(english) or REPEALED.search(english)),
}


def mismatch(pair):
    """The first of the `SIGNS` that a pair has, or nothing."""
    return next((sign for sign, shows in SIGNS.items() if shows(*pair)), None)


def is_aligned(pair):
    return mismatch(pair) is None
