"""Shared by the tests of data sets: the optional mirror of real data, hand-made mirrors and archives, examples."""

import doctest
import hashlib
import io
import tarfile

import pytest


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """A function that writes a file to a mirror of the test's own, and returns its path and SHA-256."""
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path / "mirror"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    def publish(name, content):
        path = tmp_path / "mirror" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path, hashlib.sha256(path.read_bytes()).hexdigest()

    return publish


@pytest.fixture(scope="session")
def tar():
    """A function from files, a dict of bytes by name, to the content of a tar archive. `members` are added as well."""

    def tar(files, mode="w:gz", members=(), **arguments):
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode=mode, **arguments) as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            for member in members:
                archive.addfile(member)
        return written.getvalue()

    return tar


@pytest.fixture(scope="session")
def run_examples():
    """A function that runs the docstring examples of a module. Named arguments replace names of the module."""

    def run(module, **names):
        result = doctest.testmod(module, extraglobs=names)
        assert result.attempted and not result.failed

    return run
