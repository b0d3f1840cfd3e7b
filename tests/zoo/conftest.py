"""A cache of the test's own, and a server in the place of the network."""

import json

import pytest
from file_server import file_server

from kerasseq import downloads
from kerasseq.zoo import locate, presets, released


@pytest.fixture(autouse=True)
def keras_home(tmp_path, monkeypatch):
    """A Keras folder that does not exist yet, no other places of models, no proxy, and no time to lose."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KERASSEQ_MODELS_DIR", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(downloads, "PAUSE", 0.001)
    monkeypatch.setattr(locate, "CLONE", tmp_path / "no clone")
    return tmp_path / "keras"


@pytest.fixture
def server(monkeypatch):
    """A server of files, at which the project's repository lives."""
    with file_server() as running:
        monkeypatch.setattr(released, "REPOSITORY", f"{running.url}/project")
        yield running


@pytest.fixture
def publish(server, monkeypatch):
    """A function that releases a folder as a version of a model at the server, in the place of the real models."""
    models = {}
    monkeypatch.setattr(released, "models", lambda: models)

    def publish(folder, name="numbers", version=1):
        files = presets.describe(folder)["files"]
        models.setdefault(name, {})[str(version)] = {"revision": f"commit{version}", "files": files}
        server.publish(folder, f"/project/raw/commit{version}/saved_models/{name}/{version}")

    return publish


@pytest.fixture
def model_folder(tmp_path):
    """Files as of an exported version."""
    folder = tmp_path / "made"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph" * 1_000)
    (folder / "variables" / "variables.index").write_bytes(b"index" * 10)
    return folder


@pytest.fixture
def describe():
    """A function that writes the `preset.json` of a folder."""

    def describe(folder):
        (folder / "preset.json").write_text(json.dumps(presets.describe(folder)))
        return folder

    return describe
