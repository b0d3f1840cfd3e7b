"""AESLC, the Annotated Enron Subject Line Corpus: emails and their subject lines (Zhang and Tetreault, 2019)."""

import re

from kerasseq.datasets.archives import fetch_archive
from kerasseq.datasets.splits import TextPairs, TextSplits

COMMIT = "7afc087a1cc234d07121f0d4a2d87102ddceabc2"
URL = f"https://github.com/ryanzhumich/AESLC/archive/{COMMIT}.tar.gz"

# Digest of the emails, because GitHub may recompress the archive of a commit. In the extracted archive:
# (export LC_ALL=C; cd enron_subject_line; sha256sum */*.subject | sha256sum)
SHA256 = "df06f515967e2710b835eb395fdcbbddc9bb62375d8b21d25ee8788145a299bc over 18,302 files"
MEMBER = re.compile(r"[^/]+/enron_subject_line/((?:train|dev|test)/[\w.-]+\.subject)", re.ASCII)

# Lines that separate body, subject and, except in the training split, the subjects written by annotators.
ANNOTATED = ["@subject", "@ann0", "@ann1", "@ann2"]
MARKERS = {"train": ["@subject"], "dev": ANNOTATED, "test": ANNOTATED}


def load_aeslc() -> TextSplits:
    r"""Loads AESLC: emails of Enron employees with the subject lines that their senders wrote.

    The official splits: 14,436 emails for training, 1,960 for validation and 1,906 for testing. The median body has 75
    words, the longest 3,136. The median subject has 3 words, the longest 15. No body or subject is empty.

    Emails found in several mailboxes are repeated, mostly with the same subject: there are 13,523 distinct bodies in
    training, 1,820 in validation and 1,766 in the test split. No training body occurs in the other two splits, but 108
    bodies occur in both validation (209 emails) and test. Ignoring case and punctuation, 8 training bodies occur in the
    test split and 12 in validation.

    Source: https://github.com/ryanzhumich/AESLC; R. Zhang, J. Tetreault, "This Email Could Save Your Life: Introducing
    the Task of Email Subject Line Generation", 2019. Licence: CC BY-NC-SA 4.0
    (https://creativecommons.org/licenses/by-nc-sa/4.0/): non-commercial. Use it for benchmarks and tutorials.

    Returns:
        tuple `(train, validation, test)` of lists of `(body, subject)` string tuples, ordered by file name. Bodies keep
        their line breaks (about one sentence per line), tabs and repeated spaces, except at the ends. Subjects are
        single lines without repeated spaces.

    Raises:
        ValueError: if the archive is damaged.
        ConnectionError: if the archive is neither in the mirror nor in the cache, and cannot be downloaded.

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
    files = fetch_archive(f"aeslc/AESLC-{COMMIT}.tar.gz", URL, SHA256, MEMBER)
    splits: dict[str, TextPairs] = {split: [] for split in MARKERS}
    for name, content in sorted(files.items()):
        split = name.partition("/")[0]
        splits[split].append(_parse(name, content.decode("utf-8"), MARKERS[split]))
    return splits["train"], splits["dev"], splits["test"]


def _parse(name: str, text: str, expected: list[str]) -> tuple[str, str]:
    body, *rest = re.split(rf"^({'|'.join(ANNOTATED)})$", text, flags=re.MULTILINE)
    markers, subjects = rest[::2], rest[1::2]
    if markers != expected:
        raise ValueError(
            f"{name}: expected the lines {', '.join(expected)} after the body, each followed by a subject. Received: "
            f"{', '.join(markers) or 'none'}. The archive has the expected digest, so correct SHA256 or MARKERS in "
            "this module."
        )
    return body.strip(), " ".join(subjects[0].split())
