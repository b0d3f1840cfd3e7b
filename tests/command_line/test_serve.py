"""`kerasseq serve`: what it refuses before it serves. `tests/serving/test_rest.py` asks it."""

import socket

import pytest

pytestmark = pytest.mark.exports


def test_refusals(kerasseq_command, tmp_path):
    (tmp_path / "model" / "1").mkdir(parents=True)
    graph = tmp_path / "model" / "1" / "saved_model.pb"
    _, stderr = kerasseq_command("serve", tmp_path, code=1)
    assert "Expected an exported model, a folder of such models, or a models.config. Received: " in stderr
    graph.write_bytes(b"no graph")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, stderr = kerasseq_command("serve", tmp_path, "--port", port, code=2)
        assert f"--host and --port must be free on this machine. Received: 127.0.0.1:{port}, " in stderr
    _, stderr = kerasseq_command("serve", tmp_path, "--port", 0, code=1)
    assert f"Warning: {graph.parent} was not loaded: " in stderr and "Error: No model could be loaded of " in stderr
    _, stderr = kerasseq_command("serve", tmp_path, "--host", "nowhere.invalid", code=2)
    assert "Received: nowhere.invalid:8501, " in stderr
