"""Tatoeba sentence pairs, as published for the flashcard program Anki."""

import pathlib
import typing
import zipfile

from kerasseq.arguments import check_choice
from kerasseq.datasets.fetch import fetch
from kerasseq.datasets.splits import TextPairs, TextSplits, split_by_source


class Release(typing.NamedTuple):
    url: str
    sha256: str


# Public copies pinned to a commit. The archives of the original site change with every release.
RELEASES = {
    "fra": Release(
        "https://raw.githubusercontent.com/modelexlab/data/adddaf33ac35572bcfeb421efec29435e7ea9332/fra-eng.zip",
        "161c93f18da3a7e6df611ed961426613260de8af06ccf8c79c977afe5135ac44",
    ),
    "spa": Release(
        "https://raw.githubusercontent.com/jorgeadev/tensorflow-for-ml-and-ai/"
        "626197f0dcadb7ce4972b35ba8918224c5ee76a1/datasets/spa-eng.zip",
        "577e6a47953ce594e38435e08c1f8892fb93843c75c1f60e05c9e193463c691a",
    ),
    "deu": Release(
        "https://raw.githubusercontent.com/rioyshky/translation/de48b7027f7318d77010a6e08ed928c10748c23d/deu-eng.zip",
        "b7688f84f99fa33c17397c14d8bd9cef1fdeb2ee0bf50074767023aee8926e28",
    ),
    "cmn": Release(
        "https://raw.githubusercontent.com/tongsun99/nlp-task/dfd704d26d35b027116faac9d36d5d22915eff9b/cmn-eng.zip",
        "4cb20d0f6bff49dd9701d5c57787a83bdc49687454c8912a0f813222c4ee12bc",
    ),
}


def load_anki(language: str) -> TextSplits:
    """Loads English sentences with translations by volunteers of the Tatoeba project.

    Everyday sentences, sorted by length in the file. There is no official split: `split_by_source` assigns every
    English sentence, with all its translations, to one split.

    | language | pairs   | distinct English | train   | validation | test  |
    |----------|---------|------------------|---------|------------|-------|
    | `"fra"`  | 167,130 | 116,830          | 150,455 | 8,309      | 8,366 |
    | `"spa"`  | 123,376 | 105,258          | 110,873 | 6,199      | 6,304 |
    | `"deu"`  | 169,813 | 135,534          | 152,682 | 8,409      | 8,722 |
    | `"cmn"`  | 24,818  | 23,862           | 22,226  | 1,275      | 1,317 |

    Chinese is partly simplified and partly traditional. Without the credits, 30 of its pairs occur twice.

    Source: https://www.manythings.org/anki/, from https://tatoeba.org. Licence: CC BY 2.0 FR
    (https://creativecommons.org/licenses/by/2.0/fr/), also for models trained on the data: credit Tatoeba and its
    contributors. Newer releases credit individual contributors in a third column, which is not returned.

    Args:
        language: str, one of `"fra"` (French), `"spa"` (Spanish), `"deu"` (German), `"cmn"` (Mandarin Chinese).

    Returns:
        tuple `(train, validation, test)` of lists of `(english, foreign)` string tuples, in the order of the file.
        To translate into English, swap them: `[(foreign, english) for english, foreign in train]`.

    Raises:
        ValueError: if the language is unknown, or the file is damaged.
        ConnectionError: if the file is neither in the mirror nor in the cache, and cannot be downloaded.

    Example:

    >>> train, validation, test = load_anki("fra")
    >>> train[0]
    ('Go.', 'Va !')
    >>> len(train), len(validation), len(test)
    (150455, 8309, 8366)
    """
    check_choice("language", language, RELEASES)
    release = RELEASES[language]
    return split_by_source(_read(fetch(f"anki/{language}-eng.zip", release.url, release.sha256), language), key=None)


def _read(path: pathlib.Path, language: str) -> TextPairs:
    with zipfile.ZipFile(path) as archive:
        # Some archives have a top-level folder, and some a `__MACOSX` tree of metadata with the same base names.
        (member,) = (
            name
            for name in map(pathlib.PurePosixPath, archive.namelist())
            if name.name == f"{language}.txt" and "__MACOSX" not in name.parts
        )
        text = archive.read(str(member)).decode("utf-8")
    # Unlike `splitlines`, this keeps Unicode line separators inside a sentence.
    rows = (line.split("\t") for line in text.split("\n") if line)
    return [(english, foreign) for english, foreign, *_ in rows]
