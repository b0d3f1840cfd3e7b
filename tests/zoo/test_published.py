"""Folders and files that others publish: written, served, downloaded and loaded."""

import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types
import unittest.mock

import numpy as np
import pytest
from file_server import file_server

import kerasseq
from kerasseq import TextGenerator
from kerasseq.zoo import presets

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ["one two", "three"]


@pytest.fixture(scope="module")
def preset(generator, tmp_path_factory):
    """The folder that `save_to_preset` writes."""
    folder = tmp_path_factory.mktemp("preset") / "numbers"
    generator.save_to_preset(folder)
    return folder


# === Folders ===


def test_a_folder_has_a_model_its_description_and_questions(preset, generator):
    assert sorted(path.name for path in preset.iterdir()) == ["README.md", "model.keras", "preset.json"]
    described = json.loads((preset / "preset.json").read_text())
    content = (preset / "model.keras").read_bytes()
    assert described == {
        "format": 1,
        "files": {"model.keras": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}},
    }
    assert "What it is not for" in (preset / "README.md").read_text()
    assert TextGenerator.from_preset(preset).generate(SOURCES) == generator.generate(SOURCES)
    assert kerasseq.zoo.fetch(preset / "model.keras") == kerasseq.zoo.fetch(str(preset)) == preset / "model.keras"


def test_the_optimizer_stays_behind(preset, generator, tmp_path):
    assert generator.model.optimizer.iterations > 0
    generator.save(tmp_path / "with_optimizer.keras")
    moments = 2 * 4 * generator.model.count_params()  # of Adam, float32
    sizes = [path.stat().st_size for path in (preset / "model.keras", tmp_path / "with_optimizer.keras")]
    assert sizes[1] - sizes[0] > moments
    loaded = TextGenerator.from_preset(preset)
    assert not loaded.model.compiled and loaded.name == generator.name
    assert (loaded.max_length, loaded.long_sources) == (generator.max_length, generator.long_sources)
    for own, other in zip(generator.model.get_weights(), loaded.model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    loaded.save_to_preset(tmp_path / "again")  # Without an optimizer.
    TextGenerator.from_preset(tmp_path / "again")


def test_saving_again_keeps_the_card(preset, generator, tmp_path):
    folder = tmp_path / "numbers"
    shutil.copytree(preset, folder)
    (folder / "README.md").write_text("# My card")
    (folder / "model.keras").write_bytes(b"an earlier model")
    generator.save_to_preset(folder)
    assert (folder / "README.md").read_text() == "# My card"
    TextGenerator.from_preset(folder)


def test_an_interrupted_save_keeps_what_was_there(preset, generator, tmp_path, monkeypatch):
    folder = tmp_path / "numbers"
    shutil.copytree(preset, folder)

    def interrupted(self, path, **_):
        path.write_bytes(b"half a model")
        raise KeyboardInterrupt

    monkeypatch.setattr(TextGenerator, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generator.save_to_preset(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.keras", "preset.json"]
    TextGenerator.from_preset(folder)


def test_a_file_is_no_folder(generator, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="saved to a folder. Received: .*file', which is a file"):
        generator.save_to_preset(tmp_path / "file")


def test_a_damaged_folder_is_refused(preset, tmp_path):
    folder = tmp_path / "numbers"
    shutil.copytree(preset, folder)
    (folder / "model.keras").write_bytes(b"?")
    with pytest.raises(ValueError, match="model.keras is missing, damaged or of another release.*save it again"):
        TextGenerator.from_preset(folder)


@pytest.mark.exports
def test_a_folder_of_an_export(exported, generator, server, tmp_path, describe):
    assert TextGenerator.from_preset(exported).generate(SOURCES) == generator.generate(SOURCES)
    copy = describe(shutil.copytree(exported, tmp_path / "copy"))
    server.publish(copy, "/numbers")
    path = kerasseq.zoo.fetch(f"{server.url}/numbers")
    assert (path / "saved_model.pb").is_file() and (path / "variables" / "variables.index").is_file()
    assert TextGenerator.from_preset(f"{server.url}/numbers").generate(SOURCES) == generator.generate(SOURCES)


def test_an_empty_name_is_not_the_current_folder(preset, monkeypatch):
    monkeypatch.chdir(preset)
    for empty in ("", " ", "\n"):
        with pytest.raises(ValueError, match="preset must be a name, a path or an address. Received: "):
            kerasseq.zoo.fetch(empty)
    assert kerasseq.zoo.fetch(".").resolve() == preset / "model.keras"


@pytest.fixture
def run(preset, tmp_path):
    """The folder of a training, as far as its model is concerned."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    shutil.copy(preset / "model.keras", folder / "best.keras")
    return folder


def test_the_best_model_of_a_training(run, generator):
    assert kerasseq.zoo.fetch(run) == run / "best.keras"
    assert TextGenerator.from_preset(run).generate(SOURCES) == generator.generate(SOURCES)
    (run / "best.keras").unlink()
    with pytest.raises(ValueError, match="run is the folder of a training that has no best.keras yet.*--resume"):
        kerasseq.zoo.fetch(run)
    with pytest.raises(ValueError, match=r"which is none of these\. Pass a model in it: .*run\.$"):
        kerasseq.zoo.fetch(run.parent)
    (run.parent / "empty").mkdir()
    with pytest.raises(ValueError, match=r"Received: .*empty, which is none of these\.$"):
        kerasseq.zoo.fetch(run.parent / "empty")
    with pytest.raises(ValueError, match="no best.keras yet"):
        TextGenerator.from_preset(run)


def test_folders_of_other_kinds_get_no_preset(run, preset, generator, tmp_path):
    exported = tmp_path / "exported"
    (exported / "1").mkdir(parents=True)
    (exported / "1" / "saved_model.pb").write_bytes(b"")
    for folder, kind in ((run, "a training"), (exported, "an exported model"), (exported / "1", "an exported model")):
        before = sorted(folder.iterdir())
        with pytest.raises(ValueError, match=f"own. Received: .*, the folder of {kind}. Pass the path of a new folder"):
            generator.save_to_preset(folder)
        assert sorted(folder.iterdir()) == before
    # As earlier releases did.
    for path in preset.iterdir():
        shutil.copy(path, run)
    with pytest.raises(ValueError, match="has a model of a training, best.keras, and one that save_to_preset wrote"):
        TextGenerator.from_preset(run)


# === Addresses of folders ===


@pytest.fixture
def published(model_folder, describe, server):
    """A function that publishes a folder with a file of this content, and returns its address."""

    def published(content=b"graph" * 1_000):
        (model_folder / "saved_model.pb").write_bytes(content)
        server.files.clear()
        server.publish(describe(model_folder), "/numbers")
        return f"{server.url}/numbers"

    return published


def graph_of(address):
    return (kerasseq.zoo.fetch(address) / "saved_model.pb").read_bytes()


def test_a_model_by_its_address(preset, generator, server):
    server.publish(preset, "/numbers")
    assert TextGenerator.from_preset(f"{server.url}/numbers").generate(SOURCES) == generator.generate(SOURCES)
    assert [path for path, _ in server.requests] == ["/numbers/preset.json", "/numbers/model.keras"]


def test_a_folder_is_downloaded_once(published, server):
    address = published()
    assert graph_of(address) == graph_of(f"{address}/") == b"graph" * 1_000
    paths = [path for path, _ in server.requests]
    assert paths.count("/numbers/preset.json") == 2  # Whether it has changed is asked each time.
    assert paths.count("/numbers/saved_model.pb") == 1


def test_a_folder_that_changes(published):
    assert graph_of(published(b"one")) == b"one"
    assert graph_of(published(b"two")) == b"two"
    assert graph_of(published(b"one")) == b"one"


def test_a_folder_without_a_network(published, server, capsys):
    address = published(b"one")
    first = kerasseq.zoo.fetch(address)
    server.files.clear()
    assert kerasseq.zoo.fetch(address) == first
    assert "HTTP Error 404: File not found. The copy from an earlier download is used." in " ".join(
        capsys.readouterr().out.replace("Not Found", "File not found").split()
    )
    published(b"two")
    del server.files["/numbers/saved_model.pb"]  # Half of a new state is no state.
    assert kerasseq.zoo.fetch(address) == first and graph_of(address) == b"one"


def test_a_folder_in_the_middle_of_a_change_is_refused(published, server):
    address = published(b"one")
    server.files["/numbers/saved_model.pb"] = b"two"
    with pytest.raises(ValueError, match="saved_model.pb is damaged, or the file has changed"):
        kerasseq.zoo.fetch(address)


def test_a_folder_that_is_not_there(server):
    with pytest.raises(ConnectionError, match=f"{server.url}/none/preset.json: HTTP Error 404"):
        kerasseq.zoo.fetch(f"{server.url}/none")


def test_an_interrupted_folder_goes_on(published, server):
    address = published()
    server.breaks["/numbers/saved_model.pb"] = [1000]
    assert graph_of(address) == b"graph" * 1_000
    assert ("/numbers/saved_model.pb", "bytes=1000-") in server.requests


def test_a_slow_server(published, server, monkeypatch):
    monkeypatch.setattr("kerasseq.downloads.TIMEOUT", 0.2)
    address = published()
    server.stalls["/numbers/saved_model.pb"] = [1000]
    assert graph_of(address) == b"graph" * 1_000


def test_a_pinned_folder(published, server, model_folder):
    address = published(b"one")
    pinned = f"{address}#sha256={hashlib.sha256((model_folder / 'preset.json').read_bytes()).hexdigest()}"
    assert graph_of(pinned) == b"one"
    published(b"two")
    count = len(server.requests)
    assert graph_of(pinned) == b"one" and len(server.requests) == count
    assert graph_of(address) == b"two" and graph_of(pinned) == b"one"


def test_a_pinned_folder_that_has_changed(published):
    with pytest.raises(ValueError, match="preset.json is damaged, or the file has changed. .* Expected sha256 0000"):
        kerasseq.zoo.fetch(f"{published()}#sha256={'0' * 64}")


@pytest.mark.parametrize("name", ["../outside", "/etc/file", "a/../../b", ".hidden", "a\\b", "a//b", "C:/b"])
def test_no_file_outside_the_folder(published, server, name):
    address = published()
    described = json.loads(server.files["/numbers/preset.json"])
    described["files"][name] = described["files"]["saved_model.pb"]
    server.files["/numbers/preset.json"] = json.dumps(described).encode()
    with pytest.raises(ValueError, match="must list paths below its folder"):
        kerasseq.zoo.fetch(address)


@pytest.mark.parametrize(
    "text, message",
    [
        ("<html>Log in</html>", "Expected a preset.json .*Received: '<html>Log in</html>'.*login page"),
        ("[]", "Expected a preset.json"),
        ('{"format": 2, "files": {}}', "must have format 1. Received: 2. Update kerasseq"),
        ('{"format": 1, "files": {"a": {"sha256": "0", "size": 1}}}', "each with sha256 and size. Received: 'a'"),
        ('{"format": 1, "files": {"a": 3}}', "each with sha256 and size. Received: 'a': 3"),
        ('{"format": 1, "files": "model.keras"}', "Expected a preset.json"),
        ('{"format": 1, "files": null}', "Expected a preset.json"),
        pytest.param("\udcff", "Expected a preset.json", id="no UTF-8"),
        pytest.param("[" * 100_000, "Expected a preset.json", id="too deep"),
    ],
)
def test_no_description(server, tmp_path, text, message):
    content = text.encode(errors="surrogateescape")
    server.files["/numbers/preset.json"] = content
    with pytest.raises(ValueError, match=message):
        kerasseq.zoo.fetch(f"{server.url}/numbers")
    (tmp_path / "preset.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        kerasseq.zoo.fetch(tmp_path)


def test_addresses_have_folders_of_their_own(published, server):
    published(b"one")
    with file_server() as other:
        other.files = dict(server.files)
        assert kerasseq.zoo.fetch(f"{other.url}/numbers") != kerasseq.zoo.fetch(f"{server.url}/numbers")


# === Addresses of files ===


def test_a_keras_file_by_its_address(preset, server):
    server.publish(preset, "/v1")
    address = f"{server.url}/v1/model.keras"
    assert kerasseq.zoo.fetch(address).read_bytes() == (preset / "model.keras").read_bytes()
    server.files.clear()
    kerasseq.zoo.fetch(address)
    assert server.requests == [("/v1/model.keras", None)]


def test_a_file_in_another_cache_is_used(server, tmp_path, monkeypatch):
    """As in an image whose cache cannot be written to."""
    address, caches = f"{server.url}/model.keras", [tmp_path / "first", tmp_path / "second"]
    server.files["/model.keras"] = b"one"
    monkeypatch.setattr("kerasseq.zoo.locate.cache_folders", lambda: caches[1:])
    path = kerasseq.zoo.fetch(address)
    server.files.clear()
    monkeypatch.setattr("kerasseq.zoo.locate.cache_folders", lambda: caches)
    assert kerasseq.zoo.fetch(address) == path and path.is_relative_to(caches[1])


@pytest.mark.parametrize("name", ["nothing.md", "best.keras"])
def test_other_folders_are_not_described(tmp_path, name):
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(ValueError, match="Expected the folder of a preset, or of one exported version"):
        presets.describe(tmp_path)


def test_a_pinned_file(server):
    server.files["/model.keras"] = b"one"
    pinned = f"{server.url}/model.keras#sha256={hashlib.sha256(b'one').hexdigest()}"
    path = kerasseq.zoo.fetch(pinned)
    path.write_bytes(b"damaged")
    assert kerasseq.zoo.fetch(pinned).read_bytes() == b"one"
    server.files["/model.keras"] = b"two"
    assert kerasseq.zoo.fetch(pinned).read_bytes() == b"one"
    with pytest.raises(ValueError, match="has changed"):
        kerasseq.zoo.fetch(f"{server.url}/model.keras#sha256={hashlib.sha256(b'other').hexdigest()}")


def test_a_file_that_is_not_there(server):
    with pytest.raises(ConnectionError, match=f"{server.url}/model.keras: HTTP Error 404"):
        kerasseq.zoo.fetch(f"{server.url}/model.keras")


@pytest.mark.parametrize(
    "address", ["ftp://host/model.keras", "hf://owner", "hf://a/b/c", "https://host/x#md5=1", "https://host/x?token=1"]
)
def test_other_addresses(address):
    with pytest.raises(ValueError, match="An address must be https://.*hf://owner/name.*Received: "):
        kerasseq.zoo.fetch(address)


# === Other processes ===

# Without TensorFlow: the package is given, so its `__init__` is not run.
FETCH = """
import sys, types
folder, *addresses = sys.argv[1:]
sys.modules["kerasseq"] = types.ModuleType("kerasseq")
sys.modules["kerasseq"].__path__ = [folder]
from kerasseq.zoo import fetch
for address in addresses:
    try:
        print(fetch(address))
    except (ConnectionError, ValueError) as error:
        print(type(error).__name__, str(error).replace(chr(10), " "))
"""


def start_to_fetch(*addresses, **environment):
    command = [sys.executable, "-c", FETCH, str(ROOT / "kerasseq"), *addresses]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env={**os.environ, **environment}, text=True, **pipes)


def fetched(process):
    """The lines that the process prints for its addresses: paths, or errors."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return [line for line in output.splitlines() if not line.startswith("Downloading data from")]


def test_two_processes_at_once(published, server):
    address = published()
    server.breaks["/numbers/saved_model.pb"] = [1000]
    (one,), (other,) = map(fetched, [start_to_fetch(address), start_to_fetch(address)])
    assert one == other == str(kerasseq.zoo.fetch(address))
    assert [asked for path, asked in server.requests if path.endswith("model.pb")] == [None, "bytes=1000-"]


# === Hugging Face ===


COMMIT = "c" * 40


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Answers as the site does, as far as its library asks: one repository, `owner/numbers`, with a tag `v1.0`."""

    def do_GET(self):
        path, name = self.path.partition("?")[0], self.path.rpartition("/")[2]
        self.server.requests.append(self.path)
        headers = {}
        if path in ("/api/models/owner/numbers/revision/main", "/api/models/owner/numbers/revision/v1.0"):
            siblings = [{"rfilename": file} for file in self.server.files]
            answer = json.dumps({"id": "owner/numbers", "sha": COMMIT, "siblings": siblings}).encode()
        elif path == f"/api/models/owner/numbers/tree/{COMMIT}":
            rows = [
                {"type": "file", "oid": "d" * 40, "path": file, "size": len(content)}
                for file, content in self.server.files.items()
            ]
            answer = json.dumps(rows).encode()
        elif path == f"/owner/numbers/resolve/{COMMIT}/{name}":
            answer, headers = self.server.files[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{name}"'}
        else:
            return self.send_error(404)
        self.send_response(200)
        for header, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer)
        return None

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(preset, tmp_path):
    """A stand-in for the site of Hugging Face, which has `preset`; its `fetch` runs in another process."""
    pytest.importorskip("huggingface_hub")
    with file_server(HubHandler) as running:
        running.files = {path.name: path.read_bytes() for path in preset.iterdir()}
        # The library looks for its site when it is imported.
        settings = {"HF_ENDPOINT": running.url, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        running.fetch = lambda *addresses: fetched(start_to_fetch(*addresses, **settings))
        yield running


def test_a_repository_of_hugging_face(hub, preset):
    *paths, missing = hub.fetch("hf://owner/numbers", "hf://owner/numbers@v1.0", "hf://owner/none")
    for path in map(pathlib.Path, paths):
        assert path.name == "model.keras" and path.read_bytes() == (preset / "model.keras").read_bytes()
    assert {path.rpartition("/")[2] for path in hub.requests if "numbers/revision/" in path} == {"main", "v1.0"}
    assert missing.startswith("ConnectionError Could not get hf://owner/none. ")


def test_a_changed_file_of_hugging_face_is_refused(hub):
    hub.files["model.keras"] = hub.files["model.keras"][:-1] + b"?"
    (error,) = hub.fetch("hf://owner/numbers")
    assert error.startswith("ValueError ") and "model.keras is missing, damaged or of another release" in error


def test_hugging_face_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="hf://owner/numbers needs .* pip install huggingface_hub"):
        kerasseq.zoo.fetch("hf://owner/numbers")


# === Command line ===


def test_the_command_line(published, capsys, model_folder):
    from kerasseq.zoo.__main__ import main

    assert main(["list"]) == 0
    assert "translation_en_fr/2  27 MB  English to French" in capsys.readouterr().out.splitlines()
    assert main(["card", "translation_en_fr"]) == 0
    assert capsys.readouterr().out == f"{kerasseq.zoo.card('translation_en_fr')}\n"
    address = published()
    assert main(["fetch", address]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{kerasseq.zoo.fetch(address)}\n" and "Downloading data from" in printed.err
    capsys.readouterr()
    assert main(["describe", str(model_folder)]) == 0
    assert json.loads(capsys.readouterr().out) == presets.describe(model_folder)
    for wrong in (["fetch", f"{address}/none"], ["card", "none"], ["describe", "none"]):
        assert main(wrong) == 1
        assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"), [(PermissionError(13, "denied"), 1, "denied"), (KeyboardInterrupt(), 130, "Interrup")]
)
def test_the_command_line_ends_without_a_traceback(monkeypatch, capsys, error, code, message):
    from kerasseq.zoo.__main__ import main

    monkeypatch.setattr(kerasseq.zoo, "fetch", unittest.mock.Mock(side_effect=error))
    assert main(["fetch", "translation_en_fr"]) == code and message in capsys.readouterr().err


# === What is written ===


def test_the_page_on_publishing(preset, server, tmp_path, monkeypatch):
    """Each address that the page names, with this machine in the place of its hosts."""
    page = (ROOT / "docs" / "guides" / "publishing.md").read_text("utf-8")
    written = re.findall(r'from_preset\("([^"]+)"\)', page)
    assert len(written) == 7
    server.publish(preset, "/models/my_fra")
    server.publish(preset, "/OWNER/REPOSITORY/releases/download/v1")
    shutil.copytree(preset, tmp_path / "my_fra")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", types.ModuleType("huggingface_hub"))
    sys.modules["huggingface_hub"].snapshot_download = lambda repository, revision: str(preset)
    digest = hashlib.sha256((preset / "preset.json").read_bytes()).hexdigest()
    model = (preset / "model.keras").read_bytes()
    for address in written:
        address = re.sub("https://(example.org|github.com)", server.url, address).replace("=...", f"={digest}")
        assert kerasseq.zoo.fetch(address).read_bytes() == model


def test_names_are_those_of_models():
    folders = [ROOT / folder for folder in ("docs", "saved_models", "tutorials", "kerasseq")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".md", ".py", ".ipynb"}]
    text = "\n".join(path.read_text("utf-8") for path in [ROOT / "README.md", *files])
    names = re.findall(r'TextGenerator\.from_preset\(\\?"([\w/]+)\\?"\)', text) + re.findall(
        r"zoo fetch ([\w/]+)", text
    )
    names += re.findall(r'^(?: *")?RELEASED = \\?"(.*?)\\?"', text, re.MULTILINE)
    assert len(names) > 12 and set(kerasseq.zoo.list()) <= set(names)
    for name in names:
        kerasseq.zoo.card(name)
