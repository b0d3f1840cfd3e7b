from kerasseq.datasets import an4, load_an4
from kerasseq.datasets.archives import files_digest, read_archive

FILE = f"an4/an4-{an4.COMMIT}.tar.gz"

FILES = {
    "an4-x/etc/an4_train.transcription": b"<s> YES </s> (an1-aaaa-b)\n<s> A B SIX </s> (cen2-b2-b)\n",
    "an4-x/etc/an4_test.transcription": b"GO (an3-cccc-b)\n",
    "an4-x/wav/an4_clstk/aaaa/an1-aaaa-b.wav": b"first",
    "an4-x/wav/an4_clstk/b2/cen2-b2-b.wav": b"second",
    "an4-x/wav/an4test_clstk/cccc/an3-cccc-b.wav": b"third",
    "an4-x/README.md": b"not a recording",
}


def test_recordings_with_their_transcripts(publish, tar, monkeypatch):
    path, _ = publish(FILE, tar(FILES))
    monkeypatch.setattr(an4, "SHA256", files_digest(read_archive(path, an4.MEMBER)))
    train, validation, test = load_an4()
    assert sorted(train + validation) == [(b"first", "yes"), (b"second", "a b six")] and test == [(b"third", "go")]
    for percent, expected in ((0, 0), (100, 2)):
        monkeypatch.setattr(an4, "VALIDATION_PERCENT", percent)
        assert len(load_an4()[1]) == expected


def test_real_data(require_mirror, run_examples):
    require_mirror(FILE)
    train, validation, test = splits = load_an4()
    assert len(train) + len(validation) == 948 and len(test) == 130
    assert not {recording for recording, _ in train + validation} & {recording for recording, _ in test}
    words = [{word for _, text in split for word in text.split()} for split in splits]
    assert len(words[0]) == 98 and words[1] - words[0] == {"second"}
    assert words[2] - words[1] - words[0] == {"thirteen", "november"}
    run_examples(an4, load_an4=lambda: splits)
