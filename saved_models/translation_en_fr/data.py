"""Makes the training corpora of the English-French translator from their public origins, and loads them.

    python saved_models/translation_en_fr/data.py --corpus europarl

clones the repository of the origin at a fixed commit, unless --repository names a clone, and writes
`europarl/europarl.en-fr.tsv.xz` into the folder of --output: English, tab, French on each line, compressed with xz.
English sides are distinct. They stand in the order of their SHA-256, so that the first lines are a sample of all.
"""

import argparse
import collections
import hashlib
import lzma
import os
import pathlib
import re
import shlex
import subprocess
import typing
import xml.etree.ElementTree

from cleaning import clean, french_blanks, is_aligned, with_ligatures

from kerasseq.arguments import check_choice
from kerasseq.datasets import drop_near_duplicates, load_anki, read_pairs
from kerasseq.datasets.fetch import fetch, mirrored_path
from kerasseq.datasets.splits import near_source
from kerasseq.downloads import cache_folders, is_writable
from kerasseq.progress import progress_bar

# Sentences to choose and to test by, which training pairs must not have: address and SHA-256 by language and split. CC
# BY-SA 4.0.
DEV = (
    "https://raw.githubusercontent.com/common-parallel-corpora/common-parallel-corpora/"
    "dbc2cd91df89c52dffe899efe7ea4dff63e172fc/data/common-parallel-corpora/flores-200-dev"
)
DEVTEST = (
    "https://raw.githubusercontent.com/Helsinki-NLP/OPUS-MT-testsets/ac0f19c0be3cb4e0d9450fcb2d7a9847c4bdd180/"
    "datasets/facebook/flores/flores200_dataset/devtest"
)
FLORES = {
    ("eng_Latn", "dev"): (DEV, "51a25f527fd81f428b6933d85a2f5e5544af92aa82042c7fbf0c4120327fba0a"),
    ("fra_Latn", "dev"): (DEV, "7c1e1043b9d8cc6cb6fd4388ce068060f36518fd3597357a381cfdbe8ce5ab00"),
    ("eng_Latn", "devtest"): (DEVTEST, "612e9fbe87997617c0fa8fa8929654a4f49b728d96738112c2b86ef6a1d78d88"),
    ("fra_Latn", "devtest"): (DEVTEST, "82f5b000db419ef9254eea7857cce82943b361090942f17ed696e3dce2944f42"),
}
SPLITS = ("dev", "devtest")

# === Europarl: debates of the European Parliament, an XML file a sitting or an item of it ===


def europarl(commit):
    for path in commit.paths("xml-files/", ".xml"):
        if content := commit.read(path):
            yield from europarl_pairs(content)


def europarl_pairs(content):
    """The aligned texts of a file, in order, without its annotation of connectives."""
    for chunk in xml.etree.ElementTree.fromstring(content).iter():
        english, french = chunk.find("en"), chunk.find("fr")
        if english is not None and french is not None:
            yield one_line(annotated_text(english)), french_blanks(with_ligatures(one_line(annotated_text(french))))


def annotated_text(element):
    """The text of an element. Line ends between two tags are layout of the file, not part of the text."""
    parts = [element.text]
    for child in element:
        parts += [annotated_text(child), child.tail]
    return "".join(part for part in parts if part and not (part.isspace() and "\n" in part))


def one_line(text):
    return " ".join(text.split())


# === Documentation of Python: PO files of paragraphs in reStructuredText ===

LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
ROLE = re.compile(r":[\w:.+-]+:`([^`]+)`")
TITLE_AND_TARGET = re.compile(r"(.+?)\s*<[^<>]+>", re.DOTALL)
LINK = re.compile(r"`([^`]+)`__?(?!\w)")
REFERENCE = re.compile(r"(?<![\w.])([^\W_]+)_(?=[\s.,;:!?)]|$)")
FOOTNOTE = re.compile(r"\s*\[[#*\w]*\]_(?!\w)")
STRONG = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*", re.DOTALL)
EMPHASIS = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]*?)(?<=[^\s*])\*(?![\w*])", re.DOTALL)
CODE_FOLLOWS = re.compile(r"(\s*)::$")
ESCAPED = re.compile(r"\\(?:\s|(.))", re.DOTALL)
FIRST_STAND_IN = 0xE000  # of the private use area of Unicode


def python_docs(commit):
    for path in commit.paths("", ".po"):
        if content := commit.read(path):
            yield from python_docs_pairs(content)


def python_docs_pairs(content):
    """The paragraphs of a PO file whose translation is neither fuzzy nor obsolete."""
    import polib  # Deferred: the other corpora need the standard library alone.

    for entry in polib.pofile(content.decode("utf-8")):
        if entry.translated() and not entry.msgid_plural:
            yield without_marks(entry.msgid), without_marks(entry.msgstr)


def without_marks(text):
    """A paragraph of reStructuredText as it reads."""
    shown = []

    def stand_in(what):
        """A character in place of what has no marks, whatever it looks like."""
        shown.append(what)
        return chr(FIRST_STAND_IN + len(shown) - 1)

    text = LITERAL.sub(lambda match: stand_in(match[1]), text)
    text = ROLE.sub(lambda match: stand_in(role_text(match[1])), text)
    text = LINK.sub(lambda match: TITLE_AND_TARGET.sub(r"\1", match[1]), text)
    text = EMPHASIS.sub(r"\1", STRONG.sub(r"\1", FOOTNOTE.sub("", text)))
    text = REFERENCE.sub(r"\1", text.replace("`", ""))
    text = ESCAPED.sub(lambda match: match[1] or "", CODE_FOLLOWS.sub(r"\1:", text))
    for number, what in reversed(list(enumerate(shown))):
        text = text.replace(chr(FIRST_STAND_IN + number), what)
    return one_line(text)


def role_text(content):
    """The title in the content of a role, or else the name, with its modules even where readers see it without."""
    match = TITLE_AND_TARGET.fullmatch(content)
    return match[1] if match else content.lstrip("~!")


# === Canadian laws: an XML file a law and language, of the same structure in both, mostly ===

FOLDERS = {"eng/acts/": "fra/lois/", "eng/regulations/": "fra/reglements/"}
NAMES = {"SOR-": "DORS-", "SI-": "TR-", "C.R.C.,_c.": "C.R.C.,_ch."}  # of files, how they begin
# Numbers, dates, the history of a passage, marks of footnotes: no part of what it says.
SKIPPED = {"Label", "HistoricalNote", "FootnoteRef", "BillHistory", "Chapter"}
PARTS = {"Paragraph", "Subparagraph", "Clause", "Subclause", "Subsubclause"}  # of a sentence
PASSAGES = {"Text", "MarginalNote", "TitleText", "LongTitle", "ShortTitle"}
HEADINGS = {"Heading", "ScheduleFormHeading"}  # whose labels are words


def canada_laws(commit):
    for folder, french_folder in FOLDERS.items():
        for path in commit.paths(folder, ".xml"):
            name = path.removeprefix(folder)
            for beginning, french_beginning in NAMES.items():
                name = re.sub(rf"^{re.escape(beginning)}", french_beginning, name)
            english, french = commit.read(path), commit.read(french_folder + name)
            if english and french:
                yield from canada_laws_pairs(english, french)


def canada_laws_pairs(english, french):
    """The headings and sentences that have the same place in both files."""
    french_passages = dict(passages(xml.etree.ElementTree.fromstring(french)))
    for place, text in passages(xml.etree.ElementTree.fromstring(english)):
        if place in french_passages:
            yield text, french_passages[place]


def passages(element, place=()):
    """Yields a place and a text for each passage.

    A place is a path of steps: a tag, what tells it from others (its label or the one before, or the term that it
    defines, in both languages), which it is of several such, and how many they are. So none is found where one file has
    more of them than the other: nobody knows which of them is missing.
    """
    kinds, label = [], ""
    children = [child for child in element if child.tag not in SKIPPED]
    for child in children:
        label = label_of(child) or label
        kinds.append((child.tag, defined_terms(child) or label))
    totals, numbers = collections.Counter(kinds), collections.Counter()
    for kind, child in zip(kinds, children, strict=True):
        numbers[kind] += 1
        here = (*place, (*kind, numbers[kind], totals[kind]))
        if child.tag in PASSAGES or has_text(child):
            yield here, one_line(law_text(child))
        elif child.tag not in PARTS:
            yield from passages(child, here)


def label_of(element):
    """The number of a section or paragraph, or several, without what differs between the languages."""
    label = element.find("Label")
    if label is None or element.tag in HEADINGS:
        return ""
    joined = re.sub(r"\b(?:to|à|and|et)\b", "-", one_line("".join(label.itertext())).casefold())
    return re.sub(r"[^\w.-]", "", joined)


def defined_terms(element):
    """The English and the French term of a definition, which both files have, or nothing."""
    if element.tag != "Definition":
        return ()
    found = [next(element.iter(tag), None) for tag in ("DefinedTermEn", "DefinedTermFr")]
    return () if None in found else tuple(one_line(law_text(term)).casefold() for term in found)


def has_text(element):
    return any(text and not text.isspace() for text in (element.text, *(child.tail for child in element)))


def law_text(element):
    parts = [element.text or ""]
    for child in element:
        if child.tag not in SKIPPED:
            parts.append(" " if child.tag == "LineBreak" else law_text(child))
        parts.append(child.tail or "")
    return "".join(parts)


# === The corpora ===


class Corpus(typing.NamedTuple):
    url: str  # of the git repository of its origin
    commit: str
    pairs: typing.Callable  # from a Commit to an iterable of (English, French)
    words: tuple[int, int]  # of an English side, the fewest and the most
    ratios: tuple[float, float]  # of French words to English ones


CORPORA = {
    "europarl": Corpus(
        "https://github.com/mjlaali/Europarl-ConcoDisco", "1a18432425a6ace708e96220b4fd1d4efd678ad0",
        europarl, (3, 28), (0.5, 2),
    ),
    "python_docs": Corpus(
        "https://github.com/python/python-docs-fr", "1638b6719a50214fb35fff1d34c23be96023f0ac",
        python_docs, (3, 40), (0.4, 2.5),
    ),
    "canada_laws": Corpus(
        "https://github.com/justicecanada/laws-lois-xml", "d6853c4af2ae0b7ab8c205a0e95ee734b9945c31",
        canada_laws, (2, 40), (0, float("inf")),
    ),
}  # fmt: skip


def relative_path(name):
    """Where the file of a corpus is in the mirror, in the cache, and in the folder of --output."""
    return f"{name}/{name}.en-fr.tsv.xz"


def load_corpus(name, repaired=True):
    """The pairs of a corpus, from the offline mirror or else from the cache, where this script writes by default.

    Args:
        name: str, one of `CORPORA`.
        repaired: bool, whether to mend the pairs with `clean` and to drop those that are not `is_aligned`.

    Returns:
        list of (English, French), each once.

    Raises:
        FileNotFoundError: if the file is in neither, with the command that makes it.
    """
    check_choice("name", name, CORPORA)
    candidates = [mirrored_path(relative_path(name)), *(folder / relative_path(name) for folder in cache_folders())]
    paths = [path for path in candidates if path is not None]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"The corpus {name!r} must be at one of {', '.join(map(str, paths))}. Received: no such file. Make it "
            f"with: python {shlex.quote(__file__)} --corpus {name}"
        )
    pairs = read_pairs(found, kind="tsv", quotes=False)
    return repaired_pairs(pairs) if repaired else pairs


def repaired_pairs(pairs):
    """The pairs after `clean`, without those that are not `is_aligned`, each once."""
    return list(dict.fromkeys(pair for pair in map(clean, pairs) if is_aligned(pair)))


def selected(pairs, corpus, excluded=()):
    """Distinct English sides of the right length, with the first French side of each: a dict.

    Args:
        pairs: iterable of (English, French).
        corpus: `Corpus`.
        excluded: collection of English sides that none may have, as `near_source` makes them.
    """
    kept = {}
    for english, french in pairs:
        words, french_words = len(english.split()), len(french.split())
        is_long_enough = corpus.words[0] <= words <= corpus.words[1]
        if is_long_enough and french and corpus.ratios[0] <= french_words / words <= corpus.ratios[1]:
            if english not in kept and near_source(english) not in excluded:
                kept[english] = french
    return kept


def make_corpus(name, repository, limit=None):
    """The pairs of a corpus from a clone of its origin.

    Args:
        name: str, one of `CORPORA`.
        repository: path of a clone that has the commit.
        limit: int, how many at most. Default: all.

    Returns:
        list of (English, French), in the order of the SHA-256 of their English sides.
    """
    corpus = CORPORA[name]
    excluded = {near_source(text) for split in SPLITS for text in flores(split)}
    with Commit(repository, corpus.commit) as commit:
        kept = selected(corpus.pairs(commit), corpus, excluded)
        if commit.absent:
            print(f"{len(commit.absent)} files are absent in {repository}: {', '.join(commit.absent)}")
    return sorted(kept.items(), key=lambda pair: hashlib.sha256(pair[0].encode()).digest())[:limit]


def write_pairs(pairs, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with lzma.open(unfinished, "wt", preset=3, encoding="utf-8", newline="\n") as file:
        file.writelines(f"{english}\t{french}\n" for english, french in pairs)
    os.replace(unfinished, path)


# === git ===


def git(*arguments):
    """The standard output of a git command, as bytes."""
    result = subprocess.run(["git", *map(str, arguments)], capture_output=True)
    if result.returncode:
        raise RuntimeError(f"{shlex.join(['git', *map(str, arguments)])} failed: {result.stderr.decode().strip()}")
    return result.stdout


def cloned(corpus, folder):
    """Fetches the commit of a corpus, without its history, into a bare repository, unless it is there."""
    if not folder.exists():
        git("init", "--quiet", "--bare", folder)
    try:
        git("-C", folder, "rev-parse", "--quiet", "--verify", f"{corpus.commit}^{{tree}}")
    except RuntimeError:
        print(f"Fetching {corpus.url} into {folder}; it may be removed when the corpus is made")
        git("-C", folder, "fetch", "--quiet", "--depth", 1, corpus.url, corpus.commit)
    return folder


class Commit:
    """The files of a commit, whether they are checked out or not; a context manager.

    Args:
        repository: path of a clone, bare or not.
        commit: str, its full name.

    Raises:
        RuntimeError: if git fails, for example since the clone lacks the commit.
    """

    def __init__(self, repository, commit):
        listing = git("-C", repository, "ls-tree", "-r", "-z", "--full-tree", commit).decode("utf-8", "surrogateescape")
        entries = (entry.partition("\t") for entry in listing.split("\0") if entry)
        self.objects = {path: about.split()[2] for about, _, path in entries}
        self.absent = []
        self._reader = subprocess.Popen(
            ["git", "-C", os.fspath(repository), "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._reader.communicate()

    def paths(self, folder, suffix):
        """The paths of files in a folder or below it, in order, with a progress bar."""
        found = sorted(path for path in self.objects if path.startswith(folder) and path.endswith(suffix))
        return progress_bar(folder or suffix, "files", of=found)

    def read(self, path):
        """The bytes of a file, or nothing if the clone lacks it, which `absent` tells."""
        if path not in self.objects:
            return None
        self._reader.stdin.write(f"{self.objects[path]}\n".encode())
        self._reader.stdin.flush()
        *_, about = self._reader.stdout.readline().split()
        if about == b"missing":
            self.absent.append(path)
            return None
        return self._reader.stdout.read(int(about) + 1)[:-1]


# === What is held out ===


def flores(split, language="eng_Latn"):
    """The sentences of FLORES in a split, `"dev"` or `"devtest"`, and a language, `"eng_Latn"` or `"fra_Latn"`."""
    folder, sha256 = FLORES[language, split]
    name = f"{language}.{split}"
    return fetch(f"flores200/{name}", f"{folder}/{name}", sha256).read_text(encoding="utf-8").splitlines()


def held_out():
    """English sentences to choose and to test by: a dict from a name to a list."""
    _, validation, test = load_anki("fra")
    sets = {f"flores_{split}": flores(split) for split in SPLITS}
    sets["tatoeba_validation"] = [english for english, _ in validation]
    sets["tatoeba_test"] = [english for english, _ in test]
    return sets


def overlaps(pairs, sets=None):
    """How many pairs have an English side of a held-out set, but for case, punctuation and white space.

    Args:
        pairs: list of (English, French).
        sets: dict from a name to a list of English sentences. Default: `held_out()`.

    Returns:
        dict from a name to a number.
    """
    sets = held_out() if sets is None else sets
    keys = [near_source(english) for english, _ in pairs]
    known = {name: set(map(near_source, sentences)) - {""} for name, sentences in sets.items()}
    return {name: sum(key in those for key in keys) for name, those in known.items()}


def without_overlap(pairs, sets=None):
    """The pairs that `overlaps` does not count; arguments as there."""
    sets = held_out() if sets is None else sets
    return drop_near_duplicates(pairs, [(text, "") for sentences in sets.values() for text in sentences])


# === Likeness of two files ===


def shares_made(made, expected):
    """Which shares of the expected pairs are made: as they are, after `clean`, and by letters and digits alone.

    Args:
        made: list of (English, French).
        expected: list of (English, French).

    Returns:
        dict of float; `"english"` is that of the English sides, by letters and digits, whatever their French.
    """

    def letters(pair):
        return tuple(re.sub(r"[\W_]", "", side).casefold() for side in pair)

    views = {
        "exact": tuple,
        "cleaned": clean,
        "letters": letters,
        "english": lambda pair: letters(pair)[0],
    }
    shares = {}
    for name, view in views.items():
        known = set(map(view, made))
        shares[name] = sum(view(pair) in known for pair in expected) / len(expected)
    return shares


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", choices=CORPORA, required=True)
    parser.add_argument("--output", type=pathlib.Path, help="folder; default: the cache of kerasseq")
    parser.add_argument("--repository", type=pathlib.Path, help="a clone of the origin; default: it is fetched")
    parser.add_argument("--limit", type=int, help="pairs at most; default: all")
    parser.add_argument("--compare", type=pathlib.Path, help="a TSV file; says which share of its pairs is made")
    parser.add_argument("--report", action="store_true", help="only say what is in the corpus at hand")
    options = parser.parse_args()
    name = options.corpus
    if options.report:
        return report(name)
    output = options.output or next((folder for folder in cache_folders() if is_writable(folder)), cache_folders()[-1])
    repository = options.repository or cloned(CORPORA[name], output / name / "repository.git")
    pairs = make_corpus(name, repository, options.limit)
    write_pairs(pairs, output / relative_path(name))
    print(f"{output / relative_path(name)}: {len(pairs):,} pairs")
    if options.compare:
        for view, share in shares_made(pairs, read_pairs(options.compare, kind="tsv", quotes=False)).items():
            print(f"{share:7.2%} of {options.compare} ({view})")


def report(name):
    pairs = load_corpus(name, repaired=False)
    repaired = repaired_pairs(pairs)
    print(f"{name}: {len(pairs):,} pairs, {len(repaired):,} of them aligned and distinct after repair")
    sets = held_out()
    for what, number in overlaps(repaired, sets).items():
        print(f"{number:,} with an English side of {what}")
    print(f"{len(without_overlap(repaired, sets)):,} without those")


if __name__ == "__main__":
    main()
