"""The gRPC example of `saved_models/README.md`, against the test double `grpc_double.py`."""

import pathlib
import re

import grpc
import pytest

README = pathlib.Path(__file__).resolve().parents[2] / "saved_models" / "README.md"

pytestmark = pytest.mark.exports  # The double loads an exported model.


@pytest.fixture(scope="module")
def example(start_double, rules):
    """The code of the example, with the address of the double."""
    server = start_double("grpc_double.py", {"translation_en_fr": rules}, ["translation_en_fr:stable=1"])
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "import grpc" in block)
    assert "localhost:8500" in block
    return block.replace("localhost:8500", f"localhost:{server.port}")


def test_the_example(example, capsys):
    exec(example, {})
    assert capsys.readouterr().out == "HOW ARE YOU? 12.0\nTHANK YOU. 10.0\n"


@pytest.mark.parametrize(
    ("old", "new", "code", "details"),
    [
        ("translation_en_fr", "nobody", grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label"),
        ('"greedy"', '"no"', grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "no" not found'),
        ('inputs["text"]', 'inputs["source"]', grpc.StatusCode.INVALID_ARGUMENT, "does not match signature"),
    ],
)
def test_refusals(example, old, new, code, details):
    assert old in example
    with pytest.raises(grpc.RpcError) as raised:
        exec(example.replace(old, new), {})
    assert raised.value.code() == code and details in raised.value.details()
