import re
from collections import Counter

import pytest

from kerasseq.datasets import aeslc, load_aeslc
from kerasseq.datasets.archives import files_digest, read_archive

FILE = f"aeslc/AESLC-{aeslc.COMMIT}.tar.gz"

EMAILS = {
    "train/b-x_sent_2.subject": "Dear B,  see below.\nThanks\n\n@subject\nThe second",
    "train/a-x_sent_1.subject": "\nDear A,\t\tsee\u2028@subject\nand mail me @home.\n\n\n@subject\n Folded \t here \n",
    "dev/a-x_inbox_1.subject": "Hello.\n\n@subject\nGreeting\n\n@ann0\nhello\n\n@ann1\nsaying  hello\n\n@ann2\nhi",
    "test/a-x_sent_10.subject": "Ten.\n\n@subject\nTen\n\n@ann0\nten zero\n\n@ann1\nten one\n\n@ann2\nten two",
    "test/a-x_sent_9.subject": "Nine.\n\n@subject\nNine\n\n@ann0\nnine zero\n\n@ann1\nnine one\n\n@ann2\nnine two",
}


@pytest.fixture
def publish_emails(publish, tar, monkeypatch):
    """A function that puts emails in place of the data set. Unless `pin` is false, they have the expected digest."""

    def publish_emails(emails, pin=True):
        files = {f"AESLC-main/enron_subject_line/{name}": text.encode("utf-8") for name, text in emails.items()}
        path, _ = publish(FILE, tar(files))
        if pin:
            monkeypatch.setattr(aeslc, "SHA256", files_digest(read_archive(path, aeslc.MEMBER)))

    return publish_emails


def test_bodies_and_original_subjects_by_split(publish_emails):
    publish_emails(EMAILS)
    assert load_aeslc() == (
        [
            ("Dear A,\t\tsee\u2028@subject\nand mail me @home.", "Folded here"),
            ("Dear B,  see below.\nThanks", "The second"),
        ],
        [("Hello.", "Greeting")],
        [("Ten.", "Ten"), ("Nine.", "Nine")],
    )


def test_damaged_archive(publish_emails):
    publish_emails(EMAILS)
    publish_emails({**EMAILS, "dev/a-x_inbox_1.subject": "Hello.\n\n@subject\ngreeting"}, pin=False)
    with pytest.raises(ValueError, match=rf"Expected sha256 {aeslc.SHA256}\. Received: \w+ over 5 files\."):
        load_aeslc()


@pytest.mark.parametrize(
    "name, text, expected, received",
    [
        ("train/a-x_sent_1.subject", "Hello.\n", "@subject", "none"),
        ("train/a-x_sent_1.subject", "A.\n\n@subject\nB\n\n@subject\nC", "@subject", "@subject, @subject"),
        ("train/a-x_sent_1.subject", "A.\n\n@subject\nB\n\n@ann0\nC", "@subject", "@subject, @ann0"),
        ("test/a-x_sent_9.subject", "A.\n\n@subject\nB", "@subject, @ann0, @ann1, @ann2", "@subject"),
    ],
)
def test_unexpected_format(publish_emails, name, text, expected, received):
    publish_emails({**EMAILS, name: text})
    with pytest.raises(ValueError, match=rf"{name}: expected the lines {expected} after .*Received: {received}\."):
        load_aeslc()


# === Real data ===


@pytest.fixture(scope="module")
def splits(require_mirror):
    require_mirror(FILE)
    return load_aeslc()


def test_example(splits, run_examples):
    run_examples(aeslc, load_aeslc=lambda: splits)


def test_real_archive(splits):
    train, validation, test = splits
    assert [len(split) for split in splits] == [14_436, 1_960, 1_906]
    assert all(text and text == text.strip() for split in splits for pair in split for text in pair)
    assert not any("\n" in subject or "\t" in subject or "  " in subject for split in splits for _, subject in split)
    assert validation[0] == (
        "Hi Phillip,  This message is to confirm our meeting with you on, Tuesday, October 30th from 9:00 am - 10:00 "
        "am, the location will be EB 3267.\nAttendees will be Monica Brown and Sheri Righi.\nLet me know if you have "
        "any questions.\nI can be reached at 713-345-6687.\nThanks,",
        "Confirmation: Risk Management Simulation Meeting 10/30/01",
    )
    assert train[0][1] == "Service Agreement"
    assert test[0][1] == "Huntley/question"


def plain(text):
    return re.sub(r"\W+", " ", text.lower()).strip()


def test_documented_facts(splits):
    pairs = [pair for split in splits for pair in split]
    for texts, median, longest in zip(zip(*pairs, strict=True), (75, 3), (3_136, 15), strict=True):
        lengths = sorted(len(text.split()) for text in texts)
        assert (lengths[len(lengths) // 2], lengths[-1]) == (median, longest)

    train, validation, test = (Counter(body for body, _ in split) for split in splits)
    assert [len(train), len(validation), len(test)] == [13_523, 1_820, 1_766]
    assert not train.keys() & (validation.keys() | test.keys())
    shared = validation.keys() & test.keys()
    assert (len(shared), sum(validation[body] for body in shared)) == (108, 209)

    train, validation, test = ([plain(body) for body, _ in split] for split in splits)
    assert [sum(body in other for body in train) for other in (set(test), set(validation))] == [8, 12]
