import doctest
import gzip
import hashlib
import io
import os
import pathlib
import re
import tarfile
from collections import Counter

import pytest

from kerasseq.datasets import aeslc, load_aeslc

FILE = f"aeslc/AESLC-{aeslc.COMMIT}.tar.gz"

EMAILS = {
    "train/b-x_sent_2.subject": "Dear B,  see below.\nThanks\n\n@subject\nThe second",
    "train/a-x_sent_1.subject": "\nDear A,\t\tsee\u2028@subject\nand mail me @home.\n\n\n@subject\n Folded \t here \n",
    "dev/a-x_inbox_1.subject": "Hello.\n\n@subject\nGreeting\n\n@ann0\nhello\n\n@ann1\nsaying  hello\n\n@ann2\nhi",
    "test/a-x_sent_10.subject": "Ten.\n\n@subject\nTen\n\n@ann0\nten zero\n\n@ann1\nten one\n\n@ann2\nten two",
    "test/a-x_sent_9.subject": "Nine.\n\n@subject\nNine\n\n@ann0\nnine zero\n\n@ann1\nnine one\n\n@ann2\nnine two",
}

TRAIN = [
    ("Dear A,\t\tsee\u2028@subject\nand mail me @home.", "Folded here"),
    ("Dear B,  see below.\nThanks", "The second"),
]


def needs_mirror():
    folder = os.environ.get("KERASSEQ_DATA_DIR")
    if not folder:
        pytest.skip("KERASSEQ_DATA_DIR is not set")
    if not (pathlib.Path(folder).expanduser() / FILE).is_file():
        pytest.skip(f"the folder in KERASSEQ_DATA_DIR has no {FILE}")


def packed(emails, folder="AESLC-main", level=9, others=()):
    """A tar.gz archive of emails, with a file that is none, and with `others`, which are `TarInfo` objects."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz", compresslevel=level) as archive:
        for name, text in {"../README.md": "A data set.", **emails}.items():
            content = text.encode("utf-8")
            member = tarfile.TarInfo(f"{folder}/enron_subject_line/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in others:
            archive.addfile(member)
    return written.getvalue()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Where the mirror's archive goes. The five emails above are the whole data set, and nothing is downloaded."""
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path / "mirror"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(aeslc, "URL", (tmp_path / "published.tar.gz").as_uri())
    monkeypatch.setattr(aeslc, "SPLITS", {"train": 2, "dev": 1, "test": 2})
    pin(monkeypatch, EMAILS)
    path = tmp_path / "mirror" / FILE
    path.parent.mkdir(parents=True)
    return path


def pin(monkeypatch, emails):
    """Expect these emails: the digest as the module's comment has it, in the format of the program `sha256sum`."""
    digests = {name: hashlib.sha256(text.encode("utf-8")).hexdigest() for name, text in emails.items()}
    listing = "".join(f"{digests[name]}  {name}\n" for name in sorted(emails))
    monkeypatch.setattr(aeslc, "SHA256", hashlib.sha256(listing.encode("utf-8")).hexdigest())


def test_original_subjects(mirror):
    mirror.write_bytes(packed(EMAILS))
    assert load_aeslc() == (TRAIN, [("Hello.", "Greeting")], [("Ten.", "Ten"), ("Nine.", "Nine")])


def test_subjects_of_annotators(mirror):
    mirror.write_bytes(packed(EMAILS))
    train, validation, test = load_aeslc(annotations=True)
    assert train == TRAIN
    assert validation == [("Hello.", ["Greeting", "hello", "saying hello", "hi"])]
    assert test == [
        ("Ten.", ["Ten", "ten zero", "ten one", "ten two"]),
        ("Nine.", ["Nine", "nine zero", "nine one", "nine two"]),
    ]


@pytest.mark.parametrize("folder, level", [("AESLC-7afc087", 1), ("other", 0)])
def test_archive_of_other_bytes_but_the_same_emails(mirror, folder, level):
    mirror.write_bytes(packed(dict(reversed(EMAILS.items())), folder, level))
    assert load_aeslc()[0] == TRAIN


def test_download_of_other_bytes_but_the_same_emails(mirror, tmp_path, capsys):
    published = tmp_path / "published.tar.gz"
    cached = tmp_path / "keras" / "kerasseq" / FILE
    for level in (1, 9):
        published.write_bytes(packed(EMAILS, level=level))
        assert load_aeslc()[0] == TRAIN
        assert "Downloading data from" in capsys.readouterr().out
        assert cached.read_bytes() == published.read_bytes()
        assert load_aeslc()[0] == TRAIN
        assert "Downloading" not in capsys.readouterr().out
        cached.write_bytes(cached.read_bytes()[:200])  # Damaged, so the next round downloads it again.


DAMAGES = {
    "missing file": (
        {name: text for name, text in EMAILS.items() if name != "test/a-x_sent_9.subject"},
        "over 2 train, 1 dev, 1 test emails",
    ),
    "one file more": (
        {**EMAILS, "dev/a-x_inbox_2.subject": EMAILS["dev/a-x_inbox_1.subject"]},
        "over 2 train, 2 dev, 2 test emails",
    ),
    "file on another side": (
        {name.replace("dev/", "train/"): text for name, text in EMAILS.items()},
        "over 3 train, 0 dev, 2 test emails",
    ),
    "file renamed": (
        {name.replace("sent_9", "sent_8"): text for name, text in EMAILS.items()},
        "over 2 train, 1 dev, 2 test emails",
    ),
    "texts exchanged": (
        dict(zip(EMAILS, [*list(EMAILS.values())[1::-1], *list(EMAILS.values())[2:]], strict=True)),
        "over 2 train, 1 dev, 2 test emails",
    ),
    "text changed": (
        {name: text.replace("Greeting", "greeting") for name, text in EMAILS.items()},
        "over 2 train, 1 dev, 2 test emails",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_tampered_archive(mirror, damage):
    emails, received = DAMAGES[damage]
    mirror.write_bytes(packed(emails))
    expected = f"Expected sha256 {aeslc.SHA256} over 2 train, 1 dev, 2 test emails"
    with pytest.raises(ValueError, match=rf"damaged or of another release\. {expected}\. Received: \w+ {received}\."):
        load_aeslc()


@pytest.mark.parametrize(
    "damage",
    [
        lambda archive: archive[: len(archive) // 2],  # Cut short.
        lambda archive: archive[:10] + b"\xff" * 20,  # No deflate stream.
        lambda archive: gzip.compress(b"not a tar archive" * 100),
        lambda archive: b"<html>Please log in</html>",
        lambda archive: b"",
    ],
)
def test_damaged_compression(mirror, damage):
    mirror.write_bytes(damage(packed(EMAILS)))
    with pytest.raises(ValueError, match="Received: none, for it is no complete tar.gz archive") as caught:
        load_aeslc()
    assert str(mirror) in str(caught.value) and "Replace it by a fresh copy" in str(caught.value)


def test_damaged_download_is_refused_and_leaves_nothing(mirror, tmp_path):
    (tmp_path / "published.tar.gz").write_bytes(b"<html>Please log in</html>")
    with pytest.raises(ValueError, match="Received: none, for it is no complete tar.gz archive.* Try again"):
        load_aeslc()
    assert not (tmp_path / "keras" / "kerasseq" / FILE).exists()


def test_damaged_cache_is_named_when_the_download_fails(mirror, tmp_path):
    cached = tmp_path / "keras" / "kerasseq" / FILE
    cached.parent.mkdir(parents=True)
    cached.write_bytes(packed(DAMAGES["missing file"][0]))
    with pytest.raises(ConnectionError, match=r"\(cache\): damaged, sha256 \w+ over 2 train, 1 dev, 1 test emails"):
        load_aeslc()


def link(name, kind, target):
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


def test_links_and_strange_paths_are_not_followed(mirror, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("Secret.\n\n@subject\nSecret")
    inside = "AESLC-main/enron_subject_line/train"
    others = [
        link(f"{inside}/symbolic.subject", tarfile.SYMTYPE, str(secret)),
        link(f"{inside}/relative.subject", tarfile.SYMTYPE, "../dev/a-x_inbox_1.subject"),
        link(f"{inside}/hard.subject", tarfile.LNKTYPE, "AESLC-main/enron_subject_line/dev/a-x_inbox_1.subject"),
        link(f"{inside}/folder.subject", tarfile.DIRTYPE, ""),
        link(f"{inside}/pipe.subject", tarfile.FIFOTYPE, ""),
        tarfile.TarInfo(f"{inside}/../../../up.subject"),
        tarfile.TarInfo(f"/{inside}/absolute.subject"),
        tarfile.TarInfo(f"{inside}/deeper/below.subject"),
        tarfile.TarInfo(f"{inside}/two\nlines.subject"),
        tarfile.TarInfo("enron_subject_line/train/top.subject"),
    ]
    mirror.write_bytes(packed(EMAILS, others=others))
    before = sorted(tmp_path.rglob("*"))
    assert load_aeslc()[0] == TRAIN
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name, text, expected, received",
    [
        ("train/a-x_sent_1.subject", "Hello.\n", "@subject", "none"),
        ("train/a-x_sent_1.subject", "A.\n\n@subject\nB\n\n@subject\nC", "@subject", "@subject, @subject"),
        ("train/a-x_sent_1.subject", "A.\n\n@subject\nB\n\n@ann0\nC", "@subject", "@subject, @ann0"),
        ("test/a-x_sent_9.subject", "A.\n\n@subject\nB", "@subject, @ann0, @ann1, @ann2", "@subject"),
    ],
)
def test_unexpected_format(mirror, monkeypatch, name, text, expected, received):
    emails = {**EMAILS, name: text}
    pin(monkeypatch, emails)
    mirror.write_bytes(packed(emails))
    with pytest.raises(ValueError, match=rf"{name}: expected the lines {expected} after .*Received: {received}\."):
        load_aeslc()


def test_real_archive():
    needs_mirror()
    train, validation, test = sides = load_aeslc()
    assert [len(side) for side in sides] == [14_436, 1_960, 1_906]
    assert all(text and text == text.strip() for side in sides for pair in side for text in pair)
    assert not any("\n" in subject or "\t" in subject or "  " in subject for side in sides for _, subject in side)
    assert validation[0] == (
        "Hi Phillip,  This message is to confirm our meeting with you on, Tuesday, October 30th from 9:00 am - 10:00 "
        "am, the location will be EB 3267.\nAttendees will be Monica Brown and Sheri Righi.\nLet me know if you have "
        "any questions.\nI can be reached at 713-345-6687.\nThanks,",
        "Confirmation: Risk Management Simulation Meeting 10/30/01",
    )
    assert train[0][1] == "Service Agreement"
    assert test[0][1] == "Huntley/question"


def test_real_annotations():
    needs_mirror()
    original = load_aeslc()
    train, validation, test = load_aeslc(annotations=True)
    assert train == original[0]
    for side, plain in ((validation, original[1]), (test, original[2])):
        assert [(body, subjects[0]) for body, subjects in side] == plain
        assert {len(subjects) for _, subjects in side} == {4}
        assert all(subject and subject == subject.lower() for _, subjects in side for subject in subjects[1:])
    assert validation[0][1][1:] == ["meeting confimation - tues, 8/10", "meeting confirmation", "meeting confirmed"]


def plain(text):
    return re.sub(r"\W+", " ", text.lower()).strip()


def test_documented_facts():
    needs_mirror()
    sides = load_aeslc()
    pairs = [pair for side in sides for pair in side]
    for texts, median, longest in zip(zip(*pairs, strict=True), (75, 3), (3_136, 15), strict=True):
        lengths = sorted(len(text.split()) for text in texts)
        assert (lengths[len(lengths) // 2], lengths[-1]) == (median, longest)

    train, validation, test = (Counter(body for body, _ in side) for side in sides)
    assert [len(train), len(validation), len(test)] == [13_523, 1_820, 1_766]
    assert not train.keys() & (validation.keys() | test.keys())
    shared = validation.keys() & test.keys()
    assert (len(shared), sum(validation[body] for body in shared)) == (108, 209)

    train, validation, test = ([plain(body) for body, _ in side] for side in sides)
    assert [sum(body in other for body in train) for other in (set(test), set(validation))] == [8, 12]


def test_example():
    needs_mirror()
    result = doctest.testmod(aeslc)
    assert result.attempted and not result.failed
