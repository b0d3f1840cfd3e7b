"""Where the files of a released name come from."""

import shutil

import pytest

import kerasseq
from kerasseq.zoo import locate

GRAPH = "/project/raw/commit1/saved_models/numbers/1/saved_model.pb"
INDEX = "/project/raw/commit1/saved_models/numbers/1/variables/variables.index"


def names_of_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def same(folder, other):
    assert names_of_files(folder) == names_of_files(other)
    return all((folder / name).read_bytes() == (other / name).read_bytes() for name in names_of_files(other))


def test_downloads_once(publish, model_folder, server, keras_home, capsys):
    publish(model_folder)
    path = kerasseq.zoo.fetch("numbers")
    assert path == keras_home / "kerasseq" / "models" / "numbers" / "1" and same(path, model_folder)
    assert server.requests == [(GRAPH, None), (INDEX, None)]
    assert f"Downloading data from {server.url}{GRAPH}\n" in capsys.readouterr().out
    server.files.clear()  # Afterwards it needs no network.
    assert kerasseq.zoo.fetch("numbers") == kerasseq.zoo.fetch("numbers/1") == path
    assert len(server.requests) == 2 and capsys.readouterr().out == ""


def test_the_order(publish, model_folder, server, tmp_path, monkeypatch):
    publish(model_folder)
    own, clone = tmp_path / "own", tmp_path / "clone" / "saved_models"
    monkeypatch.setenv("KERASSEQ_MODELS_DIR", str(own))
    monkeypatch.setattr(locate, "CLONE", clone)
    cached = kerasseq.zoo.fetch("numbers")
    assert len(server.requests) == 2
    for folder in (clone, own):
        shutil.copytree(model_folder, folder / "numbers" / "1")
        assert kerasseq.zoo.fetch("numbers") == folder / "numbers" / "1"
    assert len(server.requests) == 2 and cached not in (own, clone)


def test_a_version_is_pinned(publish, model_folder, keras_home):
    publish(model_folder, version=9)
    (model_folder / "saved_model.pb").write_bytes(b"another graph")
    publish(model_folder, version=10)
    assert kerasseq.zoo.fetch("numbers") == kerasseq.zoo.fetch("numbers/10")  # Ten is newer than nine.
    assert (kerasseq.zoo.fetch("numbers/9") / "saved_model.pb").read_bytes() == b"graph" * 1_000
    with pytest.raises(ValueError, match="knows: 9, 10. Received: 11"):
        kerasseq.zoo.fetch("numbers/11")


def test_a_version_that_was_exported_here(publish, model_folder, tmp_path, monkeypatch):
    publish(model_folder)
    monkeypatch.setattr(locate, "CLONE", tmp_path / "saved_models")
    (tmp_path / "saved_models" / "numbers" / "2").mkdir(parents=True)
    assert kerasseq.zoo.fetch("numbers/2") == tmp_path / "saved_models" / "numbers" / "2"
    assert kerasseq.zoo.fetch("numbers").name == "1"


@pytest.mark.parametrize("damage", [b"?", None], ids=["changed", "missing"])
def test_other_files_in_a_folder_of_ones_own_are_an_error(publish, model_folder, server, tmp_path, monkeypatch, damage):
    publish(model_folder)
    monkeypatch.setenv("KERASSEQ_MODELS_DIR", str(tmp_path))
    copy = tmp_path / "numbers" / "1" / "saved_model.pb"
    shutil.copytree(model_folder, copy.parent)
    copy.write_bytes(damage) if damage else copy.unlink()
    with pytest.raises(
        ValueError, match=f"{copy} is missing, damaged or of another release. Expected sha256 .*by its path"
    ):
        kerasseq.zoo.fetch("numbers")
    assert server.requests == []


def test_damaged_files_of_the_cache_are_replaced(publish, model_folder, server):
    publish(model_folder)
    cached = kerasseq.zoo.fetch("numbers")
    (cached / "saved_model.pb").write_bytes(b"?")
    assert same(kerasseq.zoo.fetch("numbers"), model_folder)
    assert [path for path, _ in server.requests] == [GRAPH, INDEX, GRAPH]


def test_an_interrupted_download_goes_on(publish, model_folder, server):
    publish(model_folder)
    server.breaks[GRAPH], server.statuses[INDEX] = [1000], [403]
    with pytest.raises(ConnectionError, match="Could not get numbers/1. Looked in:(.|\n)*try again"):
        kerasseq.zoo.fetch("numbers")
    assert same(kerasseq.zoo.fetch("numbers"), model_folder)
    assert server.requests == [(GRAPH, None), (GRAPH, "bytes=1000-"), (INDEX, None), (INDEX, None)]


def test_corrupted_at_the_server(publish, model_folder, server, keras_home):
    publish(model_folder)
    server.files[GRAPH] = b"proxy" * 1_000
    with pytest.raises(ValueError, match=f"The download of {server.url}{GRAPH} is damaged, or the file has changed"):
        kerasseq.zoo.fetch("numbers")
    assert not list(keras_home.rglob("saved_model.pb"))
    server.files[GRAPH] = b"a page to log in"
    with pytest.raises(ValueError, match="Expected 5000 bytes. Received: 16 bytes"):
        kerasseq.zoo.fetch("numbers")


@pytest.mark.parametrize("own", [True, False])
def test_without_a_network(publish, model_folder, server, keras_home, tmp_path, monkeypatch, own):
    publish(model_folder)
    server.files.clear()
    if own:
        monkeypatch.setenv("KERASSEQ_MODELS_DIR", str(tmp_path / "own"))
    looked = f"{tmp_path / 'own' / 'numbers' / '1'} (KERASSEQ_MODELS_DIR)" if own else "KERASSEQ_MODELS_DIR is not set"
    with pytest.raises(ConnectionError) as caught:
        kerasseq.zoo.fetch("numbers")
    cached = keras_home / "kerasseq" / "models" / "numbers" / "1"
    for part in (looked, f"{cached} (cache)", f"{server.url}{GRAPH}: HTTP Error 404", "export KERASSEQ_MODELS_DIR="):
        assert part in str(caught.value)


def test_a_read_only_cache_is_used(publish, model_folder, server, tmp_path, monkeypatch):
    publish(model_folder)
    cached = kerasseq.zoo.fetch("numbers")
    monkeypatch.setattr("kerasseq.downloads.os.access", lambda *_: False)
    assert kerasseq.zoo.fetch("numbers") == cached and len(server.requests) == 2


def test_a_cache_that_cannot_be_written(publish, model_folder, tmp_path, monkeypatch):
    publish(model_folder)
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a file" / "keras"))
    monkeypatch.setattr("kerasseq.downloads.tempfile.tempdir", str(tmp_path / "temporary"))
    path = kerasseq.zoo.fetch("numbers")
    assert path == tmp_path / "temporary" / ".keras" / "kerasseq" / "models" / "numbers" / "1"


def test_a_path_that_looks_like_a_name(publish, model_folder, tmp_path, monkeypatch):
    publish(model_folder)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model_folder, tmp_path / "numbers")
    assert kerasseq.zoo.fetch("numbers").is_absolute()
    assert kerasseq.zoo.fetch("./numbers").resolve() == tmp_path / "numbers"


def test_neither_a_name_nor_a_path(publish, model_folder):
    publish(model_folder)
    with pytest.raises(ValueError, match="no file or folder nmbers.*Did you mean 'numbers'.*Relative paths start at"):
        kerasseq.zoo.fetch("nmbers")
