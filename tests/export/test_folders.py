"""Locks and temporary folders: what killed exports leave behind, and exports at the same time."""

import concurrent.futures
import fcntl
import os
import tempfile
import time

from kerasseq.export.folders import temporary_folder


def test_folders_of_killed_exports_are_removed(tmp_path):
    for name in ("killed", "killed-early", "living"):
        (tmp_path / f".export-{name}").mkdir()
        if name != "killed-early":
            (tmp_path / f".export-{name}" / "lock").touch()
    with open(tmp_path / ".export-living" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with temporary_folder(tmp_path) as temporary:
            assert sorted(os.listdir(tmp_path)) == sorted([".export-living", os.path.basename(temporary)])
        assert os.listdir(tmp_path) == [".export-living"]
    with temporary_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_exports_do_not_remove_each_others_folders(monkeypatch, tmp_path):
    """A second export begins while the first one writes, and a third between creating and locking a folder."""
    third = []
    real = tempfile.TemporaryDirectory

    def create(**arguments):
        folder = real(**arguments)
        if not third:  # Once.
            third.append(threads.submit(begin_and_end))
            time.sleep(0.3)
        return folder

    def begin_and_end():
        with temporary_folder(tmp_path):
            pass

    monkeypatch.setattr("kerasseq.export.folders.tempfile.TemporaryDirectory", create)
    with concurrent.futures.ThreadPoolExecutor(1) as threads, temporary_folder(tmp_path) as temporary:
        third[0].result()
        begin_and_end()
        assert os.listdir(temporary) == ["lock"]
    assert os.listdir(tmp_path) == []
