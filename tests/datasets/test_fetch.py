import hashlib
import http.server
import pathlib
import stat
import threading

import pytest

from kerasseq import downloads
from kerasseq.datasets import fetch as fetch_module
from kerasseq.datasets.fetch import fetch

CONTENT = b"a file of a public data set\n" * 1_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
DAMAGED = CONTENT[:-1] + b"?"
DAMAGED_DIGEST = hashlib.sha256(DAMAGED).hexdigest()


@pytest.fixture(autouse=True)
def keras_home(tmp_path, monkeypatch):
    """A Keras folder that does not exist yet, no mirror, and no proxy for the test server."""
    folder = tmp_path / "keras"
    monkeypatch.setenv("KERAS_HOME", str(folder))
    monkeypatch.delenv("KERASSEQ_DATA_DIR", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    return folder


@pytest.fixture
def server():
    """A local web server with `/good`, `/damaged` and `/short` (truncated). Anything else is missing."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requested.append(self.path)
            body = {"/good": CONTENT, "/damaged": DAMAGED, "/short": CONTENT[: len(CONTENT) // 2]}.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requested = []
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes the file to `"cache"` or `"mirror"`."""

    def write(location, content):
        folder = {"cache": tmp_path / "keras" / "kerasseq", "mirror": tmp_path / "mirror"}[location]
        if location == "mirror":
            monkeypatch.setenv("KERASSEQ_DATA_DIR", str(folder))
        (folder / "set").mkdir(parents=True)
        (folder / "set" / "file.bin").write_bytes(content)
        return folder / "set" / "file.bin"

    return write


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "kerasseq")


def test_downloads_once_into_the_keras_folder(server, keras_home, capsys):
    path = fetch("set/file.bin", f"{server.url}/good", DIGEST)
    assert path == keras_home / "kerasseq" / "set" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert "Downloading data from" in capsys.readouterr().out
    assert files_below(keras_home) == ["kerasseq/set", "kerasseq/set/file.bin"]

    assert fetch("set/file.bin", f"{server.url}/good", DIGEST) == path
    assert server.requested == ["/good"]
    assert capsys.readouterr().out == ""


def test_downloaded_file_is_as_readable_as_any_new_file(server, tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    path = fetch("set/file.bin", f"{server.url}/good", DIGEST)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_damaged_download_is_refused_and_discarded(server, keras_home):
    with pytest.raises(ValueError) as caught:
        fetch("set/file.bin", f"{server.url}/damaged", DIGEST)
    message = str(caught.value)
    for part in (f"{server.url}/damaged", DIGEST, DAMAGED_DIGEST, "Try again", "KERASSEQ_DATA_DIR"):
        assert part in message
    assert files_below(keras_home) == ["kerasseq/set", "kerasseq/set/.file.bin.lock"]


@pytest.mark.parametrize("page", ["short", "missing"])
def test_failed_download_leaves_no_file(server, keras_home, page, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0.001)
    with pytest.raises(ConnectionError, match=f"{server.url}/{page}"):
        fetch("set/file.bin", f"{server.url}/{page}", DIGEST)
    left = ["kerasseq/set", "kerasseq/set/.file.bin.lock"]
    assert files_below(keras_home) == left + (["kerasseq/set/.file.bin.part"] if page == "short" else [])


def test_interrupted_download_is_resumed(server, keras_home, monkeypatch):
    append = downloads._append

    def interrupted(url, file, *arguments):
        file.write(CONTENT[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("set/file.bin", f"{server.url}/good", DIGEST)
    folder = keras_home / "kerasseq" / "set"
    assert not (folder / "file.bin").exists() and (folder / ".file.bin.part").read_bytes() == CONTENT[:10]
    monkeypatch.setattr(downloads, "_append", append)
    assert fetch("set/file.bin", f"{server.url}/good", DIGEST).read_bytes() == CONTENT
    assert files_below(keras_home) == ["kerasseq/set", "kerasseq/set/file.bin"]


def test_damaged_cache_is_downloaded_again(server, write):
    cached = write("cache", DAMAGED)
    assert fetch("set/file.bin", f"{server.url}/good", DIGEST) == cached
    assert cached.read_bytes() == CONTENT


def test_damaged_cache_is_reported_when_the_download_fails(tmp_path, write):
    write("cache", DAMAGED)
    with pytest.raises(ConnectionError, match=f"damaged, sha256 {DAMAGED_DIGEST}"):
        fetch("set/file.bin", (tmp_path / "nowhere").as_uri(), DIGEST)


def test_mirror_comes_first_and_is_not_copied(server, keras_home, write):
    mirrored = write("mirror", CONTENT)
    assert fetch("set/file.bin", f"{server.url}/good", DIGEST) == mirrored
    assert server.requested == [] and not keras_home.exists()


def test_damaged_mirror_is_an_error_and_stays_unchanged(server, write):
    mirrored = write("mirror", DAMAGED)
    with pytest.raises(ValueError) as caught:
        fetch("set/file.bin", f"{server.url}/good", DIGEST)
    for part in (str(mirrored), DIGEST, DAMAGED_DIGEST, "Replace it"):
        assert part in str(caught.value)
    assert mirrored.read_bytes() == DAMAGED and server.requested == []


def test_file_missing_in_the_mirror_is_downloaded_into_the_cache(server, tmp_path, keras_home, monkeypatch):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(mirror))
    path = fetch("set/file.bin", f"{server.url}/good", DIGEST)
    assert path.is_relative_to(keras_home)
    assert list(mirror.iterdir()) == []


@pytest.mark.parametrize("mirror", [None, "empty"])
def test_offline_error_lists_locations_and_the_next_step(tmp_path, keras_home, monkeypatch, mirror):
    if mirror:
        monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path / mirror))
    url = (tmp_path / "nowhere").as_uri()
    with pytest.raises(ConnectionError) as caught:
        fetch("set/file.bin", url, DIGEST)
    looked = str(tmp_path / mirror / "set" / "file.bin") if mirror else "KERASSEQ_DATA_DIR is not set"
    for part in (looked, str(keras_home / "kerasseq" / "set" / "file.bin"), url, "export KERASSEQ_DATA_DIR="):
        assert part in str(caught.value)


def test_keras_folder_that_cannot_be_created_falls_back_to_the_temporary_folder(server, tmp_path, monkeypatch):
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a file" / "keras"))
    monkeypatch.setattr(downloads.tempfile, "tempdir", str(tmp_path / "temporary"))
    path = fetch("set/file.bin", f"{server.url}/good", DIGEST)
    assert path == tmp_path / "temporary" / ".keras" / "kerasseq" / "set" / "file.bin"


def test_a_cache_that_cannot_be_written_is_read(server, write, tmp_path, monkeypatch):
    cached = write("cache", CONTENT)
    monkeypatch.setattr(downloads.tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(downloads.os, "access", lambda folder, mode: "temporary" in str(folder))
    assert fetch("set/file.bin", f"{server.url}/good", DIGEST) == cached and server.requested == []
    # What is missing or damaged there is downloaded elsewhere, once.
    cached.write_bytes(DAMAGED)
    elsewhere = tmp_path / "temporary" / ".keras" / "kerasseq" / "set" / "file.bin"
    for _ in range(2):
        assert fetch("set/file.bin", f"{server.url}/good", DIGEST) == elsewhere and server.requested == ["/good"]
    assert cached.read_bytes() == DAMAGED


def test_a_cache_that_cannot_be_read_is_passed_over(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.tempfile, "tempdir", str(tmp_path / "temporary"))

    def refuse(path):
        if "temporary" not in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return False

    monkeypatch.setattr(pathlib.Path, "is_file", refuse)
    assert fetch("set/file.bin", f"{server.url}/good", DIGEST).read_bytes() == CONTENT


def test_example(run_examples):
    run_examples(fetch_module)
