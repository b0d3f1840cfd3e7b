"""Downloads from a server that breaks off, stalls, refuses, and serves other files."""

import errno
import hashlib
import pathlib
import signal
import subprocess
import sys

import pytest
from file_server import file_server

from kerasseq import downloads
from kerasseq.downloads import download

CONTENT = bytes(range(256)) * 4_000  # 1 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHER = b"?" + CONTENT[1:]
HALF = len(CONTENT) // 2


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No proxy, and no time to lose."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(downloads, "PAUSE", 0.001)


@pytest.fixture
def server():
    with file_server() as running:
        running.files["/file"] = CONTENT
        yield running


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "folder" / "file"


def files_beside(destination):
    return sorted(path.name for path in destination.parent.iterdir())


def test_a_whole_file(server, destination):
    download(f"{server.url}/file", destination, DIGEST, len(CONTENT))
    assert destination.read_bytes() == CONTENT and files_beside(destination) == ["file"]
    download(f"{server.url}/file", destination, DIGEST, len(CONTENT))
    assert server.requests == [("/file", None)]


@pytest.mark.parametrize("without_length", [False, True])
def test_a_broken_connection_is_resumed(server, destination, without_length):
    server.without_length = without_length  # Then the size alone tells that something is missing.
    server.breaks["/file"] = [1000, 500]
    download(f"{server.url}/file", destination, DIGEST, len(CONTENT) if without_length else None)
    assert destination.read_bytes() == CONTENT
    assert server.requests == [("/file", None), ("/file", "bytes=1000-"), ("/file", "bytes=1500-")]


def test_a_server_that_sends_whole_files_only(server, destination):
    server.accepts_ranges = False
    server.breaks["/file"] = [1000]
    download(f"{server.url}/file", destination, DIGEST)
    assert destination.read_bytes() == CONTENT
    assert server.requests == [("/file", None), ("/file", "bytes=1000-")]


def test_tries_end_where_nothing_new_arrives(server, destination):
    server.accepts_ranges = False
    server.breaks["/file"] = [1000] * 100
    with pytest.raises(ConnectionError, match=f"{server.url}/file: the connection broke after 1000 of {len(CONTENT)}"):
        download(f"{server.url}/file", destination, DIGEST)
    assert len(server.requests) == downloads.TRIES + 1
    assert not destination.exists()


def test_the_next_call_goes_on(server, destination, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 1)
    server.breaks["/file"] = [1000, 0]
    with pytest.raises(ConnectionError):
        download(f"{server.url}/file", destination, DIGEST)
    assert not destination.exists()
    download(f"{server.url}/file", destination, DIGEST)
    assert destination.read_bytes() == CONTENT and files_beside(destination) == ["file"]
    assert server.requests[-1] == ("/file", "bytes=1000-")


def test_a_stalled_connection_is_given_up(server, destination, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    server.stalls["/file"] = [1000]
    download(f"{server.url}/file", destination, DIGEST)
    assert destination.read_bytes() == CONTENT
    assert server.requests == [("/file", None), ("/file", "bytes=1000-")]


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_is_asked_again(server, destination, code):
    server.statuses["/file"] = [code, code]
    download(f"{server.url}/file", destination, DIGEST)
    assert destination.read_bytes() == CONTENT and len(server.requests) == 3


@pytest.mark.parametrize("code", [403, 404])
def test_a_refusal_is_final(server, destination, code):
    server.statuses["/file"] = [code, code]
    with pytest.raises(ConnectionError, match=f"/file: HTTP Error {code}"):
        download(f"{server.url}/file", destination, DIGEST)
    assert len(server.requests) == 1 and files_beside(destination) == [".file.lock"]


def test_no_server(destination):
    with file_server() as gone:
        pass
    with pytest.raises(ConnectionError, match=f"{gone.url}/file: .*refused"):
        download(f"{gone.url}/file", destination, DIGEST)


def test_another_file_is_refused(server, destination):
    server.files["/file"] = OTHER
    with pytest.raises(ValueError, match=f"has changed.*Expected sha256 {DIGEST}. Received: ") as caught:
        download(f"{server.url}/file", destination, DIGEST, len(CONTENT))
    assert hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert files_beside(destination) == [".file.lock"]


@pytest.mark.parametrize("other", [CONTENT[:-1], CONTENT + b"!"], ids=["shorter", "longer"])
@pytest.mark.parametrize("without_length", [False, True])
def test_another_size_is_refused(server, destination, other, without_length):
    server.files["/file"], server.without_length = other, without_length
    with pytest.raises(ValueError, match="has changed"):
        download(f"{server.url}/file", destination, DIGEST, len(CONTENT))
    assert files_beside(destination) == [".file.lock"]


@pytest.mark.parametrize("left", [OTHER[:HALF], CONTENT + b"more"], ids=["another file's", "too long"])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_does_not_belong_is_replaced(server, destination, left, size):
    destination.parent.mkdir()
    (destination.parent / ".file.part").write_bytes(left)
    download(f"{server.url}/file", destination, DIGEST, size)
    assert destination.read_bytes() == CONTENT and files_beside(destination) == ["file"]


def test_a_part_that_is_complete_is_not_asked_for(server, destination):
    destination.parent.mkdir()
    (destination.parent / ".file.part").write_bytes(CONTENT)
    download(f"{server.url}/file", destination, DIGEST, len(CONTENT))
    assert destination.read_bytes() == CONTENT and server.requests == []


def test_without_a_digest_parts_of_two_states_never_mix(server, destination):
    destination.parent.mkdir()
    (destination.parent / ".file.part").write_bytes(OTHER[:HALF])
    server.breaks["/file"] = [1000]
    download(f"{server.url}/file", destination)
    assert destination.read_bytes() == CONTENT
    assert server.requests == [("/file", None), ("/file", None)]
    assert files_beside(destination) == [".file.lock", "file"]  # The next one to download waits for the same lock.


def test_a_full_disk_keeps_nothing(server, destination, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, "_append", full)
    with pytest.raises(OSError, match="No space is left for the download of .*/file, .*KERAS_HOME") as caught:
        download(f"{server.url}/file", destination, DIGEST)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(destination)
    assert files_beside(destination) == [".file.lock"]


# === Several processes ===

# Without TensorFlow: the package is given, so its `__init__` is not run.
LOAD = """
import pathlib, sys, types
folder, url, path, digest = sys.argv[1:]
sys.modules["kerasseq"] = types.ModuleType("kerasseq")
sys.modules["kerasseq"].__path__ = [folder]
from kerasseq.downloads import download
print("ready", flush=True)
sys.stdin.readline()
download(url, pathlib.Path(path), digest)
"""
PACKAGE = pathlib.Path(downloads.__file__).parent


@pytest.fixture
def process(server, destination):
    """A function that starts a process and returns it as soon as it is ready to download."""
    started = []

    def start():
        command = [sys.executable, "-c", LOAD, str(PACKAGE), f"{server.url}/file", str(destination), DIGEST]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(command, text=True, **pipes)
        started.append(child)
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_a_killed_process_leaves_a_part_for_the_next(server, destination, process):
    server.stalls["/file"] = [HALF]
    child = process()
    child.stdin.write("\n")
    child.stdin.flush()
    assert server.stalling.wait(60)
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    assert not destination.exists()
    download(f"{server.url}/file", destination, DIGEST)
    assert destination.read_bytes() == CONTENT
    (_, start) = server.requests[-1]
    assert start is None or int(start.removeprefix("bytes=").removesuffix("-")) <= HALF


def test_two_processes_download_once(server, destination, process):
    server.breaks["/file"] = [HALF]  # The first one pauses here, while the second one waits.
    children = [process(), process()]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    assert [child.wait(120) for child in children] == [0, 0]
    assert destination.read_bytes() == CONTENT
    assert server.requests == [("/file", None), ("/file", f"bytes={HALF}-")]
