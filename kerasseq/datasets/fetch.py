"""Fetches public files from an offline mirror, the cache or the network, and verifies them."""

import errno
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import TypeAlias

import keras

MIRROR_VARIABLE = "KERASSEQ_DATA_DIR"

Digest: TypeAlias = Callable[[pathlib.Path], str]


def fetch(relative_path: str, url: str, sha256: str, digest: Digest | None = None) -> pathlib.Path:
    """Returns the path of a verified local copy of a public file, downloading it if necessary.

    Looks in three locations, in this order:

    1. the offline mirror, a read-only folder given by the environment variable `KERASSEQ_DATA_DIR`;
    2. the cache, `kerasseq/` in the Keras folder (`KERAS_HOME`, by default `~/.keras`), which may be read-only, or in
       `.keras` in the folder of temporary files, where the Keras folder cannot be written to;
    3. the network, with the progress bar of `keras.utils.get_file`. A download moves to its final path in the cache
       only when it is complete and verified, so interrupted downloads leave no partial files.

    The digest is verified in every call, so files damaged after the download are detected.

    Args:
        relative_path: str, path of the file in the mirror and in the cache, such as `"anki/fra-eng.zip"`.
        url: str, public URL of the file.
        sha256: str, expected SHA-256 of the file, 64 lowercase hexadecimal digits; or the expected result of `digest`.
        digest: callable from the `pathlib.Path` of a file to a string, which must equal `sha256`. Use it for archives
            that the site may recompress, to verify their content instead. It must not raise for damaged files, but
            return a different string. Defaults to `None`: the SHA-256 of the file itself.

    Returns:
        `pathlib.Path` of the file. Do not modify it: other programs may share it.

    Raises:
        ValueError: if the file in the mirror or the downloaded file has a different digest. A damaged file in the cache
            is downloaded again instead.
        ConnectionError: if neither mirror nor cache has the file and the download fails.

    Example:

    >>> import hashlib, pathlib, tempfile
    >>> published = pathlib.Path(tempfile.mkdtemp()) / "greeting.txt"
    >>> _ = published.write_text("hello")
    >>> sha256 = hashlib.sha256(b"hello").hexdigest()
    >>> path = fetch("examples/greeting.txt", published.as_uri(), sha256)  # doctest: +ELLIPSIS
    Downloading data from file:...
    >>> path.read_text()
    'hello'
    """
    digest = digest or _digest
    mirrored = mirrored_path(relative_path)
    if mirrored is not None and mirrored.is_file():
        if (received := digest(mirrored)) != sha256:
            raise ValueError(
                f"The file {mirrored} in the offline mirror is damaged or from another release. Expected sha256 "
                f"{sha256}. Received: {received}. Replace it with a fresh copy of {url}, or unset {MIRROR_VARIABLE} "
                "to download the file into the cache."
            )
        return mirrored
    caches = [folder / "kerasseq" / relative_path for folder in _cache_folders()]
    for cached in caches:
        if _is_right(cached, sha256, digest):
            return cached
    destination = next((path for path in caches if _is_writable(path.parent)), caches[-1])
    _download(url, sha256, digest, relative_path, destination)
    return destination


def mirrored_path(relative_path: str) -> pathlib.Path | None:
    """The path of a file in the offline mirror, whether it is there or not; `None` without a mirror."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    return pathlib.Path(mirror).expanduser() / relative_path if mirror else None


def _download(url: str, sha256: str, digest: Digest, relative_path: str, destination: pathlib.Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    # A temporary folder next to the destination is on the same file system, so `os.replace` is atomic. No other process
    # writes to it, and it is removed however the download ends.
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".download-") as folder:
        try:
            partial = keras.utils.get_file(destination.name, origin=url, cache_dir=folder, cache_subdir="")
        except Exception as error:  # Keras raises network errors as bare exceptions.
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(
                    error.errno,
                    f"No space is left for the download of {url}, of which nothing was kept. Free some, or set "
                    "KERAS_HOME to a folder on another disk. It was to be stored as",
                    str(destination),
                ) from error
            raise ConnectionError(_unreachable(url, digest, relative_path, destination, error)) from error
        if (received := digest(pathlib.Path(partial))) != sha256:
            raise ValueError(
                f"The download of {url} is damaged, or the file has changed. It was discarded, nothing was stored as "
                f"{destination}. Expected sha256 {sha256}. Received: {received}. Try again. If the error persists, "
                "check whether a proxy or a login page responds instead of the site, or store a good copy as "
                f"{relative_path} in a folder and set {MIRROR_VARIABLE} to that folder."
            )
        os.replace(partial, destination)


def _unreachable(url: str, digest: Digest, relative_path: str, cached: pathlib.Path, error: Exception) -> str:
    mirrored = mirrored_path(relative_path)
    in_mirror = f"{mirrored} (offline mirror, {MIRROR_VARIABLE}): no such file"
    if mirrored is None:
        in_mirror = f"offline mirror: {MIRROR_VARIABLE} is not set"
    in_cache = f"damaged, sha256 {digest(cached)}" if os.path.isfile(cached) else "no such file"
    return (
        f"Could not get {relative_path}. Looked in:\n"
        f"  {in_mirror}\n"
        f"  {cached} (cache): {in_cache}\n"
        f"  {url}: {error}\n"
        f"Without a network, download that URL on another machine, store it as {relative_path} in any folder, and set "
        f"{MIRROR_VARIABLE} to that folder, for example: export {MIRROR_VARIABLE}=/data/kerasseq"
    )


def _cache_folders() -> list[pathlib.Path]:
    """The Keras folder, and the one that `keras.utils.get_file` takes in its place if that cannot be written to."""
    home = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return [home, pathlib.Path(tempfile.gettempdir()) / ".keras"]


def _is_right(path: pathlib.Path, sha256: str, digest: Digest) -> bool:
    try:
        return path.is_file() and digest(path) == sha256
    except OSError:  # A folder of another user.
        return False


def _is_writable(folder: pathlib.Path) -> bool:
    """Whether files can be made in a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # For example a read-only home folder on a cluster.
        return False
    return os.access(folder, os.W_OK)


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
