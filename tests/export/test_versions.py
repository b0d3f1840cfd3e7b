from kerasseq.export import next_version, versions


def test_folders_that_are_no_versions(tmp_path):
    for name in ("1", "12", "01", "0", "-1", "1.5", "\u0663", "9" * 30, "notes"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == [1, 12] and next_version(tmp_path) == 13
    assert versions(tmp_path / "missing") == [] and next_version(tmp_path / "missing") == 1
