"""AESLC, the Annotated Enron Subject Line Corpus: emails and their subject lines (Zhang and Tetreault, 2019)."""

import gzip
import hashlib
import re
import tarfile
import zlib

from kerasseq.datasets.fetch import fetch

COMMIT = "7afc087a1cc234d07121f0d4a2d87102ddceabc2"
URL = f"https://github.com/ryanzhumich/AESLC/archive/{COMMIT}.tar.gz"

# Of what the archive holds: GitHub promises the files of a commit, but not how they are compressed. With the archive
# unpacked: (export LC_ALL=C; cd enron_subject_line; sha256sum */*.subject | sha256sum)
SHA256 = "df06f515967e2710b835eb395fdcbbddc9bb62375d8b21d25ee8788145a299bc"

# Official name and number of emails of each split, in the order in which they are returned.
SPLITS = {"train": 14_436, "dev": 1_960, "test": 1_906}

# The lines that part the texts of a file, after the body.
MARKERS = {
    "train": ["@subject"],
    "dev": ["@subject", "@ann0", "@ann1", "@ann2"],
    "test": ["@subject", "@ann0", "@ann1", "@ann2"],
}

MEMBER = re.compile(r"[^/]+/enron_subject_line/((?:train|dev|test)/[\w.-]+\.subject)", re.ASCII)


def load_aeslc(annotations=False):
    r"""Load AESLC: emails of the Enron company, each with the subject line that its sender gave it.

    The official splits: 14,436 emails for training, 1,960 for validation and 1,906 for the test. The median body has 75
    words and the longest 3,136; the median subject has 3 and the longest 15. No body and no subject is empty.

    Emails that were in several mailboxes are there several times, mostly with the same subject: distinct bodies are
    13,523 for training, 1,820 for validation and 1,766 for the test. No training body occurs in the other two, but 108
    bodies are both in validation (209 emails) and in the test. Ignoring letter case and punctuation, 8 training bodies
    occur in the test, and 12 in validation.

    Source: https://github.com/ryanzhumich/AESLC; R. Zhang, J. Tetreault, "This Email Could Save Your Life: Introducing
    the Task of Email Subject Line Generation", 2019. Licence: CC BY-NC-SA 4.0
    (https://creativecommons.org/licenses/by-nc-sa/4.0/): non-commercial. Use it for benchmarks and tutorials.

    Args:
        annotations: bool. `True` makes each target of validation and test a list of four strings, as
            `kerasseq.evaluation.bleu` takes them: the original subject, then the subjects that three annotators wrote
            for the same body, all in lower case. Training targets stay strings. Defaults to `False`: original subjects
            only.

    Returns:
        A tuple `(train, validation, test)` of lists of `(body, subject)` string tuples in the order of the file names.
        A body is as written, with line breaks (about one sentence a line), tabs and repeated spaces, but none at its
        ends. A subject is one line: white space inside it, where mail headers are folded, is a single space.

    Raises:
        ValueError: if the archive is damaged.
        ConnectionError: if the archive is neither in the mirror, nor in the cache, nor within reach.

    Example:

    >>> train, validation, test = load_aeslc()
    >>> body, subject = train[2]
    >>> body.split("\n")[0]
    'Your Internet Banking accounts are now setup again for accessing.'
    >>> subject
    'Internet Banking'
    >>> len(train), len(validation), len(test)
    (14436, 1960, 1906)
    """
    path = fetch(f"aeslc/AESLC-{COMMIT}.tar.gz", URL, _described(SHA256, SPLITS), digest=_digest)
    sides = {split: [] for split in SPLITS}
    for name, content in sorted(_read(path).items()):
        split = name.partition("/")[0]
        body, subject, *others = _parse(name, content.decode("utf-8"), MARKERS[split])
        sides[split].append((body, [subject, *others] if annotations and split != "train" else subject))
    return tuple(sides.values())


def _read(path):
    """The emails in the archive: names such as `"train/allen-p_inbox_20.subject"` to bytes. Nothing is unpacked."""
    emails = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = MEMBER.fullmatch(member.name)
            if name and member.isreg():  # Not a link, which `extractfile` would follow.
                emails[name[1]] = archive.extractfile(member).read()
    return emails


def _digest(path):
    try:
        emails = _read(path)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        return f"none, for it is no complete tar.gz archive ({error})"
    lines = (f"{hashlib.sha256(emails[name]).hexdigest()}  {name}\n" for name in sorted(emails))
    counts = {split: sum(name.startswith(f"{split}/") for name in emails) for split in SPLITS}
    return _described(hashlib.sha256("".join(lines).encode("utf-8")).hexdigest(), counts)


def _described(sha256, counts):
    return f"{sha256} over {', '.join(f'{count:,} {split}' for split, count in counts.items())} emails"


def _parse(name, text, expected):
    body, *rest = re.split(rf"^({'|'.join(MARKERS['test'])})$", text, flags=re.MULTILINE)
    markers, subjects = rest[::2], rest[1::2]
    if markers != expected:
        raise ValueError(
            f"{name}: expected the lines {', '.join(expected)} after the body, each with a subject below it. Received: "
            f"{', '.join(markers) or 'none'}. The archive has the expected contents, so correct either SHA256 or "
            "MARKERS in this module."
        )
    return [body.strip(), *(" ".join(subject.split()) for subject in subjects)]
