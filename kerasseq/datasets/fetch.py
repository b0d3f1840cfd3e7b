"""Fetches public files from an offline mirror, the cache or the network, and verifies them."""

import os
import pathlib

from kerasseq.downloads import Digest, cache_folders, download, is_right, is_writable, sha256_of

MIRROR_VARIABLE = "KERASSEQ_DATA_DIR"


def fetch(relative_path: str, url: str, sha256: str, digest: Digest = sha256_of) -> pathlib.Path:
    """Returns the path of a verified local copy of a public file, downloading it if necessary.

    Looks in three locations, in this order:

    1. the offline mirror, a read-only folder given by the environment variable `KERASSEQ_DATA_DIR`;
    2. the cache, `kerasseq/` in the Keras folder (`KERAS_HOME`, by default `~/.keras`), which may be read-only, or in
       `.keras` in the folder of temporary files, where the Keras folder cannot be written to;
    3. the network, with a progress bar. A download moves to its final path in the cache only when it is complete and
       verified. An interrupted one goes on where it broke off, in the next call.

    The digest is verified in every call, so files damaged after the download are detected.

    Args:
        relative_path: str, path of the file in the mirror and in the cache, such as `"anki/fra-eng.zip"`.
        url: str, public URL of the file.
        sha256: str, expected SHA-256 of the file, 64 lowercase hexadecimal digits; or the expected result of `digest`.
        digest: callable from the `pathlib.Path` of a file to a string, which must equal `sha256`. Use it for archives
            that the site may recompress, to verify their content instead. It must not raise for damaged files, but
            return a different string. Defaults to the SHA-256 of the file itself.

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
    mirrored = mirrored_path(relative_path)
    if mirrored is not None and mirrored.is_file():
        if (received := digest(mirrored)) != sha256:
            raise ValueError(
                f"The file {mirrored} in the offline mirror is damaged or from another release. Expected sha256 "
                f"{sha256}. Received: {received}. Replace it with a fresh copy of {url}, or unset {MIRROR_VARIABLE} "
                "to download the file into the cache."
            )
        return mirrored
    caches = [folder / relative_path for folder in cache_folders()]
    for cached in caches:
        if is_right(cached, sha256, digest):
            return cached
    destination = next((path for path in caches if is_writable(path.parent)), caches[-1])
    try:
        download(url, destination, sha256, digest=digest)
    except ConnectionError as error:
        raise ConnectionError(_unreachable(relative_path, destination, digest, error)) from error
    except ValueError as error:
        raise ValueError(
            f"{error} Or store a good copy as {relative_path} in a folder and set {MIRROR_VARIABLE} to that folder."
        ) from error
    return destination


def mirrored_path(relative_path: str) -> pathlib.Path | None:
    """The path of a file in the offline mirror, whether it is there or not; `None` without a mirror."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    return pathlib.Path(mirror).expanduser() / relative_path if mirror else None


def _unreachable(relative_path: str, cached: pathlib.Path, digest: Digest, error: Exception) -> str:
    mirrored = mirrored_path(relative_path)
    in_mirror = f"{mirrored} (offline mirror, {MIRROR_VARIABLE}): no such file"
    if mirrored is None:
        in_mirror = f"offline mirror: {MIRROR_VARIABLE} is not set"
    in_cache = f"damaged, sha256 {digest(cached)}" if os.path.isfile(cached) else "no such file"
    return (
        f"Could not get {relative_path}. Looked in:\n"
        f"  {in_mirror}\n"
        f"  {cached} (cache): {in_cache}\n"
        f"  {error}\n"
        f"Without a network, download that URL on another machine, store it as {relative_path} in any folder, and set "
        f"{MIRROR_VARIABLE} to that folder, for example: export {MIRROR_VARIABLE}=/data/kerasseq"
    )
