"""Files that are written in one step."""

import pytest

from kerasseq.file_writing import replacing, write_text


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"old")
    with replacing(path) as unfinished:
        unfinished.write_bytes(b"new")
        assert path.read_bytes() == b"old" and unfinished.parent == tmp_path and unfinished.suffix == ".h5"
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_an_error_keeps_the_old_file(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="full"), replacing(path) as unfinished:
        unfinished.write_bytes(b"ne")
        raise OSError("The disk is full.")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_line_ends_stay(tmp_path):
    write_text(str(tmp_path / "text"), "ä\nb\r\n")
    assert (tmp_path / "text").read_bytes() == "ä\nb\r\n".encode()
