"""Files of public data sets: from an offline mirror, from the cache, or downloaded, and always verified."""

import hashlib
import os
import pathlib
import tempfile

import keras

MIRROR_VARIABLE = "KERASSEQ_DATA_DIR"


def fetch(relative_path, url, sha256, digest=None):
    """Return the path of a verified local copy of a public file, downloading it if need be.

    Three places are asked in turn:

    1. the offline mirror, the folder that the environment variable `KERASSEQ_DATA_DIR` names (only ever read);
    2. the cache, `kerasseq/` below the Keras folder (`KERAS_HOME`, by default `~/.keras`);
    3. the network, with the progress bar of `keras.utils.get_file`. A download gets its final name in the cache
       only once it is complete and verified, so an interrupted one leaves nothing behind to be mistaken for data.

    The digest is computed anew at every call: a file that was damaged yesterday is noticed today.

    Args:
        relative_path: str, the file's place below the mirror and below the cache, such as `"anki/fra-eng.zip"`.
        url: str, where the file is published.
        sha256: str, the expected SHA-256 digest of the file, 64 lowercase hexadecimal digits; with `digest`, what that
            returns for a good file.
        digest: callable from the `pathlib.Path` of a file to the string that must equal `sha256`. For an archive that
            its site compresses anew now and then: a digest of what the archive holds. A damaged file is no reason to
            raise, but has another digest. Defaults to `None`: the SHA-256 of the file itself.

    Returns:
        A `pathlib.Path` to the file. It is shared with other programs: read it, do not write to it.

    Raises:
        ValueError: if the file in the mirror, or the file that was downloaded, has another digest. A damaged file in
            the cache is downloaded again instead.
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
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        mirrored = pathlib.Path(mirror).expanduser() / relative_path
        if mirrored.is_file():
            received = digest(mirrored)
            if received != sha256:
                raise ValueError(
                    f"The file {mirrored} in the offline mirror is damaged or of another release. Expected sha256 "
                    f"{sha256}. Received: {received}. Replace it by a fresh copy of {url}, or unset "
                    f"{MIRROR_VARIABLE} to download the file into the cache."
                )
            return mirrored

    cached = _cache_folder() / "kerasseq" / relative_path
    if cached.is_file() and digest(cached) == sha256:
        return cached
    _download(url, sha256, digest, relative_path, cached)
    return cached


def _download(url, sha256, digest, relative_path, destination):
    destination.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own beside the destination: the same file system, so `os.replace` is atomic; a name that no other
    # process writes to; and gone with all it holds whatever ends the download.
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".download-") as folder:
        try:
            partial = keras.utils.get_file(destination.name, origin=url, cache_dir=folder, cache_subdir="")
        except Exception as error:  # Keras turns network failures into bare exceptions.
            raise ConnectionError(_unreachable(url, digest, relative_path, destination, error)) from error
        received = digest(pathlib.Path(partial))
        if received != sha256:
            raise ValueError(
                f"The download of {url} is damaged, or the file there has changed; it was discarded, and nothing was "
                f"stored as {destination}. Expected sha256 {sha256}. Received: {received}. Try again; if it happens "
                "again, look whether a proxy or a login page answers in place of the site, or put a good copy at "
                f"{relative_path} below a folder of yours and name that folder in {MIRROR_VARIABLE}."
            )
        os.replace(partial, destination)


def _unreachable(url, digest, relative_path, cached, error):
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        mirrored = pathlib.Path(mirror).expanduser() / relative_path
        looked = f"{mirrored} (offline mirror, {MIRROR_VARIABLE}): no such file"
    else:
        looked = f"offline mirror: {MIRROR_VARIABLE} is not set"
    in_cache = f"damaged, sha256 {digest(cached)}" if cached.is_file() else "no such file"
    return (
        f"Could not get {relative_path}. Looked in:\n"
        f"  {looked}\n"
        f"  {cached} (cache): {in_cache}\n"
        f"  {url}: {error}\n"
        f"Without a network, download that URL elsewhere, store it as {relative_path} below any folder, and set "
        f"{MIRROR_VARIABLE} to that folder, for example: export {MIRROR_VARIABLE}=/data/kerasseq"
    )


def _cache_folder():
    """The Keras folder, found and created by the rules that `keras.utils.get_file` follows."""
    folder = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # A read-only home, as on some clusters.
        return pathlib.Path(tempfile.gettempdir()) / ".keras"
    return folder if os.access(folder, os.W_OK) else pathlib.Path(tempfile.gettempdir()) / ".keras"


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
