import gzip
import hashlib
import re
import tarfile

import pytest

from kerasseq.datasets.archives import fetch_archive

FILES = {"top/data/a.txt": b"first", "top/data/b.txt": b"second", "top/README.md": b"about"}
PATTERN = re.compile(r"[^/]+/(data/\w+\.txt)", re.ASCII)
# As `sha256sum data/*.txt | sha256sum` computes it.
LISTING = "".join(
    f"{hashlib.sha256(content).hexdigest()}  {name}\n"
    for name, content in (("data/a.txt", b"first"), ("data/b.txt", b"second"))
)
DIGEST = f"{hashlib.sha256(LISTING.encode()).hexdigest()} over 2 files"


URL = "http://127.0.0.1/never-requested"


@pytest.mark.parametrize(
    "files, level",
    [
        (FILES, 9),
        (FILES, 1),
        (dict(reversed(FILES.items())), 9),
        ({name.replace("top", "other"): content for name, content in FILES.items()}, 9),
        ({**FILES, "top/other.txt": b""}, 9),
    ],
    ids=["as published", "other compression", "other order", "other folder", "unrelated file"],
)
def test_matching_files_decide(publish, tar, files, level):
    publish("set.tar.gz", tar(files, compresslevel=level))
    assert fetch_archive("set.tar.gz", URL, DIGEST, PATTERN) == {"data/a.txt": b"first", "data/b.txt": b"second"}


@pytest.mark.parametrize(
    "files",
    [
        {"top/data/a.txt": b"first"},
        {**FILES, "top/data/c.txt": b"second"},
        {"top/data/a.txt": b"first", "top/data/c.txt": b"second"},
        {"top/data/a.txt": b"second", "top/data/b.txt": b"first"},
        {**FILES, "top/data/b.txt": b"Second"},
    ],
    ids=["missing", "added", "renamed", "exchanged", "changed"],
)
def test_other_files_are_refused(publish, tar, files):
    publish("set.tar.gz", tar(files))
    with pytest.raises(ValueError, match=rf"Expected sha256 {DIGEST}\. Received: [0-9a-f]{{64}} over [123] files\."):
        fetch_archive("set.tar.gz", URL, DIGEST, PATTERN)


@pytest.mark.parametrize(
    "damage",
    [
        lambda archive: archive[: len(archive) // 2],
        lambda archive: archive[:10] + b"\xff" * 20,  # Not a deflate stream.
        lambda archive: gzip.compress(b"not a tar archive" * 100),
        lambda archive: b"<html>Please log in</html>",
        lambda archive: b"",
    ],
)
def test_damaged_archives(publish, tar, damage):
    publish("set.tar.gz", damage(tar(FILES)))
    with pytest.raises(ValueError, match="Received: none, because the file is not a complete tar.gz archive"):
        fetch_archive("set.tar.gz", URL, DIGEST, PATTERN)


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_links_and_unexpected_paths_are_ignored(publish, tar, tmp_path):
    (tmp_path / "secret").write_text("secret")
    members = [
        member("top/data/symbolic.txt", tarfile.SYMTYPE, str(tmp_path / "secret")),
        member("top/data/relative.txt", tarfile.SYMTYPE, "a.txt"),
        member("top/data/hard.txt", tarfile.LNKTYPE, "top/data/a.txt"),
        member("top/data/folder.txt", tarfile.DIRTYPE),
        member("top/data/pipe.txt", tarfile.FIFOTYPE),
        member("top/data/../../up.txt"),
        member("/top/data/absolute.txt"),
        member("top/data/deeper/below.txt"),
        member("top/data/two\nlines.txt"),
        member("data/outside.txt"),
    ]
    publish("set.tar.gz", tar(FILES, members=members))
    before = sorted(tmp_path.rglob("*"))
    assert set(fetch_archive("set.tar.gz", URL, DIGEST, PATTERN)) == {"data/a.txt", "data/b.txt"}
    assert sorted(tmp_path.rglob("*")) == before


def test_downloads_are_verified_by_content(tar, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("KERASSEQ_DATA_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    published, cached = tmp_path / "published.tar.gz", tmp_path / "keras" / "kerasseq" / "set.tar.gz"

    def fetch():
        """Whether the archive was downloaded."""
        assert len(fetch_archive("set.tar.gz", published.as_uri(), DIGEST, PATTERN)) == 2
        return "Downloading data from" in capsys.readouterr().out

    for level in (1, 9):
        published.write_bytes(tar(FILES, compresslevel=level))
        assert fetch() and cached.read_bytes() == published.read_bytes()
        assert not fetch()
        cached.write_bytes(cached.read_bytes()[:50])  # Damaged, so the next call downloads it again.
    published.write_bytes(tar({**FILES, "top/data/b.txt": b"Second"}))
    with pytest.raises(ValueError, match=rf"Expected sha256 {DIGEST}\. Received: \w+ over 2 files\. Try again"):
        fetch()
    published.unlink()
    with pytest.raises(ConnectionError, match=r"\(cache\): damaged, sha256 none, because the file is not a complete"):
        fetch()
