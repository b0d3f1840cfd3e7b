"""`kerasseq average`, `export` and `models`."""

import numpy as np
import pytest

import kerasseq
from kerasseq import TextGenerator


def test_average(kerasseq_command, trained, tmp_path):
    checkpoints = sorted(trained["folder"].glob("checkpoints/*.keras"))
    stdout, _ = kerasseq_command("average", *checkpoints, "-o", tmp_path / "mean.keras")
    assert stdout == f"{tmp_path / 'mean.keras'}\n"
    mean, *others = (TextGenerator.load(path) for path in (tmp_path / "mean.keras", *checkpoints))
    weights = [[weight.numpy() for weight in one.model.trainable_weights] for one in (mean, *others)]
    for average, *arrays in zip(*weights, strict=True):
        np.testing.assert_allclose(average, np.mean(arrays, axis=0), atol=1e-6)
    assert mean.max_length == others[0].max_length == 16
    assert len(mean.generate(["May 3, 1998"])) == 1
    _, stderr = kerasseq_command("average", *checkpoints, "-o", tmp_path / "mean.h5", code=2)
    assert "--output must be a .keras file" in stderr


@pytest.mark.exports
def test_export_and_models(kerasseq_command, trained, tmp_path):
    stdout, _ = kerasseq_command("export", trained["folder"], tmp_path / "dates", "--score", "--version", 3)
    assert stdout == f"{tmp_path / 'dates' / '3'}\n"
    sources = ["May 3, 1998", "6. Juni 2020"]
    expected = TextGenerator.load(trained["folder"] / "best.keras").generate(sources)
    stdout, _ = kerasseq_command("generate", tmp_path / "dates", input="\n".join(sources))
    assert stdout.splitlines() == expected
    _, stderr = kerasseq_command("export", trained["folder"], tmp_path / "dates", "--version", 3, code=1)
    assert "3" in stderr and "Traceback" not in stderr
    stdout, _ = kerasseq_command("models", tmp_path)
    assert stdout == f"{tmp_path / 'dates'}\tversions 3\n"


def test_models(kerasseq_command, trained, tmp_path):
    stdout, _ = kerasseq_command("models", trained["folder"].parent)
    assert stdout == f"{trained['folder']}\trun\n"
    stdout, _ = kerasseq_command("models")
    assert [line.partition("/")[0] for line in stdout.splitlines()] == kerasseq.zoo.list()
    _, stderr = kerasseq_command("models", tmp_path / "none", code=1)
    assert "No such file" in stderr
