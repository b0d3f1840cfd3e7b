"""How texts of a language are split into words for metrics of words."""

import itertools
import re
import unicodedata
import warnings
from collections.abc import Iterable

# Thai, Lao, Tibetan, Burmese and Khmer; kana; Han characters.
WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
LETTER = re.compile(r"\w")

# sacreBLEU's tokenizers by language; all others are split by spaces and punctuation.
BLEU_TOKENIZERS = {
    "zh": "zh", "yue": "zh", "ja": "ja-mecab", "ko": "ko-mecab", "th": "char", "lo": "char", "my": "char", "km": "char",
    "bo": "char",
}  # fmt: skip
# The languages without spaces between words, of which other metrics compare characters.
BY_CHARACTERS = set(BLEU_TOKENIZERS) - {"ko"}
SHORTER = {
    "eng": "en", "cmn": "zh", "zho": "zh", "chi": "zh", "jpn": "ja", "kor": "ko", "tha": "th", "lao": "lo",
    "mya": "my", "bur": "my", "khm": "km", "bod": "bo", "tib": "bo",
}  # fmt: skip


def language_code(language: str | None) -> str | None:
    """The language of a code such as `"zh"`, `"zh-TW"` or `"zho"`, by two letters where it has any."""
    if language is None:
        return None
    code = re.split("[-_]", language)[0].lower() if isinstance(language, str) else ""
    if not re.fullmatch("[a-z]{2,3}", code):
        raise ValueError(f"language must be a code such as 'en', 'zh' or 'ja'. Received: language={language!r}.")
    return SHORTER.get(code, code)


def words_of(text: str) -> list[str]:
    """The runs of letters, combining marks and digits of a lowercased text, in NFC."""
    text = unicodedata.normalize("NFC", text).lower()
    runs = itertools.groupby(text, lambda character: unicodedata.category(character)[0] in "LMN")
    return ["".join(run) for is_word, run in runs if is_word]


def letters_of(text: str) -> list[str]:
    """The letters of a lowercased text with their combining marks, and its digits."""
    letters: list[str] = []
    for word in words_of(text):
        for index, character in enumerate(word):
            if index and unicodedata.category(character)[0] == "M":
                letters[-1] += character
            else:
                letters.append(character)
    return letters


def bleu_tokenizer(language: str | None) -> str:
    """The name of sacreBLEU's tokenizer for a language."""
    code = language_code(language)
    return "13a" if code is None else BLEU_TOKENIZERS.get(code, "13a")


def warn_of_texts_without_spaces(texts: Iterable[str], metric: str, advice: str) -> None:
    """Warns where most letters are of scripts without spaces: a sentence would be one word."""
    letters = without = 0
    for text in texts:
        letters += len(LETTER.findall(text))
        without += len(WITHOUT_SPACES.findall(text))
    if 2 * without > letters:
        warnings.warn(
            f"{metric} compares words, and most references are in a script that writes no spaces between words, so "
            f"whole sentences would count as words. {advice}",
            stacklevel=4,
        )


def by_characters(language: str | None, references: Iterable[Iterable[str]], metric: str) -> bool:
    """Whether a metric compares characters, as the language says. Warns where it should, and no language is named."""
    if language is None:
        advice = "Pass language=, such as 'zh', 'ja' or 'th', to compare characters."
        warn_of_texts_without_spaces(itertools.chain.from_iterable(references), metric, advice)
    return language_code(language) in BY_CHARACTERS
