import doctest
import os
import pathlib
import tarfile

import pytest

from kerasseq.datasets import an4, load_an4
from kerasseq.datasets.archives import archive_digest, read_archive

FILE = f"an4/an4-{an4.COMMIT}.tar.gz"


@pytest.fixture
def mirror():
    folder = os.environ.get("KERASSEQ_DATA_DIR")
    if not folder or not (pathlib.Path(folder).expanduser() / FILE).is_file():
        pytest.skip(f"no {FILE} in a folder that KERASSEQ_DATA_DIR names")


def write_archive(path, files, level=9):
    with tarfile.open(path, "w:gz", compresslevel=level) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            with open(path.parent / "content", "wb") as file:
                file.write(content)
            with open(path.parent / "content", "rb") as file:
                archive.addfile(member, file)


SMALL = {
    "an4-x/etc/an4_train.transcription": b"<s> YES </s> (an1-aaaa-b)\n<s> A B SIX </s> (cen2-b2-b)\n",
    "an4-x/etc/an4_test.transcription": b"GO (an3-cccc-b)\n",
    "an4-x/wav/an4_clstk/aaaa/an1-aaaa-b.wav": b"first",
    "an4-x/wav/an4_clstk/b2/cen2-b2-b.wav": b"second",
    "an4-x/wav/an4test_clstk/cccc/an3-cccc-b.wav": b"third",
    "an4-x/README.md": b"not a recording",
}


def test_transcripts_and_sounds_belong_together(tmp_path, monkeypatch):
    path = tmp_path / FILE
    path.parent.mkdir()
    write_archive(path, SMALL)
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(an4, "SHA256", archive_digest(path, an4.MEMBER))
    train, validation, test = load_an4()
    assert sorted(train + validation) == [(b"first", "yes"), (b"second", "a b six")] and test == [(b"third", "go")]
    for percent, expected in ((0, 0), (100, 2)):
        monkeypatch.setattr(an4, "VALIDATION_PERCENT", percent)
        assert len(load_an4()[1]) == expected


def test_digests_are_of_the_contents(tmp_path):
    """However they are compressed and ordered, and whatever else lies beside them."""
    digests = []
    for index, files in enumerate([SMALL, dict(reversed(SMALL.items())), {**SMALL, "an4-x/other": b""}]):
        write_archive(tmp_path / f"{index}.tar.gz", files, level=1 + index)
        digests.append(archive_digest(tmp_path / f"{index}.tar.gz", an4.MEMBER))
    assert len(set(digests)) == 1 and digests[0].endswith(" over 5 files")
    write_archive(tmp_path / "x.tar.gz", {**SMALL, "an4-x/wav/an4_clstk/aaaa/an1-aaaa-b.wav": b"First"})
    assert archive_digest(tmp_path / "x.tar.gz", an4.MEMBER) not in digests
    (tmp_path / "y.tar.gz").write_bytes((tmp_path / "x.tar.gz").read_bytes()[:100])
    assert archive_digest(tmp_path / "y.tar.gz", an4.MEMBER).startswith("none, for it is no complete")
    assert set(read_archive(tmp_path / "x.tar.gz", an4.MEMBER)) == {name[6:] for name in SMALL if "README" not in name}


def test_real_data(mirror):
    train, validation, test = load_an4()
    assert len(train) + len(validation) == 948 and len(test) == 130
    assert not {sound for sound, _ in train + validation} & {sound for sound, _ in test}
    words = {word for _, text in train + validation for word in text.split()}
    assert len(words) == 99
    assert {word for _, text in test for word in text.split()} - words == {"thirteen", "november"}


def test_examples(mirror):
    result = doctest.testmod(an4)
    assert result.attempted and not result.failed
