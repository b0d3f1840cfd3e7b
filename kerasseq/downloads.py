"""Downloads of files: verified, resumed where they broke off, and in place only as a whole."""

import errno
import hashlib
import http.client
import os
import pathlib
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, Any, TypeAlias

import filelock

from kerasseq.progress import progress_bar, say

TRIES = 4  # in a row that bring nothing new
PAUSE = 1.0  # seconds before the second try, twice as many before each further one
TIMEOUT = 30.0  # seconds without data, after which a connection counts as broken
CHUNK = 1 << 18  # bytes
FULL = (errno.ENOSPC, errno.EDQUOT)
NOTHING_MORE = 416  # HTTP status code, where the file is not longer than what has arrived
TOO_BUSY = (408, 425, 429, 500, 502, 503, 504)  # HTTP status codes after which a server may answer the next time

Digest: TypeAlias = Callable[[pathlib.Path], str]


def sha256_of(path: pathlib.Path) -> str:
    """The SHA-256 of a file, 64 lowercase hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    url: str,
    destination: pathlib.Path,
    sha256: str | None = None,
    size: int | None = None,
    digest: Digest = sha256_of,
) -> None:
    """Downloads a file, unless another process has done so in the meantime.

    What has arrived waits in a hidden file beside the destination, which is moved to its place when it is complete and
    verified. The next call goes on where an interrupted one broke off; without a digest, which tells whether the parts
    belong together, it begins anew. A lock lets one process download at a time.

    Args:
        url: str, `https://`, `http://` or `file://`.
        destination: `pathlib.Path`, whose folder is made.
        sha256: str, expected result of `digest`. Default: none, for a file that may change.
        size: int, expected bytes. Default: unknown.
        digest: callable from the path of a file to a string. Defaults to the SHA-256 of the file.

    Raises:
        ValueError: if the file has another digest or size. It is discarded.
        ConnectionError: if the server cannot be reached, or refuses.
        OSError: if the disk is full; the part that has arrived is discarded.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.with_name(f".{destination.name}.part")
    lock = destination.with_name(f".{destination.name}.lock")
    with filelock.FileLock(lock):
        if sha256 is not None and is_right(destination, sha256, digest):
            return
        if sha256 is None:
            partial.unlink(missing_ok=True)
        resumed = partial.exists()
        try:
            _receive(url, partial, size, resume=sha256 is not None)
            received = digest(partial)
            if resumed and received != sha256:  # It began as another file.
                partial.unlink()
                _receive(url, partial, size, resume=True)
                received = digest(partial)
            if sha256 not in (None, received):
                raise damaged(url, f"sha256 {sha256}", received)
        except ValueError:
            partial.unlink(missing_ok=True)
            raise
        except OSError as error:
            if error.errno not in FULL:
                raise
            partial.unlink(missing_ok=True)
            raise OSError(
                error.errno,
                f"No space is left for the download of {url}, of which nothing was kept. Free some, or set KERAS_HOME "
                "to a folder on another disk. It was to be stored as",
                str(destination),
            ) from error
        os.replace(partial, destination)
        if sha256 is not None:
            lock.unlink(missing_ok=True)  # Processes that wait for it find the right file, and need no lock.


def damaged(url: str, expected: str, received: str) -> ValueError:
    return ValueError(
        f"The download of {url} is damaged, or the file has changed. It was discarded. Expected {expected}. Received: "
        f"{received}. Try again. If the error persists, check whether a proxy or a login page responds instead of the "
        "site."
    )


def _receive(url: str, partial: pathlib.Path, size: int | None, resume: bool) -> None:
    """Completes a partial file, over several connections if need be."""
    say(f"Downloading data from {url}")
    with partial.open("ab") as file, progress_bar(url.rpartition("/")[2], "B", total=size) as progress:
        failures, most = 0, file.tell()
        while True:
            try:
                return _append(url, file, size, progress, resume)
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                    if error.code == NOTHING_MORE:
                        return  # The digest tells whether it is the file.
                arrived = file.tell()
                failures = 0 if arrived > most else failures + 1
                most = max(arrived, most)
                if failures == TRIES or not _may_pass(error, arrived):
                    if not arrived:
                        partial.unlink()
                    raise ConnectionError(f"{url}: {error}") from error
            time.sleep(PAUSE * 2 ** (failures - 1))


def _may_pass(error: Exception, arrived: int) -> bool:
    """Whether to try again: not if the server refuses, or was never reached."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in TOO_BUSY
    return arrived > 0 or not isinstance(error, urllib.error.URLError)


def _append(url: str, file: IO[bytes], size: int | None, progress: Any, resume: bool) -> None:
    """Receives what is missing of a file, or all of it from a server that sends whole files only."""
    start = file.seek(0, os.SEEK_END)
    if start == size:
        return
    if not resume or (size is not None and start > size):
        start = 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if not start or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = file.seek(0)
            file.truncate()
        length = response.headers.get("Content-Length")
        total = size if length is None else start + int(length)
        if size not in (None, total):
            raise damaged(url, f"{size} bytes", f"{total} bytes")
        progress.reset(total)
        progress.update(start)
        while chunk := response.read1(CHUNK):  # What there is, so that a broken connection loses nothing.
            file.write(chunk)
            progress.update(len(chunk))
            if total is not None and file.tell() > total:
                raise damaged(url, f"{total} bytes", "more")
    file.flush()
    if total is not None and file.tell() < total:
        raise ConnectionError(f"the connection broke after {file.tell()} of {total} bytes")


# === The cache ===


def cache_folders() -> list[pathlib.Path]:
    """The Keras folder, and the one that `keras.utils.get_file` takes in its place if that cannot be written to."""
    home = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return [folder / "kerasseq" for folder in (home, pathlib.Path(tempfile.gettempdir()) / ".keras")]


def is_right(path: pathlib.Path, sha256: str, digest: Digest = sha256_of) -> bool:
    """Whether there is a file with this digest."""
    try:
        return path.is_file() and digest(path) == sha256
    except OSError:  # A folder of another user.
        return False


def is_writable(folder: pathlib.Path) -> bool:
    """Whether files can be made in a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # For example a read-only home folder on a cluster.
        return False
    return os.access(folder, os.W_OK)
