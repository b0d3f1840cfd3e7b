"""Fetches tar archives that are verified by content: sites may recompress an archive of the same files."""

import gzip
import hashlib
import os
import pathlib
import re
import tarfile
import zlib
from typing import Literal

from kerasseq.datasets.fetch import fetch


def fetch_archive(relative_path: str, url: str, digest: str, pattern: re.Pattern[str]) -> dict[str, bytes]:
    """Returns the verified files of a public tar.gz archive, downloading it if necessary: a dict from name to bytes.

    Arguments and errors are those of `fetch` and `read_archive`; `digest` is the expected result of `files_digest`.
    """
    files: dict[str, bytes] = {}

    def read_and_digest(path: pathlib.Path) -> str:
        files.clear()
        try:
            files.update(read_archive(path, pattern))
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            return f"none, because the file is not a complete tar.gz archive ({error})"
        return files_digest(files)

    fetch(relative_path, url, digest, digest=read_and_digest)  # The last archive read is the verified one.
    return files


def read_archive(
    path: str | os.PathLike[str], pattern: re.Pattern[str], mode: Literal["r:", "r:gz"] = "r:gz"
) -> dict[str, bytes]:
    """Reads the matching files of a tar archive into memory, without extracting anything to disk.

    Args:
        path: path of the archive.
        pattern: compiled regular expression that matches full member names. Its first group is the returned name.
        mode: mode of `tarfile.open`, `"r:gz"` or `"r:"`. Defaults to `"r:gz"`.

    Returns:
        dict from name to bytes.
    """
    files = {}
    with tarfile.open(path, mode) as archive:
        for member in archive:
            name = pattern.fullmatch(member.name)
            # Regular files only: `extractfile` would follow links.
            if name and member.isreg() and (file := archive.extractfile(member)):
                files[name[1]] = file.read()
    return files


def files_digest(files: dict[str, bytes]) -> str:
    """The SHA-256 of the output of `sha256sum` for these files, sorted by name, and the number of files."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return f"{hashlib.sha256(''.join(lines).encode('utf-8')).hexdigest()} over {len(files):,} files"
