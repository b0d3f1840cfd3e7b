"""What is in archives whose site compresses them anew now and then: files by name, and a digest of them all."""

import gzip
import hashlib
import tarfile
import zlib


def read_archive(path, pattern):
    """The files of a tar.gz archive whose names match; nothing is unpacked to disk.

    Args:
        path: path of the archive.
        pattern: compiled regular expression for full names; its first group is the name that is returned.

    Returns:
        dict from name to bytes.
    """
    files = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = pattern.fullmatch(member.name)
            if name and member.isreg():  # Not a link, which `extractfile` would follow.
                files[name[1]] = archive.extractfile(member).read()
    return files


def archive_digest(path, pattern):
    """The SHA-256 over the lines `sha256  name` of those files, sorted by name, and how many there are.

    A damaged archive has a text that says so instead.
    """
    try:
        files = read_archive(path, pattern)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        return f"none, for it is no complete tar.gz archive ({error})"
    lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return f"{hashlib.sha256(lines.encode('utf-8')).hexdigest()} over {len(files):,} files"
